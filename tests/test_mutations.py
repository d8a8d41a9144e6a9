"""Every comparison is pinned at its boundary: with its neighbour in its place, a test fails."""

import functools
import io
import json
import os
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Callable
from pathlib import Path

import pytest

import vsnn_lab

PACKAGE = Path(vsnn_lab.__file__).parent
ROOT = Path(__file__).parent.parent
NEIGHBOUR = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
# The tests that ought to notice, the quickest first: of a file, or else of a folder.
NOTICED_BY = {
    "widths": ["widths"],
    "widths/masks.py": ["widths", "networks/test_mask_anywhere.py"],
    "samplers": ["samplers/test_edges.py"],
    "layers": ["layers/test_layers.py"],
    "layers/batch_norm.py": ["layers/test_single_values.py"],
    "layers/conditioned_norm.py": ["layers/test_conditioned_norm.py"],
    "layers/position_statistics.py": ["measure/test_recalibrate_widths.py"],
    "layers/corners.py": ["layers/test_corners.py"],
    "layers/dropout.py": ["layers/test_triangular_dropout.py", "networks/test_mask_anywhere.py"],
    "layers/instance_norm.py": ["layers/test_instance_norm.py"],
    "layers/level_weights.py": ["layers/test_own_weights.py"],
    "layers/levels.py": ["layers/test_conditioned_layers.py"],
    "layers/octaves.py": ["layers/test_own_weights.py", "layers/test_conditioned_norm.py"],
    "layers/own_weights.py": ["layers/test_own_weights.py", "layers/test_conditioned_layers.py"],
    "layers/plain_attention.py": ["layers/test_attention.py"],
    "layers/recurrence.py": ["layers/test_recurrent.py::test_what_cannot_be_is_refused"],
    "layers/side_by_side.py": ["layers/test_own_weights.py"],
    "layers/switchable.py": ["layers/test_conditioned_layers.py", "train/test_teach.py"],
    "networks/forward.py": ["networks/test_forward.py", "train/test_sandwich_distilled.py"],
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


def noticed_by(file: Path) -> tuple[str, ...]:
    name = file.relative_to(PACKAGE).as_posix()
    return tuple(NOTICED_BY[name if name in NOTICED_BY else file.parent.name])


MUTANTS = {
    f"{file.relative_to(PACKAGE).as_posix()}:{name}": (file, mutant)
    for file in sorted({file for module in NOTICED_BY for file in files_of(module)})
    for name, mutant in mutants(file.read_text(encoding="utf-8")).items()
}


# Loads what costs seconds once, and forks for each mutant; the package itself is the mutant's own.
FORKING = """
import json, os, sys
import hypothesis, numpy, pytest, torch, torch._dynamo

for line in sys.stdin:
    folder, output, *arguments = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(folder)
        for stream in (1, 2):
            os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        code = pytest.main(arguments)
        sys.stdout.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Forking:
    """Run test files of copies of the project, without the plugins that they do not need."""

    def __init__(self):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", FORKING],
            env=kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, copy: Path, *tests: str) -> tuple[int, str]:
        """Return the exit code of pytest and what it said."""
        options = ["-p", "pytest_timeout", "-p", "no:cacheprovider", "-m", "not slow", "-x", "-q"]
        output = copy / "output.txt"
        output.unlink(missing_ok=True)
        asked = [str(copy), str(output), *options, *(f"tests/{name}" for name in tests)]
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        return code, output.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def forking():
    started = Forking()
    with started.process:
        yield started
        started.process.stdin.close()


@pytest.fixture(scope="module")
def unmutated(tmp_path_factory, forking) -> Callable[[tuple[str, ...]], Path]:
    """A copy of the project in which tests pass, so that a mutant's failure is its own."""
    copy = tmp_path_factory.mktemp("unmutated")
    compiled = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, copy / "vsnn_lab", ignore=compiled)
    shutil.copytree(ROOT / "tests", copy / "tests", ignore=compiled)
    shutil.copy(ROOT / "pyproject.toml", copy)

    @functools.cache
    def passing(tests):
        code, said = forking.run(copy, *tests)
        assert code == pytest.ExitCode.OK, said
        return copy

    return passing


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_comparison_moved_by_one_fails_a_test(name, unmutated, forking, tmp_path):
    file, mutant = MUTANTS[name]
    tests = noticed_by(file)
    copy = shutil.copytree(unmutated(tests), tmp_path / "copy")
    (copy / "vsnn_lab" / file.relative_to(PACKAGE)).write_text(mutant, encoding="utf-8")
    code, said = forking.run(copy, *tests)
    assert code != pytest.ExitCode.OK, "no test noticed"
    assert code == pytest.ExitCode.TESTS_FAILED, said
    # A test file that cannot be imported ends with the same code.
    assert " failed" in said.splitlines()[-1], said


def test_each_comparison_of_a_chain_is_moved_and_nothing_else():
    source = "def f(a) -> int:  # > 0\n    return 0 < a <= '<' if a >> 1 else a\n"
    assert mutants(source) == {
        "2:14 < to <=": source.replace("0 < a", "0 <= a"),
        "2:18 <= to <": source.replace("a <= '", "a < '"),
    }
