"""How much each token of a passage surprises a language model at each width, and a part of it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from vsnn_lab.explore.outputs import check_finite
from vsnn_lab.explore.parts import array, tile
from vsnn_lab.explore.tokens import TokenTexts
from vsnn_lab.measure.ablation import WidthSweep
from vsnn_lab.measure.evaluation import evaluation_mode, to_device_of
from vsnn_lab.widths import at_width, joint_steps, turn_of

MOST_TOKENS = 1024  # of a passage: pages of them hide the rest, and attention has their square


def surprise(model: nn.Module, ids: Sequence[int], widths: Sequence[int]) -> np.ndarray:
    """Return the bits by which each token surprises the model, given all those before it.

    Args:
        model: A language model with one knob, or several that are turned together.
        ids: Tokens of a passage, at least two.
        widths: Knob positions.

    Returns:
        Shape (widths, tokens), float64; of the first token, before which there is nothing, it is no
        number.

    Raises:
        ValueError: If an output is not finite.
    """
    tokens = to_device_of(model, torch.tensor([[*ids]]))
    found = np.full((len(widths), len(ids)), np.nan)
    with evaluation_mode(model):
        for row, width in zip(found, tqdm(widths, desc="passage", delay=2), strict=True):
            with at_width(model, turn_of(model, width)):
                logits = check_finite(model(tokens[:, :-1])[0], width)
            shares = logits.double().log_softmax(-1)
            row[1:] = -shares.gather(1, tokens[0, 1:, None])[:, 0].cpu().numpy() / math.log(2)
    return found


def bits_per_byte(
    model: nn.Module, bits: np.ndarray, sizes: Sequence[int], widths: Sequence[int]
) -> WidthSweep:
    """Return what a passage takes by width, over all its tokens but the first.

    Args:
        model: The language model.
        bits: As from `surprise`.
        sizes: Bytes of each token.
        widths: Knob positions.
    """
    values = bits[:, 1:].sum(1) / sum(sizes[1:])
    return WidthSweep("bits_per_byte", np.array(widths), values, joint_steps(model))


def passage_part(
    ids: Sequence[int], bits: np.ndarray, texts: TokenTexts
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the part that shades a passage, and its array.

    Tokens that end within a character are shown, and their bits added, with the one that ends it.
    """
    shown, ends, start = texts.texts(ids), [], 0
    for end, text in enumerate(shown, 1):
        if text:
            ends.append((start, end))
            start = end
    joined = np.stack([bits[:, start:end].sum(1) for start, end in ends], 1)
    part = {
        "type": "passage",
        "by": "width",
        "source": "surprise",
        "texts": [text for text in shown if text],
        # Of a blind guess among all tokens.
        "most": math.log2(len(texts.bytes)),
    }
    return part, {"surprise": array(joined, "width")}


def bit_tiles(sweep: WidthSweep, widths: Sequence[int], source: str) -> list[dict[str, Any]]:
    """Return what the read-outs say of bits per byte at each width; ``source`` says of what."""
    bits, full = [sweep.at(width) for width in widths], sweep.at(widths[-1])
    changes = [f"{value / full - 1:+.1%}" for value in bits]
    return [
        tile("bits per byte", [f"{value:.3f}" for value in bits], source),
        tile("against full width", changes, f"full: {full:.3f}"),
    ]
