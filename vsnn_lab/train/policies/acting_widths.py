"""The paper's way, for comparison: widths that act while the policy learns."""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.torch_layers import MlpExtractor
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from torch import Tensor

from vsnn_lab._basics.checks import check_int
from vsnn_lab.layers import VariableLinear
from vsnn_lab.train.policies.actors import actor_of
from vsnn_lab.train.policies.variable import cut_state, make_layers_variable, plain_policy
from vsnn_lab.widths import WidthControl, at_width


class ActingWidths(VecEnvWrapper):
    """Appends the width that acts to observations, and draws another for each episode.

    It has to be the outermost wrapper, so that nothing normalises the width, and so that what is
    stored with an action is the width that chose it.

    Args:
        venv: The environments.
        steps: Positions of the policy's knob.
        seed: Of the widths.
    """

    def __init__(self, venv: VecEnv, steps: int, seed: int = 0) -> None:
        box = venv.observation_space
        assert isinstance(box, spaces.Box)
        low, high = (np.append(edge, end) for edge, end in ((box.low, 1), (box.high, steps)))
        super().__init__(venv, spaces.Box(low.astype(np.float32), high.astype(np.float32)))
        self.steps = check_int("steps", steps)
        self._random = np.random.default_rng(seed)
        self.widths = self._draw(self.num_envs)

    def _draw(self, count: int) -> Any:
        return self._random.integers(1, self.steps + 1, count)

    def _append(self, observations: Any) -> Any:
        return np.concatenate([observations, self.widths[:, None]], 1).astype(np.float32)

    def reset(self) -> Any:
        """Start all episodes, each at a width of its own."""
        self.widths = self._draw(self.num_envs)
        return self._append(self.venv.reset())

    def step_wait(self) -> Any:
        """Return what the environments do; an episode that ended is followed at another width."""
        observations, rewards, dones, infos = self.venv.step_wait()
        for index in np.flatnonzero(dones):
            info = infos[index]
            if "terminal_observation" in info:
                last = [*info["terminal_observation"], self.widths[index]]
                info["terminal_observation"] = np.array(last, dtype=np.float32)
        self.widths = np.where(dones, self._draw(self.num_envs), self.widths)
        return self._append(observations), rewards, dones, infos


class _ActorWithoutWidth(MlpExtractor):
    """Hides the width from the actor; the critic sees its share of the knob."""

    def __init__(self, feature_dim: int, steps: int, **options: Any) -> None:
        super().__init__(feature_dim, **options)
        first: Any = self.policy_net[0]
        self.steps = steps
        self.policy_net[0] = torch.nn.Linear(feature_dim - 1, first.out_features)

    def forward_actor(self, features: Tensor) -> Tensor:
        return self.policy_net(features[:, :-1])

    def forward_critic(self, features: Tensor) -> Tensor:
        share = features[:, -1:] / self.steps
        return self.value_net(torch.cat([features[:, :-1], share], 1))


class ActingWidthPolicy(ActorCriticPolicy):
    """An actor of nested widths, each of which acts with the width that its observation ends with.

    Mean, ratio and gradient of a step are those of the width that acted (Staley & Markowitz 2022).
    Environments stand in an `ActingWidths`; the actor has as many positions as its first layer has
    units.
    """

    plain_class = ActorCriticPolicy
    control: WidthControl

    def _build_mlp_extractor(self) -> None:
        arch: Any = self.net_arch
        self.mlp_extractor = _ActorWithoutWidth(
            self.features_dim,
            (arch["pi"] if isinstance(arch, dict) else arch)[0],
            net_arch=arch,
            activation_fn=self.activation_fn,
            device=self.device,
        )

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        self.control = make_layers_variable(actor_of(self), _make_nested_layer)

    def _turned(self, observations: Any) -> at_width:
        return at_width(self.control, observations[:, -1].long())

    def forward(self, obs: Any, deterministic: bool = False) -> Any:
        """Act, each row at its width."""
        with self._turned(obs):
            return super().forward(obs, deterministic)

    def evaluate_actions(self, obs: Any, actions: Tensor) -> Any:
        """Return values, log likelihoods and entropies, each row at the width that acted."""
        with self._turned(obs):
            return super().evaluate_actions(obs, actions)

    def get_distribution(self, obs: Any) -> Any:
        """Return the distribution of actions, each row at its width."""
        with self._turned(obs):
            return super().get_distribution(obs)

    def at(self, width: int) -> BasePolicy:
        """Return the policy at one width as an ordinary ``MlpPolicy`` that sees no width."""
        width = check_int("width", width, 1, self.control.steps)
        state, box = cut_state(self, self.control, width), self.observation_space
        assert isinstance(box, spaces.Box)
        # What the critic reads of the width is a constant now.
        first = "mlp_extractor.value_net.0"
        of_width = state[f"{first}.weight"][:, -1]
        state[f"{first}.bias"] = state[f"{first}.bias"] + of_width * width / self.control.steps
        state[f"{first}.weight"] = state[f"{first}.weight"][:, :-1].contiguous()
        seen = spaces.Box(box.low[:-1], box.high[:-1])
        return plain_policy(self, self.control, width, state, observation_space=seen)


def _make_nested_layer(layer: Any, fan_in: Any, fan_out: Any, control: WidthControl) -> None:
    layer.__class__ = VariableLinear
    layer.in_axis, layer.out_axis = fan_in, fan_out
