"""Folders of images, read into memory as squares of one size."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm.auto import tqdm

from vsnn_lab._basics.checks import check_choice, check_flag, check_int, check_path
from vsnn_lab.data._torchvision import datasets
from vsnn_lab.data.image_set import SPLITS, ImageSet, split_rows
from vsnn_lab.data.sources import BAR_DELAY

# Bytes of pixels that nobody has to ask for: half of what a small laptop has.
_MAX_BYTES = 4 * 2**30


class _Folder(datasets.ImageFolder):
    """Torchvision's class, but images without class folders are one class."""

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        inside = [entry for entry in os.scandir(directory) if entry.is_dir()]
        names = sorted(entry.name for entry in inside if not entry.name.startswith("."))
        # A dot as name of the class folder is the folder itself.
        return names or [Path(directory).name], {name: i for i, name in enumerate(names or ["."])}


def load_folder(
    path: str | os.PathLike[str],
    size: int = 64,
    *,
    grey: bool = False,
    split: str | None = None,
    limit: int | None = None,
) -> ImageSet:
    """Load a folder of images as squares: the middle of each, resized.

    Each folder inside is a class, with its images in it or deeper; a folder of images without
    folders is one class. What is transparent becomes white, grey values of 16 bits keep their
    first 8, and the turn that a camera noted is applied.

    Args:
        path: The folder, laid out as ``torchvision.datasets.ImageFolder`` takes it.
        size: Side of the squares in pixels.
        grey: One channel instead of three.
        split: "train" or "test", a fifth of each class, chosen by the names of the files and the
            same each time; by default all images.
        limit: At most so many images, spread evenly over the sorted files. By default all of them,
            up to 4 GiB as float32; a limit may ask for more.

    Raises:
        FileNotFoundError: If there is no such folder, or a class in it has no image.
        OSError: If an image cannot be read; the message names it.
        ValueError: If an argument is out of range, the images are too many, a split is empty, or
            images lie beside class folders.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (40, 30), "red").save(f"{folder}/red.png")
        ...     load_folder(folder, size=8).images[0, :, 0, 0]
        tensor([1., 0., 0.])
    """
    path = check_path("path", path).expanduser().absolute()
    check_int("size", size)
    check_flag("grey", grey)
    if limit is not None:
        check_int("limit", limit)
    if split is not None:
        check_choice("split", split, SPLITS)
    found = _find_images(path)
    rows = list(range(len(found.samples)))
    if split is not None:
        rows = _split_each_class(found, split)
    if not rows:
        raise ValueError(
            f"split={split!r} must hold an image, got none of {len(found.samples)} in {path}; "
            "a class needs 3 images to have one for the test"
        )
    rows = evenly_spaced(rows, limit)
    paths = [found.samples[row][0] for row in rows]
    images = read_squares(paths, size, grey=grey, check_memory=limit is None)
    labels = torch.tensor([found.targets[row] for row in rows], dtype=torch.int64)
    return ImageSet(images, labels, path.name, tuple(found.classes))


def evenly_spaced(rows: Sequence[int], limit: int | None) -> list[int]:
    """Keep at most ``limit`` rows, evenly spaced.

    Example:
        >>> evenly_spaced(range(10), 4)
        [0, 2, 5, 7]
    """
    kept = len(rows) if limit is None else min(check_int("limit", limit), len(rows))
    return [rows[i * len(rows) // kept] for i in range(kept)]


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


def _find_images(path: Path) -> datasets.ImageFolder:
    if not path.is_dir():
        what = "which is a file" if path.exists() else "which does not exist"
        raise FileNotFoundError(f"path must name a folder of images, got {path}, {what}")
    found = _Folder(path, allow_empty=True)
    if not found.samples:
        endings = ", ".join(found.extensions)
        raise FileNotFoundError(
            f"path must hold images in a folder for each class or all in one, got {path} "
            f"without any; an image ends in {endings}"
        )
    loose = sorted(each.name for each in path.iterdir() if each.suffix.lower() in found.extensions)
    if loose and found.find_classes(str(path))[1].keys() != {"."}:
        raise ValueError(
            f"path must hold images in a folder for each class or all in one, got {path} with "
            f"{loose[0]} and {len(loose) - 1} more beside class folders; move them into one"
        )
    empty = sorted(set(found.class_to_idx.values()) - set(found.targets))
    if empty:
        names = ", ".join(found.classes[label] for label in empty)
        raise FileNotFoundError(
            f"path must hold an image in each class folder, got none in {names} of {path}; "
            "add some or remove the folder"
        )
    return found


def _split_each_class(found: datasets.ImageFolder, split: str) -> list[int]:
    by_class: list[list[int]] = [[] for _ in found.classes]
    for row, label in enumerate(found.targets):
        by_class[label].append(row)
    rows = []
    for own in by_class:
        names = [Path(found.samples[row][0]).relative_to(found.root).as_posix() for row in own]
        rows += [own[i] for i in split_rows(split, names)]
    return rows


def _read_square(path: str | os.PathLike[str], size: int, mode: str) -> np.ndarray:
    """Return the middle of an image as bytes, shape (channels, size, size)."""
    try:
        with Image.open(path) as image:
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


def _to_8_bits(image: Image.Image, file_format: str | None) -> Image.Image:
    """Scale grey values of 16 bits, which Pillow would cut off at 255."""
    if image.mode.startswith("I;16") or (image.mode == "I" and file_format == "PPM"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
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
