"""What `make dashboard` and `make lab` start: for this machine, and for who has the token."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
import pytest

from tests.browser import lab, look
from tests.browser.explorers import CELLS, SETUP, WIDTHS, WITHOUT_PICTURES
from tests.browser.instrument import Instrument
from tests.notebooks import data_beside

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

ROOT = Path(__file__).resolve().parents[2]
START = 180  # seconds


@dataclass(frozen=True)
class Server:
    """A server that runs: its address, its token, and its process."""

    address: str
    token: str
    process: psutil.Process

    def answer(self, path: str, token: str = "") -> tuple[int, str]:
        """Return the status of a request and where it leads; redirections are not followed."""
        request = urllib.request.Request(f"{self.address}{path}")
        if token:
            request.add_header("Authorization", f"token {token}")
        try:
            with urllib.request.build_opener(Stay).open(request, timeout=60) as reply:
                return reply.status, ""
        except urllib.error.HTTPError as error:
            return error.code, error.headers.get("Location", "")

    def listening(self) -> set[str]:
        """Return the addresses that it and its kernels listen on."""
        found = []
        for one in [self.process, *self.process.children(recursive=True)]:
            # A child that has ended meanwhile listens no more.
            with suppress(psutil.NoSuchProcess):
                found += one.net_connections("tcp")
        return {place.laddr.ip for place in found if place.status == psutil.CONN_LISTEN}


class Stay(urllib.request.HTTPRedirectHandler):
    """Leave redirections to the one who asked."""

    def redirect_request(self, *args):
        return None


@contextmanager
def started(target: str, arguments: str, folder: Path) -> Iterator[Server]:
    """Run a target of the Makefile as it stands, but without the set-up and the downloads."""
    log = folder / f"{target}.log"
    command = ["make", "-o", "data", target, f"RUN={sys.executable} -m", f"ARGS={arguments}"]
    env = os.environ | {"JUPYTER_CONFIG_DIR": str(folder / ".config"), "DISPLAY": ""}
    env |= {"WAYLAND_DISPLAY": "", "VSNN_LAB_DATA": str(folder)}
    with log.open("w") as out:
        make = subprocess.Popen(
            command, stdout=out, stderr=out, env=env, cwd=ROOT, start_new_session=True
        )
    try:
        yield Server(*announced(log), psutil.Process(make.pid))
    finally:
        # The whole group, since make is the parent of the server, and the server of kernels.
        os.killpg(make.pid, signal.SIGTERM)
        make.wait(60)


def announced(log: Path) -> tuple[str, str]:
    """Return the address and the token that a server prints once it listens."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        if found := re.search(r"(http://127\.0\.0\.1:\d+)/\S*\?token=(\w+)", log.read_text()):
            return found[1], found[2]
        time.sleep(0.2)
    raise TimeoutError(f"no address within {START} s:\n{log.read_text()}")


@contextmanager
def dashboard_of(cells: Sequence[str], folder: Path) -> Iterator[Server]:
    """Serve a notebook of some cells."""
    nbformat.write(lab.new_notebook(cells), folder / "small.ipynb")
    # A port is taken as soon as it is given back: Voila looks for another one itself.
    with started("dashboard", f"{folder / 'small.ipynb'} --port=8900", folder) as server:
        yield server


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory) -> Iterator[Server]:
    folder = data_beside(tmp_path_factory.mktemp("dashboard"))
    shutil.copy(ROOT / "docs" / "report.png", folder / "picture.png")
    with dashboard_of([SETUP, *CELLS.values()], folder) as server:
        yield server


@pytest.fixture(scope="module")
def jupyterlab(tmp_path_factory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("lab")
    arguments = f"--port=0 --allow-root --no-browser --ServerApp.root_dir={folder}"
    with started("lab", arguments, folder) as server:
        yield server


def test_the_dashboard_opens_to_the_token_alone(dashboard):
    status, where = dashboard.answer("/")
    assert (status, where.partition("?")[0]) == (302, "/login")
    assert dashboard.answer("/", token="0" * len(dashboard.token))[0] == 302
    # Not even the picture beside the notebook, which Voila gives away by default.
    assert dashboard.answer("/voila/files/picture.png")[0] == 403


def test_the_dashboard_shows_instruments_that_move_and_no_code(dashboard, chromium):
    with lab.browser_page(chromium, has_touch=True) as page:
        # Voila answers when the notebook has run, which takes its time on a busy machine.
        page.set_default_timeout(START * 1000)
        page.goto(f"{dashboard.address}/?token={dashboard.token}")
        for kind in CELLS:
            one = Instrument(page, kind)
            full, narrow = one.press("End"), one.press("Home")
            assert (full.width, narrow.width) == (WIDTHS, 1)
            assert narrow.numbers != full.numbers
            assert narrow.pictures != full.pictures or kind in WITHOUT_PICTURES
            box = one.slider().bounding_box()
            page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            one.until(lambda now: 1 < now.width < WIDTHS)
            look.check_fits(one)
        # A button asks the kernel, which answers here, too.
        one = Instrument(page, "autoencoder")
        before = one.read()
        one.button("New images").click()
        one.until(lambda now: now.pictures != before.pictures)
        # A name in the first cell's code.
        assert "LogUniform" not in page.content()
        # While the kernel of the page runs, it listens, too.
        assert dashboard.listening() == {"127.0.0.1"}


def test_a_cell_that_fails_says_why(chromium, tmp_path):
    failing = "def weigh(apples):\n    return apples['green']\n\nweigh({})"
    with dashboard_of([failing], tmp_path) as server, lab.browser_page(chromium) as page:
        page.set_default_timeout(START * 1000)
        page.goto(f"{server.address}/?token={server.token}")
        page.get_by_text("KeyError").first.wait_for()
        assert "green" in page.locator("body").inner_text()


def test_without_a_notebook_the_dashboard_serves_the_folder_of_notebooks():
    # Told not to name its directory, as a make inside `make test` would.
    command = ["make", "-n", "--no-print-directory", "-o", "data", "dashboard", "ARGS=--port=9000"]
    recipe = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert recipe.splitlines()[-1].endswith('voila "$@" notebooks --port=9000')


def test_jupyterlab_is_for_this_machine_and_opens_to_the_token_alone(jupyterlab):
    assert jupyterlab.listening() <= {"127.0.0.1", "::1"}
    assert jupyterlab.listening()
    assert jupyterlab.answer("/lab")[0] == 302
    assert jupyterlab.answer("/api/contents")[0] == 403
    assert jupyterlab.answer("/api/contents", token="0" * len(jupyterlab.token))[0] == 403
    assert jupyterlab.answer("/api/contents", token=jupyterlab.token)[0] == 200
