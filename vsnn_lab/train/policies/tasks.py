"""Control tasks, and the settings of PPO that learn them."""

from dataclasses import dataclass
from typing import Any

from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from vsnn_lab._basics.checks import check_choice


@dataclass(frozen=True)
class Task:
    """A task of gymnasium, and how PPO learns it.

    Attributes:
        env_id: Its name in gymnasium.
        steps: Steps of the environments together.
        environments: How many run side by side.
        rollout: Steps of each between two updates.
        batch_size: Steps in a batch of an update.
        epochs: Passes over a rollout.
        learning_rate: Of Adam, at first.
        anneal: Whether it falls to zero.
        gamma: The discount.
        gae_lambda: That of generalised advantages.
        normalize: Whether observations and rewards are normalised.
        width: Units of each of the two hidden layers.
        final_batches: What `TeachWidths` takes at the end; fewer after a short training, so that
            teaching takes at most a quarter of PPO's own time.
    """

    env_id: str
    steps: int
    environments: int = 8
    rollout: int = 256
    batch_size: int = 64
    epochs: int = 10
    learning_rate: float = 3e-4
    anneal: bool = True
    gamma: float = 0.99
    gae_lambda: float = 0.95
    normalize: bool = True
    width: int = 64
    final_batches: int = 2_000

    def environment(self, seed: int) -> VecEnv:
        """Return environments that normalise, if the task does."""
        venv = make_vec_env(self.env_id, self.environments, seed=seed)
        return VecNormalize(venv, gamma=self.gamma) if self.normalize else venv

    def options(self) -> dict[str, Any]:
        """Return the arguments of PPO, but for policy, environments and seed."""
        rate = self.learning_rate
        return {
            "n_steps": self.rollout,
            "batch_size": self.batch_size,
            "n_epochs": self.epochs,
            "learning_rate": (lambda left: rate * left) if self.anneal else rate,
            "gamma": self.gamma,
            "gae_lambda": self.gae_lambda,
            "device": "cpu",
        }


# A swimmer has to look far ahead.
_SWIMMER = Task(
    "Swimmer-v5",
    300_000,
    environments=4,
    rollout=1_024,
    batch_size=256,
    learning_rate=6e-4,
    gamma=0.9999,
    gae_lambda=0.98,
)
TASKS = {
    task.env_id: task
    for task in (
        Task("CartPole-v1", 60_000, final_batches=200),
        Task("InvertedPendulum-v5", 100_000, final_batches=1_000),
        _SWIMMER,
        Task("Hopper-v5", 300_000),
        Task("HalfCheetah-v5", 300_000),
    )
}


def task_named(name: str) -> Task:
    """Return a task by its name in gymnasium, or list them."""
    return TASKS[check_choice("task", name, TASKS)]
