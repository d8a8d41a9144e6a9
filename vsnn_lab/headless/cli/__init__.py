"""The command line, ``vsnn-lab``."""

import sys

__all__ = ["main"]

_CLUSTER = ("dask", "dask_jobqueue", "distributed")


def main() -> None:
    """Run the command line; a package that is not installed is one line that names its extra."""
    try:
        from vsnn_lab.headless.cli import commands

        commands.main()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = "cluster" if package in _CLUSTER else "lab"
        sys.exit(f"error: {error}; pip install 'vsnn-lab[{extra}]' installs what is missing")
