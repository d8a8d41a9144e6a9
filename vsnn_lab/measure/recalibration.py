"""Measure a batch norm's running statistics again, for the width that one takes home."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from tqdm.auto import tqdm

from vsnn_lab._basics.checks import check_flag, check_pair
from vsnn_lab.layers.octaves import Per, group_tops
from vsnn_lab.layers.position_statistics import (
    PositionStatistics,
    put_on,
    take_off,
    takes_statistics,
)
from vsnn_lab.measure.evaluation import evaluation_mode, to_device_of
from vsnn_lab.networks.extraction import cut_positions
from vsnn_lab.networks.gate import private_copy
from vsnn_lab.widths import WidthControl, at_width, single_control, width_controls

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
# Samples a forward at most where a whole set is given.
_CHUNK = 1024


def recalibrate(
    model: nn.Module,
    batches: Iterable[Tensor | tuple[Tensor, Tensor]] | tuple[Tensor, Tensor],
    width: int | Mapping[WidthControl, int] | None = None,
) -> None:
    """Measure the running statistics of every batch norm at one width, in place.

    A variable network keeps one set of statistics for all its widths, and it suits none of them
    exactly; `recalibrate_widths` measures and keeps one for each. These are the plain averages of
    the batches' means and unbiased variances, every batch with the same weight. Only the norms
    train meanwhile, there are no gradients, and modes, knobs, momenta and the statistics of units
    beyond the width are put back; after an error all statistics are. A network without batch norm
    is left alone.

    Each call is for one width: recalibrate, then `extract`, or recalibrate what was extracted.

    Args:
        model: Any network, variable or plain.
        batches: A pair of tensors (inputs, targets) of equal length, as in `width_sweep`, or an
            iterable of batches, each inputs of shape (batch, ...) or such a pair; read once. A
            tuple of two tensors is a pair. So is a list of two of which only the first can be
            inputs, as a ``DataLoader`` makes it; a list of alike tensors is batches of inputs.
        width: As in `extract`; by default where the knobs stand, which is full width at rest.

    Raises:
        TypeError: If ``batches`` is one tensor or holds none, or ``width`` is not an integer.
        ValueError: If ``width`` lies outside the range, there is no batch, or a pair has unlike
            lengths.

    References:
        Yu & Huang 2019, "Universally Slimmable Networks", arXiv 1903.05134, section 3.3; the method
        is that of `torch.optim.swa_utils.update_bn`.

    Example:
        >>> import torch
        >>> norm = nn.BatchNorm1d(1)
        >>> recalibrate(norm, [torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0], [7.0]])])
        >>> norm.running_mean, norm.running_var
        (tensor([3.]), tensor([5.]))
    """
    standing = {control: control.position for control in width_controls(model)}
    positions = cut_positions(model, standing if width is None else width)
    batches = _as_batches(_check_batches(batches))
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    before = [{name: getattr(norm, name).clone() for name in _STATISTICS} for norm in norms]
    ran: set[nn.Module] = set()
    hooks = [norm.register_forward_hook(lambda norm, *_: ran.add(norm)) for norm in norms]
    try:
        with evaluation_mode(model), at_width(model, positions):
            for norm in norms:
                norm.training = True
                if isinstance(norm, PositionStatistics):
                    norm.measuring = True
                _reset(norm)
            _run_batches(model, batches)
        if not all(norm.num_batches_tracked for norm in norms if norm in ran):
            raise ValueError(
                "batches must leave a channel several values to measure, got one sample in each; "
                "use larger batches"
            )
    except BaseException:
        for norm, statistics in zip(norms, before, strict=True):
            _restore(norm, statistics)
        raise
    finally:
        for hook in hooks:
            hook.remove()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            if isinstance(norm, PositionStatistics):
                norm.measuring = False
    for norm, statistics in zip(norms, before, strict=True):
        # A branch that evaluation leaves out, an auxiliary head say, has seen nothing.
        if not norm.num_batches_tracked:
            _restore(norm, statistics)
        elif isinstance(norm, PositionStatistics):
            norm.keep_statistics(positions)
            _restore(norm, statistics)


def recalibrate_widths(
    model: nn.Module,
    batches: Iterable[Tensor | tuple[Tensor, Tensor]] | tuple[Tensor, Tensor],
    per: Per = "position",
    *,
    progress: bool = True,
) -> None:
    """Measure the running statistics of every batch norm at every width, and keep all of them.

    Afterwards the network evaluates each width by statistics of its own: sweeps, instruments,
    `extract` and files have them, and none needs `recalibrate`. They are kept beside those of all
    widths together, as buffers ``position_mean`` and ``position_var``, until a step of training
    changes what they are of. A network without batch norm is left alone.

    Args:
        model: A variable network with one knob.
        batches: As in `recalibrate`; read once and kept.
        per: Whether each position of the knob has statistics of its own, or each octave of them (1,
            2, 3..4, 5..8, ...) those of its widest, and full width.
        progress: Show a bar if it takes more than two seconds.

    Raises:
        TypeError: If ``batches`` are none, or a batch norm is not of torch's own classes.
        ValueError: If the network has not one knob, or there is no batch.

    References:
        As `recalibrate`.

    Example:
        >>> import torch
        >>> from vsnn_lab import VariableBatchNorm1d, VariableLinear, Width, at_width
        >>> hidden = Width(4)
        >>> net = nn.Sequential(VariableLinear(2, hidden), VariableBatchNorm1d(hidden))
        >>> recalibrate_widths(net, [torch.randn(8, 2)])
        >>> net[1].position_mean.shape
        torch.Size([4, 4])
    """
    control = single_control(model)
    tops = group_tops(control.steps, per)
    check_flag("progress", progress)
    # Each is looked at as it is read, for what has no end may hold no batch at all.
    kept = [_inputs_of(batch) for batch in _as_batches(_check_batches(batches))]
    norms = [module for module in model.modules() if takes_statistics(module)]
    if not norms:
        return
    try:
        for norm in norms:
            put_on(norm, control, per)
        for position in tqdm(
            (*tops, control.steps), desc="statistics", delay=2, disable=not progress
        ):
            recalibrate(model, kept, position)
    except BaseException:
        for norm in norms:
            take_off(norm)
        raise


def _check_batches(batches: Any) -> Any:
    """Refuse what is no batches to measure statistics on."""
    if isinstance(batches, Tensor | np.ndarray) or not isinstance(batches, Iterable):
        raise TypeError(
            "batches must be an iterable of inputs or of pairs (inputs, targets), got "
            f"{type(batches).__name__}; [x] holds a single batch"
        )
    return batches


def _as_batches(batches: Iterable[Any]) -> Iterable[Any]:
    """Return batches to read: a pair of tensors in parts of like size, anything else as it is."""
    pair = isinstance(batches, tuple | list) and len(batches) == 2
    if not (pair and all(isinstance(part, Tensor) for part in batches)):
        return batches
    inputs, targets = check_pair("batches", batches)
    alike = inputs.dtype == targets.dtype and inputs.shape[1:] == targets.shape[1:]
    if isinstance(batches, list) and alike:
        return batches
    if len(inputs) != len(targets):
        raise ValueError(
            f"batches must pair inputs with targets, got {len(inputs)} and {len(targets)} rows"
        )
    # Of like size, because all count alike, and a last one of a single sample has no variance.
    return inputs.tensor_split(max(1, -(-len(inputs) // _CHUNK)))


def _run_batches(model: nn.Module, batches: Iterable[Tensor | tuple[Tensor, Tensor]]) -> None:
    seen = 0
    for batch in batches:
        model(private_copy(model, to_device_of(model, _inputs_of(batch))))
        seen += 1
    if not seen:
        raise ValueError("batches must hold at least one batch, got none; it is read only once")


def _inputs_of(batch: Any) -> Tensor:
    x: Any = batch[0] if isinstance(batch, tuple | list) and batch else batch
    if not isinstance(x, Tensor):
        raise TypeError(
            "batches must hold tensors or pairs (inputs, targets) of tensors, got "
            f"{type(x).__name__}"
        )
    return x


def _reset(norm: _BatchNorm) -> None:
    # Without momentum torch averages over all batches so far, so that the first one replaces what
    # was there. What is there is not set to 0 and 1 before: units beyond the width keep theirs.
    norm.momentum = None
    for name in _STATISTICS[:2]:
        # Except where the first batch could not replace it: 0 times infinity is no number.
        getattr(norm, name).nan_to_num_(0.0, 0.0, 0.0)
    getattr(norm, _STATISTICS[2]).zero_()


def _restore(norm: _BatchNorm, statistics: Mapping[str, Tensor]) -> None:
    for name, value in statistics.items():
        getattr(norm, name).copy_(value)
