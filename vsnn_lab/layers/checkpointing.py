"""Gradient checkpointing, which runs layers again in backward, when their width has been left."""

import sys
from types import FrameType

import torch
from torch.utils import checkpoint

from vsnn_lab.widths import Width, knobs_of

_FILE = checkpoint.__file__
_REENTRANT = checkpoint.CheckpointFunction.forward.__code__


def refuse_checkpointing(*axes: int | Width) -> None:
    """Refuse to run a layer of less than full width where its gradient would be another width's.

    Raises:
        RuntimeError: If `torch.utils.checkpoint` is about to forget the layer's activations, or to
            make them again.
    """
    if torch.compiler.is_compiling():
        return
    for control in knobs_of(*axes):
        position, steps = control.setting.position, control.steps
        if not isinstance(position, int) or position != steps:
            at = f"width {position} of {steps}" if isinstance(position, int) else "a width vector"
            refuse_recomputing(f"a layer at {at}", "at whatever width the knob stands at then")
            return


def refuse_recomputing(layer: str, how: str) -> None:
    """Refuse to run a layer inside `torch.utils.checkpoint`.

    Args:
        layer: What it is, for the message.
        how: What it would do in backward.

    Raises:
        RuntimeError: If it is about to forget the layer's activations, or to make them again.
    """
    if torch.compiler.is_compiling():
        return
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename == _FILE and (
            torch.is_grad_enabled()
            # Its first run records no gradients, whether there will be a second one or not.
            or (frame.f_code is _REENTRANT and any(frame.f_locals["ctx"].needs_input_grad))
        ):
            raise RuntimeError(
                f"gradient checkpointing must be off where widths are trained, got {layer} "
                f"inside torch.utils.checkpoint: in backward it would run again, {how}"
            )
        frame = frame.f_back
