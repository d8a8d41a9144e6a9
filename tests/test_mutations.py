"""Every comparison is pinned at its boundary: with its neighbour in its place, a test fails."""

import io
import os
import shutil
import subprocess
import sys
import tokenize
from itertools import chain
from pathlib import Path

import pytest

import vsnn_lab

PACKAGE = Path(vsnn_lab.__file__).parent
ROOT = Path(__file__).parent.parent
NEIGHBOUR = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
# The quickest tests that ought to notice, for a module or each one of a folder.
NOTICED_BY = {
    "widths": ["widths"],
    "samplers": ["samplers/test_edges.py"],
    "layers": [
        *("layers/test_layers.py", "layers/test_conditioned.py"),
        *("layers/test_by_octave.py", "layers/test_corners.py"),
        *("layers/test_single_values.py", "networks/test_ties.py"),
    ],
    "networks/forward.py": ["networks/test_forward.py"],
}


def mutants(source: str) -> dict[str, str]:
    """Return the source with one comparison moved by one, by the comparison's place and move."""
    lines = source.splitlines(keepends=True)
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        # As an operator of its own, each of the four can only be a comparison.
        if token.type == tokenize.OP and token.string in NEIGHBOUR:
            (row, column), other = token.start, NEIGHBOUR[token.string]
            line = lines[row - 1]
            moved = line[:column] + other + line[token.end[1] :]
            name = f"{row}:{column + 1} {token.string} to {other}"
            found[name] = "".join([*lines[: row - 1], moved, *lines[row:]])
    return found


def files_of(module: str) -> list[Path]:
    path = PACKAGE / module
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


MUTANTS = {
    f"{file.relative_to(PACKAGE).as_posix()}:{name}": (file.relative_to(PACKAGE), mutant, tests)
    for module, tests in NOTICED_BY.items()
    for file in files_of(module)
    for name, mutant in mutants(file.read_text(encoding="utf-8")).items()
}


def run_tests(copy: Path, *tests: str, **environment: str) -> subprocess.CompletedProcess:
    """Run test files of a copy of the project, without the plugins that they do not need."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    options = ["-p", "pytest_timeout", "-p", "no:cacheprovider", "-m", "not slow", "-x", "-q"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *(f"tests/{name}" for name in tests)],
        cwd=copy,
        env=kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def unmutated(tmp_path_factory) -> Path:
    """A copy of the project whose tests pass, so that a mutant's failure is its own."""
    copy = tmp_path_factory.mktemp("unmutated")
    compiled = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, copy / "vsnn_lab", ignore=compiled)
    shutil.copytree(ROOT / "tests", copy / "tests", ignore=compiled)
    shutil.copy(ROOT / "pyproject.toml", copy)
    done = run_tests(copy, *chain.from_iterable(NOTICED_BY.values()))
    assert done.returncode == pytest.ExitCode.OK, done.stdout + done.stderr
    return copy


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_comparison_moved_by_one_fails_a_test(name, unmutated, tmp_path):
    file, mutant, tests = MUTANTS[name]
    copy = shutil.copytree(unmutated, tmp_path / "copy")
    (copy / "vsnn_lab" / file).write_text(mutant, encoding="utf-8")
    done = run_tests(copy, *tests, PYTHONDONTWRITEBYTECODE="1")
    assert done.returncode != pytest.ExitCode.OK, "no test noticed"
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    # A test file that cannot be imported ends with the same code.
    assert " failed" in done.stdout.splitlines()[-1], done.stdout


def test_each_comparison_of_a_chain_is_moved_and_nothing_else():
    source = "def f(a) -> int:  # > 0\n    return 0 < a <= '<' if a >> 1 else a\n"
    assert mutants(source) == {
        "2:14 < to <=": source.replace("0 < a", "0 <= a"),
        "2:18 <= to <": source.replace("a <= '", "a < '"),
    }
