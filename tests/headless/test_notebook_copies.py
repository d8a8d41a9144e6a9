"""Notebooks of an installed package: copied to a folder, found there, opened in JupyterLab."""

import os
import sys

import pytest

from tests.notebooks import FOLDER
from tests.tiny import tiny
from vsnn_lab.headless import cli
from vsnn_lab.headless.runs import find_notebook, notebooks, notebooks_folder

# JupyterLab and papermill warn about their own dependencies.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    """Return the folder of notebooks of a package installed elsewhere; work in an empty folder."""
    folder = tmp_path / "package/headless/notebooks"
    folder.mkdir(parents=True)
    tiny(folder, name="00_quickstart")
    tiny(folder, name="01_masks")
    (folder / "quick.yaml").write_text("01_masks: {SEED: 1}")
    monkeypatch.setattr(notebooks, "_PACKAGE", tmp_path / "package")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


@pytest.fixture
def opened(monkeypatch):
    """Return the folders and options that JupyterLab was started with, without starting it."""
    labapp = pytest.importorskip("jupyterlab.labapp")
    found = []
    launch = classmethod(lambda _, options: found.append((os.getcwd(), *options)))
    monkeypatch.setattr(labapp.LabApp, "launch_instance", launch)
    return found


def vsnn_lab(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["vsnn-lab", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".json"}


def test_copies_are_the_packages_files_byte_for_byte(package, tmp_path):
    assert set(notebooks.copy_notebooks(tmp_path / "mine").values()) == {"copied"}
    assert contents(tmp_path / "mine") == contents(package)
    assert set(notebooks.copy_notebooks(tmp_path / "mine").values()) == {"current"}


def test_a_changed_copy_stays_and_an_unchanged_one_is_renewed(package, tmp_path):
    mine = tmp_path / "mine"
    notebooks.copy_notebooks(mine)
    (mine / "00_quickstart.ipynb").write_text("my work")
    (mine / "quick.yaml").unlink()
    for version in ("second", "third"):
        for path in package.iterdir():
            path.write_text(version)
        assert notebooks.copy_notebooks(mine)["00_quickstart.ipynb"] == "changed"
        expected = contents(package) | {"00_quickstart.ipynb": b"my work"}
        assert contents(mine) == expected


def test_a_copy_set_back_to_the_packages_version_is_renewed_again(package, tmp_path):
    copy, original = tmp_path / "mine/01_masks.ipynb", package / "01_masks.ipynb"
    for content, state in (("my work", "changed"), (original.read_text(), "current")):
        notebooks.copy_notebooks(tmp_path / "mine")
        copy.write_text(content)
        assert notebooks.copy_notebooks(tmp_path / "mine")["01_masks.ipynb"] == state
    original.write_text("second")
    assert notebooks.copy_notebooks(tmp_path / "mine")["01_masks.ipynb"] == "renewed"
    assert copy.read_text() == "second"


@pytest.mark.parametrize("manifest", ["", "[1]", "null", '{"00_quickstart.ipynb": 1}', None])
def test_without_a_manifest_whatever_differs_stays(manifest, package, tmp_path):
    mine = tmp_path / "mine"
    notebooks.copy_notebooks(mine)
    (package / "00_quickstart.ipynb").write_text("second")
    before = contents(mine)
    if manifest is None:
        (mine / ".vsnn_lab.json").unlink()
    else:
        (mine / ".vsnn_lab.json").write_text(manifest)
    states = notebooks.copy_notebooks(mine)
    assert states.pop("00_quickstart.ipynb") == "changed"
    assert set(states.values()) == {"current"}
    assert contents(mine) == before


def test_a_folder_with_the_name_of_a_notebook_stays(tmp_path):
    (tmp_path / "mine/01_masks.ipynb").mkdir(parents=True)
    assert notebooks.copy_notebooks(tmp_path / "mine")["01_masks.ipynb"] == "changed"


def test_the_packages_own_folder_is_not_copied_onto_itself(package):
    before = sorted(package.iterdir())
    assert notebooks.copy_notebooks(package) == {}
    assert sorted(package.iterdir()) == before


def test_named_notebooks_are_ones_own_before_the_packages(package, tmp_path, monkeypatch):
    assert notebooks_folder() == package
    notebooks.copy_notebooks(notebooks.COPIES)
    assert notebooks_folder() == notebooks.COPIES
    with monkeypatch.context() as patch:
        patch.chdir(notebooks.COPIES)
        assert find_notebook("01").resolve() == tmp_path / "work/vsnn_lab_notebooks/01_masks.ipynb"
    (tmp_path / "work/notebooks").mkdir()
    assert notebooks_folder().resolve() == tmp_path / "work/notebooks"


def test_a_checkout_has_its_own_notebooks(monkeypatch):
    monkeypatch.undo()
    assert notebooks.own_notebooks() == notebooks.lab_folder() == FOLDER


def test_lab_copies_says_what_it_kept_and_opens_the_first_notebook(
    package, tmp_path, monkeypatch, capsys, opened
):
    folder = tmp_path / "work/vsnn_lab_notebooks"
    folder.mkdir()
    (folder / "01_masks.ipynb").write_text("my work")
    assert vsnn_lab(monkeypatch, "lab") == 0
    out = capsys.readouterr().out
    assert "copied to vsnn_lab_notebooks: 00_quickstart.ipynb, quick.yaml" in out
    assert "01_masks.ipynb: kept, since it was changed in vsnn_lab_notebooks" in out
    (started,) = opened
    assert started[:2] == (str(folder), "--LabApp.default_url=/lab/tree/00_quickstart.ipynb")


@pytest.mark.parametrize("display", ["DISPLAY", "WAYLAND_DISPLAY", None])
@pytest.mark.parametrize("user", [0, 1000])
def test_lab_opens_no_browser_without_a_display_and_lets_root_in(
    display, user, monkeypatch, opened
):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: user)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if display:
        monkeypatch.setenv(display, ":0")
    assert vsnn_lab(monkeypatch, "lab", "mine") == 0
    assert ("--no-browser" in opened[0]) == (display is None)
    assert ("--allow-root" in opened[0]) == (user == 0)


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("typer", ["list"], "lab"),
        ("jupyterlab.labapp", ["lab"], "lab"),
        ("distributed", ["sweep", "01", "-g", "SEED=0"], "cluster"),
    ],
)
def test_a_package_that_is_not_installed_is_named_with_its_extra(
    module, arguments, extra, tmp_path, monkeypatch
):
    monkeypatch.setenv("VSNN_LAB_DATA", str(tmp_path / "data"))
    for name in [*sys.modules]:
        if name.startswith("vsnn_lab.headless.cli."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(cli, "commands", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    said = vsnn_lab(monkeypatch, *arguments)
    assert module.partition(".")[0] in said
    assert f"pip install 'vsnn-lab[{extra}]'" in said
    assert not notebooks.COPIES.exists()
