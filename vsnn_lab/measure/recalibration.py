"""Measure a batch norm's running statistics again, for the width that one takes home."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vsnn_lab._basics.checks import check_pair
from vsnn_lab.measure.evaluation import evaluation_mode, to_device_of
from vsnn_lab.networks.extraction import cut_positions
from vsnn_lab.networks.gate import private_copy
from vsnn_lab.widths import WidthControl, at_width, width_controls

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
    exactly. These are the plain averages of the batches' means and unbiased variances, every batch
    with the same weight. Only the norms train meanwhile, there are no gradients, and modes, knobs,
    momenta and the statistics of units beyond the width are put back; after an error all statistics
    are. A network without batch norm is left alone.

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
    if isinstance(batches, Tensor | np.ndarray) or not isinstance(batches, Iterable):
        raise TypeError(
            "batches must be an iterable of inputs or of pairs (inputs, targets), got "
            f"{type(batches).__name__}; [x] holds a single batch"
        )
    batches = _as_batches(batches)
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
    for norm, statistics in zip(norms, before, strict=True):
        # A branch that evaluation leaves out, an auxiliary head say, has seen nothing.
        if not norm.num_batches_tracked:
            _restore(norm, statistics)


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
        x: Any = batch[0] if isinstance(batch, tuple | list) and batch else batch
        if not isinstance(x, Tensor):
            raise TypeError(
                "batches must hold tensors or pairs (inputs, targets) of tensors, got "
                f"{type(x).__name__}"
            )
        model(private_copy(model, to_device_of(model, x)))
        seen += 1
    if not seen:
        raise ValueError("batches must hold at least one batch, got none; it is read only once")


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
