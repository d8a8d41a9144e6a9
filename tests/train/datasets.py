"""Data sets that tests identify."""

from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tests.small import regression

X, Y = regression()


class Mapped(Dataset):
    """Rows of the inputs through a function, in memory."""

    def __init__(self, function):
        self.function, self.root = function, Path("unused")

    def __len__(self):
        return len(X)

    def __getitem__(self, row):
        return self.function(X[row]), Y[row]


class FromFile(Mapped):
    def __init__(self, path):
        self.path = path

    def __getitem__(self, row):
        return torch.load(self.path, weights_only=True)[row], Y[row]


def loader(dataset=None, **options):
    return DataLoader(dataset or TensorDataset(X, Y), batch_size=16, **options)
