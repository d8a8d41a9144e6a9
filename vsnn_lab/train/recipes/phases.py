"""One recipe after the other."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from vsnn_lab._basics.checks import check_fraction, short_repr
from vsnn_lab.train.recipes.base import Recipe
from vsnn_lab.train.recipes.step import Step, check_step


@dataclass(frozen=True)
class Phases(Recipe):
    """Change the recipe, and with it the sampler, while the training goes on.

    Args:
        phases: Pairs of a share of the training, in (0, 1], and the recipe that holds until then,
            the shares ascending to 1. Each recipe is told how far its own phase is.

    Example:
        Plain for a third of the training, then all widths alike:

        >>> from vsnn_lab import Full, Sampled, Stratified
        >>> schedule = Phases(((1 / 3, Sampled(Full())), (1.0, Sampled(Stratified(4)))))
        >>> schedule.phase_at(1 / 6)
        (Sampled(sampler=Full()), 0.5)
    """

    phases: tuple[tuple[float, Recipe], ...]

    def __post_init__(self) -> None:
        pairs = self.phases
        if not isinstance(pairs, tuple) or not all(
            isinstance(pair, tuple) and len(pair) == 2 for pair in pairs
        ):
            raise TypeError(
                f"phases must be a tuple of pairs (until, recipe), got {short_repr(pairs)}; "
                "((0.5, one), (1.0, other)) changes half-way"
            )
        ends = [check_fraction("until", until) for until, _ in pairs]
        if not ends or ends[-1] != 1 or any(a >= b for a, b in zip([0.0, *ends], ends)):  # noqa: B905 - one end more
            raise ValueError(f"phases must end at ascending shares up to 1, got {ends}")
        for _, recipe in pairs:
            if not isinstance(recipe, Recipe):
                raise TypeError(f"phases must hold recipes, got {short_repr(recipe)}")

    @property
    def draws_independently(self) -> bool:  # type: ignore[override]
        """Whether all of the recipes do."""
        return all(recipe.draws_independently for _, recipe in self.phases)

    def losses(self, step: Step) -> Iterator[Tensor]:
        """Yield the losses of the phase's recipe."""
        recipe, progress = self.phase_at(check_step(step).progress)
        return recipe.losses(replace(step, progress=progress))

    def phase_at(self, progress: float) -> tuple[Recipe, float]:
        """Return the recipe of a moment of the training, and how far its phase is."""
        check_fraction("progress", progress)
        start = 0.0
        for until, recipe in self.phases:
            if progress < until or until == 1:
                return recipe, min(1.0, (progress - start) / (until - start))
            start = until
        raise AssertionError("phases end at 1")
