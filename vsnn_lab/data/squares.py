"""Images of any size and mode, read into memory as squares of one size."""

import os
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps
from torch import Tensor
from tqdm.auto import tqdm

from vsnn_lab.data.sources import BAR_DELAY

# Bytes of pixels that nobody has to ask for: half of what a small laptop has.
_MAX_BYTES = 4 * 2**30


def read_squares(
    paths: Sequence[str | os.PathLike[str]],
    size: int,
    *,
    grey: bool = False,
    check_memory: bool = True,
) -> Tensor:
    """Read the middle squares of images, float32 in [0, 1], shape (n, channels, size, size).

    Args:
        paths: The images.
        size: Side of the squares in pixels.
        grey: One channel instead of three.
        check_memory: Refuse what takes more than 4 GiB as float32.

    Raises:
        OSError: If an image cannot be read; the message names it.
        ValueError: If the images are too many.
    """
    shape = (len(paths), 1 if grey else 3, size, size)
    taken = 4 * int(np.prod(shape, dtype=object))
    if check_memory and taken > _MAX_BYTES:
        fitting = len(paths) * _MAX_BYTES // taken
        raise ValueError(
            f"images must take at most {_MAX_BYTES / 1e9:.1f} GB as float32, got "
            f"{taken / 1e9:.1f} GB, shape {shape}; choose a smaller size or limit={fitting}, or "
            f"limit={len(paths)} for all of them"
        )
    images = torch.empty(shape)
    bar = tqdm(paths, desc="images", unit=" images", delay=BAR_DELAY, leave=False)
    for image, path in zip(images, bar, strict=True):
        image.copy_(torch.from_numpy(_read_square(path, size, "L" if grey else "RGB")))
    return images.div_(255)


def _read_square(path: str | os.PathLike[str], size: int, mode: str) -> np.ndarray:
    """Return the middle of an image as bytes, shape (channels, size, size)."""
    try:
        with Image.open(path) as image:
            _scale_transparent_value(image)
            upright = _to_8_bits(ImageOps.exif_transpose(image), image.format)
            square = _center_square(_over_white(upright).convert(mode))
            pixels = np.array(square.resize((size, size), Image.Resampling.BICUBIC))
    # Each format's reader fails in ways of its own, also with errors that are no OSError.
    except Exception as error:
        raise OSError(
            f"{path} cannot be read as an image ({error}); replace or remove it"
        ) from error
    return pixels.reshape(size, size, -1).transpose(2, 0, 1)


def _center_square(image: Image.Image) -> Image.Image:
    # Cut before it is resized, so that nothing outside seeps in, as it would with ImageOps.fit.
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    return image.crop((left, top, left + side, top + side))


def _scale_transparent_value(image: ImageFile.ImageFile) -> None:
    """Let a PNG's transparent grey value be one of its pixels, which Pillow scales, not the value.

    Raises:
        ValueError: If it is a colour of 16 bits, of whose pixels Pillow keeps 8.
    """
    transparent, layout = image.info.get("transparency"), [tile.args for tile in image.tile]
    if image.format != "PNG" or transparent is None:
        return
    if layout == ["RGB;16B"]:
        raise ValueError("16 bits a colour with a transparent one; save 8 bits or an alpha channel")
    steps = {"L;2": 255 // 3, "L;4": 255 // 15}
    if layout and layout[0] in steps:
        image.info["transparency"] = transparent * steps[layout[0]]


def _to_8_bits(image: Image.Image, file_format: str | None) -> Image.Image:
    """Scale grey values of 16 bits, which Pillow would cut off at 255."""
    if image.mode.startswith("I;16") or (image.mode == "I" and file_format == "PPM"):
        values = np.asarray(image)
        bright = values == image.info.get("transparency")
        return Image.fromarray(np.where(bright, 255, values >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode} have no known range; save 8 or 16 bits")
    return image


def _over_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    glass = image.convert("RGBA")
    white = Image.new("RGBA", glass.size, "white")
    white.alpha_composite(glass)
    return white
