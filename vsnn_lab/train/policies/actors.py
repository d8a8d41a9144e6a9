"""The actors of stable-baselines3's policies: which layers they are of, and what they return."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn

from vsnn_lab._basics.checks import short_repr

Outputs = tuple[Tensor, ...]
# The bounds of SAC's log standard deviation in stable-baselines3.
_LOG_STD = (-20.0, 2.0)


class Actor:
    """The layers of a policy's actor, and how far apart two of its outputs are.

    Attributes:
        trunk: The hidden layers, activations between them.
        heads: The layers that read the last hidden one, by name.
    """

    trunk: nn.Sequential
    heads: dict[str, nn.Linear]

    def __init__(self, policy: Any) -> None:
        self.policy = policy

    @property
    def linear_layers(self) -> dict[str, nn.Linear]:
        """The linear layers of the actor, by their names in the policy."""
        wanted = {id(layer) for layer in (*self.trunk, *self.heads.values())}
        return {
            name: module
            for name, module in self.policy.named_modules()
            if id(module) in wanted and isinstance(module, nn.Linear)
        }

    def outputs(self, features: Tensor) -> Outputs:
        """Return what the actor gives for flat observations, at the width its knob stands at."""
        hidden = self.trunk(features)
        return tuple(head(hidden) for head in self.heads.values())

    def divergence(self, outputs: Outputs, targets: Outputs) -> Tensor:
        """Return how far outputs are from those of full width, over the last axis."""
        raise NotImplementedError


class GaussianActor(Actor):
    """PPO's and A2C's for continuous actions: a mean, and deviations that are parameters."""

    def __init__(self, policy: ActorCriticPolicy) -> None:
        super().__init__(policy)
        self.trunk = policy.mlp_extractor.policy_net
        head: Any = policy.action_net
        self.heads = {"action_net": head}

    def divergence(self, outputs: Outputs, targets: Outputs) -> Tensor:
        """Return the Kullback-Leibler divergence of two normal distributions as wide as another."""
        precision = torch.exp(-2 * self.policy.log_std.detach())
        return 0.5 * ((outputs[0] - targets[0]).square() * precision).sum(-1)


class CategoricalActor(GaussianActor):
    """PPO's and A2C's for discrete actions."""

    def divergence(self, outputs: Outputs, targets: Outputs) -> Tensor:
        """Return the Kullback-Leibler divergence from the distribution at full width."""
        log_p, log_q = (F.log_softmax(logits, -1) for logits in (targets[0], outputs[0]))
        return (log_p.exp() * (log_p - log_q)).sum(-1)


class SquashedActor(Actor):
    """SAC's: a mean and a log standard deviation of what tanh squashes."""

    def __init__(self, policy: SACPolicy) -> None:
        super().__init__(policy)
        actor: Any = policy.actor
        self.trunk, self.heads = actor.latent_pi, {"mu": actor.mu, "log_std": actor.log_std}

    def divergence(self, outputs: Outputs, targets: Outputs) -> Tensor:
        """Return the Kullback-Leibler divergence from the distribution at full width."""
        mean, log_std = outputs[0], outputs[1].clamp(*_LOG_STD)
        wanted, wanted_log_std = targets[0], targets[1].clamp(*_LOG_STD)
        ratio = wanted_log_std - log_std
        spread = torch.exp(2 * ratio) + (wanted - mean).square() * torch.exp(-2 * log_std)
        return (0.5 * (spread - 1) - ratio).sum(-1)


class DeterministicActor(Actor):
    """TD3's and DDPG's, whose actions tanh squashes; the last linear layer is its head."""

    def __init__(self, policy: TD3Policy) -> None:
        super().__init__(policy)
        layers: Any = policy.actor.mu
        *hidden, head, _ = layers
        self.trunk, self.heads = nn.Sequential(*hidden), {"mu": head}

    def divergence(self, outputs: Outputs, targets: Outputs) -> Tensor:
        """Return the squared difference of actions."""
        return 0.5 * (outputs[0].tanh() - targets[0].tanh()).square().sum(-1)


def actor_of(policy: Any) -> Actor:
    """Return the actor of a policy whose kind `check_policy` has checked."""
    if isinstance(policy, SACPolicy):
        return SquashedActor(policy)
    if isinstance(policy, TD3Policy):
        return DeterministicActor(policy)
    discrete = isinstance(policy.action_space, spaces.Discrete)
    return (CategoricalActor if discrete else GaussianActor)(policy)


def check_spaces(observations: spaces.Space[Any], actions: spaces.Space[Any]) -> None:
    """Refuse what an actor of linear layers cannot read, or what it cannot be taught.

    Raises:
        TypeError: If a space is of another kind.
        ValueError: If observations are images.
    """
    if not isinstance(observations, spaces.Box | spaces.Discrete):
        raise TypeError(
            "the observation space must be a Box or Discrete, got "
            f"{short_repr(observations)}; gymnasium's FlattenObservation makes one of a Dict"
        )
    if is_image_space(observations):
        raise ValueError(
            f"observations must be vectors, got images of shape {observations.shape}; convolutional"
            " policies have no width here"
        )
    if not isinstance(actions, spaces.Box | spaces.Discrete):
        raise TypeError(f"the action space must be a Box or Discrete, got {short_repr(actions)}")


def check_policy(policy: Any, plain: Sequence[type]) -> type:
    """Return which of ``plain`` a policy is, or say what is wrong with it.

    Raises:
        TypeError: If it is of another class, a recurrent or convolutional one say.
        ValueError: If it draws state-dependent noise or has no hidden layer.
    """
    found = next((cls for cls in plain if isinstance(policy, cls)), None)
    name = type(policy).__name__
    own = type(policy) is found or type(policy).__module__.startswith("vsnn_lab.")
    if found is None or not own:
        kinds = ", ".join(f"{cls.__module__.split('.')[1]}'s {cls.__name__}" for cls in plain)
        raise TypeError(
            f"policy must be an MlpPolicy of stable-baselines3 ({kinds}), got {name}; recurrent "
            "and convolutional policies have no width here"
        )
    check_spaces(policy.observation_space, policy.action_space)
    extractor = policy.features_extractor_class
    if extractor is not FlattenExtractor:
        raise TypeError(
            f"features_extractor_class must be FlattenExtractor, got {short_repr(extractor)}"
        )
    if getattr(policy, "use_sde", False) or getattr(
        getattr(policy, "actor", None), "use_sde", False
    ):
        raise ValueError("use_sde must be False, got True; its noise depends on all hidden units")
    return found


def knob_steps(sizes: Sequence[int]) -> int:
    """Return the positions of a knob for hidden layers of these sizes, or refuse them."""
    if not sizes:
        raise ValueError("net_arch must name at least one hidden layer of the actor, got none")
    steps = math.gcd(*sizes)
    if steps < 2:
        raise ValueError(
            f"the actor's hidden layers must have a common divisor, got {list(sizes)}; 64 and 64 "
            "have 64 widths"
        )
    return steps
