"""Policies as safetensors files: weights, statistics and where they come from; nothing pickled."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_path
from vsnn_lab._basics.files import atomic_write
from vsnn_lab.train.policies.statistics import Statistics
from vsnn_lab.train.policies.variable import VariablePolicy

SHIPPED = Path(__file__).parent / "trained"
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    cls.__name__: cls for cls in (nn.Tanh, nn.ReLU, nn.ELU, nn.SiLU, nn.GELU)
}
_KEY = "vsnn_lab.policy"


@dataclass(frozen=True)
class TrainedPolicy:
    """A variable policy with all that it takes to use it.

    Attributes:
        policy: At full width until a knob is turned.
        env_id: The task's name in gymnasium.
        statistics: What observations are normalised with, or None.
        made_by: How it was made: command, steps, seed, versions.
    """

    policy: VariablePolicy
    env_id: str
    statistics: Statistics | None = None
    made_by: Mapping[str, Any] = field(default_factory=dict)


def save_policy(path: str | os.PathLike[str], trained: TrainedPolicy) -> None:
    """Write a variable policy to a safetensors file, its statistics and its origin included.

    Args:
        path: The file; folders are made.
        trained: The policy. Its spaces are a ``Box``, for actions also ``Discrete``.

    Raises:
        ValueError: If its activation is none that can be named in a file.
    """
    policy, options = trained.policy, trained.policy._get_constructor_parameters()
    activation = options["activation_fn"].__name__
    if _ACTIVATIONS.get(activation) is not options["activation_fn"]:
        raise ValueError(
            f"the activation must be one of {', '.join(_ACTIVATIONS)}, got {activation}"
        )
    actions = policy.action_space
    discrete = isinstance(actions, spaces.Discrete)
    header = {
        "env_id": trained.env_id,
        "net_arch": options["net_arch"],
        "activation": activation,
        "actions": int(actions.n) if isinstance(actions, spaces.Discrete) else None,
        "clip": trained.statistics and trained.statistics.clip,
        "epsilon": trained.statistics and trained.statistics.epsilon,
        "made_by": dict(trained.made_by),
    }
    tensors = {f"policy.{name}": value for name, value in policy.state_dict().items()}
    tensors |= _box_tensors("observations", policy.observation_space)
    if not discrete:
        tensors |= _box_tensors("actions", actions)
    if trained.statistics is not None:
        tensors["mean"] = torch.as_tensor(trained.statistics.mean)
        tensors["variance"] = torch.as_tensor(trained.statistics.variance)
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_write(check_path("path", path, "file")) as part:
        save_file(contiguous, part, {_KEY: json.dumps(header)})


def load_policy(name: str | os.PathLike[str]) -> TrainedPolicy:
    """Return a trained policy that ships with the package, or one of a file.

    Nothing in the file is executed. What ships was made by ``make policies``.

    Args:
        name: A task of ``TASKS``, "HalfCheetah-v5" say, or the path of a file of `save_policy`.

    Raises:
        FileNotFoundError: If there is no such policy; lists those that ship.
        ValueError: If the file is not one of `save_policy`.

    Example:
        >>> trained = load_policy("CartPole-v1")
        >>> trained.policy.at(2).action_net
        Linear(in_features=2, out_features=2, bias=True)
    """
    path = SHIPPED / f"{name}.safetensors"
    if not path.is_file():
        path = check_path("name", name, "file")
    if not path.is_file():
        raise FileNotFoundError(
            f"name must be one of {', '.join(shipped_policies())}, or a file, got {name}"
        )
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})[_KEY])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} must be a file of save_policy: {error}") from error
    number = header["actions"]
    actions = _box("actions", tensors) if number is None else spaces.Discrete(number)
    with torch.random.fork_rng(devices=[]):
        policy = VariablePolicy(
            _box("observations", tensors),
            actions,
            lambda _: 0.0,
            net_arch=header["net_arch"],
            activation_fn=_ACTIVATIONS[header["activation"]],
        )
    prefix = "policy."
    policy.load_state_dict(
        {key.removeprefix(prefix): part for key, part in tensors.items() if key.startswith(prefix)}
    )
    policy.set_training_mode(False)
    statistics = None
    if "mean" in tensors:
        numbers = tensors["mean"].numpy(), tensors["variance"].numpy()
        statistics = Statistics(*numbers, header["clip"], header["epsilon"])
    return TrainedPolicy(policy, header["env_id"], statistics, header["made_by"])


def shipped_policies() -> list[str]:
    """Return the tasks whose trained policies ship with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


def _box_tensors(name: str, box: spaces.Space[Any]) -> dict[str, Tensor]:
    assert isinstance(box, spaces.Box)
    edges = {"low": box.low, "high": box.high}
    return {f"{name}.{edge}": torch.as_tensor(value) for edge, value in edges.items()}


def _box(name: str, tensors: Mapping[str, Tensor]) -> spaces.Box:
    low, high = (tensors[f"{name}.{edge}"].numpy() for edge in ("low", "high"))
    return spaces.Box(low, high, dtype=np.dtype(low.dtype).type)
