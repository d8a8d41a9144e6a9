"""In which dtype a sum may be made in parts."""

import torch
from torch import Tensor, nn


def sums_are_safe(*tensors: Tensor | None) -> bool:
    """Whether sums over parts of these tensors are as good as one over all, whatever the order.

    In half precision they are not, nor where autocast turns to it.
    """
    known = [tensor for tensor in tensors if tensor is not None]
    return all(
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled(tensor.device.type)
        for tensor in known
    )
