"""A training run on disk: found again by what it was asked to do."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vsnn_lab import checkpoints
from vsnn_lab.identity import describe, structure

_MODEL, _OPTIMIZER = "model.", "optimizer."


@dataclass(frozen=True)
class Record:
    """The folder of one run: ``last.safetensors`` to go on from, ``best.safetensors`` to keep.

    Attributes:
        folder: Named after a hash of the settings and one of the initial weights, so that two
            different runs never share one.
    """

    folder: Path

    @classmethod
    def find(cls, parent: Path, model: nn.Module, settings: Mapping[str, Any]) -> "Record":
        """Return the run's record, whether or not anything is in it yet.

        A model that holds the last or the best weights of such a run continues it; any other
        weights are a run of their own.
        """
        weights = checkpoints.digest(model.state_dict())
        asked = describe({"model": structure(model), **settings})
        prefix = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]
        for last in sorted(parent.glob(f"{prefix}-*/last.safetensors")):
            header = checkpoints.read_header(last)
            if weights in (header["last_weights"], header["best_weights"]):
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
        state, groups = _flat(optimizer.state_dict())
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

        Returns:
            What was saved as ``progress``, or None.
        """
        path = self.folder / "last.safetensors"
        if not path.exists():
            return None
        tensors, header = checkpoints.read(path)
        model.load_state_dict(_below(_MODEL, tensors))
        optimizer.load_state_dict(_nested(_below(_OPTIMIZER, tensors), header["groups"]))
        schedule.load_state_dict(header["schedule"])
        return header

    def best(self) -> dict[str, Tensor]:
        """Return the weights of the best epoch so far."""
        return checkpoints.read(self.folder / "best.safetensors")[0]


def _flat(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Split an optimizer's state into named tensors and what JSON can hold."""
    tensors = {
        f"{_OPTIMIZER}{index}.{name}": value
        for index, values in state["state"].items()
        for name, value in values.items()
    }
    return tensors, state["param_groups"]


def _nested(tensors: Mapping[str, Tensor], groups: list[dict[str, Any]]) -> dict[str, Any]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    return {"state": state, "param_groups": groups}


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
