"""The moving parts of a training run: model, optimizer, learning rate and device."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from vsnn_lab._basics.checks import check_pair
from vsnn_lab.data.batches import seed_from
from vsnn_lab.measure.ablation import mean_metric
from vsnn_lab.train.recipes import Recipe
from vsnn_lab.widths import WidthControl, at_width

Loss = Callable[[Tensor, Tensor], Tensor]
Pair = tuple[Tensor, Tensor]
Batches = Iterable[Pair]

# The running loss is read from the device this often, because each reading waits for it.
_STEPS_BETWEEN_READINGS = 20


class Loop:
    """The moving parts of a run: model, optimizer, learning rate and device."""

    def __init__(
        self,
        model: nn.Module,
        control: WidthControl | None,
        recipe: Recipe,
        loss: Loss,
        optimizer: torch.optim.Optimizer,
        rates: torch.optim.lr_scheduler.LRScheduler,
        epochs: int,
        steps: int,
    ) -> None:
        # Imported here, since only training needs it.
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs

        # Weights of widths that a step leaves out have no gradient in it.
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        self.accelerator = Accelerator(kwargs_handlers=[unused])
        self.control, self.recipe, self.loss = control, recipe, loss
        self.epochs, self.steps = epochs, steps
        self.shown: dict[str, float] = {}
        step = _Step(model, control, recipe, loss)
        self.model, self.optimizer = self.accelerator.prepare(step, optimizer)
        self.state = (model, optimizer, rates)
        # Gradients of an interrupted step, or of the caller, are not part of the first step.
        self.optimizer.zero_grad()

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the model's weights."""
        return {name: value.clone() for name, value in self.state[0].state_dict().items()}

    def bar(self, done: int, folder: Path | None, progress: bool) -> tqdm:
        """Return the progress bar over all steps, those of the ``done`` epochs behind it."""
        show = progress and self.accelerator.is_main_process
        if show and done:
            tqdm.write(f"{done} of {self.epochs} epochs are already in {folder}")
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
            for step, batch in enumerate(batches):
                x, y = check_pair("data", batch)
                value = self._step(x, y, generator, self._progress(epoch, step))
                total += value * len(x)
                samples += len(x)
                if step % _STEPS_BETWEEN_READINGS == 0:
                    bar.set_postfix({"loss": value.item()} | self.shown, refresh=False)
                bar.update()
        if not samples:
            raise ValueError("data must hold at least one sample in every epoch, got none")
        mean = total.item() / samples
        if not math.isfinite(mean):
            raise FloatingPointError(
                f"loss must stay finite, got {mean} in epoch {epoch + 1}; try a smaller lr"
            )
        return mean

    def _progress(self, epoch: int, step: int) -> float:
        """Return how much of the training is behind a step, in [0, 1]."""
        # Batches may turn out to be more than their length says.
        return min(1.0, (epoch + step / self.steps) / self.epochs)

    def _step(self, x: Tensor, y: Tensor, generator: torch.Generator, progress: float) -> Tensor:
        mine = slice(self.accelerator.process_index, None, self.accelerator.num_processes)
        inputs, targets = (part[mine].to(self.accelerator.device) for part in (x, y))
        widths = None
        if self.control is not None:
            # Drawn for the whole batch, so that the widths do not depend on how many share it.
            drawn = self.recipe.draw(len(x), self.control.steps, generator, progress)
            widths = drawn[:, mine]
        # Several processes exchange gradients once a step, which takes one backward.
        alone = self.accelerator.num_processes == 1
        value = self.model(inputs, targets, widths, progress, self._backward if alone else None)
        if not alone:
            self._backward(value)
        self.optimizer.step()
        self.state[2].step()
        self.optimizer.zero_grad()
        return value.detach()

    def _backward(self, value: Tensor) -> None:
        self.accelerator.backward(_scalar(value))

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


def _scalar(value: Any) -> Tensor:
    """Return what the loss gave, if a gradient can start from it."""
    number = isinstance(value, Tensor) and value.dim() == 0 and value.is_floating_point()
    if not (number and value.requires_grad):
        raise TypeError(
            f"loss must return a scalar tensor that depends on the output, got {value!r}"
        )
    return value


class _Step(nn.Module):
    """From a batch to its loss in one forward, which is what accelerate wraps for many devices."""

    def __init__(
        self, model: nn.Module, control: WidthControl | None, recipe: Recipe, loss: Loss
    ) -> None:
        super().__init__()
        self.model, self.control, self.recipe, self.loss = model, control, recipe, loss

    def forward(
        self,
        x: Tensor,
        y: Tensor,
        widths: Tensor | None,
        progress: float,
        backward: Callable[[Tensor], None] | None = None,
    ) -> Tensor:
        """Return the loss of a batch, plainly or at its widths.

        ``backward`` is called with each part of it as soon as there is one.
        """
        total = 0.0
        # Whatever width the caller's own `with` block has set.
        with nullcontext() if self.control is None else at_width(self.control, self.control.steps):
            for part in self._parts(x, y, widths, progress):
                if backward is not None:
                    backward(part)
                    part = part.detach()
                total = total + part
        return total

    def _parts(
        self, x: Tensor, y: Tensor, widths: Tensor | None, progress: float
    ) -> Iterator[Tensor]:
        if self.control is None:
            yield self.loss(self.model(x), y)
        else:
            yield from self.recipe.losses(self.model, x, y, widths, self.loss, progress)


@contextmanager
def _own_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's CPU generator and the device's, and give their states back afterwards.

    Not by ``torch.manual_seed``, which seeds all other devices too.
    """
    others = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices=others, device_type=device.type):
        torch.default_generator.manual_seed(seed)
        if others:
            # That of the current device, which accelerate has made this one.
            torch.get_device_module(device).manual_seed(seed)
        yield
