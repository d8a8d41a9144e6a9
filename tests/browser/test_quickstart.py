"""The first notebook as a person meets it: JupyterLab, run all cells, move the slider."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.browser import instrument, lab, look
from tests.browser.instrument import Instrument
from vsnn_lab._basics import checkpoints

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

# `make picture` sets it: the quickstart as it stands, and its slider moving for the README.
PICTURE = os.environ.get("VSNN_LAB_PICTURE")
MOVES = 20
FRAME = 125  # milliseconds
REST = 1000  # of the first and the widest
LARGEST = 1_000_000  # bytes of the README's picture


@pytest.fixture(scope="module")
def page(chromium, tmp_path_factory):
    """A page with the quickstart run in it, scrolled to its last instrument."""
    folder = tmp_path_factory.mktemp("lab")
    with instrument.quickstart(chromium, folder, full=bool(PICTURE)) as page:
        page.submodels = folder / "data" / "submodels"
        yield page


@pytest.fixture
def trained(page):
    """The instrument of the network that the notebook trains."""
    return Instrument.last(page)


def test_the_arrow_keys_change_width_error_and_picture_together(trained):
    before = trained.read()
    after = trained.press("ArrowRight")
    assert after.width == before.width + 1 == int(after.numbers["code units kept"])
    for number in ("test MSE × 1000", "compression", "parameters"):
        assert after.numbers[number] != before.numbers[number]
    assert after.pictures != before.pictures
    assert after.marks != before.marks
    assert trained.press("ArrowLeft") == before


def test_the_whole_instrument_is_in_sight_at_1280_by_800_beside_the_side_bar(page, trained):
    assert page.locator("#jp-left-stack").is_visible()
    box = trained.root.bounding_box()
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= lab.WINDOW["height"]
    look.check_fits(trained)


def test_the_save_button_writes_the_width_shown(page, trained):
    width = trained.read().width
    name = f"autoencoder-width-{width}.safetensors"
    trained.button("Extract this width and save").click()
    trained.until(lambda now: now.status.startswith(f"saved {name}"))
    weights, header = checkpoints.read(page.submodels / name)
    assert header["width"] == width
    assert weights["decoder.0.weight"].shape[1] == width


def test_new_images_change_the_picture_and_nothing_else(trained):
    before = trained.read()
    trained.button("New images").click()
    after = trained.until(lambda now: now.pictures != before.pictures)
    assert (after.sliders, after.numbers) == (before.sliders, before.numbers)


def test_a_move_reaches_the_eye(trained, capsys):
    trained.press("End")
    half = MOVES // 2
    frames, handlers = trained.time_moves(["ArrowLeft"] * half + ["ArrowRight"] * half)
    with capsys.disabled():
        print(
            f"\nkey press to second frame, {MOVES} moves: median {np.median(frames):.0f} ms, "
            f"worst {frames.max():.0f} ms; handler {np.median(handlers):.1f} ms"
        )


def test_an_animation_shows_the_slider_moving(trained, tmp_path):
    path = Path(PICTURE) if PICTURE else tmp_path / "quickstart.webp"
    trained.press("Home")
    frames = []
    for _ in range(32 if PICTURE else 3):
        frames.append(Image.open(BytesIO(trained.root.screenshot())).convert("RGB"))
        trained.press("ArrowRight")
    rest = [REST, *[FRAME] * (len(frames) - 2), REST, *[FRAME] * (len(frames) - 2)]
    there_and_back = frames + frames[-2:0:-1]
    options = {"save_all": True, "append_images": there_and_back[1:], "duration": rest, "loop": 0}
    # As sharp as fits.
    for quality in (90, 70, 50):
        there_and_back[0].save(path, quality=quality, **options)
        if path.stat().st_size <= LARGEST:
            break
    with Image.open(path) as made:
        assert made.n_frames == len(rest)
        assert made.width == round(trained.root.bounding_box()["width"])
    assert path.stat().st_size <= LARGEST
