"""``python -m docs.atlas`` writes the atlas as a page of its own, and its table beside it."""

import argparse
from pathlib import Path

from docs.atlas.files import write_files
from docs.atlas.rows import RESULTS


def main() -> None:
    """Write both files; say where they are."""
    parser = argparse.ArgumentParser(prog="python -m docs.atlas", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="a folder of results")
    parser.add_argument("--folder", type=Path, default=RESULTS.parent / "_build" / "atlas")
    options = parser.parse_args()
    for path in write_files(options.folder, options.results):
        print(path)


if __name__ == "__main__":
    main()
