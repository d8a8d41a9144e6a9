"""What a variable network is compared with: a network for each width, PCA, and PCAAE."""

from vsnn_lab.train.baselines.pcaae import PCAAE, train_pcaae
from vsnn_lab.train.baselines.sweeps import dedicated, pca_errors

__all__ = ["PCAAE", "dedicated", "pca_errors", "train_pcaae"]
