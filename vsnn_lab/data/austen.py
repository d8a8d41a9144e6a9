"""The six novels of Jane Austen, as the R package janeaustenr has them, read without R."""

import zlib
from pathlib import Path

from vsnn_lab.data import fetch

_SET = fetch.SETS["austen"]
_STRINGS, _STRING, _MISSING = 16, 9, -1  # R's types of a character vector and of one entry


def read_austen(root: Path) -> list[str]:
    """Return the novels, lines ended by newlines; fetch the file that holds them if need be.

    Raises:
        DataUnavailable: If the file is missing and no source can be reached.
    """
    return read_lazy_load(fetch.ensure(_SET, root) / _SET.files[0].name)


def read_lazy_load(path: Path) -> list[str]:
    """Return the character vectors of an R lazy-load database, their entries as lines.

    A record is the length of what was compressed, 4 bytes, and a zlib stream; in it R's XDR
    serialization.

    Raises:
        ValueError: If the file holds anything else; the message names it.
    """
    found, rest = [], path.read_bytes()
    try:
        while rest:
            stream = zlib.decompressobj()
            data = stream.decompress(rest[4:])
            if not stream.eof or len(data) != int.from_bytes(rest[:4]):
                raise ValueError("a record is cut off")
            found.append("".join(f"{line}\n" for line in _lines(data)))
            rest = stream.unused_data
    except (zlib.error, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read as texts of R ({error}); delete it, and it is fetched again"
        ) from error
    return found


def _lines(data: bytes) -> list[str]:
    """Return the entries of a serialized character vector."""
    if data[:2] != b"X\n":
        raise ValueError("no XDR serialization")
    place = 2 + 3 * 4  # version, who wrote it, who can read it
    if _number(data, 2) == 3:
        place += 4 + _number(data, place)  # the native encoding, which these texts do not need
    if _number(data, place) & 0xFF != _STRINGS:
        raise ValueError("no character vector")
    lines, count, place = [], _number(data, place + 4), place + 8
    for _ in range(count):
        length = _number(data, place + 4)
        if _number(data, place) & 0xFF != _STRING or length == _MISSING:
            raise ValueError("an entry that is no string")
        place += 8
        entry = data[place : place + length]
        if len(entry) != length:
            raise ValueError("an entry is cut off")
        lines.append(entry.decode("utf-8"))
        place += length
    return lines


def _number(data: bytes, place: int) -> int:
    if place + 4 > len(data):
        raise ValueError("a vector is cut off")
    return int.from_bytes(data[place : place + 4], signed=True)
