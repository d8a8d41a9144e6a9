"""Instruments: ipywidgets around figures and ablation.

Each is a widget to show in a notebook. Moving its slider looks up what was computed once, through
a plain function that runs and can be tested without a browser.
"""

from vsnn_lab.explore.autoencoder import AutoencoderExplorer
from vsnn_lab.explore.masks import MaskExplorer

__all__ = ["AutoencoderExplorer", "MaskExplorer"]
