"""The built package works without the checkout: its files, its command, its notebooks."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.notebooks import FOLDER, NOTEBOOKS, data_beside

ROOT = Path(__file__).parents[1]
SOURCES = ("vsnn_lab", "notebooks", "pyproject.toml", "setup.py", "README.md", "LICENSE")
NAMES = [path.name for path in FOLDER.iterdir() if path.suffix in (".ipynb", ".yaml")]
pytestmark = pytest.mark.slow


def run(*command, cwd, **environment):
    """Run a command that sees nothing of the checkout, and return what it prints."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=kept | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def package_files(folder):
    """Return the files of the package below a folder, apart from what Python compiled."""
    files = (path for path in (folder / "vsnn_lab").rglob("*") if path.is_file())
    return {path.relative_to(folder) for path in files if path.suffix != ".pyc"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Build the wheel from a copy of the sources, and install it in an environment of its own.

    Its other packages are those of the running environment, without the links by which a checkout
    is installed there: Python follows those only in a site's own folder.
    """
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # because a build leaves files where it runs
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source)
    offline = ["--no-deps", "--no-index"]
    built = ["wheel", *offline, "--no-build-isolation", "--wheel-dir", folder, source]
    run(*pip, *built, cwd=folder)
    (wheel,) = folder.glob("vsnn_lab-*.whl")
    venv.create(folder / "env", symlinks=True)
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    running = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (site / "running.pth").write_text("\n".join(running))
    python = folder / "env/bin/python"
    run(*pip, "--python", python, "install", *offline, wheel, cwd=folder)
    shutil.rmtree(source)
    return python.parent, site


def test_the_wheel_works_in_an_environment_without_the_checkout(installed, tmp_path):
    binaries, site = installed
    python, vsnn_lab = binaries / "python", binaries / "vsnn-lab"
    (tmp_path / "data").mkdir()
    own = {"VSNN_LAB_DATA": str(data_beside(tmp_path / "data"))}
    own["JUPYTER_DATA_DIR"] = str(tmp_path / "jupyter")  # where kernels of other environments are

    code = "import vsnn_lab; from jupyter_client.kernelspec import get_kernel_spec as kernel\n"
    code += "print(vsnn_lab.__file__, kernel('python3').argv[0], sep='\\n')"
    module, kernel = run(python, "-c", code, cwd=tmp_path, **own).splitlines()
    assert Path(module) == site / "vsnn_lab/__init__.py"
    assert Path(kernel) == python
    assert package_files(site) == package_files(ROOT) | {
        Path("vsnn_lab/headless/notebooks", name) for name in NAMES
    }

    listed = run(vsnn_lab, "list", cwd=tmp_path, **own).splitlines()
    titles = [line.split()[0] for line in listed if line[:1].isdigit()]
    assert titles == [path.stem for path in NOTEBOOKS]

    copies = tmp_path / "mine"
    run(vsnn_lab, "lab", copies, "--copy-only", cwd=tmp_path, **own)
    assert {path.name for path in copies.iterdir()} == {*NAMES, ".vsnn_lab.json"}
    (copies / "00_quickstart.ipynb").write_text("my work")
    said = run(vsnn_lab, "lab", copies, "--copy-only", cwd=tmp_path, **own)
    assert said.startswith("00_quickstart.ipynb: kept, since it was changed in ")
    assert (copies / "00_quickstart.ipynb").read_text() == "my work"
    assert (copies / "01_masks.ipynb").read_bytes() == (FOLDER / "01_masks.ipynb").read_bytes()

    run(vsnn_lab, "run", "01", "--profile", "quick", cwd=tmp_path, **own)
    (record,) = (tmp_path / "data/runs/notebooks/01_masks").glob("*/run.json")
    assert json.loads(json.loads(record.read_text())["run"])["state"] == "done"
