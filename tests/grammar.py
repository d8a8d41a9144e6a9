"""Networks as people write them, drawn by hypothesis: what the shortcuts must survive.

Each is a chain of links between a first layer and a head, in one of several containers, in one of
several dtypes, with hooks, frozen or overridden parts. What a width computes is by definition what
its own forward computes under `at_width`.
"""

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, prune

from tests.own import own_linear
from vsnn_lab import (
    TriangularDropout,
    VariableBatchNorm1d,
    VariableLayerNorm,
    VariableLinear,
    VariablePReLU,
    VariableRMSNorm,
    WidthControl,
)

INPUTS, CLASSES, STEPS = 3, 2, 4


class AddInPlace(nn.Module):
    def forward(self, x):
        return x.add_(0.5)


class Normalised(nn.Module):
    def forward(self, x):
        return F.normalize(x, dim=-1)


class Reshaped(nn.Module):
    def forward(self, x):
        return x.view(len(x), -1)


class Buffered(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.tensor(1.5))

    def forward(self, x):
        return x * self.scale


class LinearOfOnesOwn(VariableLinear):
    """A subclass that does more than the layer it derives from."""

    def forward(self, x):
        return 2 * super().forward(x)


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)


class Listed(nn.Module):
    """A network that is no ``Sequential``."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x):
        for part in self.parts:
            x = part(x)
        return x


class Centred(nn.Sequential):
    """A ``Sequential`` with a forward of its own, which writes into its inputs."""

    def forward(self, x):
        return super().forward(x.sub_(0.25))


def linear(kind=VariableLinear):
    def link(axis):
        knob = () if kind in (VariableLinear, LinearOfOnesOwn) else (axis.control,)
        return kind(axis, axis, *knob)

    return link


LINKS = {
    **{
        f"{kind.__name__}{' in place' if inplace else ''}": lambda axis, k=kind, i=inplace: k(
            inplace=i
        )
        for kind in (nn.ReLU, nn.ELU, nn.SELU, nn.CELU, nn.Mish, nn.Hardtanh, nn.SiLU)
        for inplace in (False, True)
    },
    "Sigmoid": lambda axis: nn.Sigmoid(),
    "Softplus": lambda axis: nn.Softplus(),
    "PReLU": lambda axis: nn.PReLU(),
    "Dropout": lambda axis: nn.Dropout(0.5),
    "Softmax": lambda axis: nn.Softmax(-1),
    "LogSoftmax": lambda axis: nn.LogSoftmax(-1),
    "LayerNorm": VariableLayerNorm,
    "RMSNorm": VariableRMSNorm,
    "BatchNorm": VariableBatchNorm1d,
    "add_": lambda axis: AddInPlace(),
    "normalize": lambda axis: Normalised(),
    "view": lambda axis: Reshaped(),
    "buffer": lambda axis: Buffered(),
    "mask": TriangularDropout,
    "slopes": VariablePReLU,
    "Flatten": lambda axis: nn.Flatten(),
    "linear": linear(),
    "octaves": linear(own_linear),
    "a subclass": linear(LinearOfOnesOwn),
    "residual": lambda axis: Residual(nn.Sequential(VariableLinear(axis, axis), nn.Tanh())),
    "residual in place": lambda axis: Residual(nn.Sequential(nn.Tanh(), AddInPlace())),
    "twice": lambda axis: nn.Sequential(*[VariableLinear(axis, axis)] * 2),
    "nested": lambda axis: nn.Sequential(nn.SELU(inplace=True), VariableLinear(axis, axis)),
}
# The axes of the hidden layers, and links that not all of them take.
AXES = {
    "even": lambda knob, size: knob.axis(STEPS * size),
    "rounded": lambda knob, size: knob.axis(STEPS * size + 1),
    "joined": lambda knob, size: knob.axis(STEPS * size) + size + knob.axis(STEPS) * 2,
}
NOT_JOINED = {"mask", "octaves"}
BEFORE = {
    "nothing": lambda: [],
    "ReLU in place": lambda: [nn.ReLU(inplace=True)],
    "add_": lambda: [AddInPlace()],
    "fixed": lambda: [nn.Linear(INPUTS, INPUTS), nn.SELU(inplace=True)],
    "view": lambda: [Reshaped()],
}
CONTAINERS = {
    "Sequential": nn.Sequential,
    "nested": lambda *parts: nn.Sequential(nn.Sequential(*parts[:2]), nn.Sequential(*parts[2:])),
    "list": Listed,
    "own forward": Centred,
}


def subtract(forward):
    return lambda *args: forward(*args) - 0.25


def of_linear(change):
    """Change a linear layer; nothing else has the weight that the change is for."""

    def changed(module):
        if isinstance(module, nn.Linear) and type(module) is not LinearOfOnesOwn:
            change(module)

    return changed


HOOKS = {
    "none": lambda module: None,
    "forward": lambda module: module.register_forward_hook(lambda m, args, output: 1.5 * output),
    "pre": lambda module: module.register_forward_pre_hook(lambda m, args: (args[0] + 0.5,)),
    "pruned": of_linear(lambda layer: prune.l1_unstructured(layer, "weight", 0.3)),
    "weight norm": of_linear(parametrizations.weight_norm),
    "old weight norm": of_linear(nn.utils.weight_norm),
    "override": lambda module: setattr(module, "forward", subtract(module.forward)),
}


@st.composite
def networks(draw, container):
    """Draw a network of one knob with 4 positions, and inputs for it."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    kind, size = draw(st.sampled_from(sorted(AXES))), draw(st.sampled_from([1, 2]))
    knob = WidthControl(STEPS, rounded=kind == "rounded")
    axis = AXES[kind](knob, size)
    links = sorted(LINKS.keys() - NOT_JOINED if kind == "joined" else LINKS)
    names = draw(st.lists(st.sampled_from(links), max_size=4))
    parts = BEFORE[draw(st.sampled_from(sorted(BEFORE)))]()
    if knob.rounded and draw(st.booleans()):
        # The inputs themselves, in front of layers that are cut or not.
        parts.insert(0, TriangularDropout(knob.axis(INPUTS)))
    parts += [VariableLinear(INPUTS, axis), *(LINKS[name](axis) for name in names)]
    if draw(st.booleans()):
        parts.append(VariableLinear(axis, CLASSES, bias=draw(st.booleans())))
    model = CONTAINERS[container](*parts).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    modules = list(model.modules())
    with torch.no_grad():
        HOOKS[draw(st.sampled_from(sorted(HOOKS)))](draw(st.sampled_from(modules)))
    if draw(st.booleans()):
        draw(st.sampled_from(modules)).requires_grad_(False)
    dtype = draw(st.sampled_from([torch.float64, torch.float32, torch.bfloat16]))
    return model.to(dtype), torch.rand(6, INPUTS).to(dtype)
