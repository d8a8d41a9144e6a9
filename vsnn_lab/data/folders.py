"""Folders of images, read into memory as squares of one size."""

import mimetypes
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from vsnn_lab._basics.checks import check_choice, check_flag, check_int, check_path
from vsnn_lab.data._torchvision import datasets
from vsnn_lab.data.image_set import SPLITS, ImageSet, split_rows
from vsnn_lab.data.squares import read_squares

_EXTENSIONS: tuple[str, ...] = datasets.folder.IMG_EXTENSIONS
_ENDINGS = ", ".join(_EXTENSIONS)
# What macOS adds to an archive, and a Synology to each folder: files named like the images.
_ADDED = ("__MACOSX", "@eaDir")


@dataclass
class _Found:
    """Images of a folder, in the order of torchvision's ``ImageFolder``."""

    classes: list[str]  # as the system names their folders
    paths: list[str]
    labels: list[int]
    others: Counter[str]  # images of other formats, by ending


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
    folders is one class. Hidden files and folders, and those that systems add, are left out;
    links are followed, but none that lead back. What is transparent becomes white, grey values of
    16 bits keep their first 8, and the turn that a camera noted is applied. A warning says how
    many images of other formats were left out.

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
        OSError: If an image or a folder cannot be read; the message names it.
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
    rows = list(range(len(found.paths)))
    if split is not None:
        rows = _split_each_class(found, path, split)
    if not rows:
        raise ValueError(
            f"split={split!r} must hold an image, got none of {len(found.paths)} in {path}; "
            "a class needs 3 images to have one for the test"
        )
    rows = evenly_spaced(rows, limit)
    paths = [found.paths[row] for row in rows]
    images = read_squares(paths, size, grey=grey, check_memory=limit is None)
    labels = torch.tensor([found.labels[row] for row in rows], dtype=torch.int64)
    if found.others:
        warnings.warn(
            f"{path} has images of other formats, which are left out: {_count(found.others)}; "
            f"an image ends in {_ENDINGS}",
            stacklevel=2,
        )
    return ImageSet(images, labels, _printable(path.name), tuple(map(_printable, found.classes)))


def evenly_spaced(rows: Sequence[int], limit: int | None) -> list[int]:
    """Keep at most ``limit`` rows, evenly spaced.

    Example:
        >>> evenly_spaced(range(10), 4)
        [0, 2, 5, 7]
    """
    kept = len(rows) if limit is None else min(check_int("limit", limit), len(rows))
    return [rows[i * len(rows) // kept] for i in range(kept)]


def _find_images(path: Path) -> _Found:
    if not path.is_dir():
        what = "which is a file" if path.exists() else "which does not exist"
        raise FileNotFoundError(f"path must name a folder of images, got {path}, {what}")
    layout = "path must hold images in a folder for each class or all in one, got"
    inside = sorted(filter(_is_shown, os.listdir(path)))
    # A link to the folder itself, or to one around it, is no class.
    classes = [
        each for each in inside if os.path.isdir(path / each) and not _leads_back(path / each)
    ]
    loose = [each for each in inside if not os.path.isdir(path / each)]
    found = _Found(classes or [path.name], [], [], Counter())
    for label, folder in enumerate([path / name for name in classes] or [path]):
        files = _files_below(folder)
        images = [file for file in files if file.lower().endswith(_EXTENSIONS)]
        found.paths += images
        found.labels += [label] * len(images)
        found.others += _count_others(files)
    if classes:
        found.others += _count_others(loose)
    others = f" ({_count(found.others)} left out)" if found.others else ""
    if not found.paths:
        raise FileNotFoundError(f"{layout} {path} without any; an image ends in {_ENDINGS}{others}")
    beside = [name for name in loose if name.lower().endswith(_EXTENSIONS)]
    if classes and beside:
        raise ValueError(
            f"{layout} {path} with {beside[0]} and {len(beside) - 1} more beside class folders; "
            "move them into one"
        )
    empty = [name for label, name in enumerate(found.classes) if label not in set(found.labels)]
    if empty:
        raise FileNotFoundError(
            f"path must hold an image in each class folder, got none in {', '.join(empty)} of "
            f"{path}{others}; add some or remove the folder"
        )
    return found


def _files_below(folder: Path) -> list[str]:
    """Return the files in a folder and deeper that are shown, sorted, each real folder's once."""
    found, seen, starts = [], set(), [str(folder)]
    for start in starts:
        for root, inside, files in os.walk(start, onerror=_raise):
            real = os.path.realpath(root)
            if real in seen:
                inside.clear()
                continue
            seen.add(real)
            inside[:] = filter(_is_shown, inside)
            # Behind everything else, so that no link takes the place of what it leads to.
            links = [os.path.join(root, name) for name in sorted(inside)]
            starts += [link for link in links if os.path.islink(link) and not _leads_back(link)]
            found += [(root, name) for name in files if _is_shown(name)]
    return [os.path.join(root, name) for root, name in sorted(found)]


def _is_shown(name: str) -> bool:
    return not name.startswith(".") and name not in _ADDED


def _leads_back(path: str | Path) -> bool:
    """Whether a folder is one around the place where it is named."""
    return Path(os.path.realpath(os.path.dirname(path))).is_relative_to(os.path.realpath(path))


def _raise(error: OSError) -> None:
    raise error


def _count_others(files: Iterable[str]) -> Counter[str]:
    """Count images of formats that are left out, by their endings."""
    endings = Counter(os.path.splitext(file)[1].lower() for file in files)
    return Counter({end: n for end, n in endings.items() if _is_other_image(end)})


def _is_other_image(ending: str) -> bool:
    file_format = Image.registered_extensions().get(ending, "")
    kinds = Image.MIME.get(file_format), mimetypes.guess_type(f"x{ending}", strict=False)[0]
    return ending not in _EXTENSIONS and any(str(kind).startswith("image/") for kind in kinds)


def _count(endings: Counter[str]) -> str:
    return ", ".join(f"{count} {ending}" for ending, count in sorted(endings.items()))


def _printable(name: str) -> str:
    """Return a name with signs in place of bytes that are no text in UTF-8."""
    return os.fsencode(name).decode(errors="replace")


def _split_each_class(found: _Found, root: Path, split: str) -> list[int]:
    by_class: list[list[int]] = [[] for _ in found.classes]
    for row, label in enumerate(found.labels):
        by_class[label].append(row)
    rows = []
    for own in by_class:
        names = [Path(found.paths[row]).relative_to(root).as_posix() for row in own]
        rows += [own[i] for i in split_rows(split, names)]
    return rows
