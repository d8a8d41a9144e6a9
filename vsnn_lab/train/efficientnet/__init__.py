"""A pretrained EfficientNet-Lite0 made variable and taught narrow widths without labels.

``python -m vsnn_lab.train.efficientnet`` measures how often narrow widths say what full width does.
"""

from vsnn_lab.train.efficientnet.network import EfficientNetLite0, load_weights

__all__ = ["EfficientNetLite0", "load_weights"]
