"""``python -m vsnn_lab.train.pretraining NAME ...`` trains networks that ship with the package."""

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from vsnn_lab import data
from vsnn_lab._basics import checkpoints
from vsnn_lab.measure.ablation import width_sweep
from vsnn_lab.networks.autoencoders import Autoencoder
from vsnn_lab.networks.pretrained import NAMES, pretrained_path
from vsnn_lab.samplers import LogUniform
from vsnn_lab.train import language
from vsnn_lab.train.baselines.sweeps import pca_errors
from vsnn_lab.train.loop import seeded_rng
from vsnn_lab.train.recipes import Distilled
from vsnn_lab.train.training import fit
from vsnn_lab.widths import Width, joint_steps

SEED = 0
# Two bytes a weight: 1.84 MB, within the 2 MB that a page without a kernel carries.
ARGUMENTS: dict[str, Any] = {"shape": [1, 28, 28], "code": 32, "hidden": [448, 224]}
# Chosen on validation images among the recipes for autoencoders.
RECIPE = Distilled(LogUniform(runs=8), labels=1.0, weight=2.0, final_weight=1.0, relative=True)
SETTINGS: dict[str, Any] = {"epochs": 40, "lr": 6e-3, "batch_size": 128}
_SHOWN = (1, 2, 4, 8, 16, 32)
# Its cuts load into a Llama, and it takes 3.3 MB.
LANGUAGE = language.Run("fh", SEED)


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
    _halve(model)
    errors = width_sweep(model, F.mse_loss, (test, test)).values.tolist()
    training = {"data": "mnist", "recipe": repr(RECIPE), "validation": 0.1} | SETTINGS
    _save(path, model, ARGUMENTS, training, test_mse=errors)
    pca = pca_errors(train, test, _SHOWN)
    for width in _SHOWN:
        print(f"{width:3} units: test MSE x 1000 {1000 * errors[width - 1]:6.2f}", end="")
        print(f", PCA {1000 * pca[width]:6.2f}")
    print(f"less error with every unit: {bool((np.diff(errors) < 0).all())}")
    return errors


def pretrain_austen_language_model(path: Path) -> list[float]:
    """Save the language model of a run of ``make language``, which is trained if it is not there.

    Args:
        path: The file, which holds the tokenizer, too.

    Returns:
        Bits per byte of the test text at each position, with the weights as saved.
    """
    folder = language.results_folder()
    kept = LANGUAGE.keep(folder)
    model = language.language_model(LANGUAGE.method, LANGUAGE.seed).eval()
    model.load_state_dict(checkpoints.read(LANGUAGE.model_file(folder))[0])
    _halve(model)
    text = data.load_text(vocabulary=model.vocabulary)
    bits = [*language.measure(model, text)["bits_per_byte"].values()]
    arguments = {
        "positions": language.STEPS,
        "varies": language.varying(LANGUAGE.method),
        "sizes": {"vocabulary": model.vocabulary} | language.SIZES,
    }
    training = {"data": text.name, "steps": LANGUAGE.steps, "length": language.LENGTH}
    training |= kept["settings"]
    about = {"test_bits_per_byte": bits, "tokenizer": text.tokenizer.to_str()}
    _save(path, model, arguments, training, **about)
    for position, value in enumerate(bits, 1):
        print(f"position {position}: {value:.4f} test bits per byte")
    return bits


def _halve(model: nn.Module) -> None:
    """Round weights to half precision, as they are saved."""
    model.load_state_dict({key: value.half() for key, value in model.state_dict().items()})


def _save(
    path: Path, model: nn.Module, arguments: dict[str, Any], training: dict[str, Any], **about: Any
) -> None:
    version = sys.modules["vsnn_lab"].__version__
    header = {
        # As in `save_weights`, so that `load_weights` reads it, too.
        "format": 1,
        "package": f"vsnn_lab {version}",
        "class": f"{type(model).__module__}.{type(model).__qualname__}",
        "architecture": repr(model),
        "steps": [joint_steps(model)],
        "width": None,
        "arguments": arguments,
        "command": "make models",
        "training": training,
        "seed": SEED,
        "versions": {"torch": torch.__version__, "vsnn_lab": version},
        "date": datetime.now(UTC).date().isoformat(),
        **about,
    }
    halves = {key: value.half() for key, value in model.state_dict().items()}
    checkpoints.write(path, halves, header)


_TRAININGS: dict[str, Callable[[Path], list[float]]] = {
    "austen-language-model": pretrain_austen_language_model,
    "mnist-autoencoder": pretrain_mnist_autoencoder,
}


def main(argv: list[str] | None = None) -> None:
    """Train networks and save them where the package loads them from."""
    parser = argparse.ArgumentParser(prog="python -m vsnn_lab.train.pretraining")
    parser.add_argument("names", nargs="+", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--folder", type=Path, help="where to (default: inside the package)")
    arguments = parser.parse_args(argv)
    for name in arguments.names:
        path = pretrained_path(name, arguments.folder)
        _TRAININGS[name](path)
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
