"""Frozen networks that make features of images, with their published weights or random ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from vsnn_lab._basics import checkpoints
from vsnn_lab._basics.checks import check_choice, short_repr
from vsnn_lab.data._torchvision import models
from vsnn_lab.train.efficientnet.network import EfficientNetLite0
from vsnn_lab.train.efficientnet.weights import pretrained

PUBLISHED, RANDOM = "published", "random"


@dataclass(frozen=True)
class Backbone:
    """A frozen network that makes features of images.

    Attributes:
        name: One of ``BACKBONES``.
        network: Images, shape (n, 3, height, width), to features, shape (n, features).
        mean: What is subtracted from the pixels of each colour, which lie in [0, 1].
        deviation: What they are divided by then.
        top: The layers that its weights have behind the features, with logits at their end; None
            where there are none.
    """

    name: str
    network: nn.Module
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    top: nn.Module | None = None

    @cached_property
    def digest(self) -> str:
        """A short hash of the weights that features depend on."""
        return checkpoints.digest(self.network.state_dict())


def load_backbone(name: str, weights: str = PUBLISHED) -> Backbone:
    """Return a backbone in evaluation mode.

    Args:
        name: "efficientnet-lite0", whose weights are those of an installed package, or "vgg19",
            whose weights for ImageNet torchvision downloads.
        weights: "published"; "random", for a try; or the path of a file: the package's own for
            "efficientnet-lite0", for "vgg19" a state dict of torchvision's network, in safetensors
            or as ``torch.save`` writes it. Nothing is unpickled.

    Raises:
        FileNotFoundError: If the weights are not there and cannot be had; the message says how to
            bring them.
        ValueError: If a file holds something else.
    """
    return _LOADERS[check_choice("name", name, BACKBONES)](weights)


def _efficientnet(weights: str) -> Backbone:
    if weights == RANDOM:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            network = EfficientNetLite0().eval()
    else:
        network = pretrained(None if weights == PUBLISHED else Path(weights))
    top = None if weights == RANDOM else network.fc
    # What the published weights expect: (pixel - 127) / 128, of pixels up to 255.
    centre, unit = 127 / 255, 128 / 255
    features = _EfficientNetFeatures(network)
    return Backbone("efficientnet-lite0", features, (centre,) * 3, (unit,) * 3, top)


class _EfficientNetFeatures(nn.Module):
    def __init__(self, network: EfficientNetLite0) -> None:
        super().__init__()
        self.network = network
        network.fc = nn.Identity()  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.network(x)
        return features


def _vgg19(weights: str) -> Backbone:
    # Without memory for weights, since most of them are in the top, which random ones do not need.
    with torch.device("meta"):
        network = models.vgg19(init_weights=False).eval()
    if weights == RANDOM:
        _fill_with_random(network.features)
    else:
        state = _published_vgg19() if weights == PUBLISHED else _read_state(Path(weights))
        try:
            network.load_state_dict(state, assign=True)
        except RuntimeError as error:
            raise ValueError(
                "weights must be a state dict of torchvision's vgg19, got "
                f"{short_repr(weights)}: {str(error).splitlines()[1].strip()}"
            ) from error
    features = nn.Sequential(network.features, network.avgpool, nn.Flatten()).eval()
    top = None if weights == RANDOM else network.classifier
    imagenet = models.VGG19_Weights.IMAGENET1K_V1.transforms()
    return Backbone("vgg19", features, tuple(imagenet.mean), tuple(imagenet.std), top)


def _fill_with_random(module: nn.Module) -> None:
    module.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if name.endswith("bias"):
                weight.zero_()
            else:
                nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)


def _published_vgg19() -> Mapping[str, Tensor]:
    published = models.VGG19_Weights.IMAGENET1K_V1
    try:
        state: Mapping[str, Tensor] = published.get_state_dict(check_hash=True, weights_only=True)
    except OSError as error:
        raise FileNotFoundError(
            f"the weights of vgg19 must be there, got none from {published.url} ({error}); fetch "
            "that file elsewhere, and name it as weights"
        ) from error
    return state


def _read_state(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"weights must be a file, got {short_repr(str(path))}")
    if path.suffix == ".safetensors":
        return checkpoints.read(path, foreign=True)[0]
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch's reader says of what is no file of weights
        raise ValueError(
            f"weights must be a file of tensors, got {short_repr(str(path))}, which torch reads "
            f"with {type(error).__name__}"
        ) from error
    if not isinstance(state, Mapping):
        raise ValueError(f"weights must be a state dict, got {type(state).__name__} in {path}")
    return state


_LOADERS: dict[str, Callable[[str], Backbone]] = {
    "efficientnet-lite0": _efficientnet,
    "vgg19": _vgg19,
}
BACKBONES = tuple(_LOADERS)
