"""Read and move the autoencoder instrument in a JupyterLab page."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.browser import lab
from tests.notebooks import FOLDER, data_beside, quick_copy

# Milliseconds between two key presses of a hand; without a pause each press waits for the kernel's
# last word on the one before.
_PACE = 150

_PATIENCE = 300  # tenths of a second that a change may take on a busy machine

HANDLE = ".jp-OutputArea .noUi-handle"
_PICTURE = ".jp-OutputArea .js-plotly-plot .imagelayer image"

# From the key press to the frame after both the picture and the numbers have changed. Runs in the
# page, so that nothing but the page's own clock is measured.
_MEASURE = """
([picture, key]) => new Promise((resolve, reject) => {
    const instrument = document.querySelector('.noUi-handle').closest('.jp-OutputArea');
    const image = () => [...instrument.querySelectorAll(picture)].map(
        i => i.getAttribute('href') || i.getAttribute('xlink:href')).join();
    const numbers = () => [...instrument.querySelectorAll('[data-readout]')].map(
        n => n.textContent).join('|');
    const before = [image(), numbers()];
    const start = performance.now();
    const watch = new MutationObserver(() => {
        if (image() === before[0] || numbers() === before[1]) return;
        watch.disconnect();
        const painted = () => resolve(performance.now() - start);
        requestAnimationFrame(() => requestAnimationFrame(painted));
    });
    const all = {subtree: true, childList: true, attributes: true, characterData: true};
    watch.observe(instrument, all);
    setTimeout(() => { watch.disconnect(); reject(new Error('nothing changed in 20 s')); }, 20000);
    const handle = instrument.querySelector('.noUi-handle');
    handle.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
})
"""

# In one go: read one after the other, some would be those of the move before.
_READ = """
picture => {
    const numbers = [...document.querySelectorAll('[data-readout]')].map(
        item => [item.getAttribute('data-readout'), item.innerText]);
    const image = [...document.querySelectorAll(picture)].pop();
    return [
        document.querySelector('.widget-readout').innerText,
        Object.fromEntries(numbers),
        // Numbers may be there before the picture is drawn.
        image ? image.getAttribute('href') || image.getAttribute('xlink:href') : '',
    ];
}
"""


@dataclass(frozen=True)
class Reading:
    """What the instrument shows."""

    slider: str
    numbers: dict[str, str]
    picture: str


@contextmanager
def quickstart(chromium: str, folder: Path, *, full: bool = False) -> Iterator:
    """Yield a page with the quickstart run in it, scrolled to its instrument.

    Its data folder, with the real downloads and room for results, is ``folder / "data"``.
    """
    (folder / "data").mkdir()
    quick_copy(FOLDER / "00_quickstart.ipynb", folder, full=full)
    served = lab.serve(folder, data_beside(folder / "data"))
    with served as address, lab.browser_page(chromium) as page:
        lab.open_notebook(page, address.format("00_quickstart.ipynb"))
        lab.run_all(page)
        page.locator(HANDLE).first.wait_for()
        page.locator(".jp-Cell:has(.noUi-handle)").first.evaluate("cell => cell.scrollIntoView()")
        yield page


def read(page) -> Reading:
    """Read the slider's label, the read-outs and the picture, all in one moment."""
    return Reading(*page.evaluate(_READ, _PICTURE))


def until(page, condition: Callable[[Reading], bool]) -> Reading:
    """Return the first reading that meets a condition; fail with the last one after a while."""
    for _ in range(_PATIENCE):
        reading = read(page)
        if condition(reading):
            return reading
        page.wait_for_timeout(100)
    raise AssertionError(f"the instrument still shows {reading.slider}: {reading.numbers}")


def press(page, key: str) -> None:
    """Press a key on the slider's handle."""
    page.locator(HANDLE).first.focus()
    page.keyboard.press(key)


def wait_for_stops(page, stops: int) -> None:
    """Wait until the slider has so many stops: the kernel puts another in its place to change them.

    A key pressed before would go to the slider that is about to leave.
    """
    page.wait_for_function(
        """([handle, steps]) => {
            const found = document.querySelector(handle);
            const end = name => Number(found.getAttribute(name));
            return found && end('aria-valuemax') - end('aria-valuemin') === steps;
        }""",
        arg=[HANDLE, stops - 1],
    )


def time_moves(page, moves: int) -> list[float]:
    """Move there and back; return milliseconds from each key press to changed pixels."""
    times = []
    for index in range(moves):
        page.wait_for_timeout(_PACE)
        key = ("ArrowLeft", "ArrowRight")[index % 2]
        times.append(page.evaluate(_MEASURE, [".imagelayer image", key]))
    return times
