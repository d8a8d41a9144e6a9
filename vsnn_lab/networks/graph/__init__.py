"""Where the units of a network's layers come from and go to, found in its graph.

`capture` runs a network on sizes alone and writes down what it does; `Walk` follows each dimension
of each tensor through it, by a table of `operations` and one of `layer_rules`; `first_difference`
says where the narrow network does something else than was foreseen.
"""

from vsnn_lab.networks.graph.capture import Graph, capture
from vsnn_lab.networks.graph.compare import Difference, first_difference
from vsnn_lab.networks.graph.layer_rules import LAYERS
from vsnn_lab.networks.graph.units import Axes, Dim, Segment
from vsnn_lab.networks.graph.walk import Walk

__all__ = [
    "LAYERS",
    "Axes",
    "Difference",
    "Dim",
    "Graph",
    "Segment",
    "Walk",
    "capture",
    "first_difference",
]
