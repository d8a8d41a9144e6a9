"""Half and quarter width of a pretrained network: pruned at once, fitted, and taught.

Of each block the expanded channels vary, and what lies before the classifier; what blocks add to
each other stays. Agreement is how often the class of a narrow width is that of the plain network,
on images neither of whose emoji nor of whose backgrounds was taught.
"""

import json
import platform
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsnn_lab._basics import checkpoints
from vsnn_lab._basics.files import atomic_write
from vsnn_lab.measure import count_macs, count_parameters, recalibrate
from vsnn_lab.networks import Taylor, extract, make_variable
from vsnn_lab.train.efficientnet.images import Batches
from vsnn_lab.train.efficientnet.network import EfficientNetLite0
from vsnn_lab.train.in_place_distillation import divergence, teach
from vsnn_lab.train.layer_fit import fit_layers
from vsnn_lab.widths import at_width, width_controls

SHARES = {"half": 2, "quarter": 4}
"Which part of the variable axes is kept."
_BATCH = 32
# Views of each held-out emoji.
_VIEWS = 2


@dataclass(frozen=True)
class Experiment:
    """All that one seed measures.

    Args:
        seed: Of every image that is drawn, held-out ones included.
        images: How many to teach by, half of them in the first round, a quarter in the second ...
        side: Of an image, in pixels; a multiple of 32.
        fit: How many images layers are fitted on first, all at once.
        rounds: How often teaching starts again from what it has, with a smaller learning rate.
        rate: The learning rate of the first round, half of it in the next one.
        hint: What each block's output counts in the loss, beside the divergence of the classes.
    """

    seed: int = 0
    images: int = 12_800
    side: int = 96
    fit: int = 896
    rounds: int = 2
    rate: float = 0.0005
    hint: float = 1.0

    def name(self) -> str:
        """Return what its files are called."""
        return "-".join(f"{key}{value:g}" for key, value in sorted(vars(self).items()))

    def keep(
        self, model: EfficientNetLite0, glyphs: Mapping[str, Tensor], folder: Path, part: str
    ) -> dict[str, Any]:
        """Return what was measured before, or measure it and keep it, each stage as it ends.

        Args:
            model: Plain and pretrained.
            glyphs: As `images.glyphs` returns them.
            folder: Where results are kept.
            part: What agreement is measured on: "test", or "validation" to choose by.
        """
        file = folder / f"{self.name()}-{part}.json"
        if file.is_file():
            kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return kept
        start = time.process_time()
        held = self._batches(glyphs[part], _VIEWS * len(glyphs[part]), 0)
        targets = _logits(model, held)
        mirrored = _logits(model, (x.flip(-1) for x in held))
        found: dict[str, Any] = {
            **{"seed": self.seed, "settings": vars(self) | {"batch": _BATCH}, "measured on": part},
            "images": {"taught": self.images, "held out": len(targets)},
            "classes": len(targets.argmax(1).unique()),
            "agreement": {"its own mirror image": _agreement(mirrored, targets)},
        }
        agreement = found["agreement"]
        some = [x for x, _ in zip(self._batches(glyphs["train"], self.fit, 1), range(16),
                                  strict=False)]  # fmt: skip
        for order in ("magnitude", "taylor"):
            net = self.variable(model, order, glyphs["train"])
            agreement[f"{order}, one-shot"] = _at_widths(net, held, targets)
            agreement[f"{order}, recalibrated"] = {
                name: _recalibrated(net, position, some, held, targets)
                for name, position in positions(net).items()
            }
        found["full width"] = {"before ordering, the same bits": self._is_exact(model, held)}
        ordered = _logits(net, held)
        found["full width"]["ordered, largest difference"] = float((ordered - targets).abs().max())
        found["sizes"] = _sizes(net, next(iter(held))[:1])
        self.fit_once(net, glyphs["train"], folder)
        agreement["taylor, fitted"] = _at_widths(net, held, targets)
        for number in range(self.rounds):
            self.teach_once(net, glyphs["train"], folder, number)
        agreement["taylor, taught"] = _at_widths(net, held, targets)
        found["full width"]["ordered and taught, the same bits"] = torch.equal(
            ordered, _logits(net, held)
        )
        found["process seconds of this run"] = round(time.process_time() - start)
        found["date"] = datetime.now(UTC).date().isoformat()
        found["versions"] = {"python": platform.python_version(), "torch": version("torch")}
        with atomic_write(file) as half_written:
            half_written.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return found

    def _batches(self, glyphs: Tensor, count: int, use: int, size: int = _BATCH) -> Batches:
        return Batches(glyphs, count, size, self.side, 1000 * self.seed + use)

    def variable(self, model: EfficientNetLite0, order: str | None, glyphs: Tensor) -> nn.Module:
        """Return the network with variable axes inside its blocks, ordered or not."""
        score = Taylor(self._batches(glyphs, 256, 2)) if order == "taylor" else order
        net = make_variable(
            model,
            torch.zeros(2, 3, 32, 32),
            exclude=[f"blocks.{number}.bn2" for number in range(len(model.blocks))],
            order=score,  # type: ignore[arg-type]
            conditioned=True,
            verify=order is None,  # which order units have makes no difference to the proof
        )
        return net.eval()

    def _is_exact(self, model: EfficientNetLite0, held: Batches) -> bool:
        plain = self.variable(model, None, held.glyphs)
        return torch.equal(_logits(model, held), _logits(plain, held))

    def fit_once(self, net: nn.Module, glyphs: Tensor, folder: Path) -> None:
        """Fit layers one by one to what they give at full width, if that was not done before."""
        file = folder / f"{self.name()}-fitted.safetensors"
        if not _read(net, file):
            (x,) = self._batches(glyphs, self.fit, 1, self.fit)
            (knob,) = width_controls(net)
            fit_layers(net, x, [{knob: position} for position in positions(net).values()])
            checkpoints.write(file, net.state_dict(), {})

    def teach_once(self, net: nn.Module, glyphs: Tensor, folder: Path, number: int) -> None:
        """Teach for one round, if that was not done before."""
        file = folder / f"{self.name()}-round{number}.safetensors"
        if not _read(net, file):
            last = number == self.rounds - 1
            count = self.images // 2 ** (number if last else number + 1)
            teach(
                _Outputs(net),
                self._batches(glyphs, count, 10 + number),
                loss=self._loss,
                sampler=_Narrow(tuple(sorted(positions(net).values()))),
                learning_rate=self.rate / 2**number,
                seed=self.seed,
            )
            checkpoints.write(file, net.state_dict(), {})

    def _loss(self, output: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Tensor:
        """Return the divergence of the classes, and how far blocks are from what they gave."""
        blocks = output.keys() - {"logits"}
        far = [F.mse_loss(output[name], target[name]) / target[name].var() for name in blocks]
        return divergence(output["logits"], target["logits"]) + self.hint * sum(far) / len(far)


@dataclass(frozen=True)
class _Narrow:
    """Draws the same widths in every step."""

    widths: tuple[int, ...]

    def __call__(self, batch_size: int, steps: int, generator: Any = None) -> Tensor:
        return torch.tensor(self.widths)


class _Outputs(nn.Module):
    """A network that gives what its blocks give, too."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net: Any = net

    def forward(self, x: Tensor) -> Any:
        return self.net.outputs(x)


def positions(net: nn.Module) -> dict[str, int]:
    """Return where the knob stands at half and at quarter width."""
    (knob,) = width_controls(net)
    return {name: knob.steps // part for name, part in SHARES.items()}


def _read(net: nn.Module, file: Path) -> bool:
    if not file.is_file():
        return False
    net.load_state_dict(checkpoints.read(file)[0])
    return True


def _logits(net: nn.Module, batches: Iterable[Tensor]) -> Tensor:
    with torch.no_grad():
        return torch.cat([net(x) for x in batches])


def _agreement(logits: Tensor, targets: Tensor) -> float:
    return round((logits.argmax(1) == targets.argmax(1)).double().mean().item(), 4)


def _at_widths(net: nn.Module, held: Batches, targets: Tensor) -> dict[str, float]:
    found = {}
    for name, position in positions(net).items():
        with at_width(net, position):
            found[name] = _agreement(_logits(net, held), targets)
    return found


def _recalibrated(
    net: nn.Module, position: int, some: list[Tensor], held: Batches, targets: Tensor
) -> float:
    cut = extract(net, position)
    recalibrate(cut, some)
    return _agreement(_logits(cut, held), targets)


def _sizes(net: nn.Module, x: Tensor) -> dict[str, Any]:
    whole, products = count_parameters(net), count_macs(net, None, x)
    found: dict[str, Any] = {"full": {"parameters": whole, "macs": products}}
    for name, position in positions(net).items():
        found[name] = {
            "share of parameters": round(count_parameters(net, position) / whole, 4),
            "share of macs": round(count_macs(net, position, x) / products, 4),
        }
    return found
