"""CelebA, for those who have it: torchvision's loader, read into memory."""

import os
from pathlib import Path

import torch

from vsnn_lab._basics.checks import check_choice, check_int, check_path
from vsnn_lab.data._torchvision import datasets
from vsnn_lab.data.fetch import DataUnavailable
from vsnn_lab.data.folders import evenly_spaced
from vsnn_lab.data.image_set import ImageSet
from vsnn_lab.data.squares import read_squares

CELEBA_SPLITS = ("train", "valid", "test")
_HOMEPAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
_IMAGES = "img_align_celeba"


def load_celeba(
    root: str | os.PathLike[str],
    split: str = "train",
    size: int = 64,
    limit: int | None = None,
    *,
    attribute: str = "Smiling",
) -> ImageSet:
    """Load the aligned faces of CelebA, the middle square of each, resized.

    Nothing is downloaded: its authors give it to whoever agrees to use it for non-commercial
    research only.

    Args:
        root: The folder that holds ``celeba/``, laid out as ``torchvision.datasets.CelebA`` does.
        split: "train" (162,770 images), "valid" (19,867) or "test" (19,962), as its authors split.
        size: Side of the squares in pixels.
        limit: At most so many images, spread evenly over the split. By default all of them, up to
            4 GiB as float32; a limit may ask for more.
        attribute: Which of the 40 binary attributes is the label.

    Raises:
        DataUnavailable: If files are missing or changed; the message lists them and says where to
            get them and how the folder must look.
        OSError: If an image is missing or cannot be read; the message names it.
        ValueError: If an argument is out of range or the images are too many.

    References:
        Liu, Luo, Wang & Tang 2015, "Deep Learning Face Attributes in the Wild", ICCV.
    """
    root = check_path("root", root).expanduser().absolute()
    check_choice("split", split, CELEBA_SPLITS)
    check_int("size", size)
    if limit is not None:
        check_int("limit", limit)
    try:
        dataset = datasets.CelebA(root, split)
    except RuntimeError as error:
        raise DataUnavailable(_unavailable_message(root)) from error
    names = [name for name in dataset.attr_names if name]
    check_choice("attribute", attribute, names)
    rows = evenly_spaced(range(len(dataset)), limit)
    folder = root / dataset.base_folder / _IMAGES
    paths = [folder / dataset.filename[row] for row in rows]
    images = read_squares(paths, size, check_memory=limit is None)
    labels = dataset.attr[rows, names.index(attribute)].to(torch.int64)
    return ImageSet(images, labels, "celeba", (f"not {attribute}", attribute))


def _unavailable_message(root: Path) -> str:
    folder = root / datasets.CelebA.base_folder
    states = {f"{_IMAGES}/ (202,599 .jpg files)": _file_state((folder / _IMAGES).is_dir(), True)}
    for _, md5, name in datasets.CelebA.file_list:
        if not name.endswith(".zip"):
            path = folder / name
            intact = datasets.utils.check_integrity(path, md5)
            states[name] = _file_state(path.is_file(), intact)
    listed = "\n".join(f"  {name}: {state}" for name, state in states.items())
    return (
        f"could not get celeba; {folder} must hold\n{listed}\n"
        f"Get the aligned images and the tables from {_HOMEPAGE} and unpack them there"
    )


def _file_state(there: bool, intact: bool) -> str:
    return "missing" if not there else "there" if intact else "not the published file (its md5)"
