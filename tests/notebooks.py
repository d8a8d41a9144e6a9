"""The notebooks and their quick profile, for every test that runs them."""

from pathlib import Path

import nbformat
import yaml

from vsnn_lab import data

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
QUICK = yaml.safe_load((FOLDER / "quick.yaml").read_text())


def quick_copy(notebook: Path, folder: Path, *, full: bool = False) -> Path:
    """Write a copy with the quick profile injected and stored outputs kept."""
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    copy = load_notebook_node(str(notebook))
    if not full:
        copy = parameterize_notebook(copy, QUICK[notebook.stem])
    path = folder / notebook.name
    nbformat.write(copy, path)
    return path


def data_beside(folder: Path) -> Path:
    """Return a data folder with the real downloads in it, but none of the owner's results."""
    for downloads in ("MNIST", "FashionMNIST", "NotoEmoji", "Austen"):
        (folder / downloads).symlink_to(data.data_root() / downloads)
    return folder
