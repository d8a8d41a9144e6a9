"""Variable recurrent layers: the first units of the hidden state, and what feeds them back.

The arguments are those of the torch layer, with ``input_size`` and ``hidden_size`` an int or a
`Width`. The units kept are those of a smaller layer: of each gate's rows and of the columns that
feed back the first ones, in all layers and both directions.

Shape:
    As in torch, each variable axis cut to the units that are kept; what is bidirectional has the
    units of either direction one after the other. Initial states have all units, or those kept.
    Under a width vector, one width for each sequence, outputs and states are whole, and zero
    beyond a sequence's width; sequences of one width are computed together, so that a hidden unit
    beyond the width feeds nothing back.

References:
    Hochreiter & Schmidhuber 1997, "Long Short-Term Memory"; Cho et al. 2014, arXiv 1406.1078; for
    recurrent layers of which a prefix of units is used, Rippel et al. 2014, "Learning Ordered
    Representations with Nested Dropout", arXiv 1402.0915, has the idea.
"""

from typing import Any

import torch
from torch import Tensor, nn

from vsnn_lab.layers.corners import Axis, Device
from vsnn_lab.layers.recurrence import Recurrent
from vsnn_lab.widths import Width


class VariableLSTM(Recurrent, nn.LSTM):
    """`torch.nn.LSTM` with a variable hidden state or input, as this module describes.

    ``proj_size`` is fixed: an int, below the hidden units kept at every position.

    Example:
        >>> from vsnn_lab import Width, at_width
        >>> layer = VariableLSTM(4, Width(8), bidirectional=True)
        >>> with at_width(layer, 3):
        ...     layer(torch.ones(5, 2, 4))[0].shape
        torch.Size([5, 2, 6])
    """

    _plain, _gates = nn.LSTM, 4

    def __init__(
        self,
        input_size: int | Width,
        hidden_size: int | Width,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        options: dict[str, Any] = {
            "num_layers": num_layers,
            "bias": bias,
            "batch_first": batch_first,
        }
        options |= {"dropout": dropout, "bidirectional": bidirectional, "proj_size": proj_size}
        super().__init__(input_size, hidden_size, options | {"device": device, "dtype": dtype})

    def _states(self, hx: Any) -> list[tuple[Tensor, Axis]]:
        axes = self.fed_back_axis, self.hidden_axis
        return [] if hx is None else list(zip(hx, axes, strict=True))

    def _joined(self, states: list[Tensor]) -> Any:
        return tuple(states)


class VariableGRU(Recurrent, nn.GRU):
    """`torch.nn.GRU` with a variable hidden state or input, as this module describes.

    Example:
        >>> from vsnn_lab import Width, at_width
        >>> layer = VariableGRU(4, Width(8))
        >>> with at_width(layer, 3):
        ...     layer(torch.ones(5, 2, 4))[0].shape
        torch.Size([5, 2, 3])
    """

    _plain, _gates = nn.GRU, 3

    def __init__(
        self,
        input_size: int | Width,
        hidden_size: int | Width,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        options: dict[str, Any] = {
            "num_layers": num_layers,
            "bias": bias,
            "batch_first": batch_first,
        }
        options |= {"dropout": dropout, "bidirectional": bidirectional}
        super().__init__(input_size, hidden_size, options | {"device": device, "dtype": dtype})


class VariableRNN(Recurrent, nn.RNN):
    """`torch.nn.RNN` with a variable hidden state or input, as this module describes.

    Example:
        >>> from vsnn_lab import Width, at_width
        >>> layer = VariableRNN(4, Width(8), nonlinearity="relu")
        >>> with at_width(layer, 3):
        ...     layer(torch.ones(5, 2, 4))[0].shape
        torch.Size([5, 2, 3])
    """

    _plain, _gates = nn.RNN, 1

    def __init__(
        self,
        input_size: int | Width,
        hidden_size: int | Width,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        options: dict[str, Any] = {
            "num_layers": num_layers,
            "nonlinearity": nonlinearity,
            "bias": bias,
        }
        options |= {"batch_first": batch_first, "dropout": dropout}
        options |= {"bidirectional": bidirectional, "device": device, "dtype": dtype}
        super().__init__(input_size, hidden_size, options)
