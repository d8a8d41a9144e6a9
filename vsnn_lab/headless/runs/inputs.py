"""Files and folders that parameters name: what a run depends on beside its code."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_FileRow = tuple[str, int, int]


def input_digests(parameters: Mapping[str, Any], roots: Sequence[Path]) -> dict[str, str]:
    """Return a digest of every file and folder that a text among parameters names.

    Files count with name, size and time of change, which take no reading.

    Args:
        parameters: Values by name.
        roots: Folders of runs; a folder that holds one changes with every run and is left out.

    Returns:
        Digests by absolute path.
    """
    run_folders = [root.resolve() for root in roots]
    found = {}
    for text in _texts(parameters):
        path = os.path.abspath(os.path.expanduser(text))
        # An empty text would be the working directory.
        if not text or not os.path.exists(path):
            continue
        real = Path(path).resolve()
        if not any(root.is_relative_to(real) for root in run_folders):
            rows = list(_folder_rows(path)) if real.is_dir() else [_file_row(path, "")]
            # JSON also holds names that are no Unicode.
            found[path] = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
    return found


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts of a parameter, however deep in lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _folder_rows(path: str) -> Iterator[_FileRow]:
    """Yield all files of a folder and of those in it, in the order of their names."""
    seen = set()
    for folder, folders, names in os.walk(path, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link may lead back to where it is
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for name in sorted(names):
            file = os.path.join(folder, name)
            yield _file_row(file, file[len(path) :])


def _file_row(path: str, name: str) -> _FileRow:
    try:
        status = os.stat(path)
    except OSError:  # a link to nowhere, or gone in the meantime
        return name, -1, -1
    return name, status.st_size, status.st_mtime_ns
