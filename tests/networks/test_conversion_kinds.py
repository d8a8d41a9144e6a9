"""Ways to write a network: each is converted, and at a width is its own code at smaller sizes."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.networks.converted import Applied, check_widths

IMAGES, ROWS, TOKENS = torch.randn(3, 3, 8, 8), torch.randn(3, 6), torch.randn(3, 5, 6)


def images(between, second=None, **parts):
    """Return a network of images by its hidden channels; ``second`` takes them."""

    def build(hidden):
        last = nn.Conv2d(hidden, 4, 1) if second is None else second(hidden)
        made = {name: part(hidden) for name, part in parts.items()}
        return Applied(between, nn.Conv2d(3, hidden, 3, padding=1), last, **made)

    return build


def rows(between, second=None, **parts):
    """Return a network of rows, or of tokens, by its hidden features."""

    def build(hidden):
        last = nn.Linear(hidden, 3) if second is None else second(hidden)
        made = {name: part(hidden) for name, part in parts.items()}
        return Applied(between, nn.Linear(6, hidden), last, **made)

    return build


def flat(hidden):
    return nn.Linear(64 * hidden, 3)


def pooled(hidden):
    return nn.Linear(hidden, 3)


FLATTENED = {
    "flatten": lambda m, h, x: torch.flatten(h, 1),
    "flatten from behind": lambda m, h, x: h.flatten(-3),
    "reshape to the batch": lambda m, h, x: h.reshape(h.shape[0], -1),
    "reshape to the length": lambda m, h, x: h.reshape(len(h), -1),
    "view of a product": lambda m, h, x: h.view(-1, h.size(1) * h.size(2) * h.size(3)),
    "view of math.prod": lambda m, h, x: h.view(h.shape[0], math.prod(h.shape[1:])),
}
POOLED = {
    "squeezed": lambda m, h, x: F.adaptive_avg_pool2d(h, 1).squeeze(-1).squeeze(-1),
    "first entry": lambda m, h, x: F.adaptive_avg_pool2d(h, 1)[:, :, 0, 0],
    "mean": lambda m, h, x: h.mean((2, 3)),
    "mean from behind": lambda m, h, x: h.mean((-2, -1)),
    "means one by one": lambda m, h, x: h.mean(3).mean(2),
    "sum": lambda m, h, x: h.sum((2, 3)),
    "amax": lambda m, h, x: h.amax((2, 3)),
    "norm of an image": lambda m, h, x: h.norm(dim=(2, 3)),
}
SPATIAL = {
    "zero padding": lambda m, h, x: F.pad(h, (0, 1, 0, 1)),
    "reflected": lambda m, h, x: F.pad(h, (1, 1, 1, 1), mode="reflect"),
    "upsampled": lambda m, h, x: F.interpolate(h, scale_factor=2, mode="bilinear"),
    "to the size of another": lambda m, h, x: F.interpolate(h, size=x.shape[2:]),
    "power pooling": lambda m, h, x: F.lp_pool2d(h.abs() + 1, 2, 2),
    "channels last and back": lambda m, h, x: h.permute(0, 2, 3, 1).permute(0, 3, 1, 2),
    "in another memory": lambda m, h, x: h.contiguous(memory_format=torch.channels_last),
    "kept mean": lambda m, h, x: h.mean([2, 3], True),
}
ENTRIES = {
    "sine": lambda m, h, x: torch.sin(30 * h),
    "square": lambda m, h, x: F.relu(h) ** 2,
    "where": lambda m, h, x: torch.where(h > 0, h, 0.1 * h),
    "erf": lambda m, h, x: h * 0.5 * (1 + torch.erf(h / 1.41421)),
    "gelu of GPT-2": lambda m, h, x: (
        0.5 * h * (1.0 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * torch.pow(h, 3.0))))
    ),
    "log and exp": lambda m, h, x: torch.log1p(h.exp()),
    "clip": lambda m, h, x: torch.clip(h, 0, 6),
    "another dtype": lambda m, h, x: h.double().float(),
    "like another": lambda m, h, x: h.type_as(x),
    "not recorded": lambda m, h, x: torch.no_grad()(lambda h: h * 1)(h),
    "dropout": lambda m, h, x: F.dropout(h, 0.1, m.training),
    "all of it": lambda m, h, x: h[:, :],
    "one more dimension": lambda m, h, x: h.unsqueeze(-1).squeeze(-1),
    "checkpointed": lambda m, h, x: torch.utils.checkpoint.checkpoint(
        torch.relu, h, use_reentrant=False
    ),
    "in place": lambda m, h, x: h.clone().mul_(2).add_(1).relu_(),
    "scaled by a sample": lambda m, h, x: h * x.norm(dim=1, keepdim=True),
    "scaled by a number": lambda m, h, x: h * m.scale.exp(),
}
OF_TOKENS = {
    "mean": lambda m, h, x: h.mean(1),
    "largest": lambda m, h, x: h.max(1).values,
    "first": lambda m, h, x: h[:, 0],
    "last": lambda m, h, x: h[:, -1],
    "sum over tokens weighed by softmax": lambda m, h, x: (x.softmax(1)[..., :1] * h).sum(1),
    "rows of all tokens": lambda m, h, x: h.reshape(-1, h.shape[-1]).view(3, 5, -1),
}


@pytest.mark.parametrize("name", FLATTENED)
def test_flattened_channels_are_followed(name):
    check_widths(images(FLATTENED[name], flat), IMAGES)


@pytest.mark.parametrize("name", POOLED)
def test_pooled_channels_are_followed(name):
    check_widths(images(POOLED[name], pooled), IMAGES)


@pytest.mark.parametrize("name", SPATIAL)
def test_what_acts_along_an_image_leaves_channels_apart(name):
    check_widths(images(SPATIAL[name]), IMAGES)


@pytest.mark.parametrize("name", ENTRIES)
def test_what_acts_on_each_entry_leaves_units_apart(name):
    check_widths(rows(ENTRIES[name], scale=lambda h: nn.Parameter(torch.tensor(0.3))), ROWS)


@pytest.mark.parametrize("name", OF_TOKENS)
def test_what_acts_along_tokens_leaves_units_apart(name):
    check_widths(rows(OF_TOKENS[name]), TOKENS)


class Looped(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        pairs = [(6, hidden), (hidden, hidden), (hidden, 3)]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairs)

    def forward(self, x):
        for place, layer in enumerate(self.layers):
            x = layer(x) if place == 2 else F.relu(layer(x))
        return x


class Optional(nn.Module):
    """Branches that an argument decides on, an assertion and an error for other inputs."""

    def __init__(self, hidden):
        super().__init__()
        self.first, self.second = nn.Linear(6, hidden), nn.Linear(hidden, 3)

    def forward(self, x, features=False, mask=None):
        assert x.shape[1] == 6
        if x.dim() != 2:
            raise ValueError("x must have two dimensions")
        h = self.first(x).relu()
        if features:
            return h
        return self.second(h if mask is None else h * mask)


class Variadic(Optional):
    def forward(self, *inputs):
        return super().forward(inputs[0])


class Named(Optional):
    def forward(self, **inputs):
        return super().forward(inputs["x"])


class Adapted(nn.Module):
    """A low-rank path beside a layer, as adapters add it."""

    def __init__(self, hidden):
        super().__init__()
        self.first, self.base, self.out = (
            nn.Linear(6, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 3)
        )  # fmt: skip
        self.down, self.up = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden, bias=False)

    def forward(self, x):
        x = self.first(x)
        return self.out(F.relu(self.base(x) + 2.0 * self.up(self.down(x))))


class Gated(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.value, self.gate = nn.Linear(6, hidden), nn.Linear(6, hidden)
        self.out = nn.Linear(hidden, 3)

    def forward(self, x):
        return self.out(F.silu(self.gate(x)) * self.value(x))


class Spatial(nn.Module):
    """A gate of one channel that all channels are weighed by."""

    def __init__(self, hidden):
        super().__init__()
        self.first, self.gate = nn.Conv2d(3, hidden, 3, padding=1), nn.Conv2d(hidden, 1, 1)
        self.out = nn.Conv2d(hidden, 4, 1)

    def forward(self, x):
        h = self.first(x)
        return self.out(h * self.gate(h).sigmoid())


class Twice(nn.Module):
    """A layer that is called twice, on what it gave itself."""

    def __init__(self, hidden):
        super().__init__()
        self.first, self.middle = nn.Linear(6, hidden), nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, 3)

    def forward(self, x):
        return self.out(self.middle(self.middle(self.first(x)).relu()).relu())


class Sequence(nn.Module):
    """Tokens that a convolution takes along their length."""

    def __init__(self, hidden):
        super().__init__()
        self.first, self.out = nn.Linear(6, hidden), nn.Conv1d(hidden, 3, 3)

    def forward(self, x):
        return self.out(self.first(x).transpose(1, 2))


class Outputs(nn.Module):
    """Two heads, in a dict, and what they share."""

    def __init__(self, hidden, wrap=dict):
        super().__init__()
        self.first, self.wrap = nn.Linear(6, hidden), wrap
        self.mean, self.spread = nn.Linear(hidden, 2), nn.Linear(hidden, 2)

    def forward(self, x):
        h = self.first(x).tanh()
        return self.wrap(mean=self.mean(h), spread=self.spread(h).exp())


class Two(nn.Module):
    """Two inputs, of which one is integers."""

    def __init__(self, hidden):
        super().__init__()
        self.table, self.first = nn.Embedding(9, hidden), nn.Linear(6, hidden)
        self.out = nn.Linear(hidden, 2)

    def forward(self, x, kind):
        return self.out(self.first(x) + self.table(kind))


MODULES = {
    "loop over a list": (Looped, ROWS),
    "branches on arguments": (Optional, ROWS),
    "branches on arguments, one given": (Optional, (ROWS, False, torch.tensor(2.0))),
    "variadic": (Variadic, ROWS),
    "by name": (Named, {"x": ROWS}),
    "adapter": (Adapted, ROWS),
    "gated unit": (Gated, ROWS),
    "spatial gate": (Spatial, IMAGES),
    "called twice": (Twice, ROWS),
    "tokens to images": (Sequence, TOKENS),
    "a dict": (Outputs, ROWS),
    "a pair": (lambda hidden: Outputs(hidden, lambda **found: tuple(found.values())), ROWS),
    "two inputs": (Two, (ROWS, torch.tensor([1, 8, 0]))),
    "two inputs by name": (Two, {"kind": torch.tensor([1, 8, 0]), "x": ROWS}),
    "integers": (
        lambda h: nn.Sequential(nn.Embedding(9, h), nn.LayerNorm(h), nn.Linear(h, 9)),
        torch.randint(0, 9, (3, 4), generator=torch.Generator().manual_seed(0)),
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_forward_is_taken_as_it_is_written(name):
    build, x = MODULES[name]
    masks = name != "branches on arguments, one given"  # A number has no samples.
    check_widths(build, x, masks=masks)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@torch.no_grad()
def test_a_network_of_another_precision_is_taken(dtype):
    def build(hidden):
        return Looped(hidden).to(dtype)

    net = check_widths(build, ROWS.to(dtype))
    assert {p.dtype for p in net.parameters()} == {dtype}


OUTPUTS = {
    "view(-1)": lambda y: y.view(-1),
    "reshape(-1)": lambda y: torch.reshape(y, (-1,)),
    "flatten": lambda y: y.flatten(),
    "squeeze": lambda y: y.squeeze(-1),
    "view of sizes": lambda y: y.view(y.shape[:1]),
    "view as": lambda y: y.view_as(y),
    "one entry": lambda y: y[:, 0],
    "ints": lambda y: y.view(3, 1),
    "softmax": lambda y: y.softmax(-1),
    "sorted": lambda y: y.sort(-1).values,
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_whatever_is_done_to_the_output_is_taken(name):
    class Regressor(Looped):
        def __init__(self, hidden):
            super().__init__(hidden)
            self.layers[2] = nn.Linear(hidden, 1)

        def forward(self, x):
            return OUTPUTS[name](super().forward(x))

    check_widths(Regressor, ROWS)
