"""Networks built from layers. One without a `Width` is plain PyTorch throughout."""

from vsnn_lab.models.autoencoders import Autoencoder, ConvAutoencoder
from vsnn_lab.models.convnet import ConvNet
from vsnn_lab.models.mlp import MLP

__all__ = ["MLP", "Autoencoder", "ConvAutoencoder", "ConvNet"]
