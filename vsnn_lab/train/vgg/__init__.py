"""VGGs of every width beside plain ones and ones trained for a single size, on Fashion-MNIST."""

from vsnn_lab.train.savings import narrowest_within, share_that_can_go
from vsnn_lab.train.vgg.experiment import Run
from vsnn_lab.train.vgg.images import load_images, on_canvas
from vsnn_lab.train.vgg.measuring import STATISTICS
from vsnn_lab.train.vgg.methods import METHODS, untrained
from vsnn_lab.train.vgg.network import plain_vgg, variable_vgg
from vsnn_lab.train.vgg.results import (
    accuracy_by_width,
    keep_runs,
    parameters_that_can_go,
    results_folder,
    tracked_results,
    trained,
)

__all__ = [
    "METHODS",
    "STATISTICS",
    "Run",
    "accuracy_by_width",
    "keep_runs",
    "load_images",
    "narrowest_within",
    "on_canvas",
    "parameters_that_can_go",
    "plain_vgg",
    "results_folder",
    "share_that_can_go",
    "tracked_results",
    "trained",
    "untrained",
    "variable_vgg",
]
