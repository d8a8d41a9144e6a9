"""JupyterLab on a folder of notebooks."""

import os
import sys
from pathlib import Path

from jupyterlab.labapp import LabApp


def open_jupyterlab(folder: Path) -> None:
    """Serve a folder with JupyterLab, its first notebook open, until it is stopped."""
    options = ["--LabApp.default_url=/lab/tree/00_quickstart.ipynb"]
    # As `make lab` decides it.
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        options.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--allow-root")
    os.chdir(folder)
    LabApp.launch_instance(options)
