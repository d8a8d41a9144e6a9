"""Every instrument where no kernel runs: a report, or nbconvert's page, from a disk, offline."""

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from tests.browser import lab, look
from tests.browser.explorers import CELLS, HOSTILE, SETUP, WITHOUT_PICTURES
from tests.browser.instrument import Instrument
from vsnn_lab import data
from vsnn_lab.headless.report import build_report

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

FORMS = ("state", "bare", "report")


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A notebook of all instruments, run, with the state of its widgets."""
    folder = tmp_path_factory.mktemp("executed")
    notebook = lab.new_notebook([SETUP, *CELLS.values(), HOSTILE])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VSNN_LAB_DATA", str(data.data_root()))
        NotebookClient(notebook, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


@pytest.fixture(scope="module")
def pages(executed, tmp_path_factory):
    """Its pages: nbconvert's, with the widgets' state and without, and a report's."""
    folder, bare = tmp_path_factory.mktemp("pages"), nbformat.from_dict(executed)
    bare.metadata.pop("widgets")
    found = {}
    for name, notebook in (("state", executed), ("bare", bare)):
        found[name] = folder / f"{name}.html"
        found[name].write_text(HTMLExporter().from_notebook_node(notebook)[0])
    nbformat.write(bare, folder / "all.ipynb")
    build_report([folder / "all.ipynb"], folder / "site")
    return found | {"report": folder / "site" / "all.html"}


@pytest.fixture(scope="module")
def page(chromium, pages):
    """A page with a screen to touch, of two pixels a pixel, and without network."""
    wrong = []
    with lab.browser_page(chromium, has_touch=True, device_scale_factor=2, offline=True) as page:
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(pages["bare"].as_uri(), wait_until="domcontentloaded")
        yield page
    assert wrong == []


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("form", FORMS)
def test_a_saved_instrument_moves_without_a_kernel(page, pages, form, kind):
    if page.url != pages[form].as_uri():
        page.goto(pages[form].as_uri(), wait_until="domcontentloaded")
    one = Instrument(page, kind)
    # Once, and those of hostile names.
    assert page.locator(f"[data-vsnn-instrument={kind}]").count() == 1 + (kind == "runs")
    full, narrow = one.press("End"), one.press("Home")
    second = one.press("ArrowRight")
    assert len({each.width for each in (full, narrow, second)}) == 3
    for before, after in ((full, narrow), (narrow, second)):
        assert before.numbers != after.numbers
        assert before.pictures != after.pictures or kind in WITHOUT_PICTURES
    assert one.press("End") == full
    # What only a kernel can do is not there.
    for name in ("New images", "Extract this width and save"):
        assert not one.button(name).is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", CELLS)
def test_it_fits_any_page_and_can_be_read_by_anyone(page, kind, scheme):
    page.emulate_media(color_scheme=scheme)
    ground = {"light": "#ffffff", "dark": "#111111"}[scheme]
    page.evaluate(f"document.body.style.background = '{ground}'")
    one = Instrument(page, kind)
    assert one.root.get_attribute("data-theme") == scheme
    for width in (1400, 1000, 640, 390):
        page.set_viewport_size({"width": width, "height": 800})
        # A curve is drawn anew for its width, a frame later.
        page.evaluate("() => new Promise(go => requestAnimationFrame(() => setTimeout(go, 50)))")
        look.check_fits(one)
    look.check_accessible(one)
    page.set_viewport_size(lab.WINDOW)


@pytest.mark.parametrize("kind", CELLS)
def test_a_finger_moves_it(page, kind):
    one = Instrument(page, kind)
    one.press("Home")
    one.slider().scroll_into_view_if_needed()
    box = one.slider().bounding_box()
    middle = box["y"] + box["height"] / 2
    page.touchscreen.tap(box["x"] + box["width"] - 12, middle)
    tapped = one.until(lambda now: now.width > 8)
    touch = page.context.new_cdp_session(page)
    for kind_of, share in (("Start", 0.9), ("Move", 0.6), ("Move", 0.3), ("End", None)):
        points = [] if share is None else [{"x": box["x"] + share * box["width"], "y": middle}]
        touch.send("Input.dispatchTouchEvent", {"type": f"touch{kind_of}", "touchPoints": points})
    dragged = one.until(lambda now: now.width < 6)
    assert dragged.numbers != tapped.numbers


@pytest.mark.parametrize("kind", CELLS)
def test_whatever_has_the_focus_shows_it(page, kind):
    look.check_focus_is_seen(Instrument(page, kind))


@pytest.mark.parametrize("form", FORMS)
def test_names_from_outside_are_text(page, pages, form):
    page.goto(pages[form].as_uri(), wait_until="domcontentloaded")
    one = Instrument(page, "runs", 1)
    assert "<img src=x" in one.root.inner_text()
    assert one.root.locator("img, script").count() == 0
    one.press("Home")
    assert page.evaluate("window.ran") is None
