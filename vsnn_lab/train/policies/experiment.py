"""One training: a task, a method and a seed; its result is a file, and its policy another."""

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any, NamedTuple

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from vsnn_lab._basics.checks import check_choice
from vsnn_lab.measure.costs import count_macs, count_parameters
from vsnn_lab.train.by_position import by_position
from vsnn_lab.train.kept_runs import made_with, read_or_make
from vsnn_lab.train.policies.acting_widths import ActingWidthPolicy, ActingWidths
from vsnn_lab.train.policies.evaluation import episode_returns
from vsnn_lab.train.policies.files import TrainedPolicy, save_policy
from vsnn_lab.train.policies.statistics import Statistics
from vsnn_lab.train.policies.tasks import Task, task_named
from vsnn_lab.train.policies.teaching import TeachWidths
from vsnn_lab.train.policies.variable import VariablePolicy

# Where the return is measured: the log2 stops, and places between the widest of them.
WIDTHS = (1, 2, 4, 8, 16, 24, 32, 48, 64)
_DEDICATED = {f"dedicated-{units}": units for units in (1, 2, 4, 8)}
METHODS = ("variable", *_DEDICATED, "linear", "acting")
"""
``variable``: ordinary PPO while `TeachWidths` teaches; ``dedicated-4``: ordinary PPO with 4 units
in each hidden layer of the actor; ``linear``: with none; ``acting``: the paper's way.
"""
_PACKAGES = ("torch", "stable_baselines3", "gymnasium", "mujoco", "numpy")


class TimedTeaching(TeachWidths):
    """`TeachWidths` that knows how long it takes.

    Attributes:
        seconds: Of processor time.
    """

    seconds = 0.0

    def _teach(self, batches: int) -> None:
        start = time.process_time()
        super()._teach(batches)
        self.seconds += time.process_time() - start

    def _on_training_end(self) -> None:
        start, before = time.process_time(), self.seconds
        super()._on_training_end()
        self.seconds = before + time.process_time() - start


class Run(NamedTuple):
    """A training that is asked for.

    Attributes:
        task: Name in gymnasium.
        method: One of ``METHODS``.
        seed: Of PPO and the environments.
        steps: Of the environments; None means the task's.
        episodes: Evaluated at each width.
    """

    task: str
    method: str
    seed: int
    steps: int | None = None
    episodes: int = 50

    def __str__(self) -> str:
        return f"{self.task} {self.method}, seed {self.seed}"

    def file(self, folder: Path) -> Path:
        """Return where its result is kept."""
        named = {"steps": self.steps, "episodes": None if self.episodes == 50 else self.episodes}
        more = "".join(f"-{value}-{name}" for name, value in named.items() if value is not None)
        return folder / self.task / f"{self.method}-{self.seed}{more}.json"

    def policy_file(self, folder: Path) -> Path:
        """Return where its policy is kept, if it is a variable one."""
        return self.file(folder).with_suffix(".safetensors")

    def keep(self, folder: Path) -> dict[str, Any]:
        """Return the result, from its file if it is there; train, evaluate and write otherwise."""
        return read_or_make(self.file(folder), lambda: self.execute(self.policy_file(folder)))

    def execute(self, policy_file: Path | None = None) -> dict[str, Any]:
        """Train and evaluate; write a variable policy to a file."""
        check_choice("method", self.method, METHODS)
        task = task_named(self.task)
        start = time.process_time()
        model, teaching = train(task, self.method, self.seed, self.steps)
        trained = time.process_time()
        statistics = Statistics.of(model.get_env())
        policy: Any = model.policy
        made_by = self._made_by(model.num_timesteps)
        if policy_file and isinstance(policy, VariablePolicy):
            save_policy(policy_file, TrainedPolicy(policy, self.task, statistics, made_by))
        returns, costs = {}, {}
        for width in self._widths(task):
            plain: ActorCriticPolicy = policy.at(width) if hasattr(policy, "at") else policy
            returns[width] = episode_returns(plain, self.task, self.episodes, statistics=statistics)
            costs[width] = actor_costs(plain)
        parameters, macs = zip(*costs.values(), strict=True)
        return {
            **made_by,
            "seconds": round(trained - start, 2),
            "teaching_seconds": round(teaching, 2),
            "evaluation_seconds": round(time.process_time() - trained, 2),
            "episodes": self.episodes,
            "returns": {width: round(fmean(each), 2) for width, each in returns.items()},
            "deviations": {width: round(pstdev(each), 2) for width, each in returns.items()},
            **by_position(costs, {"parameters": parameters, "macs": macs}),
        }

    def _made_by(self, steps: int) -> dict[str, Any]:
        command = f"make policies ARGS='--tasks {self.task} --methods {self.method}'"
        return {
            "task": self.task,
            "method": self.method,
            "seed": self.seed,
            "steps": steps,
            "command": command,
            **made_with(_PACKAGES),
        }

    def _widths(self, task: Task) -> Sequence[int]:
        if self.method in ("variable", "acting"):
            return [width for width in WIDTHS if width <= task.width]
        return [_DEDICATED.get(self.method, 0)]


def actor_costs(plain: ActorCriticPolicy) -> tuple[int, int]:
    """Return the parameters of what acts, and its multiply-accumulates for one observation."""
    trunk: Any = plain.mlp_extractor.policy_net
    actor = nn.Sequential(*trunk, plain.action_net)
    return count_parameters(actor), count_macs(actor, None, torch.zeros(1, plain.features_dim))


def train(task: Task, method: str, seed: int, steps: int | None = None) -> tuple[PPO, float]:
    """Train a policy by one of `METHODS`; return PPO and the seconds that teaching took."""
    torch.set_num_threads(1)
    environment = task.environment(seed)
    hidden = [task.width] * 2
    policy: Any = {"variable": VariablePolicy, "acting": ActingWidthPolicy}.get(method, "MlpPolicy")
    actor = hidden
    if method == "linear":
        actor = []
    elif method in _DEDICATED:
        actor = [_DEDICATED[method]] * 2
    if method == "acting":
        environment = ActingWidths(environment, task.width, seed)
    callback = None
    if method == "variable":
        callback = TimedTeaching(final_batches=task.final_batches, seed=seed)
    model = PPO(
        policy,
        environment,
        seed=seed,
        policy_kwargs={"net_arch": {"pi": actor, "vf": hidden}},
        **task.options(),
    )
    model.learn(steps or task.steps, callback=callback)
    return model, callback.seconds if callback else 0.0
