"""Save one width as a network of its own: verified, as safetensors and as ONNX."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

import torch
from torch import Tensor, nn

from vsnn_lab._basics import checkpoints
from vsnn_lab.export.verification import export_onnx, onnx_refusal, verify_extraction
from vsnn_lab.export.weights import save_weights
from vsnn_lab.measure.evaluation import evaluate, to_device_of
from vsnn_lab.networks.extraction import extract
from vsnn_lab.widths import WidthControl

# That a submodel's outputs may deviate by; of outputs beyond 1, as a share of the largest, since
# numbers of 32 bits have seven digits. Those of 16 bits have two or three: so many steps of theirs.
TOLERANCE, _STEPS = 1e-5, 4


@dataclass
class SavedSubmodel:
    """What was written of a submodel so far.

    Attributes:
        files: The files, weights first.
        deviation: Largest deviation of an output from the variable network's.
        tolerance: The deviation accepted.
        share: That of the largest output, if it is beyond 1, which is accepted.
        no_onnx: Why there is no ONNX file, if there is none.
        taken: Name of the file that holds another network, and so was left as it is.
    """

    files: tuple[Path, ...] = ()
    deviation: float = 0.0
    tolerance: float = TOLERANCE
    share: float = TOLERANCE
    no_onnx: str = ""
    taken: str = ""

    def __str__(self) -> str:
        if not self.files:
            return "nothing saved"
        sizes = [f"{path.name} ({path.stat().st_size / 1e6:.2f} MB)" for path in self.files]
        where = f"saved {' and '.join(sizes)} in {self.files[0].parent}"
        text = f"{where}; largest deviation {self.deviation:.1e}, {self.tolerance:.1e} accepted"
        if self.tolerance > self.share:
            text += f" ({self.share:g} of the largest output)"
        if self.taken:
            text += f"; {self.taken} holds another network and was kept"
        return f"{text}; no ONNX file: {self.no_onnx}" if self.no_onnx else text


def save_submodel(
    model: nn.Module,
    width: int | Mapping[WidthControl, int],
    stem: Path,
    inputs: Tensor,
    saved: SavedSubmodel,
) -> None:
    """Cut a width out, verify it, and write ``stem.safetensors`` and, if onnx is there, ``.onnx``.

    Files of another network stay: then these get a number, see `free_stem`.

    Args:
        model: A network with one knob, or several.
        width: The width, as in `extract`.
        stem: The files, without ending.
        inputs: A typical batch to verify on, shape (batch, ...).
        saved: Records what is written, also where an error ends it.

    Raises:
        OSError: If a file cannot be written.
        ValueError: If the submodel deviates by more than ``TOLERANCE``, absolute and relative to
            its largest output.
    """
    inputs = to_device_of(model, inputs)
    output = evaluate(extract(model, width), inputs)
    saved.share = max(TOLERANCE, _STEPS * torch.finfo(output.dtype).eps)
    saved.tolerance = saved.share * max(1.0, output.abs().max().item())
    saved.deviation = verify_extraction(model, width, inputs)
    if not saved.deviation <= saved.tolerance:
        raise ValueError(
            f"model must agree with its submodel to {saved.tolerance:.1e}, got a deviation of "
            f"{saved.deviation:.2g} at width {width}"
        )
    free = free_stem(model, width, stem)
    saved.taken = "" if free == stem else stem.name
    weights, network = _files(free)
    saved.files = (save_weights(model, weights, width=width),)
    if refusal := onnx_refusal(model):
        saved.no_onnx = refusal
        return
    try:
        deviation = export_onnx(model, width, network, inputs, tolerance=saved.tolerance)
    except ImportError as error:
        saved.no_onnx = f"{error}"
        return
    saved.files = weights, network
    saved.deviation = max(saved.deviation, deviation)


def free_stem(model: nn.Module, width: int | Mapping[WidthControl, int], stem: Path) -> Path:
    """Return where a width of a network may be saved without replacing another network.

    That is ``stem``, or the first of ``stem-2``, ``stem-3``, … whose files are not there yet or
    hold this very network.

    Args:
        model: A network with one knob, or several.
        width: The width, as in `extract`.
        stem: The files, without ending.
    """
    cut = extract(model, width)
    own = repr(cut), checkpoints.digest(cut.state_dict())
    numbered = (stem.with_name(f"{stem.name}-{number}") for number in count(2))
    return next(free for free in chain([stem], numbered) if _is_free(free, own))


def _is_free(stem: Path, own: tuple[str, str]) -> bool:
    weights, network = _files(stem)
    return not (weights.exists() or network.exists()) or _content(weights) == own


def _files(stem: Path) -> tuple[Path, Path]:
    return stem.with_name(f"{stem.name}.safetensors"), stem.with_name(f"{stem.name}.onnx")


def _content(weights: Path) -> tuple[str, str] | None:
    """Return architecture and digest of the network in a file; None where it holds none of ours."""
    try:
        tensors, header = checkpoints.read(weights)
    except (OSError, ValueError):
        return None
    return str(header.get("architecture")), checkpoints.digest(tensors)
