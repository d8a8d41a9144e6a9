"""Trained networks that ship with the package, for a look before any training."""

from pathlib import Path
from typing import Any

import torch

from vsnn_lab._basics import checkpoints
from vsnn_lab._basics.checks import check_choice
from vsnn_lab.networks.autoencoders import Autoencoder
from vsnn_lab.widths import Width

FOLDER = Path(__file__).with_name("weights")
NAMES = ("mnist-autoencoder",)


def load_pretrained(name: str) -> Autoencoder:
    """Load a trained network that ships with the package.

    Its weights are kept in half precision; the network is in float32, on the CPU and in evaluation
    mode. Nothing is unpickled, and torch's random state stays as it is. `pretrained_header` says
    what it was trained on and how good it is; ``make models`` trains it anew.

    Args:
        name: "mnist-autoencoder": a code of 1 to 32 units, for grey images of 28 by 28 pixels.

    Raises:
        ValueError: If there is no such network, or its file is damaged.

    Example:
        >>> model = load_pretrained("mnist-autoencoder")
        >>> model(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 1, 28, 28])
    """
    tensors, header = checkpoints.read(pretrained_path(name))
    options = header["arguments"]
    # Initial weights would be drawn only to be replaced.
    with torch.device("meta"):
        model = Autoencoder(options["shape"], Width(options["code"]), options["hidden"])
    weights = {key: value.float() for key, value in tensors.items()}
    model.load_state_dict(weights, assign=True)
    return model.eval()


def pretrained_header(name: str) -> dict[str, Any]:
    """Return what the file of a network that ships says about it.

    Args:
        name: As in `load_pretrained`.

    Returns:
        Among others ``arguments`` (its architecture), ``command``, ``training``, ``versions``,
        ``date``, ``seed`` and ``test_mse``: the mean square error per pixel on the test images,
        with 1, 2, 3, … units.

    Raises:
        ValueError: As `load_pretrained`.

    Example:
        >>> len(pretrained_header("mnist-autoencoder")["test_mse"])
        32
    """
    return checkpoints.read_header(pretrained_path(name))


def pretrained_path(name: str) -> Path:
    """Return the file of a network that ships."""
    return FOLDER / f"{check_choice('name', name, NAMES)}.safetensors"
