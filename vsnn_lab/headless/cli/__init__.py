"""The command line, ``vsnn-lab``."""

from vsnn_lab.headless.cli.commands import main

__all__ = ["main"]
