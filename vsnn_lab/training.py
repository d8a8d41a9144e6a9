"""Train a network for every width: one call, a progress bar, and nothing lost when it stops."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from vsnn_lab._checks import check_int
from vsnn_lab.ablation import mean_metric
from vsnn_lab.data import TensorBatches, seed_from, split_validation
from vsnn_lab.forward import forward_at_widths
from vsnn_lab.resume import Record
from vsnn_lab.samplers import Sampler, Stratified
from vsnn_lab.widths import WidthControl, at_width, single_control, width_controls

if TYPE_CHECKING:
    import pandas as pd

Loss = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]
Batches = Iterable[Pair]

# The running loss is read from the device this often, because each reading waits for it.
_STEPS_BETWEEN_READINGS = 20


@dataclass
class History:
    """What `fit` did, epoch by epoch.

    Attributes:
        epochs: One dict for each finished epoch: ``epoch`` (from 1), ``train_loss`` (mean over the
            sampled widths), ``full`` and ``narrow`` (validation loss at full width and at
            ``narrow_width``; absent without validation) and ``seconds``.
        narrow_width: The narrow knob position watched; None for a plain network.
        best_epoch: The epoch whose weights the model holds now: the one of lowest mean of
            ``full`` and ``narrow``; without validation the last.
        resumed_at: Finished epochs that were taken from the checkpoint.
        folder: Where the checkpoints are; None if none were written.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    narrow_width: int | None = None
    best_epoch: int = 0
    resumed_at: int = 0
    folder: Path | None = None

    def to_frame(self) -> "pd.DataFrame":
        """Return a pandas frame with one row an epoch."""
        import pandas as pd

        return pd.DataFrame(self.epochs)

    def progress(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the history."""
        return {"epochs": self.epochs, "best_epoch": self.best_epoch}

    def add(self, row: dict[str, float]) -> bool:
        """Append a finished epoch; return whether it is the best so far."""
        self.epochs.append(row)
        scores = [_score(row) for row in self.epochs]
        best = scores[-1] <= min(scores)
        if best:
            self.best_epoch = len(self.epochs)
        return best


def _score(row: dict[str, float]) -> float:
    watched = [row[name] for name in ("full", "narrow") if name in row]
    # Without validation every epoch counts as better than the one before.
    return sum(watched) / len(watched) if watched else -row["epoch"]


def fit(
    model: nn.Module,
    data: Pair | Batches,
    loss: Loss,
    *,
    epochs: int = 10,
    lr: float = 2e-3,
    batch_size: int = 256,
    sampler: Sampler | None = None,
    validation: float | Pair | None = 0.1,
    narrow: int | None = None,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> History:
    """Train ``model`` in place, each sample at a width of its own.

    Adam with a one-cycle learning rate. A network with one knob trains at the widths that
    ``sampler`` draws; one without trains plainly. The device is accelerate's choice: a GPU where
    there is one, several under ``accelerate launch``, else the CPU. The model ends with the best
    epoch's weights. torch's global random state is the same afterwards.

    With ``checkpoint``, every finished epoch is on disk. The same call goes on after the last
    finished epoch when it was interrupted or killed, and returns at once when it had ended;
    different data, settings or initial weights get a folder of their own. An interrupted model is
    put back to its last finished epoch.

    Args:
        model: A module with one knob, or none.
        data: A pair of tensors (inputs, targets), reshuffled every epoch; or batches of such
            pairs, which can be iterated over again, have a length and, if they have
            ``set_epoch``, depend on the epoch.
        loss: Mean loss of a batch, ``loss(output, target) -> scalar``.
        epochs: Passes over the data.
        lr: Peak learning rate.
        batch_size: Samples a step, for a pair of tensors.
        sampler: Draws widths; by default ``Stratified(4)``.
        validation: Share of a pair of tensors that is held out, a pair of its own, or None.
        narrow: Knob position watched beside full width; by default an eighth of it.
        seed: Determines validation split, shuffling, widths, and the model's own random layers.
        checkpoint: Folder for checkpoints in safetensors; None writes none.
        progress: Show a progress bar.

    Returns:
        Losses by epoch.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If it lies outside its range, the model has several knobs, or a checkpoint is
            damaged.
        OSError: If the checkpoint folder cannot be written.
    """
    _check(model, loss, epochs, lr, sampler)
    seed = check_int("seed", seed, 0)
    control = single_control(model) if width_controls(model) else None
    sampler = sampler or Stratified(4)
    batches, held_out = _split(data, validation, batch_size, seed)
    watched = _watched(control, narrow)
    history = History(narrow_width=watched.get("narrow"))
    record = None
    if checkpoint is not None:
        asked = {"epochs": epochs, "lr": lr, "seed": seed, "sampler": sampler, "loss": loss}
        asked |= {"batches": batches, "held_out": held_out, "watched": watched}
        record = Record.find(Path(checkpoint), model, asked)
        history.folder = record.folder

    loop = _Loop(model, control, sampler, loss, lr, epochs, len(batches))
    best = loop.weights()
    if record and (found := record.restore(*loop.state)):
        history.epochs, history.best_epoch = found["epochs"], found["best_epoch"]
        history.resumed_at = len(history.epochs)
        best = record.best()
    with loop.kept_mode(), loop.bar(history, progress) as bar:
        try:
            for epoch in range(history.resumed_at, epochs):
                bar.set_description(f"epoch {epoch + 1}/{epochs}")
                started = time.perf_counter()
                row = {"epoch": epoch + 1, "train_loss": loop.train(batches, seed, epoch, bar)}
                row |= loop.validate(held_out, watched)
                row["seconds"] = time.perf_counter() - started
                bar.set_postfix({name: row[name] for name in ("full", "narrow") if name in row})
                if history.add(row):
                    best = loop.weights()
                if record and loop.accelerator.is_main_process:
                    record.save(*loop.state, best, history.progress())
        except BaseException as reason:
            if record:
                loop.roll_back(record)
                if isinstance(reason, KeyboardInterrupt):
                    bar.write(
                        f"stopped; {len(history.epochs)} of {epochs} epochs are in "
                        f"{record.folder}, and the same call goes on from there"
                    )
            raise
    model.load_state_dict(best)
    return history


def _check(model, loss, epochs, lr, sampler) -> None:
    check_int("epochs", epochs)
    if isinstance(lr, bool) or not isinstance(lr, int | float):
        raise TypeError(f"lr must be a number above 0, got {lr!r}")
    if not 0 < lr < math.inf:
        raise ValueError(f"lr must be a finite number above 0, got {lr}")
    for name, value in {"loss": loss, "sampler": sampler or Stratified(4)}.items():
        if not callable(value):
            raise TypeError(f"{name} must be callable, got {value!r}")
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {model!r}")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("model must have a parameter that requires a gradient, got none")


def _split(
    data: Pair | Batches, validation: float | Pair | None, batch_size: int, seed: int
) -> tuple[Batches, Pair | None]:
    """Return training batches and the held-out pair."""
    if not (isinstance(data, tuple) and all(isinstance(part, Tensor) for part in data)):
        if not (hasattr(data, "__iter__") and hasattr(data, "__len__")):
            raise TypeError(
                "data must be a pair of tensors, or batches with a length that can be iterated "
                f"over again, got {type(data).__name__}"
            )
        if isinstance(validation, float):
            raise ValueError(
                "validation must be a pair of tensors or None when data are batches, got "
                f"{validation}; a share can only be split off a pair of tensors"
            )
        return data, _pair(validation)
    if len(data) != 2:
        raise ValueError(f"data must be a pair (inputs, targets), got {len(data)} tensors")
    if isinstance(validation, float):
        data, validation = split_validation(*data, validation, seed=seed)
    return TensorBatches(*data, batch_size=batch_size, seed=seed), _pair(validation)


def _pair(validation: Pair | None) -> Pair | None:
    if validation is None:
        return None
    if isinstance(validation, tuple) and [isinstance(v, Tensor) for v in validation] == [True] * 2:
        return validation
    raise TypeError(
        "validation must be a share in (0, 1), a pair of tensors (inputs, targets) or None, got "
        f"{validation!r}"
    )


def _watched(control: WidthControl | None, narrow: int | None) -> dict[str, int]:
    """Return the knob positions that validation measures, by name."""
    if control is None:
        return {}
    narrow = max(1, control.steps // 8) if narrow is None else narrow
    return {"full": control.steps, "narrow": check_int("narrow", narrow, 1, control.steps)}


class _Loop:
    """The moving parts of a run: model, optimizer, learning rate and device."""

    def __init__(
        self,
        model: nn.Module,
        control: WidthControl | None,
        sampler: Sampler,
        loss: Loss,
        lr: float,
        epochs: int,
        steps: int,
    ) -> None:
        # Imported here because it takes longer than the rest of the package together.
        from accelerate import Accelerator

        self.accelerator = Accelerator()
        self.control, self.sampler, self.loss = control, sampler, loss
        self.epochs, self.steps = epochs, steps
        optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        # One more than is taken, since the schedule also moves after the last step.
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, lr, total_steps=epochs * steps + 1
        )
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.state = (model, optimizer, schedule)

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the model's weights."""
        return {name: value.clone() for name, value in self.state[0].state_dict().items()}

    @contextmanager
    def kept_mode(self) -> Iterator[None]:
        """Put the model back into training or evaluation mode, whichever it was in."""
        training = self.model.training
        try:
            yield
        finally:
            self.model.train(training)

    def bar(self, history: History, progress: bool) -> tqdm:
        """Return the progress bar over all steps, the finished ones behind it."""
        done = history.resumed_at
        show = progress and self.accelerator.is_main_process
        if show and done:
            tqdm.write(f"{done} of {self.epochs} epochs are already in {history.folder}")
        return tqdm(
            total=self.epochs * self.steps,
            initial=done * self.steps,
            disable=not show or done == self.epochs,
        )

    def train(self, batches: Batches, seed: int, epoch: int, bar: tqdm) -> float:
        """Train one epoch; return its mean loss over samples and their widths."""
        if hasattr(batches, "set_epoch"):
            batches.set_epoch(epoch)
        self.model.train()
        total, samples = torch.zeros((), device=self.accelerator.device), 0
        with _own_randomness(seed_from(seed, epoch), self.accelerator.device):
            generator = torch.Generator().manual_seed(seed_from(seed, epoch, 1))
            for step, (x, y) in enumerate(batches):
                value = self._step(x, y, generator)
                total += value * len(x)
                samples += len(x)
                if step % _STEPS_BETWEEN_READINGS == 0:
                    bar.set_postfix(loss=f"{value.item():.4g}", refresh=False)
                bar.update()
        mean = total.item() / samples
        if not math.isfinite(mean):
            raise FloatingPointError(
                f"loss must stay finite, got {mean} in epoch {epoch + 1}; try a smaller lr"
            )
        return mean

    def _step(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        mine = slice(self.accelerator.process_index, None, self.accelerator.num_processes)
        inputs, targets = (part[mine].to(self.accelerator.device) for part in (x, y))
        if self.control is None:
            output = self.model(inputs)
        else:
            # Drawn for the whole batch, so that the widths do not depend on how many share it.
            widths = self.sampler(len(x), self.control.steps, generator)
            output = forward_at_widths(self.model, inputs, widths[mine])
        value = self.loss(output, targets)
        self.accelerator.backward(value)
        self.optimizer.step()
        self.state[2].step()
        self.optimizer.zero_grad()
        return value.detach()

    def validate(self, held_out: Pair | None, watched: dict[str, int]) -> dict[str, float]:
        """Return the held-out loss at the widths watched."""
        if held_out is None:
            return {}
        settings = {name: at_width(self.control, width) for name, width in watched.items()}
        settings = settings or {"full": nullcontext()}
        values = mean_metric(
            self.state[0], self.loss, held_out, list(settings.values()), progress=False
        )
        return {name: float(value) for name, value in zip(settings, values, strict=True)}

    def roll_back(self, record: Record) -> None:
        """Leave the model with whole epochs only, so that the same call finds its run again."""
        record.restore(*self.state)


@contextmanager
def _own_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch for the model's own random layers, and give its state back afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
