"""What a policy earns: whole episodes with mean actions, many side by side."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy

from vsnn_lab._basics.checks import check_int
from vsnn_lab.train.policies.files import TrainedPolicy
from vsnn_lab.train.policies.statistics import Statistics

Array = np.ndarray[Any, Any]
# The starts that a policy is evaluated from; trainings draw theirs from small seeds.
_FIRST_SEED = 1_000


def mean_actions(policy: BasePolicy, observations: Array, statistics: Statistics | None) -> Array:
    """Return the actions of a policy without noise, within the bounds of their space.

    Args:
        policy: A plain policy, or a variable one at the width its knob stands at.
        observations: As the environment gives them, shape (rows, ...).
        statistics: What they are normalised with, if the policy was trained so.
    """
    if statistics is not None:
        observations = statistics.normalize(observations)
    actions, _ = policy.predict(observations, deterministic=True)
    return actions


def episode_returns(
    policy: BasePolicy,
    env_id: str,
    episodes: int = 50,
    *,
    statistics: Statistics | None = None,
    seed: int = _FIRST_SEED,
    visit: Callable[[Array, Array], None] | None = None,
) -> list[float]:
    """Return what whole episodes earn with mean actions.

    Episodes start from the seeds ``seed``, ``seed + 1`` and so on, so that two policies meet the
    same starts.

    Args:
        policy: A plain policy, as `VariablePolicy.at` returns one.
        env_id: The task's name in gymnasium.
        episodes: How many.
        statistics: What observations are normalised with.
        seed: Of the first episode.
        visit: Called with the observations and the actions of each step, one row for each episode
            that still runs.
    """
    count = check_int("episodes", episodes)
    environments = [gymnasium.make(env_id) for _ in range(count)]
    returns = np.zeros(count)
    try:
        starts = [each.reset(seed=seed + index)[0] for index, each in enumerate(environments)]
        observations, running = np.stack(starts), np.arange(count)
        while len(running):
            actions = mean_actions(policy, observations[running], statistics)
            if visit is not None:
                visit(observations[running], actions)
            over = np.zeros(len(running), dtype=bool)
            for row, index in enumerate(running):
                found, reward, ended, cut, _ = environments[index].step(actions[row])
                observations[index] = found
                returns[index] += float(reward)
                over[row] = ended or cut
            running = running[~over]
    finally:
        for each in environments:
            each.close()
    return returns.tolist()


def action_difference(
    trained: TrainedPolicy, width: int, episodes: int = 5, *, seed: int = _FIRST_SEED
) -> float:
    """Return how far the actions of a width are from full width's, in the states that it meets.

    Args:
        trained: The policy.
        width: Knob position, an int in 1..steps.
        episodes: Run at that width.
        seed: Of the first.

    Returns:
        The root mean square of the difference as a share of the actions' range; for discrete
        actions, the share of states in which they differ.
    """
    full, squares = trained.policy.at(trained.policy.control.steps), []
    space = full.action_space
    span = space.high - space.low if isinstance(space, spaces.Box) else None

    def visit(observations: Array, actions: Array) -> None:
        wanted = mean_actions(full, observations, trained.statistics)
        gaps = actions != wanted if span is None else (actions - wanted) / span
        squares.append(np.square(gaps, dtype=float).reshape(len(gaps), -1).mean(1))

    episode_returns(
        trained.policy.at(width),
        trained.env_id,
        episodes,
        statistics=trained.statistics,
        seed=seed,
        visit=visit,
    )
    mean = float(np.concatenate(squares).mean())
    return mean if span is None else mean**0.5
