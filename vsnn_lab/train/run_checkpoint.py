"""A training run on disk: found again by what it was asked to do."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vsnn_lab._basics import checkpoints
from vsnn_lab.train.description import describe, structure

_MODEL, _OPTIMIZER = "model.", "optimizer."


@dataclass(frozen=True)
class RunCheckpoint:
    """The folder of one run: ``last.safetensors`` to go on from, ``best.safetensors`` to keep.

    Attributes:
        folder: Named after a hash of the settings and one of the initial weights, so that two
            different runs never share one.
    """

    folder: Path

    @classmethod
    def find(cls, parent: Path, model: nn.Module, settings: Mapping[str, Any]) -> "RunCheckpoint":
        """Return the run's checkpoint, whether or not anything is in it yet.

        A model that holds the last or the best weights of such a run continues it; any other
        weights are a run of their own.

        Raises:
            ValueError: If the file of such a run is damaged; the message names it.
        """
        weights = checkpoints.digest(model.state_dict())
        description = describe({"model": structure(model), **settings})
        prefix = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:12]
        for last in sorted(parent.glob(f"{prefix}-*/last.safetensors")):
            header = checkpoints.read_header(last)
            kept = [_read_text(last, header, key) for key in ("last_weights", "best_weights")]
            if weights in kept:
                return cls(last.parent)
        return cls(parent / f"{prefix}-{weights}")

    def save(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
        best: Mapping[str, Tensor],
        progress: Mapping[str, Any],
    ) -> None:
        """Write the state after a finished epoch."""
        weights = model.state_dict()
        state, groups = _flatten_state(optimizer.state_dict())
        header = {
            **progress,
            "groups": groups,
            "schedule": schedule.state_dict(),
            "last_weights": checkpoints.digest(weights),
            "best_weights": checkpoints.digest(best),
        }
        tensors = {_MODEL + name: value for name, value in weights.items()} | state
        # Best first: if the second write never happens, the epoch is trained again from `last`
        # and `best` is written again with it.
        checkpoints.write(self.folder / "best.safetensors", best, progress)
        checkpoints.write(self.folder / "last.safetensors", tensors, header)

    def restore(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> dict[str, Any] | None:
        """Put everything back as it was after the last finished epoch, if there was one.

        All or nothing: the model changes only when both files are found to be whole.

        Returns:
            What was saved as ``progress``, or None.

        Raises:
            FileNotFoundError: If one of the two files is missing.
            ValueError: If one is damaged, or not of this run; the message names it.
        """
        path = self.folder / "last.safetensors"
        if not path.exists():
            return None
        tensors, header = checkpoints.read(path)
        weights, moments = _with_prefix(_MODEL, tensors), _with_prefix(_OPTIMIZER, tensors)
        _raise_first(path, _progress_faults(header))
        _raise_first(path, _weight_faults(weights, model, _read_text(path, header, "last_weights")))
        _raise_first(path, _optimizer_faults(moments, header.get("groups"), optimizer))
        _raise_first(path, _schedule_faults(header.get("schedule"), schedule.state_dict()))
        self._check_best(header, model)
        try:
            fresh = optimizer.state_dict()["param_groups"]
            groups = list(map(_with_defaults, header["groups"], fresh))
            optimizer.load_state_dict(_unflatten_state(moments, groups))
            schedule.load_state_dict(_with_defaults(header["schedule"], schedule.state_dict()))
        # What another version of torch wrote fails in ways of its own.
        except Exception as error:
            raise checkpoints.damaged(path, error) from error
        model.load_state_dict(weights)
        return header

    def _check_best(self, last: Mapping[str, Any], model: nn.Module) -> None:
        path = self.folder / "best.safetensors"
        best, header = checkpoints.read(path)
        _raise_first(path, _progress_faults(header))
        done, kept = len(last["epochs"]), header["epochs"]
        # After a kill between the two writes it is one epoch ahead, which is then trained again.
        ahead = len(kept) == done + 1 == header["best_epoch"]
        # As text, because a loss that is not a number does not equal itself.
        same = json.dumps(kept[:done]) == json.dumps(last["epochs"]) and len(kept) <= done + 1
        if not same or (header["best_epoch"] != last["best_epoch"] and not ahead):
            raise checkpoints.damaged(path, "it tells other epochs than last.safetensors")
        expected = checkpoints.digest(best) if ahead else _read_text(path, last, "best_weights")
        _raise_first(path, _weight_faults(best, model, expected))

    def best(self) -> dict[str, Tensor]:
        """Return the weights of the best epoch so far."""
        return checkpoints.read(self.folder / "best.safetensors")[0]


def _flatten_state(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Split an optimizer's state into named tensors and what JSON can hold."""
    tensors = {
        f"{_OPTIMIZER}{index}.{name}": value
        for index, values in state["state"].items()
        for name, value in values.items()
    }
    return tensors, state["param_groups"]


def _unflatten_state(tensors: Mapping[str, Tensor], groups: list[dict[str, Any]]) -> dict[str, Any]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    return {"state": state, "param_groups": groups}


def _raise_first(path: Path, faults: Iterator[str]) -> None:
    """Raise the first fault of a file, if there is one."""
    for fault in faults:
        raise checkpoints.damaged(path, fault)


def _read_text(path: Path, header: Mapping[str, Any], key: str) -> str:
    value = header.get(key)
    if not isinstance(value, str):
        raise checkpoints.damaged(path, f"{key} must be a string, got {value!r:.40}")
    return value


def _progress_faults(header: Mapping[str, Any]) -> Iterator[str]:
    """Say where a header is none that `RunCheckpoint.save` writes for `training.fit`."""
    rows = header.get("epochs")
    if not (isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows)):
        yield f"epochs must be a list of finished epochs, got {rows!r:.40}"
        return
    for number, row in enumerate(rows, 1):
        if type(row.get("epoch")) is not int or row["epoch"] != number:
            yield f"epochs must be numbered from 1, got {row.get('epoch')!r:.40} as number {number}"
        for name in sorted(row.keys() | rows[0].keys() | {"train_loss"}):
            value = row.get(name)
            # Only the losses of a validation may be infinite or not a number.
            finite = name in ("train_loss", "seconds")
            allowed = isinstance(value, float) and (math.isfinite(value) or not finite)
            if name != "epoch" and not allowed:
                yield f"{name} must be a loss or a time, got {value!r:.40} in epoch {number}"
    best = header.get("best_epoch")
    if type(best) is not int or not 1 <= best <= len(rows):
        yield f"best_epoch must lie in 1..{len(rows)}, got {best!r:.40}"


def _weight_faults(found: Mapping[str, Tensor], model: nn.Module, expected: str) -> Iterator[str]:
    """Say where tensors are no weights of a model, or not those whose digest is expected."""
    own = model.state_dict()
    for name in sorted(own.keys() | found.keys()):
        wanted, got = (
            f"{of[name].dtype} of shape {tuple(of[name].shape)}" if name in of else "absent"
            for of in (own, found)
        )
        if wanted != got:
            yield f"{name} must be {wanted}, got {got}"
    if checkpoints.digest(found) != expected:
        yield "its weights are not those that its header tells"


def _optimizer_faults(
    moments: Mapping[str, Tensor], groups: Any, optimizer: torch.optim.Optimizer
) -> Iterator[str]:
    own = optimizer.state_dict()["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(own):
        yield f"groups must be the {len(own)} of the optimizer, got {groups!r:.40}"
        return
    for found, group in zip(groups, own, strict=True):
        for fault in _state_faults(found, group):
            yield f"groups must be those of the optimizer: {fault}"
    sizes = [weight.shape for group in optimizer.param_groups for weight in group["params"]]
    known = {str(index): {size, torch.Size()} for index, size in enumerate(sizes)}
    for key, value in moments.items():
        if value.shape not in known.get(key.partition(".")[0], ()):
            yield f"{_OPTIMIZER}{key} must belong to a weight, got shape {tuple(value.shape)}"


def _schedule_faults(found: Any, own: Mapping[str, Any]) -> Iterator[str]:
    for fault in _state_faults(found, own):
        yield f"schedule must be the run's: {fault}"
    if found["last_epoch"] > own.get("total_steps", math.inf):
        yield f"schedule must end at step {own['total_steps']}, got {found['last_epoch']!r:.40}"


# What moves while a run goes on; all else in these states follows from its settings.
_CHANGING = ("betas", "last_epoch", "lr", "_last_lr", "_step_count")


def _state_faults(found: Any, own: Mapping[str, Any]) -> Iterator[str]:
    """Say where what JSON gave back is no later state than ``own``, the first of the same run."""
    if not isinstance(found, dict):
        yield f"got {found!r:.40}"
        return
    for key, value in own.items():
        if key in _CHANGING and not _are_like(found.get(key), value):
            yield f"{key} cannot be {found.get(key)!r:.40}"
        # As text, because JSON makes lists of tuples and Python takes 1 for True.
        elif key not in _CHANGING and json.dumps(found.get(key, value)) != json.dumps(value):
            yield f"{key} must be {value!r:.40}, got {found[key]!r:.40}"


def _are_like(found: Any, own: Any) -> bool:
    """Whether one number or several are finite, not negative, and of the same types."""
    if isinstance(own, list | tuple):
        same = isinstance(found, list) and len(found) == len(own)
        return same and all(map(_are_like, found, own))
    return type(found) is type(own) and 0 <= found < math.inf


def _with_defaults(found: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state with the keys of this version of torch, which differ between versions."""
    return {key: found.get(key, value) for key, value in own.items()}


def _with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
