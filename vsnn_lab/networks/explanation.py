"""What became of a network that was made variable: what varies, what stayed, and why."""

from torch import nn

from vsnn_lab.networks.graph.understanding import Understanding


def explained(model: nn.Module, found: Understanding) -> nn.Module:
    """Note on a converted network what is known of it; return it."""
    return model
