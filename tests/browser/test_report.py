"""A report as the person it was sent to meets it: from a disk or a server, with nothing else."""

import functools
import http.server
import json
import threading

import nbformat
import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.browser import lab
from vsnn_lab import Autoencoder, Width, figures
from vsnn_lab.explore import AutoencoderExplorer
from vsnn_lab.explore.portable import portable_html
from vsnn_lab.headless.report import build_report
from vsnn_lab.measure.ablation import WidthSweep

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

INSTRUMENT = "[data-vsnn-instrument]"
SLIDER = f"{INSTRUMENT} input[type=range]"
PATIENCE = 300  # tenths of a second that a change may take on a busy machine
PLOTLY = "application/vnd.plotly.v1+json"
# What a page was kept from doing, and what it did that it should have been kept from.
WATCH = """
window.refused = [];
document.addEventListener('securitypolicyviolation',
    event => refused.push(`${event.violatedDirective} ${event.blockedURI}`));
"""
READ = """
instrument => [
    [...instrument.querySelectorAll('[data-readout]')].map(number => number.textContent),
    [...instrument.querySelectorAll('canvas')].map(canvas => canvas.toDataURL()),
]
"""
SIZES = """
() => [...document.querySelectorAll('.plot text')].map(text => {
    const drawn = text.getCTM();
    return parseFloat(getComputedStyle(text).fontSize) * Math.hypot(drawn.a, drawn.b);
})
"""
IN_THE_PAGES_INK = """
() => {
    const text = document.querySelector('.plot .xtick text');
    const ink = getComputedStyle(document.querySelector('.plot')).color;
    return text && getComputedStyle(text).fill === ink;
}
"""
HOSTILE = (
    '<script>bad = 1</script><img src=x onerror="bad = 1"><svg onload="bad = 1"></svg>'
    '<a href="javascript:bad = 1">link</a><svg><script>bad = 1</script></svg>'
    '<iframe srcdoc="<script>parent.bad = 1</script>"></iframe><div onclick="bad = 1">here</div>'
)


def build(folder, *outputs, text="# A question\n\nA lead."):
    """Build the report of a notebook whose cells put out these data; return its page."""
    cells = [
        new_code_cell("x", outputs=[new_output("display_data", data=data)]) for data in outputs
    ]
    notebook = new_notebook(cells=[new_markdown_cell(text), *cells])
    nbformat.write(notebook, folder / "one.ipynb")
    return build_report([folder / "one.ipynb"], folder / "site").with_name("one.html")


def as_output(figure: go.Figure):
    return {PLOTLY: json.loads(figure.to_json())}


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    """The front page of a report of one notebook with an instrument and a figure."""
    torch.manual_seed(0)
    model = Autoencoder((1, 6, 5), Width(12), hidden=(9,))
    explorer = AutoencoderExplorer(model, torch.rand(30, 1, 6, 5), shown=4)
    outputs = {"text/html": portable_html(explorer)}, as_output(drawn_figures()[0])
    return build(tmp_path_factory.mktemp("report"), *outputs).with_name("index.html")


@pytest.fixture(scope="module")
def browser(chromium):
    with lab.browser_page(chromium) as page:
        page.add_init_script(WATCH)
        yield page


@pytest.fixture
def page(browser):
    """A page that fails if anything from outside is asked for, goes wrong, or is refused."""
    asked, wrong = [], []
    listeners = {
        "request": lambda request: asked.append(request.url),
        "pageerror": lambda error: wrong.append(str(error)),
        "console": lambda said: wrong.append(said.text) if said.type == "error" else None,
    }
    for event, listener in listeners.items():
        browser.on(event, listener)
    browser.set_viewport_size(lab.WINDOW)
    yield browser
    for event, listener in listeners.items():
        browser.remove_listener(event, listener)
    near = ("file:", "data:", "blob:", "http://127.0.0.1")
    assert [url for url in asked if not url.startswith(near)] == []
    assert wrong == browser.evaluate("refused") == []


def until(page, condition: str) -> None:
    """Wait for a condition; Playwright's own way evaluates it as the page's policy forbids."""
    for _ in range(PATIENCE):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"not within {PATIENCE / 10:.0f} s: {condition}")


def opened(page, address: str):
    page.goto(address)
    page.wait_for_selector("html[data-ready]", state="attached")
    return page


@pytest.fixture(scope="module")
def served(front):
    """The address of the report on a server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(front.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()


@pytest.mark.parametrize("where", ["disk", "server"])
def test_from_the_front_page_one_comes_to_an_instrument_that_moves(page, front, served, where):
    opened(page, front.as_uri() if where == "disk" else served)
    assert page.locator(".thumb .js-plotly-plot").count() == 1
    page.get_by_role("link", name="A question").click()
    page.locator(SLIDER).first.wait_for()
    instrument = page.locator(INSTRUMENT).first
    seen = []
    for key in ("Home", "ArrowRight", "End", "ArrowLeft"):
        page.locator(SLIDER).first.press(key)
        page.evaluate("() => new Promise(done => requestAnimationFrame(done))")
        seen.append(instrument.evaluate(READ))
    for place, (numbers, pictures) in enumerate(seen):
        assert numbers not in [others for others, _ in seen[:place]]
        assert pictures not in [others for _, others in seen[:place]]


def test_a_page_without_a_figure_does_not_load_plotly(page, tmp_path):
    opened(page, build(tmp_path, {"text/plain": "only text"}).as_uri())
    assert page.evaluate("typeof Plotly") == "undefined"


def test_nothing_that_a_notebook_brings_along_runs(page, tmp_path):
    figure = go.Figure(go.Scatter(x=[1, 2], y=[1, 2], name=HOSTILE, text=[HOSTILE] * 2))
    figure.update_layout(title=HOSTILE, xaxis_title=HOSTILE, showlegend=True)
    picture = f'<svg xmlns="http://www.w3.org/2000/svg">{HOSTILE}</svg>'
    outputs = [{kind: HOSTILE} for kind in ("text/html", "text/markdown", "text/plain")]
    outputs += [{"image/svg+xml": picture}, {"application/javascript": "bad = 1"}]
    opened(page, build(tmp_path, *outputs, as_output(figure), text=f"# A\n\n{HOSTILE}").as_uri())
    page.get_by_text("link").first.click()
    page.get_by_text("here").first.click()
    assert page.evaluate("typeof bad") == "undefined"


def test_what_slipped_through_the_cleaning_would_not_run_either(browser, tmp_path):
    path = build(tmp_path, {"text/plain": "text"})
    path.write_text(path.read_text().replace("</main>", f"{HOSTILE}</main>"))
    opened(browser, path.as_uri())
    browser.get_by_text("link").click()
    browser.get_by_text("here").click()
    until(browser, "refused.length >= 6")
    assert browser.evaluate("typeof bad") == "undefined"


def drawn_figures():
    widths = np.arange(1, 257)
    sweep = WidthSweep("mse", widths, 1 / widths, 256)
    curve = {1: [0.4, 0.5], 16: 0.2, 256: [0.1, 0.12]}
    names = [f"DATA=fashion-mnist EPOCHS={epochs} SEED=0" for epochs in range(12)]
    pictures = np.random.default_rng(0).random((20, 1, 28, 28))
    return [
        figures.sweep_figure(sweep, dedicated={4: 0.3}, plain=0.1),
        figures.overlay_curves({name: {1: 0.5, 8: 0.25} for name in names}),
        figures.comparison_curves({"variable": curve, "dedicated": curve, "pca": curve}),
        figures.width_needed({"variable": curve, "pca": curve}),
        figures.width_grid(pictures, dict.fromkeys((1, 2, 4), pictures), errors={1: 1, 2: 1, 4: 1}),
        figures.traversal(pictures[None], np.linspace(-2, 2, 20).round(1)),
    ]


@pytest.mark.parametrize("width", [400, 640, 1400])
def test_text_in_figures_is_as_large_on_a_narrow_page_and_the_page_does_not_scroll_sideways(
    page, tmp_path, width
):
    page.set_viewport_size({"width": width, "height": 800})
    opened(page, build(tmp_path, *map(as_output, drawn_figures())).as_uri())
    sizes = page.evaluate(SIZES)
    assert len(sizes) > 60
    assert min(sizes) >= 11
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # What is wider than the page scrolls in a frame that the keyboard reaches.
    frames = page.locator(".plot").evaluate_all(
        "all => all.map(one => [one.scrollWidth > one.clientWidth, one.tabIndex === 0])"
    )
    assert all(scrolls == reached for scrolls, reached in frames)
    assert any(scrolls for scrolls, _ in frames) == (width == 400)


def test_figures_follow_the_room_and_the_scheme(page, tmp_path):
    opened(page, build(tmp_path, as_output(drawn_figures()[0])).as_uri())
    page.set_viewport_size({"width": 500, "height": 800})
    until(page, "document.querySelector('.main-svg')?.clientWidth < 500")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        until(page, IN_THE_PAGES_INK)
        ink = page.evaluate("getComputedStyle(document.querySelector('.plot')).color")
        ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert (luminance(ground) > 0.5) == (scheme == "light")
        assert contrast(ink, ground) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_the_page_in_both_schemes(page, front, scheme):
    page.emulate_media(color_scheme=scheme)
    opened(page, front.as_uri())
    ground, ink = (
        page.evaluate(f"getComputedStyle(document.documentElement).{name}")
        for name in ("backgroundColor", "color")
    )
    assert contrast(ground, ink) > 7
    assert (luminance(ground) > 0.5) == (scheme == "light")


def contrast(first: str, second: str) -> float:
    """Return the contrast of two colours, as WCAG 2 defines it."""
    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def luminance(color: str) -> float:
    """Return the relative luminance of a colour such as rgb(1, 2, 3), as WCAG 2 defines it."""
    values = [int(part) / 255 for part in color.strip("rgb()").split(",")]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
