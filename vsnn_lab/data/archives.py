"""Read chosen files out of archives that came over a network.

Nothing is executed, and no member of an archive decides where it is written.
"""

import gzip
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

CHUNK = 1 << 20  # bytes read at once


class PinnedFile(NamedTuple):
    """A file: its name, and size in bytes and sha256 once uncompressed."""

    name: str
    size: int
    sha256: str


def read_archive(archive: Path, prefix: str, wanted: Sequence[PinnedFile], folder: Path) -> None:
    """Write the wanted members of a tar archive, plain or ``.gz``, as bytes into ``folder``.

    Only ordinary members called exactly ``prefix + name`` are read, and the path written is made
    from the wanted name, so no member can choose where it lands.
    """
    members = {prefix + file.name: file for file in wanted}
    with tarfile.open(archive) as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            file = members.get(name.removesuffix(".gz"))
            stream = tar.extractfile(member) if member.isfile() else None
            if file is None or stream is None:
                continue
            with stream:
                packed = name.endswith(".gz")
                write_file(gzip.GzipFile(fileobj=stream) if packed else stream, file, folder)


def write_file(stream: IO[bytes] | gzip.GzipFile, file: PinnedFile, folder: Path) -> None:
    """Write a stream under the name of a file, as far as the file is long."""
    # One byte past the size is enough to fail verification, whatever an archive unpacks to.
    left = file.size + 1
    with (folder / file.name).open("wb") as out:
        while left and (chunk := stream.read(min(left, CHUNK))):
            left -= out.write(chunk)


def unwrap_package(package: Path, archive: Path) -> None:
    """Copy the tar archive out of a Debian package, which is an ar archive of three members."""
    left = package.stat().st_size - 8
    with package.open("rb") as stream:
        if stream.read(8) != b"!<arch>\n":
            raise tarfile.ReadError("this is no Debian package")
        while header := stream.read(60):
            name, size = header[:16], int(header[48:58])
            left -= len(header) + size
            # A size below zero would lead back to the same header for ever.
            if size < 0 or left < 0:
                raise tarfile.ReadError(f"this Debian package is cut off or damaged at {name!r}")
            if name.startswith(b"data.tar"):
                archive.write_bytes(stream.read(size))
                return
            left -= size % 2
            # Members start at even offsets.
            stream.seek(size + size % 2, os.SEEK_CUR)
    raise tarfile.ReadError("this Debian package holds no files")
