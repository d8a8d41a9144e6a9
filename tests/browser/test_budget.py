"""The classifier's budgets, solved in the browser by the rules of `choose_width`."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.browser import lab
from vsnn_lab import MLP, Width, choose_width
from vsnn_lab.explore import ClassifierExplorer
from vsnn_lab.explore.portable import portable_html
from vsnn_lab.measure.ablation import WidthSweep

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

STEPS = 16
UNITS = {"parameters": "parameters", "macs": "MACs", "latency_ms": "ms"}


@pytest.fixture(scope="module")
def explorer():
    """An instrument whose accuracy is known at every width, and not always better at a wider."""
    hidden, images = Width(STEPS), torch.rand(60, 1, 6, 5)
    model = MLP(30, (hidden, hidden), 3)
    values = np.float64(np.float32([0.1, 0.4, 0.3, 0.5, 0.884, *np.linspace(0.6, 0.93, 11)]))
    sweep = WidthSweep("accuracy", np.arange(1, STEPS + 1), values, STEPS)
    return ClassifierExplorer(
        model, images, torch.arange(60) % 3, inputs=images.flatten(1), sweep=sweep
    )


@pytest.fixture(scope="module")
def page(chromium, explorer):
    with lab.browser_page(chromium) as page:
        page.set_content(f"<!doctype html><meta charset=utf-8><body>{portable_html(explorer)}")
        page.wait_for_selector("[data-vsnn-instrument]")
        yield page


def ask(page, kind: str, number: object) -> tuple[int, str]:
    """Ask for a budget by Enter; return the width shown and what the status line says."""
    page.select_option(".vsnn-budget select", kind)
    page.fill(".vsnn-budget input", str(number))
    page.press(".vsnn-budget input", "Enter")
    return shown(page), page.inner_text(".vsnn-status")


def shown(page) -> int:
    return int(page.inner_text("[data-readout=width]"))


def chosen(explorer, kind: str, number: float) -> int | None:
    """Return the width that `choose_width` chooses, or None where it finds none."""
    sweep = replace(explorer.sweep, values=explorer.sweep.values.round(6))
    if kind == "latency_ms":
        timed = np.array([*explorer.latency])
        times = np.array([latency.median_ms for latency in explorer.latency.values()])
        sweep = WidthSweep("accuracy", timed, sweep.values[timed - 1], STEPS, latency_ms=times)
    try:
        if kind == "accuracy":
            return choose_width(sweep, min_metric=round(number / 100, 6))
        return choose_width(sweep, **{f"max_{kind}": number})
    except ValueError:
        return None


def set_slider(page, width: int) -> None:
    page.fill(".vsnn-width input[type=number]", str(width))
    page.press(".vsnn-width input[type=number]", "Enter")


def test_the_browser_chooses_as_choose_width_does(page, explorer):
    times = sorted(latency.median_ms for latency in explorer.latency.values())
    budgets = {
        "parameters": (20, 39, 120, 400.5, 700, 1e9),
        "macs": (3, 34, 35.5, 1e6),
        "latency_ms": (times[0] / 2, times[0], times[len(times) // 2], times[-1] + 1),
        "accuracy": (0.001, 10, 30, 40, 50.01, 60, 88.4, 93, 93.01, 100),
    }
    for kind, numbers in budgets.items():
        for number in numbers:
            set_slider(page, 7)
            found, says = ask(page, kind, number)
            expected = chosen(explorer, kind, number)
            assert found == (expected or 7), (kind, number)
            if expected is None:
                assert says.startswith("no width")
                assert "comes nearest" in says
            else:
                words = "the first to reach" if kind == "accuracy" else "the last with"
                assert says.startswith(f"width {expected} of {STEPS}: {words}")


@pytest.mark.parametrize(
    ("kind", "number", "says"),
    [
        ("parameters", 60000, "width 16 of 16: the last with 819 parameters, within 60,000"),
        ("macs", 400.5, "width 9 of 16: the last with 378 MACs, within 400.5"),
        ("accuracy", 60, "width 5 of 16: the first to reach 60 %, with 88.40%"),
        (
            "parameters",
            20,
            "no width meets parameters, at most 20: width 1 comes nearest, with 39 parameters, "
            "19 over; raise the budget",
        ),
        (
            "accuracy",
            99,
            "no width reaches 99 %: width 16 comes nearest, with 93.00%, 6 short; ease the goal "
            "or train longer",
        ),
        ("accuracy", 101, "accuracy must lie in 0..100 %, got 101"),
        ("accuracy", 0, "accuracy must be positive, got 0"),
        ("parameters", -4, "parameters must be positive, got -4"),
        ("macs", 0, "MACs must be positive, got 0"),
        ("latency_ms", "", "latency must be a number, got nothing"),
    ],
)
def test_the_line_says_what_the_width_has_or_what_is_wrong(page, kind, number, says):
    set_slider(page, 7)
    found, told = ask(page, kind, number)
    assert told == says
    assert found == (int(says.split()[1]) if says.startswith("width") else 7)


def test_another_kind_starts_with_what_the_width_shown_has_and_moves_nothing(page, explorer):
    set_slider(page, 7)
    timed = min(explorer.latency, key=lambda width: abs(width - 7))
    own = {
        "macs": 49 + 33 * 7,
        "accuracy": 63.3,
        "latency_ms": np.ceil(1000 * explorer.latency[timed].median_ms) / 1000,
        "parameters": 49 + 35 * 7 + 3,
    }
    for kind, number in own.items():
        page.select_option(".vsnn-budget select", kind)
        assert float(page.input_value(".vsnn-budget input")) == pytest.approx(number)
        assert shown(page) == 7
    page.click(".vsnn-budget button")
    assert shown(page) == 7


def test_a_move_takes_back_what_was_said_of_another_width(page):
    width, says = ask(page, "parameters", 120)
    assert says
    set_slider(page, 16)
    assert page.inner_text(".vsnn-status") == ""
    page.click(".vsnn-budget button")
    assert shown(page) == width


def test_the_rule_says_which_width_a_budget_takes(page, explorer):
    rules = {}
    for kind in ("parameters", "macs", "latency_ms", "accuracy"):
        page.select_option(".vsnn-budget select", kind)
        rules[kind] = page.inner_text(".vsnn-budget .vsnn-note")
    assert rules["parameters"] == rules["macs"] == "takes the largest width within it"
    timed = len(explorer.latency)
    assert rules["latency_ms"] == f"takes the largest within it of the {timed} widths timed"
    assert rules["accuracy"] == "takes the smallest width that reaches it"


def test_the_matrix_is_read_by_pointer_and_by_arrow_keys(page, explorer):
    set_slider(page, 7)
    counts = np.frombuffer(explorer.arrays["confusion"]["data"], np.uint8).reshape(STEPS, 3, 3)[6]
    canvas, said = page.locator(".vsnn-matrix canvas"), page.locator(".vsnn-matrix .vsnn-note")
    canvas.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        canvas.press(key)
    row = counts[1].tolist()
    share = 100 * row[1] / sum(row)
    assert said.inner_text() == f"1 taken for 1: {share:.1f} % ({row[1]} of {sum(row)})"
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.1)
    assert said.inner_text().startswith("0 taken for 2: ")
    page.mouse.move(0, 0)
    assert said.inner_text() == "% of each true class (row) by prediction"
