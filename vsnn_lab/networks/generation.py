"""Text from a language model, token by token."""

from collections.abc import Iterator

import torch
from torch import Tensor

from vsnn_lab._basics.checks import check_generator, check_number, check_tensor, short_repr
from vsnn_lab.networks.plain_language_model import KeyValueCache, PlainLanguageModel

_COLDEST = 0.01  # above 0: by less, logits leave the range of their floats


def check_temperature(temperature: float) -> float:
    """Return a temperature as a float; raise ValueError below 0, or just above it."""
    value = check_number("temperature", temperature, 0)
    if 0 < value < _COLDEST:
        raise ValueError(f"temperature must be 0 or at least {_COLDEST}, got {temperature}")
    return value


def continuation(
    model: PlainLanguageModel,
    tokens: Tensor,
    *,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Yield one next token after the other, each as soon as it is there, without end.

    At whatever width the model stands at; its knobs must not be turned in between.

    Args:
        model: A language model, variable or cut.
        tokens: A prompt, shape (batch, time).
        temperature: 0 takes the likeliest token, 1 draws from what the model says; from 0.01 on.
        generator: What is drawn from; by default torch's own.

    Yields:
        Tokens, shape (batch,).

    Raises:
        TypeError: If ``model`` is no language model.
        ValueError: If ``temperature`` is below 0.01 but not 0, or ``tokens`` are no batch of
            prompts.

    Example:
        >>> from itertools import islice
        >>> from vsnn_lab import LanguageModel
        >>> model = LanguageModel(16, layers=1, width=8, heads=2, ffn=12)
        >>> len([*islice(continuation(model, torch.tensor([[1, 2, 3]])), 5)])
        5
    """
    if not isinstance(model, PlainLanguageModel):
        raise TypeError(f"model must be a LanguageModel, got {short_repr(type(model))}")
    model.check(check_tensor("tokens", tokens), None)
    temperature = check_temperature(temperature)
    check_generator(generator)
    return _tokens(model, tokens, temperature, generator)


def _tokens(
    model: PlainLanguageModel,
    tokens: Tensor,
    temperature: float,
    generator: torch.Generator | None,
) -> Iterator[Tensor]:
    cache = KeyValueCache()
    while True:
        # Entered for each token alone: between two of them whoever asks may do as they like.
        with torch.no_grad():
            logits = model(tokens, cache)[:, -1]
        if temperature:
            shares = (logits.float() / temperature).softmax(-1)
            token = torch.multinomial(shares, 1, generator=generator).squeeze(1)
        else:
            token = logits.argmax(-1)
        yield token
        tokens = token.unsqueeze(1)
