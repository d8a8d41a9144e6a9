"""A language model's instrument in a page: shades and words follow the width, streamed or saved."""

import math
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

import vsnn_lab.explore
from tests.browser import lab
from tests.browser.instrument import Instrument
from tests.browser.look import check_accessible, check_fits, check_focus_is_seen
from tests.explore.language import PASSAGE, byte_tokenizer, language_model
from tests.explore.shown import numbers
from vsnn_lab.explore import TextExplorer
from vsnn_lab.explore.portable import portable_html
from vsnn_lab.headless.report import build_report

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

FRONT = Path(vsnn_lab.explore.__file__).parent / "front"
PARTS = ("dom.js", "tokens.js", "continuation.js")
PROMPT = "<i>a café</i>"
STEPS = 6
# An instrument that a kernel may answer: what it is asked stands in `asked`.
STUB = """
window.start = (spec, values, live) => {
    const hearing = [];
    window.asked = [];
    window.said = [];
    window.stub = {
        live,
        positions: { width: 0, prompt: spec.prompt },
        control: () => ({ values }),
        nearest: (name, value) => values.indexOf(value),
        say: text => window.said.push(text),
        onLive: callback => (stub.live ? callback() : hearing.push(callback)),
        ask: (kind, content) => new Promise((resolve, reject) => {
            window.asked.push({ kind, ...content, resolve, reject });
        }),
        begin: () => { stub.live = true; hearing.forEach(callback => callback()); },
        move: positions => { Object.assign(stub.positions, positions); part.show(stub.positions); },
    };
    window.part = continuation(spec, stub);
    document.body.replaceChildren(part.element);
    part.show(stub.positions);
};
/* Answer the last question with tokens for both widths. */
window.answer = async (...tokens) => {
    const { resolve, reject, kind, ...content } = window.asked.at(-1);
    resolve({ ...content, tokens });
    await new Promise(done => setTimeout(done));
};
window.refuse = async message => {
    window.asked.at(-1).reject(new Error(message));
    await new Promise(done => setTimeout(done));
};
const contents = selector => [...document.querySelectorAll(selector)].map(each => each.textContent);
window.texts = () => contents('.vsnn-text');
window.marked = () => contents('.vsnn-text .vsnn-differs');
window.question = () => {
    const { prompt, widths, have } = asked.at(-1) ?? {};
    return { prompt, widths, have, count: asked.length };
};
"""
FIRST = [[[1, "a"], [2, "b"], [3, "c"]], [[1, "a"], [5, "x"], [3, "c"]]]
SPEC = {"by": "width", "prompt": "P:", "length": 3, "by_width": {"tokens": FIRST}}


@pytest.fixture(scope="module")
def page(chromium):
    wrong = []
    with lab.browser_page(chromium) as page:
        page.on("pageerror", lambda error: wrong.append(f"{error}"))
        yield page
    assert wrong == []


@pytest.fixture
def stub(page):
    """A page with a continuation alone, of widths 2 and 7; a kernel answers."""
    sources = [
        re.sub(r"^import .*\n|^export ", "", (FRONT / name).read_text(), flags=re.M)
        for name in PARTS
    ]
    page.goto("about:blank")
    page.add_script_tag(content="\n".join([*sources, STUB]))
    page.evaluate("spec => start(spec, [2, 7], true)", SPEC)
    return page


def asked(page) -> dict:
    """Return the last question, and how many there were."""
    return page.evaluate("question()")


def test_the_first_prompt_s_words_are_there_and_nobody_is_asked(stub):
    assert stub.evaluate("texts()") == ["P:abc", "P:axc"]
    assert stub.evaluate("marked()") == ["b"]
    assert asked(stub)["count"] == 0
    assert stub.locator("[data-readout='tokens in common']").inner_text() == "1"
    assert stub.locator("[data-readout='tokens in place']").inner_text() == "2 of 3"
    stub.evaluate("stub.move({ width: 1 })")
    assert stub.evaluate("texts()") == ["P:axc"] * 2
    assert stub.evaluate("marked()") == []


def test_words_come_as_they_are_written_one_question_at_a_time(stub):
    stub.evaluate("stub.move({ prompt: 'Q:' })")
    assert stub.evaluate("texts()") == ["Q:", "Q:"]
    assert asked(stub) == {"prompt": "Q:", "widths": [2, 7], "have": [0, 0], "count": 1}
    # The second token ends within a character, and the third ends it.
    stub.evaluate("answer([[4, 'd'], [6, '']], [[4, 'd']])")
    assert stub.evaluate("texts()") == ["Q:d", "Q:d"]
    assert asked(stub) == {"prompt": "Q:", "widths": [2, 7], "have": [2, 1], "count": 2}
    stub.evaluate("answer([[8, 'é']], [[6, ''], [9, 'è']])")
    assert stub.evaluate("texts()") == ["Q:dé", "Q:dè"]
    assert stub.evaluate("marked()") == ["é"]
    assert asked(stub)["count"] == 2
    assert stub.get_by_role("button", name="Stop").is_disabled()
    assert stub.locator(".vsnn-text[aria-busy=true]").count() == 0


def test_another_width_or_prompt_replaces_what_is_under_way(stub):
    stub.evaluate("stub.move({ prompt: 'Q:' })")
    stub.evaluate("answer([[4, 'd']], [[4, 'd']])")
    stub.evaluate("stub.move({ width: 1 })")
    assert stub.evaluate("texts()") == ["Q:d", "Q:d"]
    # What was asked before comes, and the next question is what is to be seen now.
    stub.evaluate("answer([[5, 'e']], [[5, 'f']])")
    assert stub.evaluate("texts()") == ["Q:df", "Q:df"]
    assert asked(stub) == {"prompt": "Q:", "widths": [7, 7], "have": [2, 2], "count": 3}
    stub.evaluate("stub.move({ prompt: 'R:', width: 0 })")
    assert stub.evaluate("texts()") == ["R:", "R:"]
    stub.evaluate("answer([[6, 'g']], [[6, 'g']])")
    assert stub.evaluate("texts()") == ["R:", "R:"]
    assert asked(stub) == {"prompt": "R:", "widths": [2, 7], "have": [0, 0], "count": 4}
    # Back at the first prompt all is there, and its late answer adds nothing.
    stub.evaluate("stub.move({ prompt: 'P:' })")
    stub.evaluate("answer([[6, 'g']], [[6, 'g']])")
    assert stub.evaluate("texts()") == ["P:abc", "P:axc"]
    assert asked(stub)["count"] == 4


def test_a_late_answer_does_not_stand_after_a_gap(stub):
    stub.evaluate("stub.move({ prompt: 'Q:' })")
    stub.evaluate("answer([[4, 'd']], [[4, 'd']])")
    stub.evaluate("stub.move({ prompt: 'R:' }); stub.move({ prompt: 'Q:' })")
    stub.evaluate("answer([[5, 'e']], [[5, 'e']])")
    assert stub.evaluate("texts()") == ["Q:", "Q:"]
    assert asked(stub)["have"] == [0, 0]


def test_stop_leaves_what_is_there_and_go_on_goes_on(stub):
    stub.evaluate("stub.move({ prompt: 'Q:' })")
    stub.get_by_role("button", name="Stop").click()
    stub.evaluate("answer([[4, 'd']], [[4, 'd']])")
    assert stub.evaluate("texts()") == ["Q:d", "Q:d"]
    assert asked(stub)["count"] == 1
    stub.get_by_role("button", name="Go on").click()
    assert asked(stub) == {"prompt": "Q:", "widths": [2, 7], "have": [1, 1], "count": 2}
    assert stub.get_by_role("button", name="Stop").is_enabled()


def test_what_goes_wrong_is_said_and_asked_again_only_by_hand(stub):
    stub.evaluate("stub.move({ prompt: 'Q:' })")
    stub.evaluate("refuse('no memory')")
    assert stub.evaluate("said") == ["no memory"]
    assert asked(stub)["count"] == 1
    stub.get_by_role("button", name="Go on").click()
    assert asked(stub)["count"] == 2


def test_an_empty_prompt_asks_for_nothing(stub):
    stub.evaluate("stub.move({ prompt: '' })")
    assert stub.evaluate("texts()") == ["", ""]
    assert asked(stub)["count"] == 0
    assert stub.get_by_role("button", name="Stop").is_disabled()


def test_without_a_kernel_the_first_prompt_stays_whatever_was_typed_once(stub):
    stub.evaluate("spec => start(spec, [2, 7], false)", SPEC)
    stub.evaluate("stub.move({ prompt: 'Q:' })")
    assert stub.evaluate("texts()") == ["P:abc", "P:axc"]
    assert stub.get_by_text("A Python kernel continues other prompts.").is_visible()
    assert stub.get_by_role("button").count() == 0
    stub.evaluate("stub.begin()")
    assert stub.evaluate("texts()") == ["Q:", "Q:"]
    assert asked(stub)["count"] == 1


@pytest.fixture(scope="module")
def explorer():
    return TextExplorer(language_model(), byte_tokenizer(), PASSAGE, prompt=PROMPT, length=30)


@pytest.fixture(scope="module")
def report(explorer, tmp_path_factory):
    """A report with the instrument in it."""
    folder = tmp_path_factory.mktemp("text")
    shown = new_output("display_data", {"text/html": portable_html(explorer)})
    nbformat.write(
        new_notebook(cells=[new_code_cell("explorer", outputs=[shown])]), folder / "one.ipynb"
    )
    build_report([folder / "one.ipynb"], folder / "site")
    return (folder / "site" / "one.html").as_uri()


def opened(page, address: str) -> Instrument:
    page.goto(address)
    return Instrument(page, "text")


def test_in_a_report_shades_words_and_read_outs_are_those_of_the_width(page, report, explorer):
    one = opened(page, report)
    talk, _, _, tiles = explorer.description["parts"]
    tokens, bits = talk["by_width"]["tokens"], numbers(explorer, "surprise")
    one.press("Home")
    for width in range(1, STEPS + 1):
        now = one.read()
        assert now.width == width
        words = one.root.locator(".vsnn-continuation .vsnn-text").evaluate_all(
            "all => all.map(e => e.textContent)"
        )
        for shown, wanted in zip(words, (tokens[width - 1], tokens[-1]), strict=True):
            assert shown == PROMPT + "".join(text for _, text in wanted)
        marked = one.root.locator(".vsnn-text .vsnn-differs").all_text_contents()
        pairs = zip(tokens[width - 1], tokens[-1], strict=True)
        assert marked == [ours[1] for ours, full in pairs if ours[0] != full[0] and ours[1]]
        shares = one.root.locator(".vsnn-shaded > span").evaluate_all(
            "all => all.map(e => Number(e.style.getPropertyValue('--share')))"
        )
        expected = np.nan_to_num(bits[width - 1] / math.log2(262)).clip(0, 1)
        np.testing.assert_allclose(shares, expected, atol=1e-3)
        for item in tiles["items"]:
            values = item["values"]
            assert now.numbers[item["name"]] == (
                values if isinstance(values, str) else values[width - 1]
            )
        one.press("ArrowRight")
    assert one.root.locator(".vsnn-shaded").evaluate("e => e.textContent") == PASSAGE
    assert one.root.locator("i, .vsnn-text b").count() == 0
    assert one.root.get_by_label("prompt", exact=True).is_hidden()


def test_a_token_s_bits_are_told_by_slider_and_by_pointer(page, report, explorer):
    one = opened(page, report)
    bits, texts = numbers(explorer, "surprise"), explorer.description["parts"][1]["texts"]
    one.press("Home")
    one.press("Home", label="token")
    assert [one.read().numbers[name] for name in ("token", "bits")] == [
        f"“{texts[0]}”",
        "\N{EN DASH}",
    ]
    one.press("ArrowRight", "ArrowRight", label="token")
    now = one.read()
    assert now.numbers["token"] == f"“{texts[2]}”"
    assert now.numbers["bits"] == f"{bits[0, 2]:.1f}"
    assert now.numbers["bits at full width"] == f"{bits[-1, 2]:.1f}"
    assert now.sliders["token"] == f"“{texts[2]}”, {bits[0, 2]:.1f} bits"
    one.press("End")
    assert one.read().numbers["bits"] == f"{bits[-1, 2]:.1f}"
    one.root.locator(".vsnn-shaded > span").nth(4).hover()
    assert one.read().numbers["token"] == f"“{texts[4]}”"
    assert one.root.locator(".vsnn-picked").all_text_contents() == [texts[4]]
    one.press("End", label="token")
    last = one.root.locator(".vsnn-shaded > span").last.bounding_box()
    frame = one.root.locator(".vsnn-shaded").bounding_box()
    assert last["y"] + last["height"] <= frame["y"] + frame["height"] + 1


def test_every_move_is_seen_by_the_next_frame(page, report):
    one = opened(page, report)
    # It says so itself if a press changed no text, no shade or no number.
    one.time_moves(["ArrowLeft"] * 4 + ["ArrowRight"] * 4)


@pytest.mark.parametrize("width", [1280, 840, 640, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_can_be_seen_read_and_reached(page, report, width, theme):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=theme)
    one = opened(page, report)
    one.press("Home")
    assert one.root.get_attribute("data-theme") == theme
    check_fits(one)
    check_accessible(one)
    check_focus_is_seen(one)
