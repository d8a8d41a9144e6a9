"""Control policies of every width, on stable-baselines3; needs the extra ``rl``."""

try:
    import gymnasium as _gymnasium  # noqa: F401
    import stable_baselines3 as _stable_baselines3  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        "vsnn_lab.policies needs stable-baselines3 and gymnasium: pip install 'vsnn-lab[rl]'"
    ) from error

from vsnn_lab.train.policies.acting_widths import ActingWidthPolicy, ActingWidths
from vsnn_lab.train.policies.evaluation import action_difference, episode_returns, mean_actions
from vsnn_lab.train.policies.experiment import METHODS, WIDTHS, Run, train
from vsnn_lab.train.policies.files import (
    TrainedPolicy,
    load_policy,
    save_policy,
    shipped_policies,
)
from vsnn_lab.train.policies.rendering import render_episode
from vsnn_lab.train.policies.results import (
    keep_runs,
    results_folder,
    returns_by_width,
    smallest_width,
    tracked_results,
)
from vsnn_lab.train.policies.statistics import Statistics
from vsnn_lab.train.policies.tasks import TASKS, Task
from vsnn_lab.train.policies.teaching import TeachWidths, WidthTeacher, teach_widths
from vsnn_lab.train.policies.variable import (
    VariablePolicy,
    VariableSACPolicy,
    VariableTD3Policy,
)

__all__ = [
    "METHODS",
    "TASKS",
    "WIDTHS",
    "ActingWidthPolicy",
    "ActingWidths",
    "Run",
    "Statistics",
    "Task",
    "TeachWidths",
    "TrainedPolicy",
    "VariablePolicy",
    "VariableSACPolicy",
    "VariableTD3Policy",
    "WidthTeacher",
    "action_difference",
    "episode_returns",
    "keep_runs",
    "load_policy",
    "mean_actions",
    "render_episode",
    "results_folder",
    "returns_by_width",
    "save_policy",
    "shipped_policies",
    "smallest_width",
    "teach_widths",
    "tracked_results",
    "train",
]
