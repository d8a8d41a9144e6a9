"""Pick a width and read on: what a language model of that width writes, and what surprises it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import traitlets
from tqdm.auto import tqdm

from vsnn_lab._basics.checks import check_collection, check_int, check_number, short_repr
from vsnn_lab.explore.continuations import Continuations
from vsnn_lab.explore.instrument import Instrument, Position
from vsnn_lab.explore.parts import (
    array,
    count_tile,
    curve,
    log2_positions,
    tile,
    tiles,
    width_control,
)
from vsnn_lab.explore.passage import MOST_TOKENS, bit_tiles, bits_per_byte, passage_part, surprise
from vsnn_lab.explore.tokens import TokenTexts
from vsnn_lab.figures.checks import check_points, check_sweep
from vsnn_lab.figures.instrument import instrument_figure
from vsnn_lab.measure.ablation import WidthSweep
from vsnn_lab.measure.costs import count_parameters
from vsnn_lab.networks.generation import check_temperature
from vsnn_lab.networks.plain_language_model import PlainLanguageModel
from vsnn_lab.widths import joint_steps, turn_of

if TYPE_CHECKING:
    import tokenizers

_EVERY = 32  # widths up to which each is a stop; of more those of the log2 scale are
_MOST_LETTERS = 1000  # of a prompt: the model reads it in one go
_MOST_LENGTH = 512  # tokens of a continuation
_BURST = 0.03  # seconds for which the kernel writes on before it listens again
_MOST_BITS = 1_000_000  # per byte; a blind guess takes 8
_CURVE = 230  # pixels: as high as the passage beside it


class Prompt(traitlets.Unicode[str, str]):
    """What a continuation begins with; one that is too long is refused."""

    def validate(self, obj: Any, value: Any) -> str:
        """Return the prompt, or say what is wrong with it."""
        return check_string("prompt", value, _MOST_LETTERS)


class TextExplorer(Instrument):
    """An instrument for one language model: slider, continuation, surprise, read-outs.

    Beside the continuation of a prompt at the slider's width stands full width's; where they have
    different tokens at a place, these are coloured and underlined. Below each token of a passage a
    shade says how much it surprises that width. What is typed as a prompt goes on token by token in
    the kernel, which listens in between; without a kernel there are the first prompt's
    continuations.

    Needs the extra ``text``.

    Args:
        model: A `vsnn_lab.LanguageModel`. Several knobs are turned together by the slider, see
            `joint_positions`.
        tokenizer: Byte-level, from the package ``tokenizers``, such as
            ``load_text("austen").tokenizer``.
        passage: Text whose tokens are shaded, at most 1,024 of them; best one that the model has
            not learned of, no longer than what it has learned to read at once.
        prompt: The first prompt, at most 1,000 characters.
        length: Tokens of a continuation, at most 512.
        temperature: 0 takes the likeliest token, 1 draws from what the model says: with the same
            random numbers at every width, so that texts differ by the width alone.
        seed: Of what is drawn.
        widths: Stops of the slider, and full width; by default all, or of more than 32 those evenly
            spaced in log2.
        sweep: Bits per byte at the stops, as from ``width_sweep`` with `vsnn_lab.BitsPerByte`; by
            default those of the passage.
        dedicated: Bits per byte of models trained at one width, by width; several values, one a
            seed, become a point with whiskers.
        plain: Bits per byte of a plain model of full width, drawn as a line.

    Attributes:
        width: The width shown; set it, or observe it.
        prompt: What is continued; so with it.
        sweep: Bits per byte at the stops.
        surprise: Bits of each token of the passage, by stop, shape (stops, tokens).

    Raises:
        ImportError: If the package ``tokenizers`` is not installed.
        TypeError: If an argument is of another kind.
        ValueError: If the tokenizer does not fit the model, a text does not come back from its
            tokens, or a number is out of range.
    """

    width = Position().tag(sync=True)
    prompt = Prompt().tag(sync=True)

    def __init__(
        self,
        model: PlainLanguageModel,
        tokenizer: "tokenizers.Tokenizer",
        passage: str,
        *,
        prompt: str = "She was not a little surprised to find",
        length: int = 80,
        temperature: float = 0.0,
        seed: int = 0,
        widths: Iterable[int] | None = None,
        sweep: WidthSweep | None = None,
        dedicated: Mapping[int, float | Sequence[float]] | None = None,
        plain: float | None = None,
    ) -> None:
        if not isinstance(model, PlainLanguageModel):
            raise TypeError(f"model must be a LanguageModel, got {short_repr(type(model))}")
        self.model, self.steps = model, joint_steps(model)
        texts = TokenTexts(tokenizer, model.vocabulary)
        ids = texts.encode("passage", check_string("passage", passage))
        if not 2 <= len(ids) <= MOST_TOKENS:
            raise ValueError(f"passage must have 2..{MOST_TOKENS} tokens, got {len(ids)}")
        texts.encode("prompt", check_string("prompt", prompt, _MOST_LETTERS, 1))
        length = check_int("length", length, 1, _MOST_LENGTH)
        temperature = check_temperature(temperature)
        seed = check_int("seed", seed, 0)
        self.widths = self._check_widths(widths)
        alone = _check_bits("dedicated", dedicated)
        for width in alone:
            check_int("each width of dedicated", width, 1, self.steps)
        plain = None if plain is None else check_number("plain", plain, 0)
        level = _check_bits("plain", None if plain is None else {1: plain})
        if sweep is not None:
            self._check_sweep(sweep)

        self.surprise = surprise(model, ids, self.widths)
        sizes = [len(texts.bytes[index]) for index in ids]
        own = bits_per_byte(model, self.surprise, sizes, self.widths)
        self.sweep = own if sweep is None else sweep
        self._continuations = Continuations(model, texts, length, temperature, seed)
        written = [
            self._continuations.extend(prompt, width)
            for width in tqdm(self.widths, desc="continuations", delay=2)
        ]
        speeds = [self._continuations.tokens_a_second(width) for width in self.widths]

        shaded, arrays = passage_part(ids, self.surprise, texts)
        others = [
            number for points in (alone, level) for each in points.values() for number in each
        ]
        low, top = _ends([*self.sweep.values.tolist(), *others])
        line = curve(self.sweep, "bits per byte", top, bottom=low, dedicated=alone, plain=plain)
        said = [
            tile("width", [f"{width}" for width in self.widths], f"of {self.steps}"),
            *bit_tiles(self.sweep, self.widths, "of the passage" if sweep is None else ""),
            count_tile("parameters", self._parameters()),
            tile("tokens a second", [f"{speed:,.0f}" for speed in speeds], "one after the other"),
        ]
        description = {
            "kind": "text",
            "label": "Language model by width",
            "controls": [
                width_control("width", "width", self.widths, self.steps),
                {"type": "prompt", "name": "prompt", "label": "prompt", "most": _MOST_LETTERS},
            ],
            "parts": [
                self._continuation_part(prompt, written),
                shaded,
                line | {"height": _CURVE},
                tiles(said),
            ],
            "actions": [],
        }
        super().__init__(
            description,
            arrays | {"curve": array(self.sweep.values)},
            width=self.steps,
            prompt=prompt,
        )
        self._answers["continue"] = self._go_on

    def static_figure(self) -> go.Figure:
        """Return what the instrument shows as a figure for headless runs and print."""
        full, here = (self._continuations.extend(self.prompt, w) for w in (self.steps, self.width))
        by_width = [full if width == self.steps else here for width in self.widths]
        parts = [self._continuation_part(self.prompt, by_width), *self.description["parts"][1:]]
        positions = {"width": self.width, "prompt": self.prompt}
        return instrument_figure(self.description | {"parts": parts}, self.arrays, positions)

    def _go_on(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Write on at some widths, each for a moment.

        Args:
            asked: A page's prompt, the widths that it shows, and how many tokens it has of each.

        Returns:
            The same, and the tokens that it lacks.
        """
        prompt = check_string("prompt", asked["prompt"], _MOST_LETTERS)
        widths = [check_int("width", width, 1, self.steps) for width in asked["widths"]]
        have = [check_int("have", count, 0) for count in asked["have"]]
        found = {
            width: self._continuations.extend(prompt, width, _BURST) for width in sorted({*widths})
        }
        lacking = [found[width][count:] for width, count in zip(widths, have, strict=True)]
        return {"prompt": prompt, "widths": widths, "have": have, "tokens": lacking}

    def _continuation_part(self, prompt: str, by_width: Sequence[Any]) -> dict[str, Any]:
        """Return the part that shows continuations; ``by_width`` are those of a prompt."""
        part = {"type": "continuation", "by": "width", "prompt": prompt}
        return part | {"length": self._continuations.length, "by_width": {"tokens": [*by_width]}}

    def _check_widths(self, widths: Any) -> list[int]:
        if widths is None:
            few = self.steps <= _EVERY
            return [*range(1, self.steps + 1)] if few else log2_positions(self.steps)
        given = check_collection("widths", widths, "widths")
        each = {check_int("each of widths", width, 1, self.steps) for width in given}
        return sorted(each | {self.steps})

    def _check_sweep(self, sweep: Any) -> None:
        """Refuse what is no sweep with positive numbers at each stop."""
        check_sweep(sweep)
        missing = sorted({*self.widths} - {*sweep.widths.tolist()})
        if missing or sweep.steps != self.steps:
            raise ValueError(
                f"sweep must hold each width of the slider, of {self.steps}, lacks {missing} of "
                f"{sweep.steps}"
            )
        _check_bits("sweep", dict(zip(sweep.widths.tolist(), sweep.values.tolist(), strict=True)))

    def _parameters(self) -> list[int]:
        return [count_parameters(self.model, turn_of(self.model, w)) for w in self.widths]


def check_string(name: str, value: Any, most: int | None = None, least: int = 0) -> str:
    """Return a string of at most so many characters, or say what is wrong with it."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {short_repr(value)}")
    if len(value) < least or (most is not None and len(value) > most):
        raise ValueError(f"{name} must have {least}..{most} characters, got {len(value)}")
    return value


def _check_bits(name: str, value: Any) -> dict[int, list[float]]:
    """Return positive numbers by width; none for None."""
    points = check_points(name, value)
    for numbers in points.values():
        for number in numbers:
            if not 0 < number <= _MOST_BITS:
                raise ValueError(
                    f"{name} must hold bits per byte in 0..{_MOST_BITS:,}, above 0, got {number:g}"
                )
    return points


def _ends(bits: Sequence[float]) -> tuple[float, float]:
    """Return an axis for numbers that lie close together, far from zero."""
    low, high = min(bits), max(bits)
    # Where all are the same there is no more to see than that.
    room = 0.15 * (high - low) or 0.05 * high
    return max(0.0, low - room), high + room
