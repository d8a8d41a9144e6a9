"""Numbers in, Plotly figures out; nothing here knows a model."""

from vsnn_lab.figures.autoencoder import autoencoder_figure
from vsnn_lab.figures.curves import sweep_figure
from vsnn_lab.figures.masks import mask_figure, mask_gallery
from vsnn_lab.figures.style import TEMPLATE

__all__ = ["TEMPLATE", "autoencoder_figure", "mask_figure", "mask_gallery", "sweep_figure"]
