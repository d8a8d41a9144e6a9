"""Instruments: ipywidgets around figures and ablation.

Each is a widget to show in a notebook. Moving its slider looks up what was computed once, or runs
the network on what is shown, through a plain function that can be tested without a browser.

May import ``_basics``, ``widths``, ``samplers``, ``data``, ``networks``, ``measure``, ``export``,
``train``, ``figures``.
"""

from vsnn_lab.explore.autoencoder import AutoencoderExplorer
from vsnn_lab.explore.classifier import ClassifierExplorer
from vsnn_lab.explore.codes import CodeExplorer
from vsnn_lab.explore.masks import MaskExplorer
from vsnn_lab.explore.policy import PolicyExplorer
from vsnn_lab.explore.runs import RunsExplorer
from vsnn_lab.explore.text import TextExplorer
from vsnn_lab.explore.width_comparison import WidthComparison

__all__ = [
    "AutoencoderExplorer",
    "ClassifierExplorer",
    "CodeExplorer",
    "MaskExplorer",
    "PolicyExplorer",
    "RunsExplorer",
    "TextExplorer",
    "WidthComparison",
]
