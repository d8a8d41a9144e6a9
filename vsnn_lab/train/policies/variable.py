"""Policies of stable-baselines3 whose actors work at every width."""

from collections.abc import Callable
from typing import Any, Self

import torch
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_int
from vsnn_lab.layers.switchable import SwitchableLinear
from vsnn_lab.networks.conditioning import OWN_PACE
from vsnn_lab.train.policies.actors import Actor, actor_of, check_policy, check_spaces, knob_steps
from vsnn_lab.widths import WidthControl


class VariableActor:
    """What the policies below share: an actor on one knob, and `at`, which cuts it.

    At full width the policy computes what the plain one does, from the same parameters under the
    same names; narrower, it adds weights of its own for each octave of widths, which are zero until
    `TeachWidths` or `teach_widths` trains them. Building it draws the same random numbers.

    Attributes:
        control: The knob; a position keeps as large a share of every hidden layer.
    """

    plain_class: type[BasePolicy]
    control: WidthControl

    def _make_actor_variable(self) -> None:
        """Put the actor's layers on one knob; their parameters stay the same objects."""
        check_policy(self, (type(self).plain_class,))
        self.control = make_layers_variable(self.variable_actor(), make_switchable)

    def variable_actor(self) -> Actor:
        """Return the layers of the actor."""
        return actor_of(self)

    def narrow_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that belong to narrow widths alone."""
        layers: Any = self.variable_actor().linear_layers.values()
        return [part for each in layers for part in each.own_weights.parameters()]

    def at(self, width: int) -> BasePolicy:
        """Return the policy at one width as an ordinary ``MlpPolicy``, critic included.

        It saves, loads and predicts without this package, and predicts what this policy does
        under ``at_width(policy, width)``.

        Args:
            width: Knob position, an int in 1..steps.

        Raises:
            TypeError: If the width is not an integer.
            ValueError: If it lies outside the range.
        """
        width = check_int("width", width, 1, self.control.steps)
        return plain_policy(self, self.control, width, cut_state(self, self.control, width))

    @classmethod
    def of(cls, policy: BasePolicy) -> Self:
        """Return a variable copy of a plain policy."""
        with torch.random.fork_rng(devices=[]):
            copy: Any = cls(**constructor_parameters(policy))
        copy.to(policy.device)
        missing, unexpected = copy.load_state_dict(policy.state_dict(), strict=False)
        assert not unexpected
        assert all(_OWN in name for name in missing), missing
        copy.set_training_mode(False)
        return copy


_OWN = ".own_weights."


def make_layers_variable(
    actor: Actor, convert: Callable[[Any, Any, Any, WidthControl], None]
) -> WidthControl:
    """Put the layers of an actor on a knob by a function that converts one; return the knob."""
    hidden = [layer for layer in actor.trunk if isinstance(layer, nn.Linear)]
    control = WidthControl(knob_steps([layer.out_features for layer in hidden]))
    fan_in: Any = hidden[0].in_features
    for layer in hidden:
        axis = control.axis(layer.out_features)
        convert(layer, fan_in, axis, control)
        fan_in = axis
    for layer in actor.heads.values():
        convert(layer, fan_in, layer.out_features, control)
    return control


def make_switchable(layer: Any, fan_in: Any, fan_out: Any, control: WidthControl) -> None:
    """Give a linear layer weights of its own for each octave, in place; nothing random is drawn."""
    layer.__class__ = SwitchableLinear
    layer.in_axis, layer.out_axis = fan_in, fan_out
    layer.add_own_parameters(control=control, pace=OWN_PACE, wide_pace=OWN_PACE)


def constructor_parameters(policy: BasePolicy) -> dict[str, Any]:
    """Return what a policy was built with, as keyword arguments."""
    return policy._get_constructor_parameters()


def plain_policy(
    policy: Any, control: WidthControl, width: int, state: dict[str, Tensor], **changes: Any
) -> BasePolicy:
    """Return a plain policy whose actor's layers are as wide as a knob position says.

    Args:
        policy: The variable one.
        control: Its knob.
        width: The position.
        state: The ``state_dict`` of the plain one.
        changes: What it is built with otherwise.
    """
    hidden = [each for each in actor_of(policy).trunk if isinstance(each, nn.Linear)]
    sizes = [each.out_features * width // control.steps for each in hidden]
    options = constructor_parameters(policy) | changes
    options["net_arch"] = _narrow_architecture(options["net_arch"], sizes)
    with torch.random.fork_rng(devices=[]):
        plain: Any = type(policy).plain_class(**options)
    plain.to(policy.device)
    plain.load_state_dict(state)
    plain.set_training_mode(False)
    return plain


def cut_state(policy: Any, control: WidthControl, width: int) -> dict[str, Tensor]:
    """Return the ``state_dict`` of the plain policy of one width."""
    layers: Any = actor_of(policy).linear_layers
    state = {name: value for name, value in policy.state_dict().items() if _OWN not in name}
    for name, layer in layers.items():
        for part, value in layer.cut({control: width}).items():
            # TD3 keeps a second actor, which trails the first.
            for prefix in (name, name.replace("actor.", "actor_target.", 1)):
                if f"{prefix}.{part}" in state:
                    state[f"{prefix}.{part}"] = value
    return state


def _narrow_architecture(net_arch: Any, sizes: list[int]) -> dict[str, list[int]]:
    """Return the sizes of actor and critic, the actor's replaced."""
    if isinstance(net_arch, dict):
        return {**net_arch, "pi": sizes}
    return {"pi": sizes, "vf": list(net_arch), "qf": list(net_arch)}


class VariablePolicy(VariableActor, ActorCriticPolicy):
    """PPO's and A2C's ``MlpPolicy`` with an actor of every width.

    Arguments are those of ``stable_baselines3.common.policies.ActorCriticPolicy``. Given to PPO
    as its policy it trains as ``MlpPolicy`` does, to the bit; `TeachWidths` teaches the narrow
    widths meanwhile.

    Raises:
        TypeError: If observations are neither a ``Box`` nor ``Discrete``, nor actions.
        ValueError: If observations are images, noise is state-dependent, or there is no hidden
            layer.

    Example:
        >>> from stable_baselines3 import PPO
        >>> from vsnn_lab.train.policies import TeachWidths, VariablePolicy
        >>> model = PPO(VariablePolicy, "CartPole-v1", n_steps=64, device="cpu")
        >>> model.policy.control
        WidthControl(64)
        >>> model.policy.at(4).action_net
        Linear(in_features=4, out_features=2, bias=True)
    """

    plain_class = ActorCriticPolicy

    def __init__(
        self, observation_space: Any, action_space: Any, *args: Any, **options: Any
    ) -> None:
        check_spaces(observation_space, action_space)
        super().__init__(observation_space, action_space, *args, **options)

    def _build(self, lr_schedule: Any) -> None:
        # The optimizer, made here, holds what the plain policy's holds.
        super()._build(lr_schedule)
        self._make_actor_variable()

    def actor_at(self, width: int) -> nn.Sequential:
        """Return the actor at one width alone: plain layers from flat observations to the actions.

        They give means, or the logits of discrete actions. Count its parameters, measure its time.

        Args:
            width: Knob position, an int in 1..steps.

        Example:
            >>> from vsnn_lab import count_parameters
            >>> from vsnn_lab.train.policies import load_policy
            >>> policy = load_policy("CartPole-v1").policy
            >>> [count_parameters(policy.actor_at(width)) for width in (1, 64)]
            [11, 4610]
        """
        plain: Any = self.at(width)
        return nn.Sequential(*plain.mlp_extractor.policy_net, plain.action_net)


class VariableSACPolicy(VariableActor, SACPolicy):
    """SAC's ``MlpPolicy`` with an actor of every width; `teach_widths` makes and teaches one."""

    plain_class = SACPolicy

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        self._make_actor_variable()


class VariableTD3Policy(VariableActor, TD3Policy):
    """TD3's ``MlpPolicy`` with an actor of every width; `teach_widths` makes and teaches one."""

    plain_class = TD3Policy

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        self._make_actor_variable()


VARIABLE: dict[type[BasePolicy], type[VariableActor]] = {
    cls.plain_class: cls for cls in (VariablePolicy, VariableSACPolicy, VariableTD3Policy)
}
