"""Files that are written whole or not at all."""

import contextlib
import os
import re
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a place to write to, which becomes ``path`` at the end of the block.

    After a crash the old file or the new one is there, whole. What a process left half-written when
    it was killed goes with the next write of that file on the same machine. Processes, threads and
    machines may write one file at once: each writes a version of its own, and the last one stays.

    Args:
        path: Where to; missing folders are made.

    Raises:
        OSError: If the folder cannot be written; names the file, a full disk included.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, because a rename is atomic only within one file system. The machine, since
    # several may share the folder; chance, since several threads may write the same file.
    writer = f"{socket.gethostname()}-{secrets.token_hex(4)}-{os.getpid()}"
    part = path.with_name(f".{path.name}-{writer}")
    _remove_leftovers(path)
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


def _remove_leftovers(path: Path) -> None:
    """Remove the half-written versions of processes of this machine that no longer exist."""
    # Whether a process of another machine exists cannot be told here. Names of a process alone are
    # those of earlier versions of this package.
    name, machine = re.escape(path.name), re.escape(socket.gethostname())
    mine = rf"\.{name}-(?:{machine}-[0-9a-f]{{8}}-)?([0-9]+)"
    for found in path.parent.iterdir():
        writer = re.fullmatch(mine, found.name)
        if writer and not _process_exists(int(writer[1])):
            # Not worth failing for.
            with contextlib.suppress(OSError):
                found.unlink()


def _process_exists(process: int) -> bool:
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
