"""Drive JupyterLab as a person would: in a real browser, by keyboard."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# No sandbox, because CI runs as root; the rest keeps Chromium from calling home.
_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
WINDOW = {"width": 1280, "height": 800}
_START, _RUN = 90, 240  # seconds


def find_chromium() -> str | None:
    """Return the path of an installed Chromium or Chrome."""
    return next(filter(None, map(shutil.which, _CHROMIUM)), None)


@contextmanager
def serve(folder: Path, data: Path, *, dark: bool = False) -> Iterator[str]:
    """Run a JupyterLab server over ``folder``; yield its address, with the token left open."""
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--port=0", "--allow-root"]
    command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    env = os.environ | {
        "VSNN_LAB_DATA": str(data),
        "JUPYTER_CONFIG_DIR": str(folder / ".config"),
        "JUPYTERLAB_SETTINGS_DIR": str(_settings(folder / ".settings", dark)),
    }
    log = (folder / ".server.log").open("w+")
    server = subprocess.Popen(
        command, stdout=log, stderr=log, env=env, cwd=folder, start_new_session=True
    )
    try:
        yield f"{_address(folder / '.server.log', token)}/lab/tree/{{}}?token={token}"
    finally:
        # The whole group, since kernels are children of the server.
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
        log.close()


def _settings(folder: Path, dark: bool) -> Path:
    """Write the settings of a quiet JupyterLab that keeps cells out of sight in the page."""
    theme = "JupyterLab Dark" if dark else "JupyterLab Light"
    for plugin, settings in {
        "apputils-extension/themes": {"theme": theme},
        "notebook-extension/tracker": {"windowingMode": "none"},
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    }.items():
        path = folder / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    return folder


def _address(log: Path, token: str) -> str:
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline:
        for word in log.read_text().split():
            if word.startswith("http://127.0.0.1"):
                address = word.partition("/lab")[0]
                # The server names its address a moment before it answers there.
                with suppress(OSError):
                    status = f"{address}/api/status?token={token}"
                    urllib.request.urlopen(status, timeout=10).close()
                    return address
        time.sleep(0.2)
    raise TimeoutError(f"JupyterLab did not start within {_START} s:\n{log.read_text()}")


@contextmanager
def browser_page(chromium: str) -> Iterator:
    """Open a page of 1280 by 800 pixels in headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_ARGS)
        page = browser.new_page(viewport=WINDOW)
        page.set_default_timeout(_START * 1000)
        try:
            yield page
        finally:
            browser.close()


def open_notebook(page, address: str) -> None:
    """Open a notebook and wait until its kernel is idle."""
    page.goto(address)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    # The status bar, because the notebook's own indicator says idle before there is a kernel.
    page.locator("#jp-bottom-panel >> text=/ipykernel.*Idle/").wait_for()
    # The side bar takes a quarter of the window.
    page.keyboard.press("Control+b")


def run_all(page) -> None:
    """Run all cells through the menu; wait for the last one, or say which failed."""
    page.locator("#jp-MainMenu >> text=Run").first.click()
    page.locator(".lm-Menu-itemLabel >> text='Run All Cells'").click()
    # A cell's number is the last thing that appears; a failing one stops those after it.
    last = page.locator(".jp-CodeCell .jp-InputPrompt").last
    failure = page.locator("[data-mime-type='application/vnd.jupyter.error']")
    deadline = time.monotonic() + _RUN
    while not any(digit in last.inner_text() for digit in "0123456789"):
        if failure.count():
            raise AssertionError(f"a cell failed:\n{failure.first.inner_text()}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"the notebook did not end within {_RUN} s")
        page.wait_for_timeout(200)
