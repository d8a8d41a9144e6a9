"""Pictures of an episode, drawn without a screen."""

import os
import sys
from typing import Any

import gymnasium
import numpy as np

from vsnn_lab._basics.checks import check_int
from vsnn_lab.train.policies.evaluation import mean_actions
from vsnn_lab.train.policies.files import TrainedPolicy

Array = np.ndarray[Any, Any]


def render_episode(
    trained: TrainedPolicy,
    width: int,
    frames: int = 60,
    *,
    every: int = 1,
    size: tuple[int, int] = (120, 160),
    seed: int = 0,
) -> Array:
    """Return pictures of an episode at a width, one after every few steps.

    Whatever the width, an episode of one seed starts from the same state. Where it ends early the
    last picture stays.

    Args:
        trained: The policy, for a task of gymnasium.
        width: Knob position, an int in 1..steps.
        frames: How many pictures.
        every: Steps between two.
        size: Their height and width in pixels.
        seed: Of the start.

    Returns:
        Array of uint8, shape (frames, height, width, 3).

    Raises:
        ValueError: If a number lies outside its range.
        RuntimeError: If nothing can draw here; says which system packages do.
    """
    frames, every = check_int("frames", frames), check_int("every", every)
    height, across = (check_int("size", each, 8) for each in size)
    policy = trained.policy.at(width)
    environment = _drawing_environment(trained.env_id, height, across)
    try:
        observation, _ = environment.reset(seed=check_int("seed", seed, 0))
        pictures = [_picture(environment, (height, across))]
        ended = False
        while len(pictures) < frames:
            for _ in range(every):
                if not ended:
                    action = mean_actions(policy, observation[None], trained.statistics)[0]
                    observation, _, terminated, truncated, _ = environment.step(action)
                    ended = terminated or truncated
            pictures.append(pictures[-1] if ended else _picture(environment, (height, across)))
    finally:
        environment.close()
    return np.stack(pictures)


def _drawing_environment(env_id: str, height: int, width: int) -> gymnasium.Env[Any, Any]:
    """Return an environment that draws; MuJoCo's draw at the size that is asked for."""
    if sys.platform == "linux" and "DISPLAY" not in os.environ:
        # Read when the first picture is drawn.
        os.environ.setdefault("MUJOCO_GL", "egl")
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    entry = str(gymnasium.spec(env_id).entry_point)
    # The camera that follows the robot, which runs out of the other one's picture in a second.
    size = {"height": height, "width": width, "camera_name": "track"}
    options: Any = size if "mujoco" in entry else {}
    try:
        return gymnasium.make(env_id, render_mode="rgb_array", **options)
    except Exception as error:
        raise _cannot_draw(error) from error


def _picture(environment: gymnasium.Env[Any, Any], size: tuple[int, int]) -> Array:
    """Return what an environment draws, as uint8 of a size."""
    try:
        drawn: Any = environment.render()
    except Exception as error:
        raise _cannot_draw(error) from error
    drawn = np.asarray(drawn, dtype=np.uint8)
    if drawn.shape[:2] == size:
        return drawn
    from PIL import Image

    picture = Image.fromarray(drawn).resize(size[::-1], Image.Resampling.BOX)
    return np.asarray(picture)


def _cannot_draw(error: Exception) -> RuntimeError:
    return RuntimeError(
        "drawing an episode needs pygame, or for MuJoCo EGL: on Debian and Ubuntu "
        f"apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri; got {error!r}"
    )
