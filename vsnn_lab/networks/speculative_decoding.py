"""Text in fewer calls of a wide model: a narrow one drafts, the wide one checks."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from vsnn_lab._basics.checks import (
    check_generator,
    check_int,
    check_tensor,
    short_repr,
)
from vsnn_lab.networks.extraction import cut_positions
from vsnn_lab.networks.generation import check_temperature
from vsnn_lab.networks.plain_language_model import KeyValueCache, PlainLanguageModel
from vsnn_lab.networks.weight_views import extract_view
from vsnn_lab.widths import WidthControl, check_controls


def speculative_continuation(
    model: PlainLanguageModel,
    tokens: Tensor,
    draft: int | Mapping[WidthControl, int] | PlainLanguageModel,
    *,
    drafts: int = 3,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> "SpeculativeContinuation":
    """Yield the text that `continuation` yields, several tokens a call of the model.

    A narrow width says the next few tokens, one call each; then the model reads all of them in one
    call, keeps those that it would have said itself, and adds the one that it says after them. So
    every token is the model's likeliest, whatever is drafted: a bad draft costs time alone. Above
    temperature 0 a draft is kept with the chance that makes each token as likely as the model says,
    exactly, though other numbers are drawn than in `continuation`.

    The model checks at whatever width it stands at, and its knobs must not be turned in between.
    Of several rows each keeps as many drafts as the one that keeps the fewest.

    *What is shared.* The drafting width is cut once, and its weights are views of the model's
    (`extract_view`). Each width has a cache of its own: keys and values of one are not those of the
    other. Drafts on the first heads of full width's were accepted 47 % of the time where those on
    their own were 57 % (position 1 of 6 of heads and feed-forward network, two drafts).

    *What equal means.* The model reads several tokens in a call here and one in `continuation`, and
    sums in another order may differ in the last bits. So texts are the same for as long as the two
    likeliest tokens are further apart than rounding, about 1e-5 of logits in float32; two that are
    closer are as good as each other, and the text goes on from the one that is taken. In float64
    rounding is 1e-13, and they are the same token for token.

    Args:
        model: A language model, variable or cut.
        tokens: A prompt, shape (batch, time).
        draft: A position of the model's knob, narrower than where it stands, or a dict for several
            knobs; or any language model of the same tokens, a cut that was made before say.
        drafts: Tokens drafted for each call of the model.
        temperature: As in `continuation`.
        generator: What is drawn from; by default torch's own.

    Returns:
        An iterator over tokens, shape (batch,), without end, which counts what was accepted.

    Raises:
        TypeError: If ``model`` is no language model, or ``draft`` no width of it or other model.
        ValueError: If ``draft`` is out of range or has other tokens, ``temperature`` is below 0.01
            but not 0, or ``tokens`` are no batch of prompts.

    References:
        Leviathan et al. 2023, "Fast Inference from Transformers via Speculative Decoding", arXiv
        2211.17192; Devvrit et al. 2023, "MatFormer", arXiv 2310.07707, for a nested model's own
        narrow width as the one that drafts.

    Example:
        >>> from itertools import islice
        >>> from vsnn_lab import LanguageModel, WidthControl
        >>> knob = WidthControl(2)
        >>> model = LanguageModel(16, layers=1, width=8, heads=knob.axis(2), ffn=knob.axis(12))
        >>> text = speculative_continuation(model, torch.tensor([[1, 2, 3]]), 1, drafts=2)
        >>> len([*islice(text, 5)]), text.calls <= 5
        (5, True)
    """
    if not isinstance(model, PlainLanguageModel):
        raise TypeError(f"model must be a LanguageModel, got {short_repr(type(model))}")
    model.check(check_tensor("tokens", tokens), None)
    check_int("drafts", drafts)
    temperature = check_temperature(temperature)
    check_generator(generator)
    if isinstance(draft, PlainLanguageModel):
        narrow: nn.Module = draft
    else:
        check_controls(model)
        narrow = extract_view(model, _draft_positions(model, draft))
    assert isinstance(narrow, PlainLanguageModel)
    if narrow.vocabulary != model.vocabulary:
        raise ValueError(
            f"draft must have the model's {model.vocabulary} tokens, got {narrow.vocabulary}"
        )
    return SpeculativeContinuation(model, tokens, narrow, drafts, temperature, generator)


def _draft_positions(model: nn.Module, draft: Any) -> dict[WidthControl, int]:
    try:
        return cut_positions(model, draft)
    except (TypeError, ValueError) as error:
        kind = "draft must be a width of the model or a language model"
        raise type(error)(f"{kind}: {error}") from None


class SpeculativeContinuation(Iterator[Tensor]):
    """Tokens of `speculative_continuation`, and how many calls they took.

    Attributes:
        drafted: Tokens drafted so far, of each row.
        accepted: Those of them that became text.
        calls: Calls of the model that checks; the first reads the prompt, too.
        draft_calls: Calls of the one that drafts.
    """

    def __init__(
        self,
        model: PlainLanguageModel,
        tokens: Tensor,
        draft: PlainLanguageModel,
        drafts: int,
        temperature: float,
        generator: torch.Generator | None,
    ) -> None:
        self.drafted = self.accepted = self.calls = self.draft_calls = 0
        self._model, self._draft, self._drafts = model, draft, drafts
        self._temperature, self._generator = temperature, generator
        self._cache, self._draft_cache = KeyValueCache(), KeyValueCache()
        self._text = tokens
        self._ready: deque[Tensor] = deque()

    @property
    def accepted_share(self) -> float:
        """Accepted tokens over drafted ones; nan before the first draft."""
        return self.accepted / self.drafted if self.drafted else float("nan")

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Tensor:
        if not self._ready:
            # Entered for each round alone: between two tokens whoever asks may do as they like.
            with torch.no_grad():
                self._ready.extend(self._next_tokens().unbind(1))
        return self._ready.popleft()

    def _next_tokens(self) -> Tensor:
        """Draft and check once; return the tokens that this makes certain, (batch, one or more)."""
        for cache in (self._cache, self._draft_cache):
            # Of what was read all is certain but drafts; the last token is read again for what
            # comes after it.
            cache.truncate(min(cache.length, self._text.shape[1] - 1))
        drafted, draft_logits = self._draft_tokens()
        unread = torch.cat((self._text[:, self._cache.length :], drafted), 1)
        logits = self._model(unread, self._cache)[:, -1 - self._drafts :]
        if self._temperature:
            agreed, said = self._draw(logits, drafted, draft_logits)
        else:
            said = logits.argmax(-1)
            agreed = said[:, :-1] == drafted
        accepted = int(agreed.all(0).cumprod(0).sum())
        self.calls += 1
        self.drafted += self._drafts
        self.accepted += accepted
        tokens = said[:, : accepted + 1]
        self._text = torch.cat((self._text, tokens), 1)
        return tokens

    def _draft_tokens(self) -> tuple[Tensor, Tensor]:
        """Return the next tokens that the narrow model says, and what it drew them from."""
        unread, drafted, seen = self._text[:, self._draft_cache.length :], [], []
        for _ in range(self._drafts):
            logits = self._draft(unread, self._draft_cache)[:, -1:]
            drawn = self._temperature > 0
            unread = self._choose(self._shares(logits)) if drawn else logits.argmax(-1)
            drafted.append(unread)
            seen.append(logits)
            self.draft_calls += 1
        return torch.cat(drafted, 1), torch.cat(seen, 1)

    def _draw(self, logits: Tensor, drafted: Tensor, draft_logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return which drafts are kept, and the tokens: drafts, or others where they are not.

        With shares p of the model and q of the draft, a draft is kept with a chance of p / q, and
        another is drawn from what p has more than q: Leviathan et al., algorithm 1.
        """
        shares, proposed = self._shares(logits), self._shares(draft_logits)
        chosen = drafted.unsqueeze(-1)
        wanted, given = (each.gather(-1, chosen).squeeze(-1) for each in (shares[:, :-1], proposed))
        chance = torch.rand(
            wanted.shape, generator=self._generator, device=wanted.device, dtype=wanted.dtype
        )
        agreed = chance * given < wanted
        more = (shares[:, :-1] - proposed).clamp(min=0)
        # Where both say the same nothing is left over, and no draft is refused.
        more = torch.where(more.sum(-1, keepdim=True) > 0, more, shares[:, :-1])
        other = self._choose(torch.cat((more, shares[:, -1:]), 1))
        said = torch.cat((torch.where(agreed, drafted, other[:, :-1]), other[:, -1:]), 1)
        return agreed, said

    def _shares(self, logits: Tensor) -> Tensor:
        return (logits.float() / self._temperature).softmax(-1)

    def _choose(self, shares: Tensor) -> Tensor:
        """Draw a token for each place, (batch, time), from shares of any sum."""
        drawn = torch.multinomial(shares.flatten(0, 1), 1, generator=self._generator)
        return drawn.view(shares.shape[:2])
