"""The running mean and variance that observations are normalised with."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvWrapper

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Statistics:
    """What ``VecNormalize`` has learned of observations; stable-baselines3's files leave it out.

    Attributes:
        mean: Of each number of an observation.
        variance: The same.
        clip: Normalised numbers lie within plus and minus this.
        epsilon: Added to the variance.
    """

    mean: Array
    variance: Array
    clip: float = 10.0
    epsilon: float = 1e-8

    @classmethod
    def of(cls, environment: VecEnv | None) -> Self | None:
        """Return those of the ``VecNormalize`` among an environment's wrappers, if there is one."""
        while isinstance(environment, VecEnvWrapper):
            if isinstance(environment, VecNormalize):
                found: Any = environment.obs_rms
                return cls(
                    found.mean.copy(),
                    found.var.copy(),
                    float(environment.clip_obs),
                    float(environment.epsilon),
                )
            environment = environment.venv
        return None

    def normalize(self, observations: Array) -> Array:
        """Return observations as the policy reads them."""
        scaled = (observations - self.mean) / np.sqrt(self.variance + self.epsilon)
        return np.clip(scaled, -self.clip, self.clip).astype(np.float32)
