"""The files that describe an installation agree with pyproject.toml and with each other."""

import re
import sys
import tomllib
from importlib.metadata import version as installed_version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import vsnn_lab

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA_NAMES = {
    "kaleido": "python-kaleido",
    "mujoco": "mujoco-python",
    "playwright": "playwright-python",
    "torch": "pytorch",
}


def by_name(lines):
    requirements = [Requirement(line) for line in lines]
    named = {canonicalize_name(r.name): r.specifier for r in requirements}
    assert len(named) == len(requirements), "a package is listed twice"
    return named


DEPENDENCIES = by_name(
    PROJECT["dependencies"]
    + [line for extra in PROJECT["optional-dependencies"].values() for line in extra]
)


@pytest.fixture(scope="module")
def pins():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return by_name(line for line in lines if not line.startswith("#"))


@pytest.fixture(scope="module")
def conda():
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def pinned(name, pins):
    assert name in pins, f"constraints.txt does not pin {name}"
    (pin,) = pins[name]
    return Version(pin.version)


def test_conda_environment_lists_the_dependencies_with_the_same_bounds(conda):
    listed = by_name(line for line in conda["dependencies"] if isinstance(line, str))
    expected = {CONDA_NAMES.get(name, name): bound for name, bound in DEPENDENCIES.items()}
    expected |= by_name([f"python{PROJECT['requires-python']}", "pip"])
    assert listed == expected


def test_conda_environment_adds_the_package_without_extras(conda):
    # An extra would let pip look for what conda already holds under another name.
    assert conda["dependencies"][-1] == {"pip": ["-e ."]}


def test_conda_environment_bears_the_name_of_the_package_and_one_channel(conda):
    assert (conda["name"], conda["channels"]) == (vsnn_lab.__name__, ["conda-forge"])


def test_constraints_are_plain_pins(pins):
    for name, specifier in pins.items():
        assert [pin.operator for pin in specifier] == ["=="], name
        assert pinned(name, pins).local is None, f"{name} is pinned to one build"


@pytest.mark.parametrize("name", DEPENDENCIES)
def test_pin_lies_within_the_bounds(name, pins):
    assert DEPENDENCIES[name].contains(pinned(name, pins))


@pytest.mark.skipif(
    (Path(sys.prefix) / "conda-meta").is_dir(), reason="conda chooses versions within the bounds"
)
@pytest.mark.parametrize("name", DEPENDENCIES)
def test_installed_version_is_the_pinned_one(name, pins):
    installed = Version(Version(installed_version(name)).public)
    assert installed == pinned(name, pins), "`make setup` installs the pinned versions"


def test_one_version_everywhere():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(\d[^]]*)\]", changelog, flags=re.MULTILINE)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (
        PROJECT["version"],
        str(citation["version"]),
        released[0],
    ) == (vsnn_lab.__version__,) * 3


def test_citation_names_package_licence_and_papers():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["title"] == vsnn_lab.__name__
    assert citation["license"] == PROJECT["license"]
    papers = {i["value"] for paper in citation["references"] for i in paper["identifiers"]}
    assert papers == {"arXiv:2205.01235", "arXiv:1402.0915"}
