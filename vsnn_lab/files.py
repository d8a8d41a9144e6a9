"""Files that are written whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a place to write to, which becomes ``path`` at the end of the block.

    After a crash the old file or the new one is there, whole. What a process left half-written when
    it was killed goes with the next write of that file.

    Args:
        path: Where to; missing folders are made.

    Raises:
        OSError: If the folder cannot be written; names the file, a full disk included.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, because a rename is atomic only within one file system.
    part = path.with_name(f"{_started(path)}{os.getpid()}")
    _clear(path)
    try:
        yield part
        with open(part, "rb") as written:
            os.fsync(written.fileno())
        os.replace(part, path)
    except OSError as error:
        # Reading, writing and flushing an open file fail without its name.
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        part.unlink(missing_ok=True)


def _started(path: Path) -> str:
    """Return how the names of a file's half-written versions begin; the writer's id follows."""
    return f".{path.name}-"


def _clear(path: Path) -> None:
    """Remove the half-written versions of processes that no longer exist."""
    start = _started(path)
    for found in path.parent.iterdir():
        writer = found.name.removeprefix(start)
        if found.name.startswith(start) and writer.isdecimal() and not _exists(int(writer)):
            # Not worth failing for.
            with contextlib.suppress(OSError):
                found.unlink()


def _exists(process: int) -> bool:
    # Elsewhere than on POSIX, os.kill ends a process instead of asking for it.
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another person's
        return True
    return True
