"""Trainings of seconds, shared by the tests of policies."""

from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from vsnn_lab.train.policies import TeachWidths, VariablePolicy

DISCRETE, CONTINUOUS = "CartPole-v1", "Pendulum-v1"


def train_ppo(
    policy: Any, env_id: str, steps: int = 2_048, callback: Any = None, **arch: Any
) -> PPO:
    model = PPO(
        policy,
        make_vec_env(env_id, 4, seed=1),
        n_steps=128,
        batch_size=64,
        n_epochs=2,
        seed=3,
        device="cpu",
        policy_kwargs={"net_arch": arch or {"pi": [16, 16], "vf": [16]}},
    )
    return model.learn(steps, callback=callback)


def train_variable(env_id: str, steps: int = 2_048, **arch: Any) -> PPO:
    callback = TeachWidths(batches=4, final_batches=20, rollouts=2)
    return train_ppo(VariablePolicy, env_id, steps, callback, **arch)


def observations(env_id: str, rows: int = 40, features: int | None = None) -> np.ndarray:
    size = features or {DISCRETE: 4, CONTINUOUS: 3}[env_id]
    return np.random.default_rng(0).normal(size=(rows, size)).astype(np.float32)


def outputs(policy: Any, states: np.ndarray) -> torch.Tensor:
    """Return the mean or the logits of the actions, by the policy's own way."""
    with torch.no_grad():
        found = policy.get_distribution(torch.as_tensor(states)).distribution
    return found.logits if hasattr(found, "logits") else found.mean
