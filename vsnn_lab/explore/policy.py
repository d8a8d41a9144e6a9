"""Pick a width and see how the policy of that width moves its robot."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from vsnn_lab._basics.checks import check_collection, check_int, short_repr
from vsnn_lab.explore.frames import check_frames, check_strips, frames_part
from vsnn_lab.explore.instrument import Instrument, Position
from vsnn_lab.explore.parts import tiles, width_control
from vsnn_lab.explore.policy_returns import actor_tiles, return_curve, return_tiles
from vsnn_lab.figures.checks import check_points
from vsnn_lab.figures.seeds import Seeds

if TYPE_CHECKING:
    from vsnn_lab.train.policies import TrainedPolicy

_SECONDS = 4  # that an episode is watched for, about
_NOTE = "One start; where an episode ends early its last picture stays."


class PolicyExplorer(Instrument):
    """An instrument for one control policy: slider, moving robots, return curve, read-outs.

    An episode of each width is drawn when it is made, all from the same start; beside it full
    width's runs in step. Needs the extra ``rl``, and what draws without a screen: see
    `vsnn_lab.train.policies.render_episode`.

    Args:
        trained: A variable policy, as `vsnn_lab.train.policies.load_policy` returns one.
        returns: What it earns by width, one number or one a seed; by default it is measured.
        dedicated: The same of policies of one width each, drawn as points.
        ordinary: Of ordinary full-width policies, one number or one a seed, drawn as a level.
        linear: The same of linear policies.
        widths: Stops of the slider, and full width; by default those of ``returns``.
        strips: Frames by width, uint8 of shape (n, height, width, 3), if they are drawn already.
        frames: How many are drawn of an episode.
        every: Steps of the task between two frames; by default they show about four seconds.
        size: Height and width of a frame in pixels.
        episodes: Run at each width to measure ``returns``.
        seed: Of the start of the episodes that are drawn.

    Attributes:
        width: The width shown; set it, or observe it.

    Raises:
        ImportError: If the extra ``rl`` is not installed.
        TypeError: If an argument is of another kind.
        ValueError: If a width has no return or no frames, or frames differ in shape or are too
            large.
        RuntimeError: If nothing can draw here; says which system packages do.
    """

    width = Position().tag(sync=True)

    def __init__(
        self,
        trained: "TrainedPolicy",
        *,
        returns: Seeds | None = None,
        dedicated: Seeds | None = None,
        ordinary: float | Sequence[float] | None = None,
        linear: float | Sequence[float] | None = None,
        widths: Iterable[int] | None = None,
        strips: Mapping[int, np.ndarray] | None = None,
        frames: int = 60,
        every: int | None = None,
        size: tuple[int, int] = (120, 160),
        episodes: int = 10,
        seed: int = 0,
    ) -> None:
        from vsnn_lab.train.policies import WIDTHS, TrainedPolicy, episode_returns, render_episode

        if not isinstance(trained, TrainedPolicy):
            raise TypeError(f"trained must be a TrainedPolicy, got {short_repr(trained)}")
        self.trained, self.steps = trained, trained.policy.control.steps
        self.returns = check_points("returns", returns)
        levels = {"ordinary": ordinary, "linear": linear}
        beside = {n: check_points(n, None if v is None else {1: v}) for n, v in levels.items()}
        beside["dedicated"] = check_points("dedicated", dedicated)
        drawn = {} if strips is None else check_strips(strips)
        known = self.returns or drawn or [w for w in WIDTHS if w < self.steps]
        self.widths = self._check_widths(known if widths is None else widths)
        for name, held in (("returns", self.returns), ("strips", drawn)):
            missing = [width for width in self.widths if held and width not in held]
            if missing:
                raise ValueError(f"{name} must hold each width of the slider, lacks {missing}")
        count, *sides = check_frames(frames, size)
        if drawn:
            count = len(drawn[self.steps])
        rate = _steps_a_second(trained.env_id)
        usual = max(1, round(rate * _SECONDS / count))
        every = usual if every is None else check_int("every", every)
        check_int("episodes", episodes), check_int("seed", seed, 0)
        measures, draws = not self.returns, not drawn
        for width in tqdm(self.widths, desc="episodes", delay=2):
            if measures:
                at, statistics = trained.policy.at(width), trained.statistics
                found = episode_returns(at, trained.env_id, episodes, statistics=statistics)
                self.returns[width] = [fmean(found)]
            if draws:
                drawn[width] = render_episode(
                    trained, width, count, every=every, size=(sides[0], sides[1]), seed=seed
                )
        tracks = {"at this width": False, f"at full width, {self.steps}": True}
        strip = [drawn[width] for width in self.widths]
        part, arrays = frames_part(strip, rate / every, tracks, _NOTE)
        curve = return_curve(self.returns, beside, self.steps)
        source = f"mean of {episodes} episodes" if measures else ""
        earned = {width: self.returns[width] for width in self.widths}
        said = return_tiles(earned, self.steps, source) + actor_tiles(trained, self.widths)
        super().__init__(
            {
                "kind": "policy",
                "label": f"{trained.env_id}: policy by width",
                "controls": [width_control("width", "width", self.widths, self.steps)],
                "parts": [part, curve, tiles(said)],
                "actions": [],
            },
            arrays,
            width=self.steps,
        )

    def _check_widths(self, widths: Iterable[int]) -> list[int]:
        given = check_collection("widths", widths, "widths")
        each = {check_int("each of widths", width, 1, self.steps) for width in given}
        return sorted(each | {self.steps})


def _steps_a_second(env_id: str) -> float:
    """Return how many steps of a task take a second in its own time."""
    import gymnasium

    environment = gymnasium.make(env_id)
    environment.close()
    return float(environment.metadata.get("render_fps") or 30)
