"""Shared fixtures and the promise that every test keeps: torch's global state stays as it was."""

import os
import signal

# One thread, also in the kernels and processes that tests start: they compute little, and threads
# that wait for each other are many times slower on a busy machine. Before torch reads it.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)

# What a shell starts in the background does not hear Ctrl-C, nor would the processes that tests
# start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Deterministic examples: a red run in CI must be red at home, too.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def repeatable_torch():
    """Seed torch for the test's own draws, without leaking them into the next test."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def global_state_kept():
    """Fail if the test's body moved torch's global generator."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before), "torch's global generator was used"


@pytest.fixture
def gpu_state_kept():
    """Fail if the test's body moved the generator of the GPU."""
    before = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    yield
    if before is not None:
        assert torch.equal(torch.cuda.get_rng_state(), before), "the GPU's generator was used"


@pytest.fixture
def exact_products():
    """No TF32, which has ten bits, and kernels of cuDNN that give the same twice."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic
    matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic = False, False, True
    yield
    matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic = before


@pytest.fixture
def calls(monkeypatch) -> list[tuple[torch.nn.Module, tuple, object]]:
    """Every call of a module, with arguments and output: no hook, which would close shortcuts."""
    noted = []
    plain = torch.nn.Module.__call__

    def call(module, *args, **options):
        output = plain(module, *args, **options)
        noted.append((module, args, output))
        return output

    monkeypatch.setattr(torch.nn.Module, "__call__", call)
    return noted


@pytest.fixture
def explorer():
    """A small instrument with its slider at 5 of 12."""
    # Imported here, since widgets and figures take a second that few tests need.
    from vsnn_lab import Autoencoder, Width
    from vsnn_lab.explore import AutoencoderExplorer

    model = Autoencoder((1, 6, 5), Width(12), hidden=(9,))
    explorer = AutoencoderExplorer(model, torch.rand(30, 1, 6, 5), shown=4)
    explorer.width = 5
    return explorer


@pytest.fixture(scope="session")
def in_ci() -> bool:
    return os.environ.get("CI", "").lower() in ("1", "true")


@pytest.fixture(scope="session")
def chromium(in_ci) -> str:
    """A browser: without one a test is skipped with the reason on a laptop, and fails in CI."""
    # Imported here, since a notebook's format takes a second that few tests need.
    from tests.browser.lab import find_chromium

    path = find_chromium()
    if path is None:
        reason = "no Chromium found; install chromium (apt-get install chromium) or Google Chrome"
        if in_ci:
            pytest.fail(reason)
        pytest.skip(reason)
    return path
