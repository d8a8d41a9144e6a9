"""The policy's instrument in a page without a kernel: frames follow the width, and play."""

import pytest

from tests.browser import lab
from tests.browser.instrument import Instrument
from tests.browser.look import check_accessible, check_fits, check_focus_is_seen
from tests.explore.policies import coloured, untrained
from vsnn_lab.explore import PolicyExplorer
from vsnn_lab.explore.portable import portable_html

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

WIDTHS = [1, 2, 4, 8]
# Whose red tells the width, and whose green the time step.
_COLOURS = """
root => [...root.querySelectorAll('canvas')].map(each => {
    const [red, green] = each.getContext('2d').getImageData(16, 12, 1, 1).data;
    return [WIDTHS[Math.round(red / 20) - 1], Math.round(green / 20)];
})
""".replace("WIDTHS", f"{WIDTHS}")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A page with an instrument whose frames tell what they are of."""
    returns = {width: 10.0 * width for width in WIDTHS}
    explorer = PolicyExplorer(
        untrained("CartPole-v1", 8), returns=returns, strips=coloured(WIDTHS), every=10
    )
    path = tmp_path_factory.mktemp("policy") / "page.html"
    head = "<!doctype html><meta charset=utf-8>"
    head += "<style>:root { background: Canvas; color-scheme: light dark; }</style>"
    path.write_text(f"{head}<body>{portable_html(explorer)}")
    return path.as_uri()


class Opened(Instrument):
    """The instrument of a page."""

    def __init__(self, page, address: str) -> None:
        page.goto(address)
        super().__init__(page, "policy")
        self.play = self.button("Play the frames")

    def frames(self) -> list[list[int]]:
        """Return the width and the time step of both frames shown."""
        return self.root.evaluate(_COLOURS)


@pytest.fixture(scope="module")
def page(chromium):
    with lab.browser_page(chromium) as page:
        yield page


@pytest.fixture
def still(page):
    """A page of someone who asked for less motion."""
    page.emulate_media(reduced_motion="reduce")
    yield page
    page.emulate_media(reduced_motion="no-preference")


def test_the_frame_changes_with_the_width_at_the_same_time(still, saved):
    one = Opened(still, saved)
    assert one.play.get_attribute("aria-pressed") == "false"
    assert one.frames() == [[8, 0], [8, 0]]
    one.press(*["ArrowRight"] * 3, label="time")
    assert one.frames() == [[8, 3], [8, 3]]
    # CartPole takes 50 steps a second, ten of which pass between two frames.
    assert one.read().numbers["time"] == "0.60 s"
    for width in (4, 2, 1):
        now = one.press("ArrowLeft")
        assert one.frames() == [[width, 3], [8, 3]]
        assert (now.width, now.numbers["return"]) == (width, f"{10 * width}.00")
    one.press("End", label="time")
    assert one.frames() == [[1, 7], [8, 7]]


def test_every_move_is_seen_by_the_next_frame(still, saved):
    one = Opened(still, saved)
    # It says so itself if a press changed no picture or no number.
    one.time_moves(["ArrowLeft"] * 3 + ["ArrowRight"] * 3)
    assert one.frames() == [[8, 0], [8, 0]]


def test_frames_play_on_while_the_width_changes(page, saved):
    one = Opened(page, saved)
    assert one.play.get_attribute("aria-pressed") == "true"
    one.until(lambda now: now.numbers["time"] != "0.00 s")
    one.press("Home")
    before = one.read().numbers["time"]
    one.until(lambda now: now.numbers["time"] != before)
    assert [width for width, _ in one.frames()] == [1, 8]
    one.play.focus()
    page.keyboard.press("Space")
    assert one.play.get_attribute("aria-pressed") == "false"
    stopped = one.frames()
    # By now it would have drawn another one.
    page.evaluate("() => new Promise(done => setTimeout(done, 500))")
    assert one.frames() == stopped
    assert stopped[0][1] == stopped[1][1]
    assert one.button("Play through width").get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize("width", [1280, 840, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_can_be_seen_read_and_reached(still, saved, width, theme):
    still.set_viewport_size({"width": width, "height": 900})
    still.emulate_media(color_scheme=theme)
    one = Opened(still, saved)
    assert one.root.get_attribute("data-theme") == theme
    check_fits(one)
    check_accessible(one)
    check_focus_is_seen(one)
