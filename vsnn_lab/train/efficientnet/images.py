"""Images to teach by and to agree on: emoji, each drawn anew over coloured backgrounds.

What a font draws for 3,916 characters is turned, shifted, mirrored, scaled, tinted and laid over a
random gradient of two colours. Nothing has a label. The skin tones and genders of an emoji are in
one part, and the parts are drawn alike.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from vsnn_lab.data import fetch
from vsnn_lab.data.emoji import base_emoji, read_glyphs
from vsnn_lab.data.image_set import split_rows

_SIDE = 128  # pixels of a glyph that is kept; the font's are 136 wide


def glyphs(root: Path) -> dict[str, Tensor]:
    """Return glyphs by part: "train", "validation" (a fifth of what teaches) and "test".

    Each of shape (glyphs, 4, 128, 128), uint8, the fourth channel being how opaque a pixel is.
    """
    font = fetch.ensure(fetch.SETS["emoji"], root) / fetch.SETS["emoji"].files[0].name
    found: dict[bytes, str] = {}
    for code, glyph in read_glyphs(font):
        longest = max(glyph.size)
        square = Image.new("RGBA", (longest, longest))
        square.paste(glyph, ((longest - glyph.width) // 2, (longest - glyph.height) // 2))
        small = square.resize((_SIDE, _SIDE), Image.Resampling.BOX)
        found.setdefault(small.tobytes(), base_emoji(code))
    pixels = np.frombuffer(b"".join(found), np.uint8).reshape(-1, _SIDE, _SIDE, 4)
    whole, keys = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()), list(found.values())
    taught = split_rows("train", keys)
    # Another ranking of the same kind, so that the test set stays out of every choice.
    inner = [f"validation {keys[row]}" for row in taught]
    parts = {split: whole[taught][split_rows(split, inner)] for split in ("train", "test")}
    return {
        "train": parts["train"],
        "validation": parts["test"],
        "test": whole[split_rows("test", keys)],
    }


@dataclass(frozen=True)
class Batches:
    """Batches of drawn images; read again, they are the same.

    Args:
        glyphs: As `glyphs` returns them.
        count: How many images; glyphs come in a new random order whenever all have been drawn.
        size: Images in a batch.
        side: Of an image, in pixels.
        seed: Of all that is random.
    """

    glyphs: Tensor
    count: int
    size: int
    side: int
    seed: int

    def __len__(self) -> int:
        return -(-self.count // self.size)

    def __iter__(self) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        rounds = -(-self.count // len(self.glyphs))
        orders = [torch.randperm(len(self.glyphs), generator=generator) for _ in range(rounds)]
        for rows in torch.cat(orders)[: self.count].split(self.size):
            yield draw(self.glyphs[rows], self.side, generator)


def draw(glyphs: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Draw each glyph once, as the network takes images: (pixel - 127) / 128."""
    count = len(glyphs)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    opaque = glyphs[:, 3:].float() / 255
    layers = torch.cat([glyphs[:, :3].float() / 255 * opaque, opaque], 1)
    angle, zoom = uniform(-0.35, 0.35), uniform(0.75, 1.25)
    mirror = (torch.rand(count, generator=generator) < 0.5) * 2.0 - 1
    cos, sin, shift = angle.cos() / zoom, angle.sin() / zoom, uniform(-0.15, 0.15, 2)
    rows = [torch.stack(row, 1) for row in ((cos * mirror, -sin, shift[:, 0]),
                                            (sin * mirror, cos, shift[:, 1]))]  # fmt: skip
    grid = F.affine_grid(torch.stack(rows, 1), [count, 4, side, side], align_corners=False)
    layers = F.grid_sample(layers, grid, align_corners=False)
    colours = torch.einsum("nij,njhw->nihw", _hue_turns(uniform(-0.5, 0.5)), layers[:, :3])
    ends, direction = uniform(0, 1, 2, 3, 1, 1), uniform(0, 2 * math.pi)
    across, down = torch.meshgrid(*[torch.linspace(-1, 1, side)] * 2, indexing="xy")
    slope = direction.cos()[:, None, None] * across + direction.sin()[:, None, None] * down
    share = (slope / 2**0.5 + 1)[:, None] / 2
    background = ends[:, 0] * share + ends[:, 1] * (1 - share)
    image = (colours + (1 - layers[:, 3:]) * background).clamp(0, 1)
    # Channels last, which takes the network 0.6 times as long.
    return ((image * 255 - 127) / 128).contiguous(memory_format=torch.channels_last)


def _hue_turns(angles: Tensor) -> Tensor:
    """Return matrices that turn colours around grey, shape (angles, 3, 3)."""
    cos, sin = angles.cos()[:, None, None], angles.sin()[:, None, None]
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / 3**0.5
    return cos * torch.eye(3) + sin * cross + (1 - cos) / 3
