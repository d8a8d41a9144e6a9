"""Emoji as small colour images: the bitmaps of a font, decoded once and kept."""

import io
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from vsnn_lab._basics import checkpoints
from vsnn_lab.data import fetch
from vsnn_lab.data.image_set import ImageSet, missing_extra, split_rows
from vsnn_lab.data.sources import BAR_DELAY

if TYPE_CHECKING:
    from fontTools.ttLib import TTFont

SIDE = 32  # pixels
_SET = fetch.SETS["emoji"]
# Raise it when the same font gives other pixels, so that nobody keeps the old ones.
_RECIPE = 1

_LIGATURES = 4  # the type of a GSUB lookup that replaces several glyphs by one
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_INVISIBLE = {0x200D, 0xFE0F}  # the joiner, and "in colour please"
_GENDERS = {0x2640, 0x2642}
_PERSON, _MAN, _WOMAN = 0x1F9D1, 0x1F468, 0x1F469


def load_emoji(split: str, root: Path) -> ImageSet:
    """Load the emoji, 32x32 over white, one class; fetch the font and decode it if need be.

    The skin tones and genders of an emoji stand on one side of the split.

    Raises:
        ImportError: If fontTools is not installed when the font has to be decoded.
        DataUnavailable: If the font is missing and no source can be reached.
    """
    cache = root / _SET.folder / f"emoji-{SIDE}.safetensors"
    stored = _read_cache(cache)
    if stored is None:
        font = fetch.ensure(_SET, root) / _SET.files[0].name
        stored = pixels, codes = decode(font)
        # A folder that cannot be written costs the decoding each time and nothing else.
        with suppress(OSError):
            checkpoints.write(cache, {"pixels": pixels}, {**_cache_key(), "codes": codes})
    pixels, codes = stored
    rows = split_rows(split, [base_emoji(code) for code in codes])
    images = pixels[rows].to(torch.float32).div_(255)
    return ImageSet(images, torch.zeros(len(rows), dtype=torch.int64), "emoji", ("emoji",))


def _cache_key() -> dict[str, int | str]:
    return {"recipe": _RECIPE, "font": _SET.files[0].sha256}


def _read_cache(cache: Path) -> tuple[Tensor, list[str]] | None:
    """Return what was decoded before, or nothing if it is not there, damaged or outdated."""
    try:
        tensors, header = checkpoints.read(cache)
        codes, pixels = header.pop("codes"), tensors["pixels"]
        known = isinstance(codes, list) and bool("".join(codes).encode())
    except (OSError, KeyError, TypeError, ValueError):
        return None
    if not known or header != _cache_key():
        return None
    shaped = pixels.dtype == torch.uint8 and pixels.shape == (len(codes), 3, SIDE, SIDE)
    return (pixels, codes) if shaped else None


def decode(font: Path) -> tuple[Tensor, list[str]]:
    """Decode the glyphs of a colour font and leave out repeated images.

    Returns:
        The glyphs over white, uint8, shape (n, 3, 32, 32), and the characters of each.

    Raises:
        ImportError: If fontTools is not installed.
        OSError: If the font cannot be opened.
        ValueError: If it is damaged or of another kind; the message names it.
    """
    found: dict[bytes, str] = {}
    bar = tqdm(read_glyphs(font), desc="emoji", unit=" glyphs", delay=BAR_DELAY, leave=False)
    for code, glyph in bar:
        longest = max(glyph.size)
        square = Image.new("RGBA", (longest, longest), "white")
        square.alpha_composite(glyph, tuple((longest - side) // 2 for side in glyph.size))
        small = square.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        found.setdefault(small.tobytes(), code)
    pixels = np.frombuffer(b"".join(found), np.uint8).reshape(-1, SIDE, SIDE, 3)
    return torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()), list(found.values())


def read_glyphs(font: Path) -> Iterator[tuple[str, Image.Image]]:
    """Yield the characters and the RGBA image of each bitmap glyph (tables CBDT, cmap and GSUB).

    Raises:
        ImportError: If fontTools is not installed.
        OSError: If the font cannot be opened.
        ValueError: If it is damaged or of another kind; the message names it.
    """
    try:
        from fontTools.ttLib import TTFont
    except ImportError as error:
        raise missing_extra("emoji", error) from error
    with open(font, "rb") as stream:
        try:
            with TTFont(stream) as tables:
                yield from _glyphs(tables)
        # Each table's reader fails in ways of its own, also with assertions.
        except Exception as error:
            raise ValueError(
                f"{font} cannot be read as a font of colour bitmaps ({error!r}); delete it, and "
                "it is fetched again"
            ) from error


def _glyphs(tables: "TTFont") -> Iterator[tuple[str, Image.Image]]:
    characters = {glyph: chr(code) for code, glyph in tables.getBestCmap().items()}
    substitutions = tables["GSUB"].table.LookupList.Lookup
    for lookup in substitutions:
        for subtable in lookup.SubTable if lookup.LookupType == _LIGATURES else ():
            for first, ligatures in subtable.ligatures.items():
                for ligature in ligatures:
                    parts = (first, *ligature.Component)
                    code = "".join(characters[part] for part in parts)
                    characters.setdefault(ligature.LigGlyph, code)
    for name, bitmap in tables["CBDT"].strikeData[0].items():
        with Image.open(io.BytesIO(bitmap.imageData)) as image:
            yield characters[name], image.convert("RGBA")


def base_emoji(code: str) -> str:
    """Return an emoji without skin tone and gender."""
    dropped = {*_SKIN_TONES, *_INVISIBLE, *_GENDERS}
    neutral = str.maketrans({_MAN: _PERSON, _WOMAN: _PERSON} | dict.fromkeys(dropped))
    return code.translate(neutral)
