"""Networks that tests run on a GPU and on the CPU."""

import pytest
import torch
from torch import nn

import vsnn_lab as lab

DEVICE = "cuda"
ROWS, STEPS = 12, 8

ON_A_GPU = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
    pytest.mark.usefixtures("exact_products"),
]


def mlp(conditioned: bool = True) -> nn.Module:
    hidden = lab.Width(STEPS)
    return lab.MLP(6, (hidden, hidden), 3, conditioned=conditioned)


def convolutional() -> nn.Module:
    channels = lab.Width(STEPS)
    return nn.Sequential(
        # With a bias, whose gradient a norm makes rounding alone, Adam would train noise.
        lab.VariableConv2d(2, channels, 3, padding=1, bias=False),
        lab.VariableBatchNorm2d(channels),
        nn.ReLU(),
        lab.VariableConv2d(channels, 4, 3, stride=2),
        nn.Flatten(),
        nn.Linear(36, 3),
    )


def autoencoder() -> nn.Module:
    return lab.Autoencoder((2, 8, 8), lab.Width(STEPS), hidden=(16,), conditioned=True)


def language_model() -> nn.Module:
    knob = lab.WidthControl(STEPS)
    sizes = {"width": 32, "heads": knob.axis(8), "ffn": knob.axis(24), "queries_per_head": 2}
    return lab.LanguageModel(17, layers=2, **sizes, head_dim=4)


def switchable() -> nn.Module:
    net = mlp(conditioned=False)
    lab.condition(net)
    return net


NETWORKS = {
    "dense": (lambda: mlp(conditioned=False), (6,)),
    "octaves": (mlp, (6,)),
    "switchable": (switchable, (6,)),
    "convolutional": (convolutional, (2, 8, 8)),
    "octaves of channels": (
        lambda: lab.ConvNet((2, 8, 8), (lab.Width(STEPS),), 3, conditioned=True),
        (2, 8, 8),
    ),
    "autoencoder": (autoencoder, (2, 8, 8)),
    "language model": (language_model, None),
}


def stir(net: nn.Module) -> nn.Module:
    """Give a network numbers everywhere, in what begins at zero too, and evaluate it."""
    numbers = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for each in net.parameters():
            each.add_(0.1 * torch.randn(each.shape, generator=numbers))
        for name, each in net.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                each.copy_(0.5 + torch.rand(each.shape, generator=numbers))
    return net.eval()


def inputs(shape: tuple[int, ...] | None) -> torch.Tensor:
    numbers = torch.Generator().manual_seed(2)
    if shape is None:
        return torch.randint(0, 17, (ROWS, 9), generator=numbers)
    return torch.rand((ROWS, *shape), generator=numbers)


def vector() -> torch.Tensor:
    return torch.tensor([3, 1, 8, 8, 2, 5, 1, 4, 8, 7, 6, 3])


def agree(found, expected, tolerance: float = 1e-5) -> None:
    """Compare with the CPU; not closer than angles of rotary positions are, which are float32."""
    assert found.device.type == DEVICE
    torch.testing.assert_close(found.cpu(), expected, rtol=tolerance, atol=tolerance)
