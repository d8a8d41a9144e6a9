"""EfficientNet-Lite0 in plain PyTorch, as the published weights expect it.

Tan & Le 2019, "EfficientNet", arXiv 1905.11946, without squeeze and excitation, with ReLU6, and
with TensorFlow's padding, which for even sizes pads one more after than before.
"""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

# Expansion, channels, layers, stride and kernel of each stage.
_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


def _conv(
    fan_in: int, fan_out: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    padding = 0 if stride > 1 else kernel // 2
    return nn.Conv2d(fan_in, fan_out, kernel, stride, padding, groups=groups, bias=False)


def _pad(kernel: int, stride: int) -> nn.Module:
    if stride == 1:
        return nn.Identity()
    before, after = (kernel - 2) // 2, (kernel - 1) // 2
    return nn.ZeroPad2d((before, after, before, after))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Block(nn.Module):
    """An inverted residual: expand, convolve each channel by itself, project."""

    def __init__(self, fan_in: int, fan_out: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        inner = fan_in * expansion
        if expansion > 1:
            self.expand_conv = _conv(fan_in, inner)
            self.bn0 = _norm(inner)
        self.pad = _pad(kernel, stride)
        self.depthwise_conv = _conv(inner, inner, kernel, stride, groups=inner)
        self.bn1 = _norm(inner)
        self.project_conv = _conv(inner, fan_out)
        self.bn2 = _norm(fan_out)
        self.expands = expansion > 1
        self.adds = stride == 1 and fan_in == fan_out

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        y = F.relu6(self.bn0(self.expand_conv(x))) if self.expands else x
        y = F.relu6(self.bn1(self.depthwise_conv(self.pad(y))))
        y = self.bn2(self.project_conv(y))
        return x + y if self.adds else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0, for inputs (pixel - 127) / 128 whose sizes are multiples of 32."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.pad = _pad(3, 2)
        self.conv_stem = _conv(3, 32, 3, 2)
        self.bn0 = _norm(32)
        blocks, fan_in = [], 32
        for expansion, channels, layers, stride, kernel in _STAGES:
            for layer in range(layers):
                first = layer == 0
                blocks.append(Block(fan_in, channels, expansion, stride if first else 1, kernel))
                fan_in = channels
        self.blocks = nn.Sequential(*blocks)
        self.conv_head = _conv(fan_in, 1280)
        self.bn1 = _norm(1280)
        self.fc = nn.Linear(1280, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.outputs(x)["logits"]

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        """Return the logits, and by its number what each block gives."""
        found: dict[str, Tensor] = {}
        x = F.relu6(self.bn0(self.conv_stem(self.pad(x))))
        for number, block in enumerate(self.blocks):
            found[str(number)] = x = block(x)
        x = F.relu6(self.bn1(self.conv_head(x)))
        found["logits"] = self.fc(x.mean((2, 3)))
        return found


def load_weights(model: EfficientNetLite0, state: Mapping[str, Tensor]) -> None:
    """Load the published state dict."""
    model.load_state_dict(
        {key.replace("._", ".").removeprefix("_"): each for key, each in state.items()}
    )
