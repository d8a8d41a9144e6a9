"""What a language model is measured by: cross entropy over tokens, bits per byte, agreement."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_int, check_number, check_rows, check_tensor
from vsnn_lab.measure.evaluation import evaluation_mode, to_device_of
from vsnn_lab.measure.swept_widths import check_swept, turns_of
from vsnn_lab.widths import at_width, check_controls, most_steps

# Sequences per forward; logits of more would leave the cache.
_CHUNK = 64


def token_cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross entropy over all tokens of a batch, in nats.

    Torch's own takes classes in dimension 1; here they come last, as a language model returns
    them.

    Args:
        output: Logits, shape (batch, ..., classes).
        target: Classes, integers of shape (batch, ...), or probabilities shaped as ``output``.

    Returns:
        A scalar.

    Raises:
        TypeError: If an argument is no tensor.
        ValueError: If the shapes do not fit.

    Example:
        >>> import torch
        >>> token_cross_entropy(torch.zeros(2, 3, 4), torch.ones(2, 3, dtype=torch.long))
        tensor(1.3863)
    """
    check_tensor("output", output)
    check_tensor("target", target)
    soft = target.is_floating_point()
    known = output.is_floating_point() and (soft or target.dtype == torch.int64)
    if (
        output.dim() < 2
        or not known
        or not output.numel()
        or target.shape != (output.shape if soft else output.shape[:-1])
    ):
        wanted = "shape (batch, ..., classes) beside classes (batch, ...)"
        raise ValueError(
            f"output must have {wanted} or probabilities of its own shape, got {output.dtype} of "
            f"{tuple(output.shape)} and target {target.dtype} of shape {tuple(target.shape)}"
        )
    # Elsewhere a look at the values would wait for the device, which refuses them itself.
    if not soft and target.is_cpu:
        low, high = (int(value) for value in target.aminmax())
        if low < 0 or high >= output.shape[-1]:
            worst = low if low < 0 else high
            raise ValueError(f"target must lie in 0..{output.shape[-1] - 1}, got {worst}")
    return F.cross_entropy(output.flatten(0, -2), target.flatten(0, -2 if soft else -1))


@dataclass(frozen=True)
class BitsPerByte:
    """Bits that a model needs for a byte of text: a metric for `width_sweep`.

    Unlike a loss per token it compares models of unlike tokens.

    Args:
        bytes_per_token: Mean bytes of the target tokens of the whole set measured.

    Example:
        >>> import torch
        >>> metric = BitsPerByte(bytes_per_token=2.0)
        >>> metric(torch.zeros(1, 5, 16), torch.ones(1, 5, dtype=torch.long))  # 4 bits a token
        tensor(2.)
    """

    bytes_per_token: float
    __name__ = "bits_per_byte"

    def __post_init__(self) -> None:
        if not check_number("bytes_per_token", self.bytes_per_token, 0):
            raise ValueError(f"bytes_per_token must be above 0, got {self.bytes_per_token}")

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean over a batch of windows of one length."""
        return token_cross_entropy(output, target) / (math.log(2) * self.bytes_per_token)


def next_token_agreement(
    model: nn.Module, tokens: Tensor, widths: Iterable[int] | None = None
) -> dict[int, float]:
    """Return how often each width's likeliest next token is that of full width.

    Args:
        model: A language model with one knob or several.
        tokens: Windows of text, shape (batch, time).
        widths: Knob positions, joint ones of several knobs; by default all.

    Returns:
        Shares of all tokens in [0, 1], by width.

    Raises:
        TypeError: If ``tokens`` are no tensor.
        ValueError: If ``tokens`` hold none, the model has no knob, or a width is out of range.
    """
    check_rows("tokens", tokens)
    controls = check_controls(model)
    steps = most_steps(controls)
    wanted = check_swept(model, range(1, steps + 1) if widths is None else widths)
    positions = [check_int("widths", width) for width in wanted]
    turns, (full,) = turns_of(controls, positions), turns_of(controls, [steps])
    alike, total = dict.fromkeys(positions, 0), 0
    with evaluation_mode(model):
        for part in to_device_of(model, tokens).split(_CHUNK):
            with at_width(model, full):
                expected = model(part).argmax(-1)
            total += expected.numel()
            for position, turn in zip(positions, turns, strict=True):
                with at_width(model, turn):
                    alike[position] += int((model(part).argmax(-1) == expected).sum())
    return {position: count / total for position, count in alike.items()}
