"""What every instrument does: it says what it shows, hears the browser, and moves without it."""

import base64
import json
import re

import numpy as np
import pytest
import torch

from tests.explore.language import PASSAGE, byte_tokenizer, language_model
from tests.explore.shown import control, numbers, tiles
from vsnn_lab import Autoencoder, Stratified, Triangular, Width, at_width
from vsnn_lab.explore import (
    AutoencoderExplorer,
    CodeExplorer,
    MaskExplorer,
    RunsExplorer,
    TextExplorer,
    WidthComparison,
    front,
)
from vsnn_lab.explore.portable import MIME, portable_html, portable_state

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def model_and_images(units: int = 12):
    return Autoencoder((1, 6, 5), Width(units), hidden=(9,)), torch.rand(6, 1, 6, 5)


EVERY = {
    "autoencoder": lambda: AutoencoderExplorer(*model_and_images()),
    "comparison": lambda: WidthComparison(*model_and_images()),
    "codes": lambda: CodeExplorer(*model_and_images()),
    "masks": lambda: MaskExplorer({"triangle": Triangular(), "runs": Stratified(2)}, most=5),
    "runs": lambda: RunsExplorer({"a": {1: 0.5, 4: 0.2}, "b": {1: 0.4, 2: -0.1}}),
    "text": lambda: TextExplorer(language_model(), byte_tokenizer(), PASSAGE, length=3),
}
every = pytest.mark.parametrize("kind", EVERY)


@every
def test_a_description_is_plain_json_whose_arrays_fit_its_controls(kind):
    explorer = EVERY[kind]()
    description = explorer.description
    assert description["kind"] == kind
    assert json.loads(json.dumps(description, allow_nan=False)) == description
    sizes = {}
    for each in description["controls"]:
        axis = each.get("axis", each["name"])
        sizes[axis] = len(each["values"]) if each["type"] == "width" else each.get("count")
    for name, held in explorer.arrays.items():
        assert held["shape"][: len(held["by"])] == [sizes[axis] for axis in held["by"]], name
        assert numbers(explorer, name).nbytes == len(held["data"])


@every
def test_a_portable_instrument_holds_all_that_the_live_one_shows(kind):
    explorer = EVERY[kind]()
    state = json.loads(json.dumps(portable_state(explorer)))
    assert state["description"] == explorer.description
    assert state["arrays"].keys() == explorer.arrays.keys()
    for name, held in state["arrays"].items():
        assert base64.b64decode(held["data"]) == explorer.arrays[name]["data"]
    for each in explorer.description["controls"]:
        assert state[each["name"]] == getattr(explorer, each["name"])


@every
def test_a_page_holds_the_instrument_once_and_nothing_ends_its_script(kind):
    page = portable_html(EVERY[kind]())
    (found,) = re.findall(rf'<script type="{re.escape(MIME)}">(.*?)</script>', page, re.DOTALL)
    assert json.loads(found)["description"]["kind"] == kind
    assert page.count("</script>") == 2


def test_names_from_outside_are_no_markup():
    evil = "</script><img src=x onerror=bad()>"
    page = portable_html(RunsExplorer({evil: {1: 0.5}}))
    assert evil not in page
    assert "<img" not in page
    (found,) = re.findall(rf'<script type="{re.escape(MIME)}">(.*?)</script>', page, re.DOTALL)
    assert json.loads(found)["description"]["parts"][0]["series"][0]["name"] == evil


@pytest.mark.parametrize("kind", ["autoencoder", "comparison", "codes"])
def test_widths_are_left_out_rather_than_too_much_said(kind):
    explorer = EVERY[kind]()
    whole = portable_state(explorer)
    slider = next(each for each in explorer.description["controls"] if each["type"] == "width")
    setattr(explorer, slider["name"], 5)
    most = len(json.dumps(whole)) // 2
    fewer = portable_state(explorer, most)
    (stops,) = {
        tuple(each["values"])
        for each in fewer["description"]["controls"]
        if each["type"] == "width"
    }
    assert {1, 5, 12} <= set(stops) < set(range(1, 13))
    places = [stop - 1 for stop in stops]
    for name, held in fewer["arrays"].items():
        values = numbers(explorer, name)
        for axis, _ in enumerate(held["by"]):
            values = values.take(places, axis)
        assert base64.b64decode(held["data"]) == values.tobytes()
    part = next(each for each in fewer["description"]["parts"] if "items" in each)
    for item in part["items"]:
        for texts in ("values", "notes"):
            whole_texts = tiles(explorer)[item["name"]].get(texts)
            if isinstance(whole_texts, list):
                assert item[texts] == [whole_texts[place] for place in places]


def test_an_instrument_of_256_widths_fits_a_page():
    model = Autoencoder((1, 28, 28), Width(256), hidden=(9,))
    images = torch.rand(10, 1, 28, 28)
    for kind in (AutoencoderExplorer, WidthComparison, CodeExplorer):
        assert len(portable_html(kind(model, images))) < 3e6


@every
def test_an_instrument_that_is_closed_holds_nothing(kind):
    explorer = EVERY[kind]()
    explorer.close()
    assert explorer.description == explorer.arrays == {}


def test_the_browser_is_answered_and_its_buttons_are_heard(explorer, monkeypatch):
    said, before = [], numbers(explorer, "originals")
    monkeypatch.setattr(explorer, "send", said.append)
    explorer._handle_custom_msg({"type": "hello", "id": 7}, [])
    explorer._handle_custom_msg({"type": "action", "name": "new_images", "id": 8}, [])
    assert [answer["id"] for answer in said] == [7, 8]
    assert not np.array_equal(numbers(explorer, "originals"), before)


def test_the_output_holds_the_live_widget_and_the_page_that_stands_in_for_it(explorer, monkeypatch):
    shown = []
    monkeypatch.setattr("vsnn_lab.explore.instrument.display", lambda data, **_: shown.append(data))
    explorer._ipython_display_()
    live, revival = shown
    view = live["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == explorer.model_id
    assert MIME in live["text/html"]
    assert explorer.model_id in revival["text/html"]


def test_no_two_files_of_the_front_end_share_a_name():
    names = re.findall(
        r"^(?:async )?(?:const|let|function|class) (\w+)", front.module(), re.MULTILINE
    )
    assert len(names) == len(set(names))
    assert "import " not in re.sub(r"^\s*(//|\*|/\*).*$", "", front.module(), flags=re.MULTILINE)


def test_a_position_that_there_is_not_is_refused():
    explorer = EVERY["masks"]()
    assert control(explorer, "sampler")["options"] == ["triangle", "runs"]
    with pytest.raises(ValueError, match=r"sampler must lie in 0\.\.1, got 2"):
        explorer.sampler = 2
    with pytest.raises(ValueError, match=r"batch must lie in 1\.\.5, got 6"):
        explorer.batch = 6


def heard(explorer, monkeypatch, content: dict, buffers=()) -> list[dict]:
    """Return what an instrument answers to a message of the front end."""
    answers = []
    monkeypatch.setattr(explorer, "send", lambda content, buffers=None: answers.append(content))
    explorer._hear(explorer, {"id": 7, **content}, list(buffers))
    return answers


def test_a_drawing_is_run_at_every_width_and_answered(monkeypatch):
    explorer = EVERY["autoencoder"]()
    drawing = torch.randint(0, 256, (30,), dtype=torch.uint8)
    bytes_drawn = drawing.numpy().tobytes()
    assert heard(explorer, monkeypatch, {"type": "draw"}, [bytes_drawn]) == [{"id": 7}]
    found = np.frombuffer(explorer.drawn["data"], np.uint8).reshape(explorer.drawn["shape"])
    assert found.shape == (12, 6, 5, 1)
    for width in range(1, 13):
        with at_width(explorer.model, width), torch.no_grad():
            one = explorer.model(drawing.view(1, 1, 6, 5) / 255)
        expected = (one.clamp(0, 1) * 255).round().view(6, 5)
        assert np.abs(found[width - 1, ..., 0] - expected.numpy()).max() <= 1


def test_what_fails_in_the_kernel_is_answered_and_raised(monkeypatch):
    explorer = EVERY["autoencoder"]()
    answers = []
    monkeypatch.setattr(explorer, "send", lambda content, buffers=None: answers.append(content))
    with pytest.raises(ValueError, match="30 bytes"):
        explorer._hear(explorer, {"id": 3, "type": "draw"}, [b"\0" * 5])
    assert answers == [{"id": 3, "error": answers[0]["error"]}]
    assert "30 bytes" in answers[0]["error"]


def test_an_error_of_what_the_browser_moved_stands_in_the_status_line():
    explorer = EVERY["comparison"]()
    with pytest.raises(ValueError, match="image must lie in"):
        explorer.set_state({"image": 99})
    assert explorer.status.startswith("image must lie in 0..5, got 99")


def test_a_button_acts_where_the_page_stands_whatever_the_kernel_has_heard(monkeypatch):
    explorer, acted = EVERY["autoencoder"](), []
    monkeypatch.setitem(explorer._buttons, "save", lambda: acted.append(explorer.width))
    message = {"type": "action", "name": "save", "at": {"width": 5}}
    assert heard(explorer, monkeypatch, message) == [{"id": 7}]
    assert acted == [5]
