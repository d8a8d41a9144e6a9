"""Plain networks as people write them, joined at random: what `make_variable` is given.

Each is a list of steps, which take tensors that were there before. A step is tried as it is drawn,
so whatever sizes do not fit is left out.
"""

import random

import torch
import torch.nn.functional as F
from torch import nn

# What a network may hold: channels that heads and groups divide, and some that they do not.
CHANNELS = (6, 8, 9, 12, 16, 24)
MOST = 9000


class RandomNetwork(nn.Module):
    """Steps one after the other; each is a function of this module, a layer and tensors.

    Attributes:
        names: What the steps are, for a reader.
    """

    def __init__(self, seed):
        super().__init__()
        self.layers = nn.ModuleList()
        self.steps, self.names = [], []
        draw = random.Random(seed)
        state = torch.random.get_rng_state()
        torch.manual_seed(seed)
        self.double().eval()
        self.example = _inputs(draw)
        self._draw(draw)
        self._fill(draw)
        torch.random.set_rng_state(state)

    def forward(self, x):
        values = [x]
        for function, layer, sources in self.steps:
            own = [] if layer is None else [self.layers[layer]]
            values.append(function(self, *own, *(values[place] for place in sources)))
        return values[-1]

    def _draw(self, draw):
        values = [self.example]
        if not self.example.is_floating_point():
            self._add("embedding", (_call, nn.Embedding(9, draw.choice(CHANNELS))), [0], values)
        else:
            while not self.steps:
                self._try(draw, values, "layer")
        wanted = draw.randint(3, 9)
        for _ in range(6 * wanted):
            if len(self.steps) >= wanted:
                break
            self._try(draw, values)
        last = values[-1]
        if draw.random() < 0.3 and last.dim() > 2:
            self._add("mean", (lambda net, x: x.mean(tuple(range(2, x.dim()))), None), [-1], values)
        elif last.dim() > 2 and draw.random() < 0.9:
            self._add("flatten", (lambda net, x: x.flatten(1), None), [-1], values)
        head = nn.Linear(max(1, values[-1].shape[-1]), 3)
        self._add("head", (_call, head), [-1], values)

    def _try(self, draw, values, name=None):
        kinds = LAYERS if name or draw.random() < 0.4 else STEPS
        weights = [1 if kind in RARE else 5 for kind in kinds]
        name = name or draw.choices([*kinds], weights)[0]
        last = len(values) - 1
        first = last if draw.random() < 0.8 else draw.randint(min(1, last), last)
        x = values[first]
        sources = [first]
        if name in PAIRS:
            alike = [at for at, other in enumerate(values) if _fits(name, x, other) and at]
            if not alike:
                return
            sources.append(draw.choice(alike))
        try:
            drawn = kinds[name](draw, x)
            if drawn is not None:
                self._add(name, drawn, sources, values)
        except (
            AssertionError,
            IndexError,
            KeyError,
            RuntimeError,
            ValueError,
            TypeError,
            ZeroDivisionError,
        ):
            return

    def _add(self, name, drawn, sources, values):
        function, layer = drawn
        sources = [place % len(values) for place in sources]
        place = None
        if isinstance(layer, nn.Module):
            layer.double().eval()
            place = len(self.layers)
        own = [] if layer is None else [layer]
        with torch.no_grad():
            inputs = [values[each].clone() for each in sources]
            found = function(self, *own, *inputs)
        if not isinstance(found, torch.Tensor) or not 0 < found.numel() < MOST:
            raise ValueError("no tensor, or a large one")
        if found.shape[0] != len(values[0]) and name != "rows":
            raise ValueError("samples are gone")
        if layer is not None:
            self.layers.append(layer)
        values.append(found)
        self.steps.append((function, place, sources))
        self.names.append(f"{name} {sources} {tuple(found.shape)} {layer or ''}")

    def _fill(self, draw):
        """Give norms statistics and weights that are not trivial."""
        for tensor in [*self.parameters(), *self.buffers()]:
            if tensor.is_floating_point():
                with torch.no_grad():
                    tensor.copy_(0.1 + 0.8 * torch.rand_like(tensor) * draw.choice([1, -1]))
        for module in self.modules():
            if getattr(module, "running_var", None) is not None:
                module.running_var.abs_()
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)


def _inputs(draw):
    samples = draw.choice([2, 3, 4])
    shapes = [(samples, 6), (samples, 5, 6), (samples, 4, 6, 6), (samples, 4, 8), (samples, 4)]
    shape = draw.choice(shapes)
    if shape[1:] == (4,):
        return torch.randint(9, shape)
    return torch.randn(shape, dtype=torch.float64)


def _fits(name, x, other):
    if not other.is_floating_point():
        return False
    if name == "cat":
        return x.dim() == other.dim() and sum(map(int.__ne__, x.shape, other.shape)) <= 1
    if name in ("matmul", "attention", "einsum"):
        return x.dim() == other.dim() > 2 and x.shape[-1] == other.shape[-1]
    try:
        return len(torch.broadcast_shapes(x.shape, other.shape)) == x.dim()
    except RuntimeError:
        return False


def _call(net, layer, x):
    return layer(x)


def _layer(draw, x):
    if x.dim() == 4 and draw.random() < 0.8:
        into, out = x.shape[1], draw.choice(CHANNELS)
        groups = draw.choice([1, 1, 1, 2, into])
        kernel = draw.choice([1, 3])
        kind = draw.choice([nn.Conv2d, nn.Conv2d, nn.ConvTranspose2d])
        out = out if groups < into else into * draw.choice([1, 2])
        return _call, kind(into, out, kernel, padding=kernel // 2, groups=groups)
    if x.dim() == 3 and draw.random() < 0.3:
        return _call, nn.Conv1d(x.shape[1], draw.choice(CHANNELS), draw.choice([1, 3]), padding=1)
    return _call, nn.Linear(x.shape[-1], draw.choice(CHANNELS), bias=draw.random() < 0.8)


def _norm(draw, x):
    channels = x.shape[1]
    batch = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[x.dim()]
    return _call, draw.choice(
        [
            batch(channels),
            nn.LayerNorm(x.shape[-1]),
            nn.RMSNorm(x.shape[-1]),
            nn.GroupNorm(draw.choice([1, 2, channels]), channels),
            nn.LayerNorm(x.shape[-2:]),
        ]
    )


def _twice(draw, x):
    """A square layer that is called again."""
    return (lambda net, layer, x: layer(layer(x).relu())), nn.Linear(x.shape[-1], x.shape[-1])


def _outside(draw, x):
    """A parameter that is read outside of its layer."""
    layer = nn.Linear(x.shape[-1], draw.choice([x.shape[-1], *CHANNELS]))
    functions = [
        lambda net, layer, x: layer(x) + layer.bias,
        lambda net, layer, x: layer(x) @ layer.weight,
        lambda net, layer, x: F.linear(layer(x), layer.weight.t()),
        lambda net, layer, x: layer(x) * layer.weight.norm(),
        lambda net, layer, x: layer(x) * layer.out_features**-0.5,
    ]
    return draw.choice(functions), layer


def _fused(draw, x):
    """Queries, keys and values in one matrix."""
    heads, size = draw.choice([2, 4]), draw.choice([2, 3])
    layer = nn.Linear(x.shape[-1], 3 * heads * size)

    def chunks(net, layer, x):
        q, k, v = layer(x).chunk(3, -1)
        q, k, v = (
            each.view(each.shape[0], each.shape[1], -1, size).transpose(1, 2) for each in (q, k, v)
        )
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    def reshaped(net, layer, x):
        count, length, _ = x.shape
        q, k, v = layer(x).reshape(count, length, 3, heads, size).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-2, -1)) * size**-0.5
        return (scores.softmax(-1) @ v).transpose(1, 2).reshape(count, length, heads * size)

    def folded(net, layer, x):
        count, length, _ = x.shape
        q, k, v = (
            each.reshape(count, length, heads, size).transpose(1, 2).reshape(-1, length, size)
            for each in layer(x).split(heads * size, 2)
        )
        found = torch.bmm(torch.bmm(q, k.transpose(1, 2)).softmax(-1), v)
        return found.view(count, heads, length, size).transpose(1, 2).reshape(count, length, -1)

    return draw.choice([chunks, reshaped, folded]), layer


def _rows(draw, x):
    """Samples and places as rows of one matrix."""
    layer = nn.Linear(x.shape[-1], draw.choice(CHANNELS))
    functions = [
        lambda net, layer, x: layer(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], -1),
        lambda net, layer, x: layer(x.flatten(0, -2)).unflatten(0, x.shape[:-1]),
        lambda net, layer, x: layer(x.transpose(0, 1)).transpose(0, 1),
        lambda net, layer, x: (
            layer(x.transpose(0, 1).flatten(0, 1)).view(x.shape[1], x.shape[0], -1).transpose(0, 1)
        ),
    ]
    return draw.choice(functions), layer


LAYERS = {
    "layer": _layer,
    "linear": lambda draw, x: (_call, nn.Linear(x.shape[-1], draw.choice(CHANNELS))),
    "norm": _norm,
    "twice": _twice,
    "outside": _outside,
    "fused": _fused,
    "rows": _rows,
}


def _of(*functions):
    """Draw one of several functions."""
    return lambda draw, x: (draw.choice(functions), None)


def _place(draw, x, least=1):
    return draw.randint(least, x.dim() - 1)


def _at(function, least=1):
    """Draw a dimension, counted from the front or from the back, but not samples."""

    def drawn(draw, x):
        place = _place(draw, x, least)
        place = place - x.dim() if draw.random() < 0.5 else place
        return (lambda net, *tensors: function(*tensors, place)), None

    return drawn


def _sliced(draw, x):
    place = _place(draw, x)
    size = x.shape[place]
    start, end = sorted(draw.sample(range(size + 1), 2))
    index = (slice(None),) * place
    functions = [
        lambda net, x: x[(*index, slice(start, end))],
        lambda net, x: x[(*index, slice(start - size, None))],
        lambda net, x: x[(*index, slice(None, x.shape[place] // 2))],
        lambda net, x: x[(*index, slice(x.shape[place] // 2, None))],
        lambda net, x: x[(*index, slice(None, None, 2))],
        lambda net, x: x.narrow(place, start, end - start),
        lambda net, x: x[(*index, start)] if x.dim() > 2 else x,
        lambda net, x: torch.cat([x[(*index, slice(end, None))], x[(*index, slice(end))]], place),
    ]
    return draw.choice(functions), None


def _split(draw, x):
    place = _place(draw, x)
    size = x.shape[place]
    first = draw.randint(1, max(1, size - 1))

    def gate(net, x):
        a, b = x.chunk(2, place)
        return a * b.sigmoid()

    def swap(net, x):
        a, b = x.split([first, size - first], place)
        return torch.cat([b, a], place)

    def parts(net, x):
        return sum(x.split(size // 2, place)[:2])

    def shuffle(net, x):
        return torch.stack(x.chunk(2, place), place + 1).flatten(place, place + 1)

    functions = [
        gate,
        swap,
        parts,
        shuffle,
        lambda net, x: x.chunk(2, place)[draw_place],
        lambda net, x: torch.cat(x.chunk(3, place)[::-1], place),
        lambda net, x: x.tensor_split(3, place)[1],
        lambda net, x: F.glu(x, place),
        lambda net, x: torch.stack(x.unbind(place)[:2], 1),
    ]
    draw_place = draw.randint(0, 1)
    return draw.choice(functions), None


def _viewed(draw, x):
    place = _place(draw, x)
    size = x.shape[place]
    divisors = [each for each in range(2, size) if size % each == 0] or [1]
    part = draw.choice(divisors)
    shape = list(x.shape)
    fixed = [*shape[:place], part, size // part, *shape[place + 1 :]]

    def opened(at):
        sizes = list(fixed)
        sizes[place + at] = -1
        return lambda net, x: x.reshape([len(x), *sizes[1:]])

    functions = [
        lambda net, x: x.reshape(fixed),
        opened(0),
        opened(1),
        lambda net, x: (
            x.unflatten(place, (part, -1)).transpose(place, place + 1).flatten(place, place + 1)
        ),
        lambda net, x: x.unflatten(place, (-1, part)).mean(place + draw_one),
        lambda net, x: x.reshape(len(x), -1),
        lambda net, x: x.flatten(1),
        lambda net, x: x.flatten(place),
        lambda net, x: x.flatten(1, place),
        lambda net, x: x.reshape(len(x), -1, x.shape[-1]),
        lambda net, x: x.reshape(len(x), x.shape[1], -1),
        lambda net, x: x.unflatten(place, (part, -1)),
        lambda net, x: x.reshape(-1, *shape[1:]) if draw_one else x.view(shape),
    ]
    draw_one = draw.randint(0, 1)
    return draw.choice(functions), None


def _moved(draw, x):
    order = [0, *draw.sample(range(1, x.dim()), x.dim() - 1)]
    return draw.choice(
        [
            lambda net, x: x.permute(order),
            lambda net, x: x.transpose(1, -1),
            lambda net, x: x.movedim(1, -1),
            lambda net, x: x.permute(order).contiguous().flatten(1),
        ]
    ), None


def _numbers(draw, x):
    size = x.shape[-1]
    return draw.choice(
        [
            lambda net, x: x / x.shape[-1] ** 0.5,
            lambda net, x: x * 0.5 + 1,
            lambda net, x: x + torch.arange(size),
            lambda net, x: x + torch.linspace(0, 1, x.shape[-1], dtype=x.dtype),
            lambda net, x: x * (x.shape[1] > 4),
            lambda net, x: torch.cat([x, x.new_zeros(*x.shape[:-1], 2)], -1),
            lambda net, x: F.pad(x, (1, 2)),
            lambda net, x: F.pad(x, (-1, 1)),
            lambda net, x: x.repeat(1, 2, *[1] * (x.dim() - 2)),
            lambda net, x: torch.stack([x, x], 1).flatten(1, 2),
            lambda net, x: x[..., None].expand(*x.shape, 2).flatten(-2),
            lambda net, x: x.repeat_interleave(2, -1),
        ]
    ), None


def _written(draw, x):
    """Tensors that are written to."""
    half = x.shape[-1] // 2

    def filled(net, x):
        found = torch.zeros_like(x)
        found[..., :half] = x[..., half : 2 * half]
        return found + x

    def added(net, x):
        x = x.clone()
        x[..., :half] += 1
        return x

    def summed(net, x):
        x = x * 1
        x.mul_(0.5).add_(x)
        return x

    def mean_kept(net, x):
        found = x.new_zeros(x.shape[1:])
        found += x.mean(0)
        return x + found

    def row(net, x):
        x = x.clone()
        x[:, 0] = x[:, -1]
        return x

    return draw.choice([filled, added, summed, mean_kept, row]), None


def _branch(net, x):
    return x.flip(-1) * 2 if net.training else x + 1


STEPS = {
    "act": _of(
        lambda net, x: x.relu(),
        lambda net, x: F.gelu(x),
        lambda net, x: x.sigmoid(),
        lambda net, x: x.clone().relu_(),
        lambda net, x: F.dropout(x, 0.5, net.training),
        lambda net, x: x.clamp(min=-0.5),
        lambda net, x: torch.where(x > 0, x, 0.1 * x),
        lambda net, x: x.masked_fill(x < 0, -1.0),
        lambda net, x: x.exp().log1p() if x.max() < 9 else x,
    ),
    "add": _of(lambda net, x, y: x + y),
    "residual": _of(lambda net, x, y: x + 0.5 * y),
    "mul": _of(lambda net, x, y: x * y.tanh(), lambda net, x, y: torch.maximum(x, y)),
    "cat": _at(lambda x, y, place: torch.cat([x, y], place)),
    "three": _at(lambda x, y, place: torch.cat([x, y, x], place)),
    "slice": _sliced,
    "split": _split,
    "view": _viewed,
    "view more": _viewed,
    "move": _moved,
    "mean": _at(lambda x, place: x.mean(place) if x.dim() > 2 else x),
    "kept": _at(lambda x, place: x * x.amax(place, keepdim=True).sigmoid()),
    "squeeze": _of(
        lambda net, x: x * x.flatten(2).mean(-1).sigmoid().view(*x.shape[:2], *[1] * (x.dim() - 2)),
        lambda net, x: x - x.std(1, keepdim=True),
        lambda net, x: F.layer_norm(x, x.shape[-1:]),
    ),
    "softmax": _at(lambda x, place: x.softmax(place)),
    "along": _at(
        lambda x, place: x.cumsum(place) * 0.1,
    ),
    "order": _of(
        lambda net, x: x.flip(1),
        lambda net, x: x.roll(1, -1),
        lambda net, x: x.sort(-1).values,
        lambda net, x: x.topk(2, -1).values,
        lambda net, x: x[..., torch.arange(x.shape[-1] - 1, -1, -1)],
        lambda net, x: x.index_select(1, torch.tensor([0, x.shape[1] - 1])),
    ),
    "matmul": _of(
        lambda net, x, y: x @ y.transpose(-2, -1),
        lambda net, x, y: (x.transpose(-2, -1) @ x) * 0.1,
    ),
    "attention": _of(
        lambda net, x, y: F.scaled_dot_product_attention(x, y, y),
        lambda net, x, y: F.scaled_dot_product_attention(x, x, x, is_causal=True),
    ),
    "einsum": _of(
        lambda net, x, y: torch.einsum("b...i,b...i->b...", x, x)[..., None] * y,
        lambda net, x, y: torch.einsum("bij,bkj->bik", x, y),
        lambda net, x, y: torch.einsum("bij,bij->bj", x, x),
    ),
    "image": _of(
        lambda net, x: F.max_pool2d(x, 2),
        lambda net, x: F.adaptive_avg_pool2d(x, 1),
        lambda net, x: F.interpolate(x, scale_factor=2),
        lambda net, x: F.pixel_shuffle(x, 2),
        lambda net, x: F.pixel_unshuffle(x, 2),
        lambda net, x: F.unfold(x, 2, stride=2),
        lambda net, x: F.channel_shuffle(x, 2),
        lambda net, x: F.avg_pool2d(x, 3, 1, 1) - x,
    ),
    "numbers": _numbers,
    "written": _written,
    "branch": lambda draw, x: (_branch, None),
    "batch": lambda draw, x: (
        draw.choice(
            [
                lambda net, x: x - x.mean(0),
                lambda net, x: x + x.flip(0),
                lambda net, x: x.softmax(0),
                lambda net, x: x / x.norm(),
                lambda net, x: x + x[:1],
                lambda net, x: torch.cat([x, x])[: len(x)],
                lambda net, x: x.transpose(0, 1).reshape(x.shape),
                lambda net, x: x.view(-1).view(x.shape),
            ]
        )
        if draw.random() < 0.3
        else lambda net, x: x.unsqueeze(0).squeeze(0),
        None,
    ),
}
# What leaves little to vary.
RARE = {"along", "attention", "batch", "branch", "einsum", "matmul", "order", "outside", "softmax"}
RARE |= {"written", "mean", "kept"}
PAIRS = {"add", "residual", "mul", "cat", "three", "matmul", "attention", "einsum"}
