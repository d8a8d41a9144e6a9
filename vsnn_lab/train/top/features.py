"""Features of images: computed once by a backbone, and kept in files."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from tqdm.auto import tqdm

from vsnn_lab._basics import checkpoints
from vsnn_lab.data.batches import TensorBatches
from vsnn_lab.train.kept_runs import measuring_device
from vsnn_lab.train.top.backbones import Backbone
from vsnn_lab.train.top.images import Images

# Images of a file: what is interrupted goes on behind the last of them.
_PART = 4096


class Features(NamedTuple):
    """What a backbone makes of images.

    Attributes:
        values: Half precision, which ImageNet's fit into memory with; shape (n, features).
        labels: Class of each, int64, shape (n,).
        classes: How many there are.
    """

    values: Tensor
    labels: Tensor
    classes: int


class FeatureBatches(TensorBatches):
    """Batches of features in single precision, otherwise as `TensorBatches`."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return ((values.float(), labels) for values, labels in super().__iter__())


def in_single_precision(features: Features, size: int = 1024) -> Iterator[tuple[Tensor, Tensor]]:
    """Return features and labels in order, in batches that a network can take."""
    pairs = zip(features.values.split(size), features.labels.split(size), strict=True)
    return ((values.float(), labels) for values, labels in pairs)


def features_folder(root: Path, backbone: Backbone, images: Images) -> Path:
    """Return where features are kept: a folder named by all that they depend on."""
    text = json.dumps(_identity(backbone, images), sort_keys=True)
    return root / f"{backbone.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def keep_features(
    root: Path,
    backbone: Backbone,
    images: Images,
    *,
    batch_size: int = 64,
    workers: int = 0,
    progress: bool = True,
    compute: bool = True,
) -> Features:
    """Return features of images; compute those that are not kept yet.

    A GPU computes them where there is one. What was interrupted goes on after the last file.

    Args:
        root: Where features are kept, in a folder for each backbone, its weights, and images.
        backbone: What makes them.
        images: What they are made of.
        batch_size: Images of a forward.
        workers: Processes that read images meanwhile; 0 reads them in this one.
        progress: Show a bar.
        compute: Whether to compute what is missing.

    Raises:
        FileNotFoundError: If features are missing and none are to be computed.
        ValueError: If a file is damaged, of other images, or features are not finite in half
            precision.
    """
    folder = features_folder(root, backbone, images)
    parts = range(0, len(images), _PART)
    missing = [start for start in parts if not _file(folder, start).is_file()]
    if missing and not compute:
        raise FileNotFoundError(
            f"features must be kept in {folder}, got {len(parts) - len(missing)} of {len(parts)} "
            "files; compute them in one process first"
        )
    if missing:
        _compute(folder, missing, backbone, images, batch_size, workers, progress)
    return _read(folder, backbone, images)


def _compute(
    folder: Path,
    missing: list[int],
    backbone: Backbone,
    images: Images,
    batch_size: int,
    workers: int,
    progress: bool,
) -> None:
    device = measuring_device()
    network = backbone.network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    rows = [row for start in missing for row in _rows(start, images)]
    done = len(images) - len(rows)
    header = _identity(backbone, images)
    with (
        torch.inference_mode(),
        tqdm(desc="features", total=len(images), initial=done, disable=not progress) as bar,
    ):
        for start in missing:
            # A generator of its own, since torch's global one is not ours to move.
            loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(
                Subset(images, _rows(start, images)),  # type: ignore[arg-type]
                batch_size,
                num_workers=workers,
                generator=torch.Generator(),
            )
            values, labels = [], []
            for x, y in loader:
                x = x.to(device, memory_format=torch.channels_last)
                values.append(network(x).half().cpu())
                labels.append(y)
                bar.update(len(y))
            found = torch.cat(values)
            if not found.isfinite().all():
                raise ValueError(
                    f"features must be finite in half precision, got others of {backbone.name}"
                )
            tensors = {"features": found, "labels": torch.cat(labels).long()}
            checkpoints.write(_file(folder, start), tensors, header)
    network.to("cpu")


def _read(folder: Path, backbone: Backbone, images: Images) -> Features:
    expected, whole = _identity(backbone, images), None
    labels = torch.empty(len(images), dtype=torch.int64)
    for start in range(0, len(images), _PART):
        path, rows = _file(folder, start), _rows(start, images)
        tensors, header = checkpoints.read(path)
        if header != expected or len(tensors["labels"]) != len(rows):
            raise checkpoints.damaged(path, "it holds features of something else")
        if whole is None:
            width = tensors["features"].shape[1]
            whole = torch.empty(len(images), width, dtype=torch.float16)
        whole[rows.start : rows.stop] = tensors["features"]
        labels[rows.start : rows.stop] = tensors["labels"]
    assert whole is not None
    return Features(whole, labels, images.classes)


def _identity(backbone: Backbone, images: Images) -> dict[str, object]:
    of_images: dict[str, object] = json.loads(json.dumps(images.identity))
    return {"backbone": backbone.name, "weights": backbone.digest, "part": _PART} | of_images


def _rows(start: int, images: Images) -> range:
    return range(start, min(start + _PART, len(images)))


def _file(folder: Path, start: int) -> Path:
    return folder / f"{start:08}.safetensors"
