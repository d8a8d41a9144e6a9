"""Teach the narrow widths of a policy what full width does; full width never notices."""

from collections import deque
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor
from tqdm.auto import trange

from vsnn_lab._basics.checks import check_flag, check_int, check_number, short_repr
from vsnn_lab.layers.octaves import octave_tops
from vsnn_lab.layers.side_by_side import at_several_positions
from vsnn_lab.train.policies.actors import check_policy
from vsnn_lab.train.policies.variable import VARIABLE, VariableActor
from vsnn_lab.train.recipes.narrow_widths import position_in_octave

# Of the widths of an octave the widest is drawn this often: those near it are hardest to reach.
_WIDEST = 0.3
_ROWS_AT_ONCE = 65_536


class WidthTeacher:
    """Moves what belongs to the narrow widths of a policy towards its actions at full width.

    Each batch is run at one width of every octave, 1, 2, 3 to 4, 5 to 8 and so on, and the mean
    divergence from the distribution of actions at full width is a step's loss. For normal
    distributions it is (difference of means)² / (2 sigma²).

    Args:
        policy: A variable policy.
        learning_rate: That of Adam.
        batch_size: Observations in a batch.
        seed: Of the batches and the widths; torch's and NumPy's own states are left alone.
    """

    def __init__(
        self,
        policy: VariableActor,
        learning_rate: float = 1e-3,
        batch_size: int = 256,
        seed: int = 0,
    ) -> None:
        self.policy, self.actor = policy, policy.variable_actor()
        self.learning_rate = check_number("learning_rate", learning_rate, 0)
        self.batch_size = check_int("batch_size", batch_size)
        self.parameters = policy.narrow_parameters()
        self.optimizer = torch.optim.Adam(self.parameters, lr=self.learning_rate, fused=True)
        self._generator = torch.Generator().manual_seed(check_int("seed", seed, 0))

    def teach(
        self, observations: Tensor, batches: int, anneal: bool = False, progress: bool = False
    ) -> float:
        """Take steps on batches drawn from observations; return the mean loss of the last tenth.

        Args:
            observations: As the policy reads them, flat and normalised, shape (rows, features).
            batches: How many.
            anneal: Whether the learning rate falls to zero on the way.
            progress: Whether to show a bar.
        """
        with torch.no_grad():
            parts = [self.actor.outputs(rows) for rows in observations.split(_ROWS_AT_ONCE)]
            targets = tuple(torch.cat(each).unsqueeze(1) for each in zip(*parts, strict=True))
        device = observations.device
        last: list[Tensor] = []
        with torch.enable_grad():
            for batch in trange(batches, desc="teaching widths", disable=not progress):
                rows = torch.randint(
                    len(observations), (self.batch_size,), generator=self._generator
                ).to(device)
                rate = self.learning_rate * (1 - batch / batches if anneal else 1)
                self.optimizer.param_groups[0]["lr"] = rate
                loss = self._loss(observations[rows], tuple(each[rows] for each in targets))
                loss.backward()
                self.optimizer.step()
                # A gradient that stays would count in the clipping of what all widths share.
                self.optimizer.zero_grad(set_to_none=True)
                if batch >= 0.9 * batches:
                    last.append(loss.detach())
        return float(torch.stack(last).mean()) if last else 0.0

    def _loss(self, observations: Tensor, targets: tuple[Tensor, ...]) -> Tensor:
        control = self.policy.control
        with at_several_positions(control, self._draw_widths()):
            outputs = self.actor.outputs(observations)
        # Octaves share nothing, so each learns as it would alone: their losses add up.
        return self.actor.divergence(outputs, targets).mean(0).sum()

    def _draw_widths(self) -> list[int]:
        """Return one width of each octave."""
        tops = octave_tops(self.policy.control.steps)
        chances = torch.rand(len(tops), generator=self._generator).tolist()
        return [
            position_in_octave(chance, below, top, _WIDEST)
            for chance, below, top in zip(chances, [0, *tops], tops, strict=False)
        ]


class TeachWidths(BaseCallback):
    """A callback that teaches the narrow widths of a `VariablePolicy` while PPO trains it.

    After each update it takes some steps towards the actions at full width, on the states of the
    last rollouts, and more of them at the end of the training. PPO itself runs at full width, and
    what it computes is the same to the bit.

    Args:
        batches: Steps after each update.
        final_batches: Steps at the end, at a learning rate that falls to zero.
        rollouts: How many rollouts' states are kept.
        learning_rate: Of an Adam optimizer of its own.
        batch_size: States in a batch.
        seed: Of batches and widths.

    Raises:
        TypeError: If the policy is not a `VariablePolicy`; before training starts.

    Example:
        >>> from stable_baselines3 import PPO
        >>> from vsnn_lab.train.policies import VariablePolicy
        >>> model = PPO(VariablePolicy, "CartPole-v1", n_steps=64, n_epochs=1, device="cpu")
        >>> model = model.learn(128, callback=TeachWidths(batches=2, final_batches=4))
    """

    def __init__(
        self,
        batches: int = 80,
        final_batches: int = 2_000,
        rollouts: int = 10,
        learning_rate: float = 1e-3,
        batch_size: int = 256,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.batches = check_int("batches", batches, 0)
        self.final_batches = check_int("final_batches", final_batches, 0)
        self._states: deque[Tensor] = deque(maxlen=check_int("rollouts", rollouts))
        self._options = {
            "learning_rate": check_number("learning_rate", learning_rate, 0),
            "batch_size": check_int("batch_size", batch_size),
            "seed": check_int("seed", seed, 0),
        }

    def _init_callback(self) -> None:
        policy: Any = self.model.policy
        if not isinstance(policy, VariableActor) or not hasattr(self.model, "rollout_buffer"):
            raise TypeError(
                "TeachWidths must be given to PPO or A2C with a VariablePolicy, got "
                f"{type(self.model).__name__} with {type(policy).__name__}; teach_widths teaches "
                "any trained policy"
            )
        self.teacher = WidthTeacher(policy, **self._options)  # type: ignore[arg-type]
        self._taught = True

    def _on_rollout_start(self) -> None:
        self._teach(self.batches)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer: Any = self.model.rollout_buffer  # type: ignore[attr-defined]
        # A copy, which the next rollout does not write into.
        states = np.array(buffer.observations).reshape(
            -1, *self.model.observation_space.shape or ()
        )
        self._states.append(flat_observations(self.model.policy, states))
        self._taught = False

    def _on_training_end(self) -> None:
        self._teach(self.batches)
        if self._states and self.final_batches:
            self.teacher.teach(torch.cat(tuple(self._states)), self.final_batches, anneal=True)

    def _teach(self, batches: int) -> None:
        """Take the steps that follow an update, once."""
        if self._taught or not batches:
            return
        self._taught = True
        loss = self.teacher.teach(torch.cat(tuple(self._states)), batches)
        self.logger.record("train/narrow_divergence", loss)


def teach_widths(
    policy: BasePolicy,
    observations: np.ndarray[Any, Any] | Tensor,
    batches: int = 4_000,
    *,
    learning_rate: float = 1e-3,
    batch_size: int = 256,
    seed: int = 0,
    progress: bool = True,
) -> Any:
    """Return a variable copy of a trained policy that has learned every narrow width.

    At full width it is the policy that was given, which is left as it is.

    Args:
        policy: The trained ``MlpPolicy`` of PPO, A2C, SAC, TD3 or DDPG, or the algorithm itself.
        observations: States that the policy meets, as it reads them (normalised, if it was trained
            so), shape (rows, ...).
        batches: Steps, at a learning rate that falls to zero.
        learning_rate: Of Adam.
        batch_size: Observations in a batch.
        seed: Of batches and widths.
        progress: Whether to show a bar.

    Returns:
        A `VariablePolicy`, or its like for SAC and TD3; ``.at(width)`` is an ordinary policy.

    Raises:
        TypeError: If the policy is of another kind: recurrent or convolutional, say.
        ValueError: If observations do not fit it, or it has no hidden layer to be narrower.

    Example:
        >>> from stable_baselines3 import PPO
        >>> model = PPO("MlpPolicy", "CartPole-v1", n_steps=64, device="cpu")
        >>> states = np.random.default_rng(0).normal(size=(100, 4))
        >>> teach_widths(model, states, batches=2, progress=False).at(1).action_net
        Linear(in_features=1, out_features=2, bias=True)
    """
    policy = getattr(policy, "policy", policy)
    plain = check_policy(policy, tuple(VARIABLE))
    batches, progress = check_int("batches", batches, 0), check_flag("progress", progress)
    features = flat_observations(policy, observations)
    variable = VARIABLE[plain].of(policy)
    WidthTeacher(variable, learning_rate, batch_size, seed).teach(
        features, batches, anneal=True, progress=progress
    )
    return variable


def flat_observations(policy: BasePolicy, observations: Any) -> Tensor:
    """Return observations as the actor reads them, shape (rows, features).

    Raises:
        ValueError: If their shape is not the policy's, or one is not finite.
    """
    rows = torch.as_tensor(np.asarray(observations), device=policy.device)
    shape = policy.observation_space.shape
    if rows.shape[1:] != shape or not len(rows):
        raise ValueError(
            f"observations must have shape (rows, {', '.join(map(str, shape or ()))}), got "
            f"{short_repr(observations)}"
        )
    if not rows.isfinite().all():
        raise ValueError("observations must be finite, got NaN or infinity among them")
    rows = rows.float() if rows.is_floating_point() else rows
    extractor: Any = policy.make_features_extractor()
    with torch.no_grad():
        return policy.extract_features(rows, extractor).float()
