"""``python -m vsnn_lab.train.pretraining NAME`` trains a network that ships with the package."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from vsnn_lab import data
from vsnn_lab._basics import checkpoints
from vsnn_lab.measure.ablation import width_sweep
from vsnn_lab.networks.autoencoders import Autoencoder
from vsnn_lab.networks.pretrained import NAMES, pretrained_path
from vsnn_lab.train.baselines.sweeps import pca_errors
from vsnn_lab.train.loop import seeded_rng
from vsnn_lab.train.recipes import FullAndNarrow
from vsnn_lab.train.training import fit
from vsnn_lab.widths import Width

SEED = 0
# Two bytes a weight: 1.84 MB, within the 2 MB that a page without a kernel carries.
ARGUMENTS: dict[str, Any] = {"shape": [1, 28, 28], "code": 32, "hidden": [448, 224]}
# Chosen on validation images among the recipes for autoencoders.
RECIPE = FullAndNarrow(weight=2.0, final_weight=1.0)
SETTINGS: dict[str, Any] = {"epochs": 40, "lr": 6e-3, "batch_size": 128}
_SHOWN = (1, 2, 4, 8, 16, 32)


def pretrain_mnist_autoencoder(path: Path) -> list[float]:
    """Train the autoencoder of MNIST, and save it in half precision with what there is to know.

    Finished epochs are kept among the runs; the same call goes on after the last.

    Args:
        path: The file.

    Returns:
        Mean square error per pixel on the test images at each width, with the weights as saved.
    """
    train, test = (data.load("mnist", split).images for split in ("train", "test"))
    with seeded_rng(SEED, torch.device("cpu")):
        model = Autoencoder(ARGUMENTS["shape"], Width(ARGUMENTS["code"]), ARGUMENTS["hidden"])
    runs = data.data_root() / "runs" / "pretrained"
    fit(model, (train, train), F.mse_loss, recipe=RECIPE, seed=SEED, checkpoint=runs, **SETTINGS)
    halves = {key: value.half() for key, value in model.state_dict().items()}
    model.load_state_dict(halves)
    errors = width_sweep(model, F.mse_loss, (test, test)).values.tolist()
    version = sys.modules["vsnn_lab"].__version__
    header = {
        # As in `save_weights`, so that `load_weights` reads it, too.
        "format": 1,
        "package": f"vsnn_lab {version}",
        "class": f"{Autoencoder.__module__}.{Autoencoder.__qualname__}",
        "architecture": repr(model),
        "steps": [ARGUMENTS["code"]],
        "width": None,
        "arguments": ARGUMENTS,
        "command": "make models",
        "training": {"data": "mnist", "recipe": repr(RECIPE), "validation": 0.1} | SETTINGS,
        "seed": SEED,
        "versions": {"torch": torch.__version__, "vsnn_lab": version},
        "date": datetime.now(UTC).date().isoformat(),
        "test_mse": errors,
    }
    checkpoints.write(path, halves, header)
    pca = pca_errors(train, test, _SHOWN)
    for width in _SHOWN:
        print(f"{width:3} units: test MSE x 1000 {1000 * errors[width - 1]:6.2f}", end="")
        print(f", PCA {1000 * pca[width]:6.2f}")
    print(f"less error with every unit: {bool((np.diff(errors) < 0).all())}")
    return errors


def main(argv: list[str] | None = None) -> None:
    """Train a network and save it where the package loads it from."""
    parser = argparse.ArgumentParser(prog="python -m vsnn_lab.train.pretraining")
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--output", type=Path, help="file to write (default: inside the package)")
    arguments = parser.parse_args(argv)
    path = arguments.output or pretrained_path(arguments.name)
    pretrain_mnist_autoencoder(path)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
