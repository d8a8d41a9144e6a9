"""A run small enough to be trained in every test."""

import torch
from torch import nn

from vsnn_lab import MLP, Width

ROWS = 48


def regression(shift: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(1))
    return x, x[:, :2].sin() + shift


def network(seed: int = 3) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(MLP(4, (Width(8),), 6), nn.Dropout(0.2), nn.Linear(6, 2))
