"""Read and move an instrument in any page: JupyterLab, Voila, a report, a saved notebook."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nbformat
import numpy as np

from tests.browser import lab
from tests.notebooks import FOLDER, data_beside, quick_copy

ROOT = "[data-vsnn-instrument]"
# The slider that moves all of an instrument, by its kind.
SLIDERS = {
    "autoencoder": "code units",
    "classifier": "width",
    "codes": "code units",
    "comparison": "width A",
    "masks": "samples",
    "policy": "width",
    "runs": "width",
    "text": "width",
}
PACE = 150  # milliseconds between two key presses of a hand
_PATIENCE = 300  # tenths of a second that a change may take on a busy machine

# In one go: read one after the other, some would be those of the move before.
_READ = """
root => {
    const all = (selector, value) => [...root.querySelectorAll(selector)].map(value);
    const named = (selector, name, value) => Object.fromEntries(
        all(selector, each => [each.getAttribute(name), value(each)]));
    return {
        sliders: named('input[type=range]', 'aria-label', s => s.getAttribute('aria-valuetext')),
        numbers: named('[data-readout]', 'data-readout', n => n.textContent),
        notes: named('[data-readout]', 'data-readout', n => n.nextElementSibling?.textContent),
        typed: all('input[type=number]', each => each.value),
        pictures: all('canvas, .vsnn-text', each => each.toDataURL?.() ?? each.innerHTML),
        captions: all('figcaption', each => each.textContent),
        marks: all('.vsnn-ring', each => each.getAttribute('transform')),
        status: root.querySelector('.vsnn-status').textContent,
    };
}
"""
# From each key press to the second animation frame after it, and how long the page's own work on
# it took; whether numbers and pictures differed by then from those of the press before, and whether
# they were those of the move at rest.
_TIME = """
root => {
    const look = () => [
        [...root.querySelectorAll('[data-readout]')].map(each => each.textContent).join('|'),
        [...root.querySelectorAll('canvas, .vsnn-text')]
            .map(each => each.toDataURL?.() ?? each.innerHTML).join('|'),
    ];
    const seen = window.vsnnTimes = {frames: [], handlers: [], numbers: 0, pictures: 0, rest: 0};
    const {signal} = window.vsnnWatch = new AbortController();
    let [before, since] = [look(), 0];
    addEventListener('keydown', event => {
        if (!event.key.startsWith('Arrow')) return;
        requestAnimationFrame(() => requestAnimationFrame(() => {
            seen.frames.push(performance.now() - event.timeStamp);
            const now = look();
            seen.numbers += now[0] !== before[0];
            seen.pictures += now[1] !== before[1];
            before = now;
            setTimeout(() => { seen.rest += `${look()}` === `${now}`; }, 60);
        }));
    }, {signal, capture: true});
    addEventListener('input', () => { since = performance.now(); }, {signal, capture: true});
    addEventListener('input', () => seen.handlers.push(performance.now() - since), {signal});
}
"""


@dataclass(frozen=True)
class Reading:
    """What an instrument shows: sliders by label, numbers and notes by name, pictures, texts."""

    width: int
    sliders: dict[str, str]
    numbers: dict[str, str]
    notes: dict[str, str]
    typed: list[str]
    pictures: list[str]
    captions: list[str]
    marks: list[str]
    status: str


class Instrument:
    """One of the instruments of a page: that at a place among those of a kind, or of all."""

    def __init__(self, page, kind: str = "", place: int = 0) -> None:
        self.page = page
        wanted = f"[data-vsnn-instrument={kind}]" if kind else ROOT
        self.root = page.locator(wanted).nth(place)
        self.kind = kind or self.root.get_attribute("data-vsnn-instrument")
        self.slider().wait_for()
        # Frames are there once the browser has decoded them.
        self.root.locator(".vsnn-frames[aria-busy=true]").wait_for(state="detached")

    @classmethod
    def last(cls, page) -> "Instrument":
        """Return the last instrument of a page."""
        return cls(page, place=page.locator(ROOT).count() - 1)

    def read(self) -> Reading:
        """Read all that is shown, all in one moment."""
        found = self.root.evaluate(_READ)
        # It is announced as, say, 8 of 32.
        return Reading(width=int(found["sliders"][SLIDERS[self.kind]].split()[0]), **found)

    def until(self, condition: Callable[[Reading], bool]) -> Reading:
        """Return the first reading that meets a condition; fail with the last after a while."""
        for _ in range(_PATIENCE):
            reading = self.read()
            if condition(reading):
                return reading
            self.page.wait_for_timeout(100)
        raise AssertionError(f"it still shows {reading.sliders}: {reading.numbers}")

    def at(self, width: int) -> Reading:
        """Wait until it stands at a width, and return what it shows."""
        return self.until(lambda now: now.width == width)

    def slider(self, label: str = ""):
        """Return a slider by its label, or the one that moves all."""
        label = label or SLIDERS[self.kind]
        return self.root.locator(f"input[type=range][aria-label={label!r}]")

    def button(self, name: str):
        """Return a button by its label or a part of it."""
        return self.root.get_by_role("button", name=name)

    def press(self, *keys: str, label: str = "") -> Reading:
        """Press keys on a slider; return what is shown at once, which no kernel is asked for."""
        self.slider(label).focus()
        for key in keys:
            self.page.keyboard.press(key)
        return self.read()

    def type_width(self, width: str) -> Reading:
        """Type a width and press Enter."""
        field = self.root.locator("input[type=number]").first
        field.fill(width)
        field.press("Enter")
        return self.read()

    def time_moves(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Press keys at a hand's pace.

        Returns:
            Milliseconds from each press to the second frame after it, and of its handler.
        """
        self.slider().evaluate("slider => slider.focus({preventScroll: true})")
        self.root.evaluate(_TIME)
        for key in keys:
            self.page.wait_for_timeout(PACE)
            self.page.keyboard.press(key)
        self.page.wait_for_function("most => vsnnTimes.frames.length >= most", arg=len(keys))
        self.page.wait_for_timeout(PACE)
        found = self.page.evaluate("() => { vsnnWatch.abort(); return vsnnTimes; }")
        told = {name: found[name] for name in ("numbers", "pictures", "rest")}
        # A confusion matrix may be the same at two widths.
        least = {"numbers": len(keys), "pictures": 0.9 * len(keys), "rest": len(keys)}
        if any(told[name] < least[name] for name in told) or len(found["handlers"]) != len(keys):
            raise AssertionError(f"of {len(keys)} presses so many changed what is shown: {told}")
        return np.array(found["frames"]), np.array(found["handlers"])


@contextmanager
def quickstart(
    chromium: str, folder: Path, *, full: bool = False, cells: Sequence[str] = (), **context
) -> Iterator:
    """Yield a page with the quickstart run in it, scrolled to its last instrument.

    Its data folder, with the real downloads and room for results, is ``folder / "data"``; after it
    come more cells.
    """
    path = quick_copy(FOLDER / "00_quickstart.ipynb", folder, full=full)
    notebook = nbformat.read(path, 4)
    notebook.cells += lab.new_notebook(cells).cells
    nbformat.write(notebook, path)
    with opened(chromium, folder, "00_quickstart.ipynb", **context) as page:
        page.locator(ROOT).last.wait_for()
        show_whole(page.locator(ROOT).last)
        yield page


@contextmanager
def opened(chromium: str, folder: Path, notebook: str, **context) -> Iterator:
    """Yield a page of JupyterLab with a notebook of ``folder`` run in it."""
    data = folder / "data"
    data.mkdir(exist_ok=True)
    served = lab.serve(folder, data_beside(data))
    with served as address, lab.browser_page(chromium, **context) as page:
        lab.open_notebook(page, address.format(notebook))
        lab.run_all(page)
        yield page


def show_whole(root) -> None:
    """Scroll until an instrument's output begins where the notebook does."""
    root.evaluate("root => (root.closest('.jp-OutputArea') ?? root).scrollIntoView()")
