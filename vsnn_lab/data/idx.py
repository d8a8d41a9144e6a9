"""Files of the IDX format, in which MNIST and its kin are published."""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

_BYTES = 8  # the format's code for unsigned bytes
_LENGTH = 4  # bytes of the magic number, and of each size


def read_idx(path: Path, dims: int) -> Tensor:
    """Read a file of unsigned bytes; torchvision's reader asserts, and prefers old pickles.

    Args:
        path: The file, uncompressed.
        dims: How many dimensions it must have.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file, or not as long as its head says; the message names it.

    References:
        LeCun, Cortes & Burges, "The MNIST database of handwritten digits", the file format.
    """
    content = path.read_bytes()
    head = content[: _LENGTH * (1 + dims)]
    shape = [int(size) for size in np.frombuffer(head[: len(head) // 4 * 4], ">u4")[1:]]
    if head[:_LENGTH] != bytes([0, 0, _BYTES, dims]) or len(shape) != dims:
        raise ValueError(
            f"{path} must be an IDX file of bytes in {dims} dimensions, got one that begins with "
            f"{head[:_LENGTH].hex(' ') or 'nothing'}; delete it, and it is fetched again"
        )
    expected, got = math.prod(shape), len(content) - len(head)
    if expected != got:
        raise ValueError(
            f"{path} must hold {expected} bytes after its head, as {shape} says, got {got}; "
            "delete it, and it is fetched again"
        )
    # A copy, since what the file gave cannot be written to.
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=len(head)).copy()).view(*shape)
