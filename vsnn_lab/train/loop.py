"""The moving parts of a training run: model, optimizer, learning rate and device."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, Protocol

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from vsnn_lab._basics.checks import check_pair, short_repr
from vsnn_lab.data.batches import seed_from
from vsnn_lab.measure.ablation import mean_metric
from vsnn_lab.train.broadcasting import BroadcastWarning
from vsnn_lab.train.compiled import StepCompiler
from vsnn_lab.train.recipes import Draws, Recipe
from vsnn_lab.train.recipes.distillation import soft_target_function
from vsnn_lab.train.recipes.step import Loss, Step
from vsnn_lab.widths import WidthControl, at_width, turn_together

Pair = tuple[Tensor, Tensor]


class Batches(Protocol):
    """Pairs of tensors (inputs, targets) that can be iterated over again, and are of a length."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Pair]: ...


Precision = Literal["full", "bf16"]
PRECISIONS = ("full", "bf16")


@dataclass(frozen=True)
class StepOptions:
    """How gradients become a step of the optimizer.

    Attributes:
        accumulate: Batches whose gradients one step is made of.
        clip: Largest norm of all gradients together, or None.
        precision: What forwards are computed in.
        compile: Whether the model's calls are compiled.
    """

    accumulate: int = 1
    clip: float | None = None
    precision: Precision = "full"
    compile: bool = False


_NO_MORE = object()  # a recipe may yield anything
# The running loss is read from the device this often, because each reading waits for it.
_STEPS_BETWEEN_READINGS = 20


class Loop:
    """The moving parts of a run: model, optimizer, learning rate and device."""

    def __init__(
        self,
        model: nn.Module,
        controls: Sequence[WidthControl],
        knobs: Draws,
        recipe: Recipe | None,
        loss: Loss,
        optimizer: torch.optim.Optimizer,
        rates: torch.optim.lr_scheduler.LRScheduler,
        epochs: int,
        steps: int,
        how: StepOptions,
    ) -> None:
        # Imported here, since only training needs it.
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs

        # Weights of widths that a step leaves out have no gradient in it.
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        self.accelerator = Accelerator(kwargs_handlers=[unused])
        # torch's own losses refuse what they would broadcast, or warn.
        known = soft_target_function(loss) is not None
        self.controls, self.knobs = controls, knobs
        self.loss = loss if known else BroadcastWarning(loss)
        self.epochs, self.steps, self.how = epochs, steps, how
        self._gathered = 0  # batches whose gradients no step was made of yet
        self.validation_losses: dict[str, float] = {}
        step_loss = _StepLoss(model, recipe, how.precision)
        self.step_loss, self.optimizer = self.accelerator.prepare(step_loss, optimizer)
        self.state = (model, optimizer, rates)
        self.compiler: StepCompiler | None = None
        if how.compile:
            where = self.accelerator.device, self.accelerator.num_processes
            self.compiler = StepCompiler(model, controls, *where)
        # Gradients of an interrupted step, or of the caller, are not part of the first step.
        self.optimizer.zero_grad()

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the model's weights."""
        return {name: value.clone() for name, value in self.state[0].state_dict().items()}

    def bar(self, done: int, folder: Path | None, progress: bool) -> "tqdm[NoReturn]":
        """Return the progress bar over all steps, those of the ``done`` epochs behind it."""
        show = progress and self.accelerator.is_main_process
        if show and done:
            tqdm.write(f"{done} of {self.epochs} epochs are already in {folder}")
        return tqdm(
            total=self.epochs * self.steps,
            initial=done * self.steps,
            disable=not show or done == self.epochs,
        )

    def train(self, batches: Batches, seed: int, epoch: int, bar: "tqdm[NoReturn]") -> float:
        """Train one epoch; return its mean loss over samples and their widths."""
        if hasattr(batches, "set_epoch"):
            batches.set_epoch(epoch)
        self.step_loss.train()
        total, samples = torch.zeros((), device=self.accelerator.device), 0
        quiet = nullcontext() if self.compiler is None else self.compiler.quiet()
        with seeded_rng(seed_from(seed, epoch), self.accelerator.device), quiet:
            generator = torch.Generator().manual_seed(seed_from(seed, epoch, 1))
            for step, batch in enumerate(batches):
                x, y = check_pair("data", batch)
                # Batches may turn out to be more than their length says.
                progress = min(1.0, (epoch + step / self.steps) / self.epochs)
                value = self._step(x, y, generator, progress)
                total += value * len(x)
                samples += len(x)
                self._gathered += 1
                if self._gathered == self.how.accumulate:
                    self._update()
                if step % _STEPS_BETWEEN_READINGS == 0:
                    bar.set_postfix({"loss": value.item()} | self.validation_losses, refresh=False)
                bar.update()
            if self._gathered:  # what an epoch ends with
                self._update()
        if not samples:
            raise ValueError("data must hold at least one sample in every epoch, got none")
        mean = total.item() / samples
        if not math.isfinite(mean):
            raise FloatingPointError(
                f"loss must stay finite, got {mean} in epoch {epoch + 1}; try a smaller lr"
            )
        return mean

    def _step(self, x: Tensor, y: Tensor, generator: torch.Generator, progress: float) -> Tensor:
        processes, device = self.accelerator.num_processes, self.accelerator.device
        samples = range(self.accelerator.process_index, len(x), processes)
        x, y = (part[samples.start :: processes].to(device) for part in (x, y))
        step = Step(self.state[0], x, y, self.loss, generator, progress, samples, self.knobs)
        # Several processes exchange gradients once a step, which takes one backward.
        with nullcontext() if self.compiler is None else self.compiler.step():
            value: Tensor = self.step_loss(step, self._backward if processes == 1 else None)
        if processes > 1:
            self._backward(value)
        return value.detach()

    def _update(self) -> None:
        """Make a step of the optimizer of the gradients gathered."""
        if self.how.clip is not None:
            self.accelerator.clip_grad_norm_(self.state[0].parameters(), self.how.clip)
        self.optimizer.step()
        self.state[2].step()
        self.optimizer.zero_grad()
        self._gathered = 0

    def _backward(self, value: Any) -> None:
        number = isinstance(value, Tensor) and value.dim() == 0 and value.is_floating_point()
        if not (number and value.requires_grad):
            raise TypeError(
                f"loss must return a scalar tensor that depends on the output, "
                f"got {short_repr(value)}"
            )
        self.accelerator.backward(value / self.how.accumulate)

    def validate(self, held_out: Pair | None, watched: dict[str, int]) -> dict[str, float]:
        """Return the held-out loss at the joint positions watched."""
        if held_out is None:
            return {}
        settings: dict[str, AbstractContextManager[Any]] = {"full": nullcontext()}
        if self.controls:
            settings = {
                name: at_width(self.state[0], turn_together(self.controls, width))
                for name, width in watched.items()
            }
        values = mean_metric(
            self.state[0], self.loss, held_out, list(settings.values()), progress=False
        )
        return {name: float(value) for name, value in zip(settings, values, strict=True)}


class _StepLoss(nn.Module):
    """The loss of a step in one forward, which is what accelerate wraps for many devices."""

    def __init__(
        self, model: nn.Module, recipe: Recipe | None, precision: Precision = "full"
    ) -> None:
        super().__init__()
        self.model, self.recipe, self.precision = model, recipe, precision

    def forward(self, step: Step, backward: Callable[[Tensor], None] | None = None) -> Tensor:
        """Return the loss of a step, by a recipe or, without one, plainly.

        ``backward`` is called with each part of it as soon as there is one.
        """
        losses: list[Tensor] = []
        # Whatever width the caller's own `with` block has set.
        with nullcontext() if self.recipe is None else step.turn(step.steps):
            recipe = _plain_losses if self.recipe is None else self.recipe.losses
            parts = recipe(step)
            # Each part is computed in the precision asked for; its backward follows from that.
            while (part := self._next_part(parts, step.x.device.type)) is not _NO_MORE:
                if backward is not None:
                    backward(part)
                    part = part.detach()
                losses.append(part)
        if not losses:
            raise ValueError(f"recipe must yield a loss, got none of {self.recipe!r}")
        return sum(losses[1:], losses[0])

    def _next_part(self, parts: Iterator[Tensor], device: str) -> Any:
        if self.precision == "full":
            return next(parts, _NO_MORE)
        with torch.autocast(device, torch.bfloat16):
            return next(parts, _NO_MORE)


def _plain_losses(step: Step) -> Iterator[Tensor]:
    yield step.loss(step.model(step.x), step.y)


@contextmanager
def seeded_rng(seed: int, device: torch.device) -> Iterator[None]:
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
