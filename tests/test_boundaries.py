"""What the package promises about itself: what it loads, who imports whom, what it names."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import vsnn_lab
from docs.rooms import FILES, PACKAGE, imported_modules, imported_rooms, room_of

README = Path(__file__).parents[1] / "README.md"
# Each room, and the rooms that it may import from: what its `__init__` and the README say in words.
# A room that is not in the table has no place yet, and arrows go one way: to rooms named before it.
BELOW: dict[str, tuple[str, ...]] = {
    "_basics": (),
    "widths": ("_basics",),
    "samplers": ("_basics", "widths"),
    "data": ("_basics",),
    "layers": ("_basics", "widths", "samplers"),
    "networks": ("_basics", "widths", "samplers", "layers"),
    "measure": ("_basics", "widths", "samplers", "layers", "networks"),
    "export": ("_basics", "widths", "samplers", "data", "layers", "networks", "measure"),
    "train": ("_basics", "widths", "samplers", "data", "layers", "networks", "measure"),
    "figures": ("_basics", "widths", "measure"),
    "explore": (
        *("_basics", "widths", "samplers", "data", "networks", "measure", "export"),
        *("train", "figures"),
    ),
    "headless": ("_basics", "data", "figures", "explore"),
}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a.b as c", ["a.b"]),
        ("from a import b, c as d", ["a.b", "a.c"]),
        ("from . import b", ["vsnn_lab.room.b"]),
        ("from ..other.deep import b", ["vsnn_lab.other.deep.b"]),
        ("def f():\n    if x:\n        from a import b", ["a.b"]),
    ],
)
def test_imports_are_found_wherever_they_stand(source, expected):
    assert imported_modules(source, "vsnn_lab.room") == expected


def test_arrows_go_one_way():
    for index, (room, below) in enumerate(BELOW.items()):
        assert set(below) <= {*list(BELOW)[:index]}, room


def test_the_table_has_every_room_and_no_other():
    entries = {path.stem for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert entries - {"__init__", "py"} == {*BELOW}
    assert len(entries) <= 14


@pytest.mark.parametrize("room", BELOW)
def test_a_room_says_what_it_may_import(room):
    doc = import_module(f"vsnn_lab.{room}").__doc__
    *_, last = re.sub(r"\s+", " ", doc).partition("May import ")
    assert tuple(re.findall(r"``(\w+)``", last)) == BELOW[room]


def test_the_readme_has_the_table_row_by_row():
    section = README.read_text(encoding="utf-8").split("## What lives where")[1]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", section, re.MULTILINE)
    said = [(room, tuple(re.findall(r"`(\w+)`", imports))) for room, _, imports in rows]
    assert said == [*BELOW.items()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_rooms_below_it(path):
    room = room_of(path)
    wrong = imported_rooms(path) - {*BELOW[room]}
    assert not wrong, f"{room} must not import from {sorted(wrong)}"


def private_state_of_knobs(source: str) -> list[int]:
    """List the lines that touch a private attribute of a knob."""
    own = {name for name in vars(vsnn_lab.WidthControl(1)) if name.startswith("_")}
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and (node.attr in own or re.search(r"(control|knob)\._[a-z]", ast.unparse(node)))
    ]


def test_private_state_of_knobs_is_found():
    assert private_state_of_knobs("axis.control._views\nx._setting = 1\nself._x") == [1, 2]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_room_of_widths_touches_the_private_state_of_a_knob(path):
    if room_of(path) != "widths":
        assert not private_state_of_knobs(path.read_text(encoding="utf-8"))


HEAVY = [
    *("plotly", "ipywidgets", "torchvision", "sklearn", "pandas", "accelerate", "gymnasium"),
    *("torch.fx", "torch.export", "vsnn_lab.networks.graph"),
]


def loaded_after(statement: str) -> list[str]:
    script = f"import sys\n{statement}\nprint([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout)


def test_importing_the_package_loads_nothing_for_pictures_data_sets_training_or_conversion():
    assert loaded_after("import vsnn_lab") == loaded_after("import torch")


def test_the_check_of_loaded_modules_sees_them():
    assert loaded_after("import pandas") == ["pandas"]


def test_training_and_ablation_load_neither_pictures_nor_pandas():
    loaded = loaded_after("import vsnn_lab.train.training, vsnn_lab.measure.ablation")
    assert not {"plotly", "ipywidgets", "sklearn", "pandas"} & set(loaded)


@pytest.mark.parametrize("name", vsnn_lab.__all__)
def test_every_public_name_resolves_and_says_how_to_use_it(name):
    value = getattr(vsnn_lab, name)
    assert value.__name__ == name
    doc = value.__doc__ or ""
    assert "Example:" in doc or "Args:" in doc, f"{name} has neither an Example nor Args section"


def test_the_list_of_public_names_has_no_repeats():
    assert len(set(vsnn_lab.__all__)) == len(vsnn_lab.__all__)


def test_a_name_loaded_late_is_the_one_of_its_room():
    from vsnn_lab.measure import ablation
    from vsnn_lab.train import training

    assert vsnn_lab.fit is training.fit
    assert vsnn_lab.width_sweep is ablation.width_sweep
    assert vsnn_lab.train.training is training


def test_networks_are_models_too():
    from vsnn_lab.models import LanguageModel

    assert LanguageModel is vsnn_lab.LanguageModel is vsnn_lab.models.LanguageModel


def test_an_unknown_name_is_an_attribute_error_that_says_which():
    with pytest.raises(AttributeError, match="module 'vsnn_lab' has no attribute 'wdith_sweep'"):
        vsnn_lab.wdith_sweep  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'wdith_sweep' from 'vsnn_lab'"):
        from vsnn_lab import wdith_sweep  # noqa: F401
