"""What a model returns, checked before anything is drawn of it."""

from torch import Tensor


def check_finite(output: Tensor, width: int) -> Tensor:
    """Return what a model gives at a width, or say how many of its numbers are not finite."""
    finite = output.isfinite()
    if not finite.all():
        wrong = output.numel() - int(finite.sum())
        raise ValueError(
            f"model must return finite numbers, got {wrong:,} of {output.numel():,} that are "
            f"infinite or NaN at width {width}"
        )
    return output
