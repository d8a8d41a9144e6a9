"""Which narrow widths a step of `Distilled` trains, on how many samples, and what they count."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch

from vsnn_lab._basics.checks import check_fraction, check_int, check_number, short_repr
from vsnn_lab.layers.octaves import is_narrow, octave_tops
from vsnn_lab.samplers.draws import generator_or_fresh, random_numbers
from vsnn_lab.widths import WidthControl

# How often an octave trains its widest position, which more of the others build on.
_WIDEST = 0.75


class Narrow(NamedTuple):
    """A narrow width that a step trains.

    Attributes:
        position: Of the knob, a joint one of several; or one for each of them.
        rows: Share of the samples that it is trained on.
        weight: What its loss counts.
    """

    position: int | Mapping[WidthControl, int]
    rows: float = 1.0
    weight: float = 1.0


class NarrowWidths(Protocol):
    """What draws the narrow widths of a step."""

    def draw(self, steps: int, generator: torch.Generator | None = None) -> list[Narrow]:
        """Return those of a step, for a knob of so many positions."""
        ...


@dataclass(frozen=True)
class EachOctave:
    """One width of every octave: 1, 2, 3..4, 5..8, ..., the two widest ones in some steps only.

    Args:
        rows: Share of the samples that narrow widths are trained on.
        half: Share of the steps that train the octave up to half of the knob, which those of at
            most 32 positions do in every step.
        wide: Share of the steps that train the octave below full width.
        inner_rows: Share of the samples that a second width of each octave up to half of the knob
            is trained on. Above 0 the first one is the widest of its octave in every step, so that
            it learns as much as a network of its own; that costs half as much again as these.
        wide_weight: What the loss below full width counts; octaves up to half count 1 together.
    """

    rows: float = 0.75
    half: float = 0.5
    wide: float = 0.25
    inner_rows: float = 0.0
    wide_weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("rows", "half", "wide", "inner_rows"):
            check_fraction(name, getattr(self, name))
        check_number("wide_weight", self.wide_weight, 0)

    def draw(self, steps: int, generator: torch.Generator | None = None) -> list[Narrow]:
        """Return the narrow widths of a step.

        Example:
            >>> narrow = EachOctave().draw(16, torch.Generator().manual_seed(0))
            >>> [(each.position, each.rows) for each in narrow]
            [(1, 0.75), (2, 0.75), (4, 0.75), (7, 0.75)]
        """
        steps = check_int("steps", steps)
        tops = octave_tops(steps)
        octaves = sum(2 * top <= steps for top in tops)
        *chances, where, when = random_numbers(octaves + 2, generator_or_fresh(generator)).tolist()
        drawn, inner = [], []
        for chance, below, top in zip(chances, [0, *tops], tops, strict=False):
            # In other steps than the octave below full width, as far as may be.
            if not is_narrow(top, steps) and when < 1 - self.half:
                continue
            if self.inner_rows:
                width = top
                if top - below > 1:
                    second = below + 1 + int(chance * (top - below - 1))
                    inner.append(Narrow(second, self.inner_rows, 1 / octaves))
            else:
                width = position_in_octave(chance, below, top, _WIDEST)
            drawn.append(Narrow(width, self.rows, 1 / octaves))
        drawn += inner
        low = tops[octaves - 1] + 1 if octaves else 1
        if low < steps and when < self.wide:
            width = min(steps - 1, int(low * (steps / low) ** where))
            drawn.append(Narrow(width, self.rows, self.wide_weight))
        return drawn


@dataclass(frozen=True)
class NarrowestAndRandom:
    """The narrowest width and random ones in between, on all samples: the sandwich rule.

    Args:
        inner: Random widths of a step, all positions between the narrowest and full width alike.
        wide_share: In place of that, draw one of the narrower half of these positions in every
            step, and one of the wider half in this share of the steps: narrow widths, which are
            cheap and furthest from full width, learn more often in as much time.

    References:
        Yu & Huang 2019, "Universally Slimmable Networks", arXiv 1903.05134.
    """

    inner: int = 1
    wide_share: float | None = None

    def __post_init__(self) -> None:
        check_int("inner", self.inner, 0)
        if self.wide_share is not None:
            check_fraction("wide_share", self.wide_share)

    def draw(self, steps: int, generator: torch.Generator | None = None) -> list[Narrow]:
        """Return the narrow widths of a step, joint ones of several knobs.

        Example:
            >>> generator = torch.Generator().manual_seed(0)
            >>> narrow = NarrowestAndRandom(wide_share=0.5).draw(6, generator)
            >>> [each.position for each in narrow]
            [1, 3]
        """
        steps, generator = check_int("steps", steps), generator_or_fresh(generator)
        widths = [1] if steps > 1 else []
        if self.wide_share is None:
            ranges = [(2, steps)] * self.inner
        else:
            # Drawn whether it counts or not, so that a step takes as many numbers as any other.
            wide = bool(random_numbers(1, generator) < self.wide_share)
            middle = 2 + (steps - 1) // 2
            ranges = [(2, middle), (middle, steps)][: 1 + wide]
        widths += [_draw(low, high, generator) for low, high in ranges if low < high]
        return [Narrow(width) for width in widths]

    def draw_apart(
        self, controls: list[WidthControl], generator: torch.Generator | None = None
    ) -> list[Narrow]:
        """Return the narrow widths of a step, inner ones drawn for each of several knobs alone.

        Raises:
            TypeError: If ``controls`` are not knobs in a list or a tuple.
        """
        known = isinstance(controls, list | tuple)
        if not known or not all(isinstance(each, WidthControl) for each in controls):
            raise TypeError(f"controls must be a list of WidthControl, got {short_repr(controls)}")
        generator = generator_or_fresh(generator)
        return [
            Narrow(1),
            *(
                Narrow({each: _draw(1, each.steps + 1, generator) for each in controls})
                for _ in range(self.inner if self.wide_share is None else 1)
            ),
        ]


def position_in_octave(chance: float, below: int, top: int, widest: float) -> int:
    """Return a position in below + 1..top: the widest one, or any of them alike.

    Args:
        chance: A random number in [0, 1).
        below: The widest position of the octave below.
        top: The widest one of this octave.
        widest: How often that is taken at once.
    """
    if chance < widest:
        return top
    return below + 1 + int((chance - widest) / (1 - widest) * (top - below))


def _draw(low: int, high: int, generator: torch.Generator) -> int:
    """Return an integer in low..high - 1."""
    return int(torch.randint(low, high, (), generator=generator, device=generator.device))
