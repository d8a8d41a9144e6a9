"""Every instrument as a person meets it in JupyterLab: side bar open, kernel there or not."""

import json
import os
import signal

import nbformat
import pytest

from tests.browser import lab, look
from tests.browser.explorers import CELLS, HOSTILE, SETUP, WIDTHS, WITHOUT_PICTURES
from tests.browser.instrument import Instrument, opened, show_whole

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

# After those of the instruments; the second shows the first of them a second time.
BESIDE = [
    HOSTILE,
    "explorer",
    """
    import json
    from vsnn_lab import extract
    from vsnn_lab.explore.tokens import TokenTexts
    spelled = TokenTexts(tokenizer, 256).bytes
    def greedy(width):
        cut, ids = extract(words, width).eval(), tokenizer.encode("dd m\\n naïve").ids
        for _ in range(40):
            ids.append(int(cut(torch.tensor([ids]))[0, -1].argmax()))
        return b"".join(spelled[each] for each in ids).decode(errors="replace")
    print(json.dumps([greedy(4), greedy(12)]))
    """,
    "print(explorer.width, images.shape)",
    "explorer.width = 8",
    # In one call of C, which lets no other thread of the kernel answer.
    "sum(range(2 * 10**8))",
    "import os; print(os.getpid())",
]
GREEDY, HEARD, SET, BUSY, PROCESS = range(-5, 0)


@pytest.fixture(scope="module")
def page(chromium, tmp_path_factory):
    """A page with a notebook of all instruments run in it."""
    folder = tmp_path_factory.mktemp("lab")
    notebook = lab.new_notebook([SETUP, *CELLS.values(), *BESIDE])
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("# A heading"))
    nbformat.write(notebook, folder / "all.ipynb")
    with opened(chromium, folder, "all.ipynb") as page:
        page.notebook = folder / "all.ipynb"
        yield page


@pytest.fixture
def first(page):
    """The first instrument, at full width."""
    one = Instrument(page)
    one.press("End")
    return one


def cell(page, place: int):
    return page.locator(".jp-CodeCell").nth(page.locator(".jp-CodeCell").count() + place)


@pytest.mark.parametrize("kind", CELLS)
def test_keys_move_numbers_and_pictures_and_nothing_of_jupyterlab(page, kind):
    one = Instrument(page, kind)
    one.slider().focus()
    places = "nodes => nodes.map(each => each.offsetHeight > 0)"
    cells = page.locator(".jp-Cell").evaluate_all(places)
    end = one.press("End")
    readings = {0: one.press("Home"), 1: one.press("ArrowRight")}
    readings |= {2: one.press("ArrowRight"), 1.5: one.press("ArrowLeft")}
    assert readings[1.5] == readings[1]
    for before, after in (
        (readings[0], readings[1]),
        (readings[1], readings[2]),
        (end, readings[0]),
    ):
        assert before.sliders != after.sliders
        assert before.numbers != after.numbers
        assert before.pictures != after.pictures or kind in WITHOUT_PICTURES
    up = one.press("PageUp")
    assert up.sliders != readings[1].sliders
    assert one.press("PageDown").sliders != up.sliders
    assert one.press("End") == end
    assert page.locator(".jp-Cell").evaluate_all(places) == cells
    assert one.slider().evaluate("slider => slider === document.activeElement")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
@pytest.mark.parametrize("kind", CELLS)
def test_it_fits_beside_the_open_side_bar_in_either_theme(page, kind, theme):
    assert page.locator("#jp-left-stack").is_visible()
    lab.command(page, "apputils:change-theme", theme=theme)
    one = Instrument(page, kind)
    dark = theme.endswith("Dark")
    page.wait_for_function(
        "([root, theme]) => root.dataset.theme === theme",
        arg=[one.root.element_handle(), "dark" if dark else "light"],
    )
    show_whole(one.root)
    window = page.locator(".jp-WindowedPanel-outer").bounding_box()
    box = one.root.bounding_box()
    assert box["y"] >= window["y"] - 1
    assert box["y"] + box["height"] <= window["y"] + window["height"] + 1
    look.check_fits(one)
    look.check_accessible(one)


def test_python_hears_the_width_at_rest_and_moves_the_picture(page, first):
    full = first.read()
    moved = first.press("Home", *["ArrowRight"] * 4)
    assert moved.width == 5
    assert lab.run_cell(cell(page, HEARD)).startswith("5 ")
    lab.run_cell(cell(page, SET))
    there = first.at(8)
    assert there.pictures not in (full.pictures, moved.pictures)
    assert there == first.press("ArrowRight", "ArrowLeft")


def test_shown_in_two_cells_it_plays_on_and_both_follow(page, first):
    second = Instrument(page, first.root.get_attribute("data-vsnn-instrument"), 1)
    first.press("Home")
    second.at(1)
    first.button("Play through").click()
    for width in (2, 4):
        first.at(width)
        second.at(width)
    first.button("Play through").click()
    stopped = first.read()
    assert first.button("Play through").get_attribute("aria-pressed") == "false"
    # Longer than a step takes.
    page.wait_for_timeout(1000)
    assert first.read() == stopped
    second.until(lambda now: now.pictures == stopped.pictures)


def test_who_asked_for_less_motion_gets_a_step_a_press(page, first):
    page.emulate_media(reduced_motion="reduce")
    first.press("Home")
    first.button("Play through").click()
    assert first.read().width == 2
    page.wait_for_timeout(1000)
    assert first.read().width == 2
    page.emulate_media(reduced_motion="no-preference")


def test_a_typed_width_moves_and_one_beyond_the_knob_says_so(first):
    assert first.type_width("3").width == 3
    said = first.type_width("300")
    assert (said.width, said.typed[0]) == (3, "3")
    assert f"must lie in 1..{WIDTHS}, got 300" in said.status
    assert first.type_width("4").status == ""


def test_the_log2_switch_keeps_the_width_and_thins_the_stops(page, first):
    before = first.type_width("10")
    first.button("log2").click()
    assert first.read() == before
    assert first.press("ArrowRight", "ArrowLeft") == before
    steps = first.slider().get_attribute("max")
    assert int(steps) < WIDTHS
    # A width between the stops puts every stop back.
    first.button("linear").click()
    assert int(first.slider().get_attribute("max")) == WIDTHS - 1


def test_ctrl_s_saves_while_the_slider_has_the_focus(page, first):
    before = page.notebook.stat().st_mtime_ns
    first.press("ArrowLeft")
    page.keyboard.press("Control+s")
    for _ in range(100):
        if saved := page.notebook.stat().st_mtime_ns != before:
            break
        page.wait_for_timeout(100)
    assert saved
    # And the arrow keys are the slider's again.
    width = first.read().width
    assert first.press("ArrowLeft").width == width - 1


def test_it_moves_while_the_kernel_is_busy_and_a_button_says_that_it_waits(page, first):
    before = first.read()
    lab.start_cell(cell(page, BUSY))
    moved = first.press("Home", "ArrowRight")
    assert moved.width == int(next(iter(moved.numbers.values()))) == 2
    assert moved.pictures != before.pictures
    first.button("New images").click()
    assert "asked the kernel" in first.read().status
    assert cell(page, BUSY).locator(".jp-InputPrompt >> text=[*]").count() == 1
    answered = first.until(lambda now: "asked" not in now.status)
    assert answered.pictures != moved.pictures


def test_names_from_outside_are_text(page):
    one = Instrument(page, "runs", 1)
    assert "<img src=x" in one.root.inner_text()
    assert one.root.locator("img, script").count() == 0
    one.press("Home")
    assert page.evaluate("window.ran") is None


def test_a_prompt_is_typed_and_the_kernel_goes_on_with_it_at_both_widths(page):
    one = Instrument(page, "text")
    cells = page.locator(".jp-Cell").count()
    field, texts = (
        one.root.get_by_label("prompt"),
        one.root.locator(".vsnn-continuation .vsnn-text"),
    )
    field.fill("")
    # Each of these keys does something to a notebook's cells.
    page.keyboard.type("dd m\n naïve")
    one.press("Home", *["ArrowRight"] * 3)
    page.wait_for_function(
        "all => all.every(e => e.ariaBusy !== 'true' && e.textContent.includes('m\\n naïve'))",
        arg=texts.element_handles(),
    )
    found = texts.evaluate_all("all => all.map(each => each.textContent)")
    assert found == json.loads(lab.run_cell(cell(page, GREEDY)))
    assert field.input_value() == "dd m\n naïve"
    assert page.locator(".jp-Cell").count() == cells
    assert one.press("End").numbers["tokens in place"] == "40 of 40"


def test_a_kernel_that_died_leaves_number_and_picture_together(page, first):
    before = first.press("Home")
    process = int(lab.run_cell(cell(page, PROCESS)))
    os.kill(process, signal.SIGKILL)
    # The dialog that says so comes when the server has noticed, and covers the page.
    page.locator(".jp-Dialog >> text=/appears to have died/").wait_for()
    page.locator(".jp-Dialog .jp-mod-accept").click()
    lab.wait_until_idle(page)
    for key in ("ArrowRight", "End", "Home"):
        moved = first.press(key)
        assert moved.width == int(next(iter(moved.numbers.values())))
        assert (moved.pictures == before.pictures) == (moved.width == 1)
    first.button("New images").click()
    assert "asked the kernel" in first.read().status


def test_opened_anew_without_its_kernel_it_moves_from_the_saved_state(page):
    # A kernel that died took the widgets' state along.
    lab.run_all(page)
    lab.command(page, "docmanager:save")
    state = nbformat.read(page.notebook, 4).metadata.widgets
    assert state["application/vnd.jupyter.widget-state+json"]["state"]
    lab.command(page, "kernelmenu:shutdown")
    page.reload()
    for kind in CELLS:
        one = Instrument(page, kind)
        before = one.press("Home")
        after = one.press("End")
        assert before.width == 1
        assert after.width == WIDTHS
        assert before.numbers != after.numbers
        assert before.pictures != after.pictures or kind in WITHOUT_PICTURES
