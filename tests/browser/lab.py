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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from textwrap import dedent

import nbformat

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
_KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
_START = 90  # seconds


def find_chromium() -> str | None:
    """Return the path of an installed Chromium or Chrome."""
    return next(filter(None, map(shutil.which, _CHROMIUM)), None)


def new_notebook(cells: Sequence[str]) -> nbformat.NotebookNode:
    """Return a notebook of code cells."""
    made = [nbformat.v4.new_code_cell(dedent(source).strip()) for source in cells]
    return nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": _KERNEL})


@contextmanager
def serve(folder: Path, data: Path) -> Iterator[str]:
    """Run a JupyterLab server over ``folder``; yield its address, with the token left open."""
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--port=0", "--allow-root"]
    command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    command += ["--LabApp.expose_app_in_browser=True"]
    env = os.environ | {
        "VSNN_LAB_DATA": str(data),
        "JUPYTER_CONFIG_DIR": str(folder / ".config"),
        "JUPYTERLAB_SETTINGS_DIR": str(_settings(folder / ".settings")),
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


def _settings(folder: Path) -> Path:
    """Write the settings of a quiet JupyterLab that keeps cells out of sight in the page."""
    for plugin, settings in {
        "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
        "@jupyterlab/apputils-extension/notification": {
            "fetchNews": "false",
            "checkForUpdates": False,
        },
        "@jupyter-widgets/jupyterlab-manager/plugin": {"saveState": True},
    }.items():
        path = folder / f"{plugin}.jupyterlab-settings"
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
def browser_page(chromium: str, **context: object) -> Iterator:
    """Open a page of 1280 by 800 pixels, or what ``context`` says, in headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_ARGS)
        page = browser.new_page(**{"viewport": WINDOW} | context)
        page.set_default_timeout(_START * 1000)
        try:
            yield page
        finally:
            browser.close()


def open_notebook(page, address: str) -> None:
    """Open a notebook, beside the side bar as JupyterLab has it; wait until its kernel is idle."""
    page.goto(address)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    wait_until_idle(page)


def wait_until_idle(page) -> None:
    """Wait until the kernel has nothing to do."""
    # The status bar, because the notebook's own indicator says idle before there is a kernel.
    page.locator("#jp-bottom-panel >> text=/ipykernel.*Idle/").wait_for()


def command(page, name: str, **arguments: object) -> None:
    """Run one of JupyterLab's commands, such as ``apputils:change-theme``, to its end."""
    page.evaluate("([name, args]) => jupyterapp.commands.execute(name, args)", [name, arguments])


def run_all(page) -> None:
    """Run all cells; return when the last one has run, or say which failed."""
    _run(page, "notebook:run-all-cells")


def run_cell(cell) -> str:
    """Run a cell; return what it prints."""
    cell.locator(".jp-InputPrompt").click()
    _run(cell.page, "notebook:run-cell")
    printed = cell.locator("[data-mime-type='application/vnd.jupyter.stdout']")
    return printed.inner_text().strip() if printed.count() else ""


def start_cell(cell) -> None:
    """Start a cell, and return when it runs."""
    cell.locator(".jp-InputPrompt").click()
    cell.page.keyboard.press("Control+Enter")
    cell.locator(".jp-InputPrompt >> text=[*]").wait_for()


def _run(page, name: str) -> None:
    command(page, name)
    failure = page.locator("[data-mime-type='application/vnd.jupyter.error']")
    if failure.count():
        raise AssertionError(f"a cell failed:\n{failure.first.inner_text()}")
