"""Half and quarter width of a pretrained network: pruned at once, fitted, and taught.

Of each block the expanded channels vary, and what lies before the classifier; what blocks add to
each other stays. Agreement is how often the class of a narrow width is that of full width, on
images neither of whose emoji nor of whose backgrounds was taught.
"""

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from vsnn_lab._basics import checkpoints
from vsnn_lab._basics.checks import check_fraction, check_int, check_number
from vsnn_lab.networks import Taylor, make_variable
from vsnn_lab.networks.ordering import Order
from vsnn_lab.samplers import Listed
from vsnn_lab.train.efficientnet.agreement import (
    agreement,
    agreement_at_widths,
    agreement_recalibrated,
    logits_of,
    positions,
    sizes,
)
from vsnn_lab.train.efficientnet.images import Batches, draw
from vsnn_lab.train.efficientnet.network import EfficientNetLite0
from vsnn_lab.train.efficientnet.results import Result, read_result, write_json
from vsnn_lab.train.in_place_distillation import divergence, teach
from vsnn_lab.train.layer_fit import fit_layers
from vsnn_lab.widths import width_controls

_BATCH = 32
_STRIDE = 32  # of the whole network, in pixels
# Views of each held-out emoji.
_VIEWS = 2
# Of drawn images: how many batches the norms are measured on, and images units are scored on.
_RECALIBRATION_BATCHES, _SCORED = 16, 256
# Added to a thousand times the seed: each use of images has a seed of its own. Rounds follow.
_HELD_OUT, _FITTED, _TO_SCORE, _FIRST_ROUND = 0, 1, 2, 10


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

    Raises:
        TypeError: If one has the wrong type.
        ValueError: If one is out of range.
    """

    seed: int = 0
    images: int = 12_800
    side: int = 96
    fit: int = 896
    rounds: int = 2
    rate: float = 0.0005
    hint: float = 1.0

    def __post_init__(self) -> None:
        check_int("seed", self.seed, 0)
        hint = f"each of {check_int('rounds', self.rounds)} rounds needs some"
        check_int("images", self.images, 2**self.rounds, hint=hint)
        check_int("fit", self.fit)
        if check_int("side", self.side) % _STRIDE:
            raise ValueError(f"side must be a multiple of {_STRIDE}, got {self.side}")
        check_fraction("rate", self.rate)
        check_number("hint", self.hint, 0)

    def file(self, folder: Path, stage: str) -> Path:
        """Return where a stage is kept; what is measured in the end is JSON."""
        settings = "-".join(f"{key}{value:g}" for key, value in sorted(vars(self).items()))
        suffix = "json" if stage in ("test", "validation") else "safetensors"
        return folder / f"{settings}-{stage}.{suffix}"

    def settings(self) -> dict[str, Any]:
        """Return all that results depend on."""
        return vars(self) | {"batch": _BATCH}

    def kept(self, folder: Path, part: str) -> Result | None:
        """Return what was measured before, if it was.

        Raises:
            ValueError: If the file is damaged, or of other settings.
        """
        return read_result(self.file(folder, part), self.settings(), part)

    def keep(
        self, model: EfficientNetLite0, glyphs: Mapping[str, Tensor], folder: Path, part: str
    ) -> Result:
        """Return what was measured before, or measure it and keep it, each stage as it ends.

        Args:
            model: Plain and pretrained.
            glyphs: As `images.glyphs` returns them.
            folder: Where results are kept.
            part: What agreement is measured on: "test", or "validation" to choose by.

        Raises:
            ValueError: If what was kept is damaged, or of another network.
        """
        found = self.kept(folder, part)
        if found is None:
            start = time.process_time()
            with tqdm(total=3 + self.rounds, desc=f"seed {self.seed}", unit="stage") as bar:
                found = self._measure(model, glyphs, folder, part, bar)
            found["process seconds of this run"] = round(time.process_time() - start)
            found["date"] = datetime.now(UTC).date().isoformat()
            found["versions"] = {"python": platform.python_version(), "torch": version("torch")}
            write_json(self.file(folder, part), found)
        return found

    def _measure(
        self,
        model: EfficientNetLite0,
        glyphs: Mapping[str, Tensor],
        folder: Path,
        part: str,
        bar: "tqdm[Any]",
    ) -> Result:
        held = self._batches(glyphs[part], _VIEWS * len(glyphs[part]), _HELD_OUT)
        targets = logits_of(model, held)
        mirrored = logits_of(model, (x.flip(-1) for x in held))
        shares: dict[str, Any] = {"its own mirror image": agreement(mirrored, targets)}
        drawn = self._batches(glyphs["train"], self.fit, _FITTED)
        some = list(islice(drawn, _RECALIBRATION_BATCHES))
        for order in ("magnitude", "taylor"):
            net = self.variable(model, order, glyphs["train"])
            shares[f"{order}, one-shot"] = agreement_at_widths(net, held, targets)
            shares[f"{order}, recalibrated"] = agreement_recalibrated(net, some, held, targets)
            bar.update()
        # From here on what Taylor scores have ordered.
        unordered = logits_of(self.variable(model, None, glyphs["train"]), held)
        ordered = logits_of(net, held)
        self.fit_once(net, glyphs["train"], folder)
        shares["taylor, fitted"] = agreement_at_widths(net, held, targets)
        bar.update()
        for number in range(self.rounds):
            self.teach_once(net, glyphs["train"], folder, number)
            bar.update()
        shares["taylor, taught"] = agreement_at_widths(net, held, targets)
        return {
            **{"seed": self.seed, "settings": self.settings(), "measured on": part},
            "images": {"taught": self.images, "held out": len(targets)},
            "classes": len(targets.argmax(1).unique()),
            "agreement": shares,
            "full width": {
                "before ordering, the same bits": torch.equal(unordered, targets),
                "ordered, largest difference": float((ordered - targets).abs().max()),
                "ordered and taught, the same bits": torch.equal(logits_of(net, held), ordered),
            },
            "sizes": sizes(net, next(iter(held))[:1]),
        }

    def _batches(self, glyphs: Tensor, count: int, use: int, size: int = _BATCH) -> Batches:
        return Batches(glyphs, count, size, self.side, 1000 * self.seed + use)

    def variable(
        self, model: EfficientNetLite0, order: str | None, glyphs: Tensor
    ) -> EfficientNetLite0:
        """Return the network with variable axes inside its blocks.

        Args:
            model: Plain and pretrained.
            order: What units are sorted by: "magnitude", "taylor" or None.
            glyphs: Of images that units are scored on, at least two.
        """
        orders: dict[str | None, Order | None] = {
            **{None: None, "magnitude": "magnitude"},
            "taylor": Taylor(self._batches(glyphs, _SCORED, _TO_SCORE)),
        }
        net = make_variable(
            model,
            draw(glyphs[:2], _STRIDE, torch.Generator().manual_seed(self.seed)),
            exclude=[f"blocks.{number}.bn2" for number in range(len(model.blocks))],
            order=orders[order],
            conditioned=True,
            verify=order is None,  # which order units have makes no difference to the proof
        )
        assert isinstance(net, EfficientNetLite0)  # classes stay
        return net.eval()

    def fit_once(self, net: EfficientNetLite0, glyphs: Tensor, folder: Path) -> None:
        """Fit layers one by one to what they give at full width, if that was not done before."""
        file = self.file(folder, "fitted")
        if not _read(net, file):
            (x,) = self._batches(glyphs, self.fit, _FITTED, self.fit)
            (knob,) = width_controls(net)
            fit_layers(net, x, [{knob: position} for position in positions(net).values()])
            checkpoints.write(file, net.state_dict(), {})

    def teach_once(self, net: EfficientNetLite0, glyphs: Tensor, folder: Path, number: int) -> None:
        """Teach for one round, if that was not done before."""
        file = self.file(folder, f"round{number}")
        if not _read(net, file):
            last = number == self.rounds - 1
            count = self.images // 2 ** (number if last else number + 1)
            widths = list(positions(net).values())
            teach(
                _Outputs(net),
                self._batches(glyphs, count, _FIRST_ROUND + number),
                loss=self._loss,
                # As many as are listed: each of them in every step.
                sampler=Listed(widths),
                widths=len(widths),
                learning_rate=self.rate / 2**number,
                seed=self.seed,
            )
            checkpoints.write(file, net.state_dict(), {})

    def _loss(self, output: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Tensor:
        """Return the divergence of the classes, and how far blocks are from what they gave."""
        far = [
            F.mse_loss(output[name], wanted) / wanted.var()
            for name, wanted in target.items()
            if name != "logits"
        ]
        return divergence(output["logits"], target["logits"]) + self.hint * sum(far) / len(far)


class _Outputs(nn.Module):
    """A network that gives what its blocks give, too."""

    def __init__(self, net: EfficientNetLite0) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.net.outputs(x)


def _read(net: nn.Module, file: Path) -> bool:
    """Take over what was kept, if it was; full width is to stay as it is."""
    if not file.is_file():
        return False
    kept = checkpoints.read(file)[0]
    shared = {name: each for name, each in net.state_dict().items() if ".own_" not in name}
    if not all(name in kept and torch.equal(kept[name], each) for name, each in shared.items()):
        raise ValueError(
            f"{file} must hold this network, taught, got one of other weights at full width; "
            "delete it, and it is taught again"
        )
    net.load_state_dict(kept)
    return True
