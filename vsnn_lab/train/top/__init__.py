"""A variable fully connected top on the features of a frozen, pretrained backbone.

As in the paper, whose layer is the top of VGG19. ``python -m vsnn_lab.train.top`` trains tops of
all widths beside ones of one size.
"""

from vsnn_lab.train.top.backbones import BACKBONES, Backbone, load_backbone
from vsnn_lab.train.top.experiment import METHODS, Run, kept_features, make_top, train_top
from vsnn_lab.train.top.features import FeatureBatches, Features, keep_features
from vsnn_lab.train.top.images import Images, load_images
from vsnn_lab.train.top.results import by_position, summary, tracked_results
from vsnn_lab.train.top.setup import Setup

__all__ = [
    "BACKBONES",
    "METHODS",
    "Backbone",
    "FeatureBatches",
    "Features",
    "Images",
    "Run",
    "Setup",
    "by_position",
    "keep_features",
    "kept_features",
    "load_backbone",
    "load_images",
    "make_top",
    "summary",
    "tracked_results",
    "train_top",
]
