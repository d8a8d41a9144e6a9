"""What accuracies at every width say can be left out."""

from collections.abc import Mapping

from vsnn_lab._basics.checks import check_number


def narrowest_within(by_position: Mapping[int, float], reference: float, lost: float) -> int | None:
    """Return the narrowest position that, as all wider ones do, loses at most so much accuracy.

    Args:
        by_position: Accuracy in [0, 1] by position.
        reference: The accuracy of which something is lost.
        lost: At most so many points, hundredths.

    Returns:
        The position, or None if even the widest loses more.

    Example:
        >>> narrowest_within({1: 0.5, 2: 0.9, 3: 0.89, 4: 0.9}, 0.9, 1.0)
        2
    """
    check_number("lost", lost, 0)
    found = None
    for position in sorted(by_position, reverse=True):
        # Accuracies are rounded to five digits.
        if 100 * (reference - by_position[position]) > lost + 1e-6:
            break
        found = position
    return found


def share_that_can_go(
    by_position: Mapping[int, float], parameters: Mapping[int, int], reference: float, lost: float
) -> float:
    """Return the share of the parameters that can go while at most so many points are lost.

    Args:
        by_position: Accuracy in [0, 1] by position.
        parameters: Of each position; those of the widest are all.
        reference: The accuracy of which something is lost.
        lost: At most so many points, hundredths.

    Example:
        >>> share_that_can_go({1: 0.5, 2: 0.895, 4: 0.9}, {1: 2, 2: 4, 4: 16}, 0.9, 1.0)
        0.75
    """
    position = narrowest_within(by_position, reference, lost)
    return 0.0 if position is None else 1 - parameters[position] / parameters[max(parameters)]
