"""Cells of parameters as people write them: each name is found with its value, or its line named.

What a cell assigns is found by another route, too: Python runs it.
"""

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tests.tiny import RECORDS, tiny
from vsnn_lab.headless.runs import Run, keep, notebook_parameters, results, run_notebook

# papermill and its kernel's client warn about their own dependencies.
pytestmark = pytest.mark.filterwarnings("default")
CELLS = [
    "N = 3  # cores = 2 * N == 6",
    'LINK = "http://host/path?key=value#part"  # a link',
    "LOW = 1; HIGH = 2  # of the range",
    "LEFT, (RIGHT, LOWER) = 1, ('x', [2.5])",
    "A = B = 'twice'",
    "HUE, GREY = '#1f77b4', \"# 50 %\"",
    "TEXT = '''first\n  # second = 2\n'''",
    "TEXT = 'one' \\\n    'two'",
    "SIZES = [  # units\n    1,  # one\n\n    2,\n]\nOPTIONS = {\n    'a': {'b': [None, True]},\n}",
    "WIDTHS = 1, 2",
    '"""What varies."""\nimport os\nfrom math import pi\n\nN: int = -3\nRATE: "float" = 1_0.5e-3',
    "N = 3\nN = 5",
    "import os\nN = 3\nos.environ['SOME_TEST_VALUE'] = str(N)",
    "N = 3\n\n\ndef double(n):\n    twice = 2 * n\n    return twice\n",
    "größe = 0x10\n_x1 = r'C:\\data'",
    "",
    "# Nothing is set here: N = 3",
]
REFUSED = [
    ("N = 3\nN += 1", "line 2 of the cell: N \\+= 1"),
    ("N = 3\nif N:\n    N = 4", "line 2 of the cell: if N:"),
    ("N = 3\ndel N", "line 2 of the cell: del N"),
    ("SIZES = [1]\nSIZES.append(2)", r"line 2 of the cell: SIZES\.append"),
    ("BY = {}\nBY['a'] = 1", r"line 2 of the cell: BY\['a'\]"),
    ("print(N := 3)", "line 1 of the cell: print"),
    ("A = 1\nN = 2 * 2", r"N of tiny\.ipynb must have a number, .* got 2 \* 2 in line 2"),
    ("A, B = 1, 2, 3", "A, B of .* got 1, 2, 3 in line 1"),
    ("A, *B = 1, 2, 3", "A, B of .* got 1, 2, 3 in line 1"),
    ("N: int", "N of .* got none in line 1"),
    ("S = {1, 2}", r"S of .* got \{1, 2\} in line 1"),
    ("D = {1: 'a'}", r"D of .* got \{1: 'a'\} in line 1"),
    ("B = [b'x']", "B of .* got .*b'x'.* in line 1"),
    ("files = !ls", "files of .* in line 1"),
    ("N = 3\nM = = 4", "must be Python, got line 2 of the cell: M = = 4"),
    ("%%time\nN = 3", "must be Python, got the cell magic %%time"),
    ("N = 3\n\0", "must be Python"),
]


def notebook(path, *cells, kernel="python3", language="python", **about):
    """Write a notebook, each cell a source and its tags."""
    made = [new_code_cell(source, metadata={"tags": tags}) for source, *tags in cells]
    about |= {"language_info": {"name": language}}
    if kernel:
        about["kernelspec"] = {"name": kernel, "display_name": kernel, "language": language}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=made, metadata=about), path)
    return path


@pytest.mark.parametrize("source", CELLS)
def test_every_name_that_python_finds_in_the_cell_has_its_value(source, tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_TEST_VALUE", "")
    names = {}
    exec(source, names)
    expected = {
        name: value
        for name, value in names.items()
        if name not in ("__builtins__", "__doc__", "__annotations__", "os", "pi", "double")
    }
    found = notebook_parameters(tiny(tmp_path, parameters=source))
    assert repr({name: each.default for name, each in found.items()}) == repr(expected)


@pytest.mark.parametrize(("source", "message"), REFUSED)
def test_what_cannot_be_read_is_refused_by_its_line(source, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        notebook_parameters(tiny(tmp_path, parameters=source))


@pytest.mark.parametrize(
    "source",
    [
        "%matplotlib inline\nN = 3  # so many",
        "N = 3  # so many\n!pip list\nN?",
        "%load_ext autoreload\n%autoreload 2\n\nN = 3  # so many",
        ">>> N = 3  # so many",
        "    N = 3  # so many",
    ],
)
def test_lines_for_ipython_set_nothing_and_hide_nothing(source, tmp_path):
    (found,) = notebook_parameters(tiny(tmp_path, parameters=source)).values()
    assert (found.name, found.default, found.help) == ("N", 3, "so many")


def test_a_comment_belongs_to_the_names_of_its_statement(tmp_path):
    source = "# of all\nA = 1  # first = 1\nB = '#'\nC = [\n    1,  # item\n]  # list\n"
    source += "D = 1; E = 2  # two"
    found = notebook_parameters(tiny(tmp_path, parameters=source))
    assert {name: each.help for name, each in found.items()} == {
        "A": "first = 1",
        "B": "",
        "C": "list",
        "D": "two",
        "E": "two",
    }


def test_a_notebook_without_parameters_says_so(tmp_path):
    path = notebook(tmp_path / "none.ipynb", ("N = 3",))
    assert notebook_parameters(path) == {}
    assert Run.of(path).parameters == {}
    message = r"parameters must be none, since none\.ipynb has no cell tagged parameters .* 'N'"
    with pytest.raises(ValueError, match=message):
        Run.of(path, {"N": 4})


def test_two_cells_of_parameters_are_refused(tmp_path):
    path = notebook(tmp_path / "two.ipynb", ("N = 3", "parameters"), ("M = 3", "parameters"))
    with pytest.raises(ValueError, match=r"two\.ipynb must have one code cell tagged .* 2 cells"):
        notebook_parameters(path)
    text = new_markdown_cell("N = 3", metadata={"tags": ["parameters"]})
    nbformat.write(new_notebook(cells=[text]), path)
    with pytest.raises(ValueError, match=r"must have one code cell .* 1 cells: markdown"):
        notebook_parameters(path)


def test_parameters_of_another_language_are_refused(tmp_path):
    path = notebook(tmp_path / "r.ipynb", ("n = 3L", "parameters"), kernel="ir", language="R")
    with pytest.raises(ValueError, match=r"parameters of r\.ipynb must be Python, got R"):
        notebook_parameters(path)


def test_a_missing_kernel_is_what_the_message_says(tmp_path):
    path = notebook(tmp_path / "bare.ipynb", ("N = 3", "parameters"), kernel=None)
    assert notebook_parameters(path)["N"].default == 3
    with pytest.raises(ValueError, match="must name an installed kernel, got none; installed: "):
        run_notebook(path, tmp_path / "out.ipynb", {"N": 4})


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"cells": 3, "nbformat": 4}', "<<<<<<<"])
def test_a_file_of_another_kind_is_no_notebook(text, tmp_path):
    (tmp_path / "odd.ipynb").write_text(text)
    with pytest.raises(ValueError, match=r"notebook must be a Jupyter notebook, got .*odd\.ipynb"):
        notebook_parameters(tmp_path / "odd.ipynb")


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["{draft}", "run{SEED}", "{", "a}b{}"])
def test_a_path_with_braces_is_that_path(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("VSNN_LAB_DATA", str(tmp_path / folder / "data"))
    (tmp_path / folder).mkdir()
    run = Run.of(tiny(tmp_path / folder, RECORDS), {"SEED": 4})
    keep(run, progress=False)
    assert results(run.folder) == {"twice": 8}
    assert run.folder.is_relative_to(tmp_path / folder)


@pytest.mark.slow
def test_a_notebook_with_a_byte_order_mark_runs(tmp_path):
    path = tiny(tmp_path, "print(SEED)")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    output = run_notebook(path, tmp_path / "out.ipynb", {"SEED": 5}, progress=False)
    executed = nbformat.read(output, 4)
    assert executed.cells[-1].outputs[0].text == "5\n"
    assert executed.metadata.papermill.input_path == str(path)


@pytest.mark.slow
def test_a_kernel_sees_each_value_as_it_was_given(tmp_path):
    source = (
        "ONE = 1, [2.5]\nNESTED = {'a': {'b': [1, None]}}\nRATE = 0.1\nTEXT = ''\nEMPTY = ()\n"
        "ANY = None\nSWITCH = False\nRATES = [0.1]"
    )
    path = tiny(tmp_path, "print(repr([ONE, NESTED, RATE, TEXT, EMPTY, ANY, SWITCH, RATES]))",
                parameters=source)  # fmt: skip
    told = {"RATE": float("-inf"), "TEXT": 'it\'s "x"\n\\ {N} 😀', "ANY": {"x": [float("nan")]}}
    told |= {"SWITCH": True, "RATES": [float("inf"), 2, 1e-300]}
    output = run_notebook(path, tmp_path / "out.ipynb", Run.of(path, told).parameters)
    expected = [(1, [2.5]), {"a": {"b": [1, None]}}, told["RATE"], told["TEXT"], (), told["ANY"]]
    expected += [True, [float("inf"), 2.0, 1e-300]]
    assert nbformat.read(output, 4).cells[-1].outputs[0].text == f"{expected!r}\n"


@pytest.mark.slow
def test_an_executed_notebook_runs_again_with_other_values(tmp_path):
    path = tiny(tmp_path, "print(SEED)")
    first = run_notebook(path, tmp_path / "first.ipynb", {"SEED": 5}, progress=False)
    second = run_notebook(first, tmp_path / "second.ipynb", {"SEED": 6}, progress=False)
    executed = nbformat.read(second, 4)
    assert [cell.source for cell in executed.cells] == [
        "SEED = 0",
        "# Parameters\nSEED = 6",
        "print(SEED)",
    ]
    assert executed.cells[-1].outputs[0].text == "6\n"
    assert json.loads(second.read_text())["metadata"]["papermill"]["parameters"] == {"SEED": 6}
