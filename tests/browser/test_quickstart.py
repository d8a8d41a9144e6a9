"""The first notebook as a person meets it: JupyterLab, run all cells, move the slider."""

import os
import statistics
from pathlib import Path

import pytest

from tests.browser import instrument, lab
from vsnn_lab._basics import checkpoints
from vsnn_lab.explore.parts import log2_positions

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

# `make picture` sets it: the quickstart as it stands, and its screenshot for the README.
PICTURE = os.environ.get("VSNN_LAB_PICTURE")
MOVES = 20


@pytest.fixture(scope="module")
def page(chromium, tmp_path_factory):
    """A page with the quickstart run in it, scrolled to its instrument."""
    folder = tmp_path_factory.mktemp("lab")
    with instrument.quickstart(chromium, folder, full=bool(PICTURE)) as page:
        page.submodels = folder / "data" / "submodels"
        yield page


def test_the_arrow_keys_change_width_error_and_picture_together(page):
    before = instrument.read(page)
    instrument.press(page, "ArrowRight")
    after = instrument.until(
        page,
        lambda now: (
            before.slider != now.slider == now.numbers["code units kept"]
            and now.picture != before.picture
        ),
    )
    assert int(after.slider) == int(before.slider) + 1
    for number in ("test MSE × 1000", "compression", "parameters"):
        assert after.numbers[number] != before.numbers[number]
    instrument.press(page, "ArrowLeft")
    instrument.until(page, lambda now: now == before)


def test_the_whole_instrument_is_in_sight_at_1280_by_800(page):
    top = page.locator(instrument.HANDLE).first.bounding_box()
    bottom = page.get_by_role("button", name="Extract this width and save").bounding_box()
    assert top["y"] >= 0
    assert bottom["y"] + bottom["height"] <= lab.WINDOW["height"]


def test_the_log2_switch_keeps_the_width_and_thins_the_stops(page):
    before = instrument.read(page)
    page.get_by_role("button", name="log2").click()
    instrument.wait_for_stops(page, len(log2_positions(32)))
    instrument.until(page, lambda now: now == before)
    instrument.press(page, "End")
    instrument.until(page, lambda now: now.numbers["code units kept"] == now.slider == "32")
    instrument.press(page, "ArrowLeft")
    instrument.until(page, lambda now: now.numbers["code units kept"] == now.slider == "29")
    page.get_by_role("button", name="linear").click()
    instrument.wait_for_stops(page, 32)
    instrument.until(page, lambda now: now.numbers["code units kept"] == now.slider == "29")


def test_the_save_button_writes_the_width_shown(page):
    width = instrument.read(page).numbers["code units kept"]
    page.get_by_role("button", name="Extract this width and save").click()
    page.get_by_text(f"saved autoencoder-width-{width}.safetensors").wait_for()
    path = page.submodels / f"autoencoder-width-{width}.safetensors"
    weights, header = checkpoints.read(path)
    assert header["width"] == int(width)
    assert weights["decoder.0.weight"].shape[1] == int(width)


def test_new_images_change_the_picture_and_nothing_else(page):
    before = instrument.read(page)
    page.get_by_role("button", name="New images").click()
    after = instrument.until(page, lambda now: now.picture != before.picture)
    assert (after.slider, after.numbers) == (before.slider, before.numbers)


def test_a_move_reaches_the_eye(page, capsys):
    times = instrument.time_moves(page, MOVES)
    with capsys.disabled():
        print(
            f"\nslider to changed pixels, {MOVES} moves: median {statistics.median(times):.0f} ms, "
            f"worst {max(times):.0f} ms"
        )
    assert len(times) == MOVES


def test_a_screenshot_shows_the_instrument(page, tmp_path):
    path = Path(PICTURE) if PICTURE else tmp_path / "quickstart.png"
    instrument.press(page, "Home")
    instrument.until(page, lambda now: now.numbers["code units kept"] == "1")
    for width in range(2, 9):
        instrument.press(page, "ArrowRight")
        instrument.until(
            page, lambda now, width=width: now.numbers["code units kept"] == str(width)
        )
    page.locator(".jp-OutputArea-output:has(.noUi-handle)").last.screenshot(path=path)
    assert path.stat().st_size > 20_000
