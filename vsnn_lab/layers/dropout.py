"""Triangular Dropout as a module of its own, for any network."""

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn

from vsnn_lab._basics.checks import (
    check_callable,
    check_generator,
    check_int,
    check_tensor,
    short_repr,
)
from vsnn_lab.layers.base import VariableLayer
from vsnn_lab.layers.checkpointing import refuse_checkpointing, refuse_recomputing
from vsnn_lab.samplers import Sampler, Triangular
from vsnn_lab.samplers.draws import draw_widths, generator_or_fresh
from vsnn_lab.widths import Width, check_prefix


class TriangularDropout(VariableLayer, nn.Identity):
    """Zero the last units of each sample while training, like ``nn.Dropout`` but in order.

    It needs no other layer of this package: drop it in where a network's code should become
    ordered, whatever surrounds it. Nothing is rescaled: the units that stay mean the same at every
    width.

    With a `Width` the network has a knob. While that is turned, the units beyond are zero, in
    training and evaluated alike, and none are drawn: `fit` and the recipes draw through the knob,
    and `width_sweep` and the explorers look through it. At rest it draws while training.
    Evaluated, it is then the identity, as it always is without a `Width`.

    Zeros are not a cut: the layers around it keep all of their weights, unless they have a `Width`
    themselves. So what `extract` returns computes what the network does at a width, by torch's own
    operations, but is no smaller; and counts of parameters and multiply-accumulates, those of a
    sweep too, are of that network.

    Args:
        width: The axis, or a sampler, which is then that of ``sampler``.
        dim: Where the units lie.
        generator: Makes random samplers repeatable; None draws from fresh entropy.
        sampler: Draws widths at rest while training; by default the paper's triangle.
        batch_dims: Leading dimensions each of whose entries has a width of its own: 1 draws one for
            each sample, which its tokens share, 2 one for each token. A width vector on the knob
            has one for each sample or, in order, one for each of these entries.

    Shape:
        (batch, ...) to the same. Units that a layer before it has cut off stay away.

    Raises:
        ValueError: If the axis is joined of several parts.

    References:
        Staley & Markowitz 2022, "Triangular Dropout", arXiv 2205.01235.

    Example:
        >>> TriangularDropout()(torch.ones(3, 3))
        tensor([[1., 0., 0.],
                [1., 1., 0.],
                [1., 1., 1.]])
        >>> from vsnn_lab import at_width
        >>> net = nn.Sequential(nn.Linear(4, 8), TriangularDropout(Width(8)), nn.Linear(8, 2))
        >>> with at_width(net, 3):
        ...     int((net[:2](torch.ones(1, 4)) != 0).sum())
        3
    """

    in_axis = out_axis = None  # type: ignore[assignment] # it takes units as they come
    own_attributes = ("width", "units", "sampler", "dim", "generator", "batch_dims")
    takes_prefixes = True

    # Of a copy that is to be cut, the units kept.
    width: Width | int | None

    def __init__(
        self,
        width: Width | Sampler | None = None,
        dim: int = -1,
        generator: torch.Generator | None = None,
        *,
        sampler: Sampler | None = None,
        batch_dims: int = 1,
    ) -> None:
        super().__init__()
        if width is not None and not isinstance(width, Width):
            if sampler is not None:
                raise TypeError(f"width must be a Width beside a sampler, got {short_repr(width)}")
            width, sampler = None, check_callable("width", width, "a Width, a sampler or None")
        if sampler is not None:
            check_callable("sampler", sampler, "a sampler or None")
        self.width = None if width is None else check_prefix("width", width)
        self.units = None if width is None else width.max_width
        self.sampler = Triangular() if sampler is None else sampler
        self.dim = check_int("dim", dim, low=None)
        self.generator = check_generator(generator)
        self.batch_dims = check_int("batch_dims", batch_dims)

    def forward(self, input: Tensor) -> Tensor:
        """Mask at the width the knob stands at; at rest mask while training, else pass on."""
        control = self.width.control if isinstance(self.width, Width) else None
        # Compiled for evaluation, a knob at rest is one that is turned to full width.
        if control is not None and (not self.training or control.setting.turned):
            return self._at_position(check_tensor("input", input), control.position)
        if not self.training:
            return input
        x = self._check_batch(check_tensor("input", input))
        units, entries = x.shape[self.dim], x.shape[: self.batch_dims].numel()
        if self.units not in (None, units):
            raise ValueError(
                f"input must have {self.units} units in dimension {self.dim}, got shape "
                f"{tuple(x.shape)}"
            )
        if type(self.sampler) is not Triangular or self.batch_dims != 1:
            refuse_recomputing("one that draws them", "with others")
        steps = units if control is None else control.steps
        widths = draw_widths(self.sampler, entries, steps, self.generator)
        if self.batch_dims != 1:
            # Samplers put equal widths side by side, where they would fall to the same sample.
            generator = generator_or_fresh(self.generator)
            order = torch.randperm(entries, generator=generator, device=generator.device)
            widths = widths[order.to(widths.device)]
        return self._mask(x, widths)

    def plain_module(self) -> nn.Sequential | None:
        """Return a module of torch's that zeroes the units that a submodel has not."""
        if self.width is None or self.width == self.units:
            return None
        assert isinstance(self.width, int)
        # Inside another module, since copies of what torch.fx makes lose their hooks.
        return nn.Sequential(_keep_first(self.width, self.dim))

    def _at_position(self, x: Tensor, position: Any) -> Tensor:
        assert isinstance(self.width, Width)
        refuse_checkpointing(self.width)
        if self.training:
            refuse_recomputing("one that draws them at rest", "where the knob may be by then")
        control = self.width.control
        most = self.width.parts[0].kept(control.widest)
        size = x.shape[self.dim] if self.dim in range(-x.dim(), x.dim()) else None
        if size not in (most, self.units):
            raise ValueError(
                f"input must have {self.units} units in dimension {self.dim}, or the {most} kept, "
                f"got shape {tuple(x.shape)}"
            )
        if isinstance(position, Tensor):
            return self._mask(self._check_batch(x), position)
        if size == most:
            return x
        shape = [1] * x.dim()
        shape[self.dim] = -1
        kept = torch.arange(x.shape[self.dim], device=x.device) < most
        return torch.where(kept.view(shape), x, 0.0)

    def _check_batch(self, x: Tensor) -> Tensor:
        """Return inputs whose first dimensions are a batch, and not that of the units."""
        known = self.dim in range(-x.dim(), x.dim())
        if not known or self.dim % x.dim() in range(self.batch_dims):
            more = f" of {self.batch_dims} dimensions" if self.batch_dims != 1 else ""
            raise ValueError(
                f"input must have a batch{more} and units in dimension {self.dim}, got shape "
                f"{tuple(x.shape)}"
            )
        if not (x.shape[: self.batch_dims].numel() and x.shape[self.dim]):
            raise ValueError(f"input must hold a sample and a unit, got shape {tuple(x.shape)}")
        return x

    def _mask(self, x: Tensor, positions: Tensor) -> Tensor:
        """Zero the units beyond a position for each sample, or for each entry of the batch."""
        lead = x.shape[: self.batch_dims]
        if len(positions) != lead.numel():
            lead = x.shape[:1]
        if len(positions) != lead.numel():
            raise ValueError(
                f"input must have one row for each of the {len(positions)} widths, got shape "
                f"{tuple(x.shape)}"
            )
        kept = positions.to(x.device)
        if isinstance(self.width, Width):
            kept = self.width.parts[0].kept(kept)
        shape = [1] * x.dim()
        shape[: len(lead)], shape[self.dim] = lead, x.shape[self.dim]
        mask = torch.arange(x.shape[self.dim], device=x.device) < kept.unsqueeze(1)
        # `where`, not a product: an infinity beyond the width must not become a NaN.
        return torch.where(mask.view(shape), x, 0.0)

    def extra_repr(self) -> str:
        """Show the axis and the sampler."""
        width = "" if self.width is None else f"{self.width}, "
        batch = f", batch_dims={self.batch_dims}" if self.batch_dims != 1 else ""
        return f"{width}{self.sampler}, dim={self.dim}{batch}"


def _keep_first(kept: int, dim: int) -> fx.GraphModule:
    """Return a module that zeroes all but the first units, however many more there are.

    Padding with a negative number would do for as many as the axis has; a layer before it, which is
    cut, may give fewer.
    """
    graph = fx.Graph()
    x = graph.placeholder("input")
    first = graph.call_method("narrow", (x, dim, 0, kept))
    size = graph.call_method("size", (x, dim))
    more = graph.call_function(operator.sub, (size, kept))
    rest = graph.call_method("narrow", (x, dim, kept, more))
    zeros = graph.call_function(torch.zeros_like, (rest,))
    graph.output(graph.call_function(torch.cat, ([first, zeros], dim)))
    # Its name is all of it that a repr shows.
    return fx.GraphModule(nn.Module(), graph, f"KeepFirst{kept}Dim{dim}".replace("-", "Minus"))
