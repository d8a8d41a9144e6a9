"""Every variable layer with weights of its own for narrow widths; `condition` makes them."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vsnn_lab._basics.sums import sums_are_safe
from vsnn_lab.layers import batch_norm, conv, norm
from vsnn_lab.layers.base import VariableLayer, WeightAndBias, WeightedLayer, is_masked
from vsnn_lab.layers.levels import FULL, LevelRuns, fit_units, level_tops
from vsnn_lab.layers.linear import VariableLinear
from vsnn_lab.layers.own_weights import OWN_ATTRIBUTES, SwitchableLayer
from vsnn_lab.layers.side_by_side import is_several, outputs_side_by_side
from vsnn_lab.widths import keep_prefix, spread


class _SwitchableWeights(SwitchableLayer, WeightedLayer):
    """A layer that multiplies by a weight."""

    def kept_parameters(self) -> WeightAndBias:
        """Return weight and bias at the width the knobs stand at, its own included."""
        return self.at_one_width(super().kept_parameters())

    def forward(self, input: Tensor, *args: Any) -> Tensor:
        """Apply the layer at the width its knobs stand at."""
        runs = self.sample_runs()
        if runs is None:
            y: Tensor = super().forward(input, *args)
            return y
        x = keep_prefix(input, self.in_axis, self.unit_dim)
        if len(x) != sum(runs.counts):
            raise ValueError(
                f"input must have one row for each of the {sum(runs.counts)} widths, got shape "
                f"{tuple(x.shape)}"
            )
        if runs.order is None:
            return self._outputs_of_levels(x, runs, *args)
        order = runs.order.to(x.device)
        return self._outputs_of_levels(x[order], runs, *args)[order.argsort()]

    def _outputs_of_levels(self, x: Tensor, runs: LevelRuns, *args: Any) -> Tensor:
        """Return the outputs for samples that stand in runs of one level each."""
        parameters = self.kept_parameters()
        outputs = []
        for level, rows in zip(runs.levels, x.split(runs.counts), strict=True):
            own = self.own_at(parameters, level if level in self.levels else FULL, self.widest)
            outputs.append(self.compute(rows, *own, *args))
        return torch.cat(outputs)


class _SwitchableNorm(SwitchableLayer, norm.Norm):
    """A norm, whose scale and shift are its weight and bias."""

    def first_parameters(self) -> WeightAndBias:
        """Return scale and shift at the width the knob stands at, its own included."""
        if is_masked(self.axis):
            return None, None  # type: ignore[return-value]
        return self.at_one_width(super().first_parameters())  # type: ignore[arg-type]

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the units kept at the width the knob stands at."""
        y: Tensor = super().forward(input)
        levels = self.sample_levels()
        if levels is None:
            return y
        shared: Any = super().first_parameters()
        known = [FULL, *range(len(level_tops([*self.widest])))]
        own = (each if each in self.levels else FULL for each in known)
        tables = zip(*(self.own_at(shared, level, self.widest) for level in own), strict=True)
        scale, shift = (
            None if table[0] is None
            else spread(torch.stack(table)[levels.to(y.device) + 1], y, self.unit_dim)
            for table in tables
        )  # fmt: skip
        scaled = y if scale is None else y * scale
        return (scaled if shift is None else scaled + shift).to(y.dtype)


class SwitchableLinear(_SwitchableWeights, VariableLinear):
    """`VariableLinear` with weights of its own for narrow widths."""

    own_attributes = (*VariableLinear.own_attributes, *OWN_ATTRIBUTES)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer at the width, or the several widths, its knobs stand at."""
        if is_several(self):
            return outputs_side_by_side(self, input)
        if (product := self.product_here()) is None:
            return super().forward(input)
        # Two thin matrices one after the other take less time than their large product.
        rows, columns = product
        x = keep_prefix(input, self.in_axis)
        weight, bias = VariableLinear.kept_parameters(self)
        y = F.linear(x, weight.detach(), self.bias_here(bias))
        return torch.add(y, F.linear(F.linear(x, columns), rows), alpha=self.own_pace)

    def _outputs_of_levels(self, x: Tensor, runs: LevelRuns, *args: Any) -> Tensor:
        """Return the outputs for samples that stand in runs of one level each."""
        products = all(self.own_weights.is_product("weight", level) for level in runs.levels)
        known = all(level in self.levels for level in runs.levels)
        if not (known and (products or sums_are_safe(x))):
            return super()._outputs_of_levels(x, runs, *args)
        # All multiply by what they share in one call, and by what is their own, which is less.
        weight, bias = VariableLinear.kept_parameters(self)
        y = F.linear(x, weight.detach(), None if bias is None else bias.detach())
        weights, biases = (self.own_weights.factors(name) for name in ("weight", "bias"))
        added = []
        for level, rows in zip(runs.levels, x.split(runs.counts), strict=True):
            added.append(self._own_outputs(rows, level, weights[level], *biases.get(level, ())))
        return y + torch.cat(added)

    def _own_outputs(
        self, x: Tensor, level: int, factors: Sequence[Tensor], shift: Tensor | None = None
    ) -> Tensor:
        """Return what a level adds to the outputs for some samples."""
        tops, pace = self.levels[level], self._pace("weight", level)
        last = fit_units(factors[-1], self.in_axis, tops, self.widest, 1)
        if shift is not None and (ratio := self._pace("bias", level) / pace) != 1:
            shift = ratio * shift
        if len(factors) > 1:
            x, last = F.linear(x, last), factors[0]
        x = F.linear(x, last, shift)
        x = x if pace == 1 else pace * x
        return fit_units(x, self.out_axis, tops, self.widest, x.dim() - 1)


class SwitchableConv1d(_SwitchableWeights, conv.VariableConv1d):
    """`VariableConv1d` with weights of its own for narrow widths."""

    own_attributes = (*conv.VariableConv1d.own_attributes, *OWN_ATTRIBUTES)


class SwitchableConv2d(_SwitchableWeights, conv.VariableConv2d):
    """`VariableConv2d` with weights of its own for narrow widths."""

    own_attributes = (*conv.VariableConv2d.own_attributes, *OWN_ATTRIBUTES)


class SwitchableConv3d(_SwitchableWeights, conv.VariableConv3d):
    """`VariableConv3d` with weights of its own for narrow widths."""

    own_attributes = (*conv.VariableConv3d.own_attributes, *OWN_ATTRIBUTES)


class SwitchableConvTranspose1d(_SwitchableWeights, conv.VariableConvTranspose1d):
    """`VariableConvTranspose1d` with weights of its own for narrow widths."""

    own_attributes = (*conv.VariableConvTranspose1d.own_attributes, *OWN_ATTRIBUTES)


class SwitchableConvTranspose2d(_SwitchableWeights, conv.VariableConvTranspose2d):
    """`VariableConvTranspose2d` with weights of its own for narrow widths."""

    own_attributes = (*conv.VariableConvTranspose2d.own_attributes, *OWN_ATTRIBUTES)


class SwitchableConvTranspose3d(_SwitchableWeights, conv.VariableConvTranspose3d):
    """`VariableConvTranspose3d` with weights of its own for narrow widths."""

    own_attributes = (*conv.VariableConvTranspose3d.own_attributes, *OWN_ATTRIBUTES)


class SwitchableBatchNorm1d(_SwitchableNorm, batch_norm.VariableBatchNorm1d):
    """`VariableBatchNorm1d` with a scale and a shift of its own for narrow widths."""

    own_attributes = (*batch_norm.VariableBatchNorm1d.own_attributes, *OWN_ATTRIBUTES)


class SwitchableBatchNorm2d(_SwitchableNorm, batch_norm.VariableBatchNorm2d):
    """`VariableBatchNorm2d` with a scale and a shift of its own for narrow widths."""

    own_attributes = (*batch_norm.VariableBatchNorm2d.own_attributes, *OWN_ATTRIBUTES)


class SwitchableBatchNorm3d(_SwitchableNorm, batch_norm.VariableBatchNorm3d):
    """`VariableBatchNorm3d` with a scale and a shift of its own for narrow widths."""

    own_attributes = (*batch_norm.VariableBatchNorm3d.own_attributes, *OWN_ATTRIBUTES)


class SwitchableGroupNorm(_SwitchableNorm, norm.VariableGroupNorm):
    """`VariableGroupNorm` with a scale and a shift of its own for narrow widths."""

    own_attributes = (*norm.VariableGroupNorm.own_attributes, *OWN_ATTRIBUTES)


class SwitchableLayerNorm(_SwitchableNorm, norm.VariableLayerNorm):
    """`VariableLayerNorm` with a scale and a shift of its own for narrow widths."""

    own_attributes = (*norm.VariableLayerNorm.own_attributes, *OWN_ATTRIBUTES)


class SwitchableRMSNorm(_SwitchableNorm, norm.VariableRMSNorm):
    """`VariableRMSNorm` with a scale of its own for narrow widths."""

    own_attributes = (*norm.VariableRMSNorm.own_attributes, *OWN_ATTRIBUTES)


SWITCHABLE: dict[type[VariableLayer], type[SwitchableLayer]] = {
    cls.__bases__[1]: cls
    for cls in (
        *(SwitchableLinear, SwitchableConv1d, SwitchableConv2d, SwitchableConv3d),
        *(SwitchableConvTranspose1d, SwitchableConvTranspose2d, SwitchableConvTranspose3d),
        *(SwitchableBatchNorm1d, SwitchableBatchNorm2d, SwitchableBatchNorm3d),
        *(SwitchableGroupNorm, SwitchableLayerNorm, SwitchableRMSNorm),
    )
}
"The form that `condition` gives each variable layer."
