import re
from pathlib import Path

import torch
from torch import nn

from vsnn_lab.headless.runs import check_parameters

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_it_is_short_enough_to_be_read():
    assert len(README.split()) <= 1200


def test_the_library_example_runs_and_does_what_it_says():
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    torch.manual_seed(0)
    scope = {}
    exec(example, scope)
    values = scope["sweep"].values
    assert len(values) == 16
    assert values[15] < 0.5 * values[3] < 0.5 * values[0]
    assert scope["small"].decoder[0].in_features == 4
    assert all(type(m).__module__.startswith("torch.nn") for m in scope["small"].modules())
    assert isinstance(scope["small"], nn.Sequential)


def test_every_link_and_file_that_it_names_exists():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_every_make_target_that_it_names_exists():
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"`make (\w+)`", README):
        assert target in targets


def test_every_command_that_it_gives_has_the_place_where_make_installs_it():
    for command in ("papermill", "vsnn-lab"):
        # Without a checkout there is no such place, and `vsnn-lab lab` makes a folder.
        places = set(re.findall(rf"(\S*)\b{command} (?!lab\b)\w", README))
        assert {place.lstrip("`") for place in places} == {".venv/bin/"}


def test_every_run_that_it_shows_has_a_notebook_with_such_parameters():
    shown = re.findall(r"vsnn-lab run (\d+) -p (\w+)=(\S+)", README)
    assert "10" in [number for number, _, _ in shown]
    for number, name, value in shown:
        (notebook,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
        check_parameters(notebook, {name: int(value) if value.isdigit() else value})
