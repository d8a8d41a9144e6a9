"""The atlas in a browser: one slider moves the markers and read-outs of all tasks, offline."""

from types import SimpleNamespace

import pytest

from docs.atlas.files import PAGE, write_files
from docs.atlas.fragment import page_data
from docs.atlas.rows import read_rows
from docs.atlas.tasks import AXES, slider_stops, summarise
from tests.atlas import write_results
from tests.browser import lab, look

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

# Texts of each task, the middle of its ring, and the middles of the points of its curve.
_READ = """
root => Object.fromEntries([...root.querySelectorAll('[data-task]')].map(panel => {
    const middle = each => {
        const {left, right, top, bottom} = each.getBoundingClientRect();
        return [(left + right) / 2, (top + bottom) / 2];
    };
    const name = panel.dataset.task;
    const cells = [...root.querySelectorAll(`[data-row="${name}"] td`)];
    const ring = panel.querySelector('.atlas-ring');
    const plot = panel.querySelector('.atlas-plot');
    const line = (plot.data ?? []).findIndex(each => each.name === 'variable network');
    const trace = plot.querySelectorAll('.scatterlayer .trace')[line];
    return [name, {
        texts: cells.map(each => each.textContent),
        ring: ring.offsetParent && middle(ring),
        points: plot.offsetParent && [...trace.querySelectorAll('.point')].map(middle),
    }];
}))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def page(chromium, results, tmp_path_factory):
    folder, wrong = tmp_path_factory.mktemp("atlas"), []
    write_files(folder, results)
    with lab.browser_page(chromium, offline=True) as page:
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.goto((folder / PAGE).as_uri())
        yield page
    assert wrong == []


@pytest.fixture(scope="module")
def atlas(page):
    root = page.locator("[data-vsnn-instrument=atlas]")
    slider = root.get_by_label("share of full width")
    return SimpleNamespace(page=page, root=root, slider=lambda: slider)


def shown(atlas, axis, stop):
    """Return what all tasks show, once they stand at a stop of the slider."""
    atlas.page.locator(f"[data-shown='{axis} {stop}']").wait_for()
    return atlas.root.evaluate(_READ)


@pytest.mark.parametrize("axis", AXES)
def test_the_slider_moves_the_markers_and_readouts_of_all_tasks(atlas, results, axis):
    tasks = summarise(read_rows(results))
    stops = slider_stops(tasks)
    expected = page_data(tasks, stops)
    atlas.root.locator(f"input[value={axis}]").check()
    slider, last = atlas.slider(), len(stops) - 1
    seen = {}
    for stop, keys in ((0, ["Home"]), (1, ["ArrowRight"]), (last - 1, ["End", "ArrowLeft"])):
        for key in keys:
            slider.press(key)
        found = shown(atlas, axis, stop)
        assert slider.get_attribute("aria-valuetext") == expected["stops"][stop]
        assert atlas.root.locator("[data-readout=share]").text_content() == expected["stops"][stop]
        assert [*found] == [task.name for task in tasks]
        for task in expected["tasks"]:
            one, place = found[task["name"]], task["shown"][stop]
            assert one["texts"] == task["texts"][place]
            figure = task["figures"][axis]
            measured = figure and [x is not None for x, _ in figure["markers"]]
            assert (one["ring"] is not None) == bool(measured and measured[place])
            if measured and measured[place]:
                # Plotly's own drawing of that point of the curve.
                point = one["points"][sum(measured[:place])]
                assert one["ring"] == pytest.approx(point, abs=1)
        seen[stop] = found
    for name, task in {task["name"]: task for task in expected["tasks"]}.items():
        assert seen[0][name]["texts"] != seen[last - 1][name]["texts"]
        if axis == "width" and task["shown"][0] != task["shown"][last - 1]:
            assert seen[0][name]["ring"][0] < seen[last - 1][name]["ring"][0]


def test_it_fits_any_page(atlas):
    atlas.root.locator("input[value=width]").check()
    for width in (1280, 640, 390):
        atlas.page.set_viewport_size({"width": width, "height": 800})
        # Plotly draws anew for the room that a panel has, in a while.
        atlas.page.wait_for_function(
            """() => [...document.querySelectorAll('.atlas-plot')].every(each =>
                Math.abs(each.querySelector('.main-svg').clientWidth - each.clientWidth) < 2)"""
        )
        look.check_fits(atlas)
        assert atlas.page.evaluate("document.documentElement.scrollWidth") <= width
    atlas.page.set_viewport_size(lab.WINDOW)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_by_anyone(atlas, scheme):
    atlas.page.emulate_media(color_scheme=scheme)
    look.check_accessible(atlas)


def test_whatever_has_the_focus_shows_it(atlas):
    look.check_focus_is_seen(atlas)
