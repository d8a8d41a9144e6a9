"""The command line, ``vsnn-lab``."""

from vsnn_lab.cli.commands import main

__all__ = ["main"]
