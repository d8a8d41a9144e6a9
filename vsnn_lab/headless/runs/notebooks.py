"""Notebooks as files: in a checkout, in an installed package, or copied out of one."""

import contextlib
import difflib
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vsnn_lab._basics.checks import check_path
from vsnn_lab._basics.files import atomic_write

if TYPE_CHECKING:
    from nbformat import NotebookNode

COPIES = Path("vsnn_lab_notebooks")  # where copies go by default
_PACKAGE = Path(__file__).resolve().parents[2]
_MANIFEST = ".vsnn_lab.json"  # in a folder of copies: the hash of each file as it was copied
# What JSON of another kind makes nbformat raise, beside its own error.
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
CopyState = Literal["copied", "renewed", "current", "changed"]


def own_notebooks() -> Path:
    """Return the folder of the package's own notebooks: installed with it, or its checkout's."""
    installed = _PACKAGE / "headless" / "notebooks"
    return installed if installed.is_dir() else _PACKAGE.parent / "notebooks"


def notebooks_folder() -> Path:
    """Return ``notebooks`` of the working directory, else copies there, else the package's own."""
    if Path("notebooks").is_dir():
        return Path("notebooks")
    copies = (folder for folder in (COPIES, Path()) if (folder / _MANIFEST).is_file())
    return next(copies, own_notebooks())


def lab_folder() -> Path:
    """Return what JupyterLab opens by default: a checkout's own notebooks, else copies here."""
    own = own_notebooks()
    return COPIES if own.is_relative_to(_PACKAGE) else own


def copy_notebooks(folder: str | Path) -> dict[str, CopyState]:
    """Copy the package's notebooks and their profiles to a folder, never over a changed file.

    A copy that nobody changed since is renewed with the package's version. Each file is written
    whole or not at all.

    Args:
        folder: Where to; it is made.

    Returns:
        The state of each file, by its name: what is "changed" stays. Nothing for the package's own
        folder.

    Raises:
        OSError: If the folder cannot be written.
    """
    folder = check_path("folder", folder)
    if folder.resolve() == own_notebooks():
        return {}
    manifest = folder / _MANIFEST
    hashes: dict[str, str] = {}
    # Without a manifest that can be read, whatever differs counts as changed.
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
        hashes |= json.loads(manifest.read_text(encoding="utf-8"))
    states: dict[str, CopyState] = {}
    for source in sorted(own_notebooks().iterdir()):
        if source.suffix not in (".ipynb", ".yaml"):
            continue
        name, copy, content = source.name, folder / source.name, source.read_bytes()
        copy_hash = _hash(copy.read_bytes()) if copy.is_file() else ""
        if copy.exists() and copy_hash not in (_hash(content), hashes.get(name)):
            states[name] = "changed"
            continue
        states[name] = "renewed" if copy.exists() else "copied"
        if copy_hash == _hash(content):
            states[name] = "current"
        else:
            with atomic_write(copy) as part:
                part.write_bytes(content)
        hashes[name] = _hash(content)
    with atomic_write(manifest) as part:
        part.write_text(json.dumps(hashes, indent=1), encoding="utf-8")
    return states


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def find_notebook(name: str | Path, folder: str | Path | None = None) -> Path:
    """Return the notebook of a path, of a name such as 01_masks, or of its number.

    Args:
        name: Path, name without its ending, or the first part of a name.
        folder: Where named notebooks are; by default `notebooks_folder`.

    Raises:
        FileNotFoundError: If there is none; the message lists those that are.
        ValueError: If there are several.
    """
    if check_path("name", name).is_file():
        return Path(name)
    folder = notebooks_folder() if folder is None else check_path("folder", folder)
    notebooks = sorted(folder.glob("*.ipynb"))
    found = [path for path in notebooks if path.stem == str(name)]
    found = found or [path for path in notebooks if path.stem.startswith(str(name))]
    if len(found) > 1:
        among = ", ".join(path.stem for path in found)
        raise ValueError(f"notebook must name one notebook, got {name}, which begins {among}")
    if not found:
        near = difflib.get_close_matches(str(name), [path.stem for path in notebooks], 1, 0.4)
        hint = f"; did you mean {near[0]}?" if near else ""
        among = ", ".join(path.stem for path in notebooks) or "none"
        raise FileNotFoundError(f"no notebook {name} in {folder}, which has {among}{hint}")
    return found[0]


def load_notebook(path: str | Path) -> "NotebookNode":
    """Read a notebook, with a byte-order mark or without, as one of version 4 of the format.

    Raises:
        FileNotFoundError: If there is no such notebook.
        ValueError: If it is no notebook.
    """
    import nbformat

    path = check_path("notebook", path, "file")
    if not path.is_file():
        raise FileNotFoundError(f"no such notebook: {path}")
    try:
        return nbformat.reads(path.read_text(encoding="utf-8-sig"), as_version=4)
    except (*_UNREADABLE, nbformat.ValidationError) as error:
        raise ValueError(f"notebook must be a Jupyter notebook, got {path}: {error}") from error
