"""How a prompt goes on at each width: a few tokens at a time, for as long as somebody asks."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from vsnn_lab.explore.tokens import TokenTexts
from vsnn_lab.measure.evaluation import evaluation_mode, to_device_of
from vsnn_lab.networks.generation import continuation
from vsnn_lab.networks.plain_language_model import PlainLanguageModel
from vsnn_lab.widths import at_width, turn_of

_HELD = 2  # a page shows two beside each other


@dataclass
class _Continuation:
    """What there is of one: tokens, the seconds that each took, and what gives the next.

    Attributes:
        generator: What tokens are drawn from.
    """

    generator: torch.Generator
    ids: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    rest: Iterator[Tensor] | None = None


class Continuations:
    """Continuations of the latest prompt, at the widths that were asked for.

    Each is computed once for a prompt, and goes on where it stopped. All widths draw with the same
    random numbers, so that they differ by the width alone.

    Args:
        model: A language model with one knob, or several that are turned together.
        texts: Of its tokens.
        length: Tokens of a continuation.
        temperature: 0 takes the likeliest token, 1 draws from what the model says.
        seed: Of what is drawn.
    """

    def __init__(
        self,
        model: PlainLanguageModel,
        texts: TokenTexts,
        length: int,
        temperature: float,
        seed: int,
    ) -> None:
        self.length, self._model, self._texts = length, model, texts
        self._temperature, self._seed = temperature, seed
        self._prompt: str | None = None
        self._ids: list[int] = []
        self._by_width: dict[int, _Continuation] = {}

    def extend(self, prompt: str, width: int, seconds: float = math.inf) -> list[list[Any]]:
        """Return what there is at a width, at least one token more than before until it is whole.

        Args:
            prompt: Another one replaces the one before and its continuations.
            width: Knob position.
            seconds: After which no more tokens are begun.

        Returns:
            Each token: its number, and the text that it adds. None for an empty prompt.
        """
        if prompt != self._prompt:
            self._ids = self._texts.encode("prompt", prompt)
            self._prompt, self._by_width = prompt, {}
        if not self._ids:
            return []
        if width not in self._by_width:
            device = next(self._model.parameters()).device
            generator = torch.Generator(device).manual_seed(self._seed)
            self._by_width[width] = _Continuation(generator)
        one = self._by_width[width]
        if len(one.ids) < self.length:
            self._compute(one, width, perf_counter() + seconds)
        whole = len(one.ids) == self.length
        shown = zip(one.ids, self._texts.texts(one.ids, whole=whole), strict=True)
        return [[*each] for each in shown]

    def tokens_a_second(self, width: int) -> float:
        """Return how fast they came at a width that `extend` was asked for.

        The first of them takes the whole prompt, and does not count where there are others.
        """
        seconds = self._by_width[width].seconds
        return 1 / median(seconds[1:] or seconds)

    def _compute(self, one: _Continuation, width: int, until: float) -> None:
        # What they have read is held for the last two of them, and read again for others.
        self._by_width[width] = self._by_width.pop(width)
        for other in [*self._by_width.values()][:-_HELD]:
            other.rest = None
        try:
            with evaluation_mode(self._model), at_width(self._model, turn_of(self._model, width)):
                if one.rest is None:
                    read = to_device_of(self._model, torch.tensor([self._ids + one.ids]))
                    one.rest = continuation(
                        self._model,
                        read,
                        temperature=self._temperature,
                        generator=one.generator,
                    )
                while len(one.ids) < self.length:
                    start = perf_counter()
                    one.ids.append(int(next(one.rest)))
                    one.seconds.append(perf_counter() - start)
                    if perf_counter() >= until:
                        break
        except BaseException:
            one.rest = None  # an iterator that failed is at its end
            raise
        if len(one.ids) == self.length:
            one.rest = None
