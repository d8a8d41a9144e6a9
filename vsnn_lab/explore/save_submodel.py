"""Save one width as a network of its own: verified, as safetensors and as ONNX."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from vsnn_lab.export.verification import export_onnx, verify_extraction
from vsnn_lab.export.weights import save_weights
from vsnn_lab.measure.evaluation import evaluate
from vsnn_lab.networks.extraction import extract

# That a submodel's outputs may deviate by; of outputs beyond 1, as a share of the largest, since
# numbers of 32 bits have seven digits.
TOLERANCE = 1e-5


@dataclass
class SavedSubmodel:
    """What was written of a submodel so far.

    Attributes:
        files: The files, weights first.
        deviation: Largest deviation of an output from the variable network's.
        tolerance: The deviation accepted.
        missing_package: Why there is no ONNX file, if a package is missing.
    """

    files: tuple[Path, ...] = ()
    deviation: float = 0.0
    tolerance: float = TOLERANCE
    missing_package: str = ""

    def __str__(self) -> str:
        if not self.files:
            return "nothing saved"
        sizes = [f"{path.name} ({path.stat().st_size / 1e6:.2f} MB)" for path in self.files]
        where = f"saved {' and '.join(sizes)} in {self.files[0].parent}"
        text = f"{where}; largest deviation {self.deviation:.1e}, {self.tolerance:.1e} accepted"
        if self.tolerance > TOLERANCE:
            text += f" ({TOLERANCE:g} of the largest output)"
        return f"{text}; no ONNX file: {self.missing_package}" if self.missing_package else text


def save_submodel(
    model: nn.Module, width: int, stem: Path, inputs: Tensor, saved: SavedSubmodel
) -> None:
    """Cut a width out, verify it, and write ``stem.safetensors`` and, if onnx is there, ``.onnx``.

    Args:
        model: A network with one knob.
        width: The width.
        stem: The files, without ending.
        inputs: A typical batch to verify on, shape (batch, ...).
        saved: Records what is written, also where an error ends it.

    Raises:
        OSError: If a file cannot be written.
        ValueError: If the submodel deviates by more than ``TOLERANCE``, absolute and relative to
            its largest output.
    """
    largest = evaluate(extract(model, width), inputs).abs().max().item()
    saved.tolerance = TOLERANCE * max(1.0, largest)
    saved.deviation = verify_extraction(model, width, inputs)
    if not saved.deviation <= saved.tolerance:
        raise ValueError(
            f"model must agree with its submodel to {saved.tolerance:.1e}, got a deviation of "
            f"{saved.deviation:.2g} at width {width}"
        )
    weights, network = (stem.parent / f"{stem.name}.{kind}" for kind in ("safetensors", "onnx"))
    saved.files = (save_weights(model, weights, width=width),)
    try:
        deviation = export_onnx(model, width, network, inputs, tolerance=saved.tolerance)
    except ImportError as error:
        saved.missing_package = f"{error}"
        return
    saved.files = weights, network
    saved.deviation = max(saved.deviation, deviation)
