"""Tensors and a JSON header in safetensors files, written whole or not at all."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vsnn_lab._basics.files import atomic_write

# safetensors keeps strings only, so the whole header is one JSON string under the first key; under
# the second are the `digest` of the tensors and the hash of that string, joined by a dash, because
# safetensors itself has no checksum. Files without the hash of the string are read, too.
_KEY, _DIGEST = "vsnn_lab", "digest"


def write(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> Path:
    """Write tensors and a header; after a crash the old file or the new one is there, whole.

    What a process left half-written when it was killed goes with the next write of that file.

    Args:
        path: Where to; missing folders are made.
        tensors: Any names; shared memory is written twice.
        header: Anything that JSON can hold.

    Raises:
        TypeError: If a tensor has a dtype that safetensors cannot hold.
        OSError: If the folder cannot be written, a full disk included.
    """
    path = Path(path)
    with atomic_write(path) as part:
        try:
            own = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
            # safetensors makes files that only their owner can read; this gets the usual rights.
            part.touch()
            rights = part.stat().st_mode
            text = json.dumps(header)
            sums = f"{digest(own)}-{_text_hash(text)}"
            save_file(own, part, metadata={_KEY: text, _DIGEST: sums})
            part.chmod(rights)
        except SafetensorError as error:
            raise OSError(f"cannot write {path}: {error}") from error
        except KeyError as error:
            raise TypeError(f"cannot write {path}: safetensors has no dtype {error}") from error
    return path


def read_header(path: Path) -> dict[str, Any]:
    """Return the header of a file written by `write`.

    Raises:
        FileNotFoundError: If there is no such file.
        PermissionError: If it may not be read.
        ValueError: If the file is damaged or of another kind; the message names it.
    """
    return _read(Path(path), tensors=False)[1]


def read(path: Path, *, foreign: bool = False) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the header of a file written by `write`; raises as `read_header`.

    With ``foreign``, a safetensors file that another program wrote is read, too; its header is
    empty.
    """
    return _read(Path(path), tensors=True, foreign=foreign)


def _read(
    path: Path, *, tensors: bool, foreign: bool = False
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"no such checkpoint: {path}")
    # safetensors takes a file that may not be read for one that is not there.
    path.open("rb").close()
    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
            names = file.keys() if tensors else ()
            # Copied, because a view of the file dies with the process if the file is ever cut off.
            found = {name: file.get_tensor(name).clone() for name in names}
        if foreign and told.keys().isdisjoint((_KEY, _DIGEST)):
            return found, {}
        of_tensors, _, of_header = told[_DIGEST].partition("-")
        if of_header and of_header != _text_hash(told[_KEY]):
            raise ValueError("its header is not the one that was written")
        header = json.loads(told[_KEY])
        if tensors and digest(found) != of_tensors:
            raise ValueError("its tensors are not those that were written")
        if not isinstance(header, dict):
            raise ValueError(f"its header must be a JSON object, got {header!r:.40}")
    # A RecursionError is a RuntimeError: the header nests too deep.
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise damaged(path, error) from error
    return found, header


def damaged(path: Path, reason: object) -> ValueError:
    """Return the error that refuses a file and says what to do about it."""
    return ValueError(
        f"{path} is damaged or no file of this package ({reason}); "
        "restore it, or delete it to start over"
    )


def digest(tensors: Mapping[str, Tensor] | list[Tensor]) -> str:
    """Return a short hash of the bytes, dtypes, shapes and names of tensors, in any order."""
    # Sorted, because a file gives its tensors back in an order of its own.
    named = sorted(tensors.items()) if isinstance(tensors, Mapping) else enumerate(tensors)
    total = hashlib.sha256()
    for name, tensor in named:
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        whole = tensor.detach().cpu().contiguous()
        # As bytes, since NumPy knows no bfloat16; a scalar has to become a vector first.
        total.update(whole.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()[:16]


def _text_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
