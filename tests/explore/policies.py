"""Policies to show, quickly made: untrained ones that act differently at every width."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import gymnasium
import numpy as np
import pytest
import torch

from vsnn_lab.train.policies import Statistics, TrainedPolicy, VariablePolicy


def untrained(env_id: str, steps: int = 64) -> TrainedPolicy:
    """Return a policy whose actions fill their range, the same ones each time."""
    environment = gymnasium.make(env_id)
    observations, actions = environment.observation_space, environment.action_space
    environment.close()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        architecture = {"pi": [steps, steps], "vf": [4]}
        policy = VariablePolicy(observations, actions, lambda _: 0.0, net_arch=architecture)
    with torch.no_grad():
        policy.action_net.weight *= 100
    policy.set_training_mode(False)
    size = observations.shape
    return TrainedPolicy(policy, env_id, Statistics(np.zeros(size), np.ones(size)))


def coloured(widths: list[int], count: int = 8, size: tuple[int, int] = (24, 32)) -> dict:
    """Return frames in one colour each: red tells the width's place, green the time step."""
    strips = {}
    for place, width in enumerate(widths):
        strips[width] = np.zeros((count, *size, 3), np.uint8)
        strips[width][..., 0] = 20 * (place + 1)
        strips[width][..., 1] = 20 * np.arange(count)[:, None, None]
    return strips


@contextmanager
def drawing() -> Iterator[None]:
    """Skip a test where nothing can draw; in CI it fails."""
    try:
        yield
    except RuntimeError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"{error}")
