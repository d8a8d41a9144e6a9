"""Train a network for every width: one call, a progress bar, and nothing lost when it stops."""

import math
import time
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from vsnn_lab._basics.checks import (
    check_callable,
    check_choice,
    check_flag,
    check_int,
    check_module,
    check_number,
    check_path,
    short_repr,
)
from vsnn_lab.data.batches import TensorBatches, split_validation
from vsnn_lab.measure.evaluation import preserve_mode
from vsnn_lab.samplers import Sampler
from vsnn_lab.train.history import History
from vsnn_lab.train.identification import Identity
from vsnn_lab.train.loop import PRECISIONS, Batches, Loop, Pair, Precision, StepOptions
from vsnn_lab.train.recipes import DRAWS, RECIPES, Distilled, Draws, Recipe, Sampled
from vsnn_lab.train.recipes.base import check_draws
from vsnn_lab.train.recipes.step import Loss
from vsnn_lab.train.run_checkpoint import RunCheckpoint
from vsnn_lab.train.schedules import SCHEDULES, Schedule
from vsnn_lab.widths import knob_layout, most_steps, width_controls


def fit(
    model: nn.Module,
    data: Pair | Batches,
    loss: Loss,
    *,
    epochs: int = 10,
    lr: float = 2e-3,
    schedule: Schedule = "one-cycle",
    batch_size: int = 256,
    sampler: Sampler | None = None,
    recipe: Recipe | str | None = None,
    validation: float | Pair | None = 0.1,
    narrow: int | None = None,
    knobs: Draws = "joint",
    accumulate: int = 1,
    clip: float | None = None,
    precision: Precision = "full",
    compile: bool = False,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> History:
    """Train ``model`` in place, each sample at a width of its own.

    Adam, by default with a one-cycle learning rate (Smith & Topin 2018). A network with knobs
    trains at full width and at the narrow widths that its recipe draws; one without trains
    plainly. Of several knobs a recipe draws one joint position for all, or one for each. The device
    is accelerate's choice: a GPU where there is one, several under ``accelerate launch``, else the
    CPU. The model ends with the best epoch's weights, on the device where it was. torch's global
    random state is the same afterwards.

    With ``checkpoint``, every finished epoch is on disk. The same call goes on after the last
    finished epoch when it was interrupted or killed, and returns at once when it had ended;
    different data, settings or initial weights get a folder of their own. An interrupted model is
    put back to its last finished epoch. Data are told apart by the values and the code that they
    hold; those that reach further, such as a data set that reads files, cannot be: a warning says
    so, and each call trains anew. Such a data set may have an attribute ``data_fingerprint``, a
    string that changes with what it gives, and is then taken at its word.

    Args:
        model: A module with one knob, several or none.
        data: A pair of tensors (inputs, targets), reshuffled every epoch; or batches of such
            pairs, which can be iterated over again, have a length and, if they have
            ``set_epoch``, depend on the epoch.
        loss: Mean loss of a batch, ``loss(output, target) -> scalar``.
        epochs: Passes over the data.
        lr: Learning rate; with one cycle its peak.
        schedule: "one-cycle", "cosine" (up over a twentieth of the steps, then down by half a
            cosine) or "constant".
        batch_size: Samples a step, for a pair of tensors.
        sampler: Draws widths, one a sample, for the method as published.
        recipe: In place of a sampler, how a batch becomes a loss: one of `train.recipes`, or
            "triangular", "stratified", "sandwich" or "distilled". By default `Distilled`.
        validation: Share of a pair of tensors that is held out, a pair of its own, or None.
        narrow: Knob position watched beside full width; by default an eighth of it. With several
            knobs a joint one, see `joint_positions`.
        knobs: How widths are drawn for several knobs: "joint" turns all of them together, to the
            same share, as one slider would; "independent" draws for each by itself, so that a
            narrow knob meets wide ones. All of them at full width at once are rare then, but for
            recipes that train full width in every step.
        accumulate: Batches whose gradients are summed up, as their mean, for one step of Adam.
        clip: Largest norm of all gradients together; longer ones are shortened to it.
        precision: "full", or "bf16" for forwards in bfloat16 where torch's autocast deems it safe,
            which pays on a GPU; weights and their updates stay as they are.
        compile: Whether the model's calls in a step and their backward run as graphs of
            ``torch.compile``, made by a C++ compiler or, on a GPU, Triton. A graph serves many
            widths; 16 are made at most, and the history counts them. What has none runs as ever,
            with a warning that says why. Keys and, to rounding, numbers stay the same. On a CPU it
            does not pay: the recommended step of an MLP 784-256²-10 takes 0.95 to 1.03 times the
            processor time that it takes without, after 20 s or more of compiling.
        seed: Determines validation split, shuffling, widths, and the model's own random layers.
        checkpoint: Folder for checkpoints in safetensors; None writes none.
        progress: Show a progress bar.

    Returns:
        Losses by epoch.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If it lies outside its range, the recipe cannot draw for each knob by itself,
            or a checkpoint is damaged.
        OSError: If the checkpoint folder cannot be written.
    """
    _check_training(model, loss, lr, schedule)
    recipe = _choose_recipe(recipe, sampler)
    progress = check_flag("progress", progress)
    folder = None if checkpoint is None else check_path("checkpoint", checkpoint)
    epochs = check_int("epochs", epochs)
    seed = check_int("seed", seed, 0)
    knobs = cast("Draws", check_choice("knobs", knobs, DRAWS))
    check_int("accumulate", accumulate)
    if clip is not None and not check_number("clip", clip, 0):
        raise ValueError(f"clip must be above 0, or None, got {clip}")
    check_choice("precision", precision, PRECISIONS)
    compile = check_flag("compile", compile)
    if compile and hasattr(model, "_orig_mod"):
        raise ValueError("compile must be False for what torch.compile has given, got True")
    controls = width_controls(model)
    if controls:
        check_draws(recipe, controls, knobs)
    else:
        recipe = None  # It trains plainly.
    batches, held_out = _split_data(data, validation, batch_size, seed)
    watched = {}  # the joint positions that validation measures
    if controls:
        watched["full"] = steps = most_steps(controls)
        narrow = max(1, steps // 8) if narrow is None else narrow
        watched["narrow"] = check_int("narrow", narrow, 1, steps)
    history = History(narrow_width=watched.get("narrow"))
    run_checkpoint = None
    if folder is not None:
        settings: dict[str, Any] = {"epochs": epochs, "lr": lr, "schedule": schedule, "seed": seed}
        settings |= {"recipe": recipe, "loss": loss, "watched": watched}
        if len(controls) > 1:
            settings["knobs"] = [knobs, knob_layout(model)]
        # Named only where they are asked for, so that earlier runs are found again.
        settings |= {
            name: value
            for name, value, usual in (
                *(("accumulate", accumulate, 1), ("clip", clip, None)),
                ("precision", precision, "full"),
            )
            if value != usual
        }
        identity = Identity.find(batches)
        identity.warn(stacklevel=2)
        settings |= {"batches": identity.description, "held_out": held_out}
        run_checkpoint = RunCheckpoint.find(folder, model, settings)
        history.folder = run_checkpoint.folder
        run_checkpoint.folder.mkdir(parents=True, exist_ok=True)

    device = next(model.parameters()).device
    kinds = {(weight.device.type, weight.dtype) for weight in model.parameters()}
    # All weights updated in one call take a third of the time.
    fused = all(kind in ("cpu", "cuda") and dtype.is_floating_point for kind, dtype in kinds)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=fused)
    rates = SCHEDULES[schedule](optimizer, epochs * math.ceil(len(batches) / accumulate))
    how = StepOptions(accumulate, clip, precision, compile)
    loop = Loop(model, controls, knobs, recipe, loss, optimizer, rates, epochs, len(batches), how)
    best = initial = loop.weights()
    if run_checkpoint and (found := run_checkpoint.restore(*loop.state)):
        history.epochs, history.best_epoch = found["epochs"], found["best_epoch"]
        history.resumed_at = len(history.epochs)
        best = run_checkpoint.best()
    with preserve_mode(model), loop.bar(history.resumed_at, history.folder, progress) as bar:
        try:
            for epoch in range(history.resumed_at, epochs):
                bar.set_description(f"epoch {epoch + 1}/{epochs}")
                started = time.perf_counter()
                row = {"epoch": epoch + 1, "train_loss": loop.train(batches, seed, epoch, bar)}
                loop.validation_losses = loop.validate(held_out, watched)
                row |= loop.validation_losses
                row["seconds"] = time.perf_counter() - started
                bar.set_postfix(loop.validation_losses)
                if loop.compiler:
                    history.graphs = loop.compiler.graphs
                if history.add(row):
                    best = loop.weights()
                if run_checkpoint and loop.accelerator.is_main_process:
                    done = {"epochs": history.epochs, "best_epoch": history.best_epoch}
                    run_checkpoint.save(*loop.state, best, done)
        except BaseException as reason:
            if run_checkpoint:
                if run_checkpoint.restore(*loop.state) is None:
                    model.load_state_dict(initial)
                if isinstance(reason, KeyboardInterrupt) and not bar.disable:
                    onward = "" if identity.unknown else ", and the same call goes on from there"
                    bar.write(
                        f"stopped; {len(history.epochs)} of {epochs} epochs are in "
                        f"{run_checkpoint.folder}{onward}"
                    )
            raise
        finally:
            model.to(device)
            if run_checkpoint and batches is data:
                identity.note_as_read()
    model.load_state_dict(best)
    return history


def _check_training(model: Any, loss: Any, lr: Any, schedule: Any) -> None:
    if isinstance(lr, bool) or not isinstance(lr, int | float):
        raise TypeError(f"lr must be a number above 0, got {short_repr(lr)}")
    if not 0 < lr < math.inf:
        raise ValueError(f"lr must be a finite number above 0, got {lr}")
    check_choice("schedule", schedule, tuple(SCHEDULES))
    check_callable("loss", loss, "callable on (output, target)")
    if not any(weight.requires_grad for weight in check_module("model", model).parameters()):
        raise ValueError("model must have a parameter that requires a gradient, got none")


def _choose_recipe(recipe: Recipe | str | None, sampler: Sampler | None) -> Recipe:
    if sampler is not None:
        check_callable("sampler", sampler, "callable or None")
    if recipe is not None and sampler is not None:
        raise ValueError(
            f"sampler must be None beside a recipe, got {short_repr(sampler)}; it has its own"
        )
    if recipe is None:
        return Distilled() if sampler is None else Sampled(sampler)
    if isinstance(recipe, str):
        return RECIPES[check_choice("recipe", recipe, tuple(RECIPES))]
    if not isinstance(recipe, Recipe):
        hint = f"; sampler={short_repr(recipe)} draws widths" if callable(recipe) else ""
        raise TypeError(f"recipe must be a recipe or None, got {short_repr(recipe)}{hint}")
    return recipe


def _split_data(
    data: Any, validation: Any, batch_size: int, seed: int
) -> tuple[Batches, Pair | None]:
    """Return training batches and the held-out pair."""
    if not (isinstance(data, tuple) and all(isinstance(part, Tensor) for part in data)):
        if isinstance(data, tuple | list) and any(hasattr(part, "dtype") for part in data):
            raise TypeError(
                "data must be a tuple of two tensors (inputs, targets), or batches of such pairs, "
                f"got {short_repr(data)}; torch.as_tensor makes a tensor of an array"
            )
        if isinstance(data, Tensor) or not (hasattr(data, "__iter__") and hasattr(data, "__len__")):
            raise TypeError(
                "data must be a pair of tensors, or batches with a length that can be iterated "
                f"over again, got {type(data).__name__}"
            )
        if isinstance(validation, float):
            raise ValueError(
                "validation must be a pair of tensors or None when data are batches, got "
                f"{validation}; a share can only be split off a pair of tensors"
            )
        if not len(data):
            raise ValueError("data must hold at least one batch, got none")
        return data, _check_validation(validation)
    if len(data) != 2:
        raise ValueError(f"data must be a pair (inputs, targets), got {len(data)} tensors")
    _check_rows("data", data)
    x, y = data
    if isinstance(validation, float):
        if not 0 < validation < 1:
            raise ValueError(
                f"validation must be a share between 0 and 1, both excluded, got {validation}"
            )
        (x, y), validation = split_validation(x, y, validation, seed=seed)
    return TensorBatches(x, y, batch_size=batch_size, seed=seed), _check_validation(validation)


def _check_validation(validation: Any) -> Pair | None:
    if validation is None:
        return None
    if isinstance(validation, tuple) and [isinstance(v, Tensor) for v in validation] == [True] * 2:
        _check_rows("validation", validation)
        return validation
    raise TypeError(
        "validation must be a share in (0, 1), a pair of tensors (inputs, targets) or None, got "
        f"{short_repr(validation)}"
    )


def _check_rows(name: str, pair: Pair) -> None:
    rows = [len(part) if part.dim() else 0 for part in pair]
    if rows[0] != rows[1] or not rows[0]:
        raise ValueError(
            f"{name} must pair as many inputs as targets, at least one, got {rows[0]} and {rows[1]}"
        )
