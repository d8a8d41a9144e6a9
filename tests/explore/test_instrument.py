"""Instruments as data: every width of what the live widget shows."""

import json

import plotly.graph_objects as go
import pytest
import torch

from vsnn_lab import Autoencoder, Width, extract
from vsnn_lab.explore import AutoencoderExplorer
from vsnn_lab.explore.instrument import MIME, instrument_data
from vsnn_lab.figures.images import mosaic, png, to_bytes

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

WIDGET = "application/vnd.jupyter.widget-view+json"


def test_the_output_holds_the_live_widget_and_its_text_as_before(explorer):
    bundle = explorer._repr_mimebundle_()
    assert set(bundle) == {"text/plain", WIDGET, MIME}
    assert bundle[WIDGET]["model_id"] == explorer.model_id


def test_every_width_has_the_pictures_of_the_extracted_network(explorer):
    data = instrument_data(explorer)
    chosen = torch.randperm(30, generator=torch.Generator().manual_seed(0))[:4]
    originals = explorer.images[chosen]
    assert data["widths"] == list(range(1, 13))
    assert data["figure"]["data"][data["picture"]]["type"] == "image"
    for width, picture in zip(data["widths"], data["pictures"], strict=True):
        with torch.no_grad():
            rebuilt = extract(explorer.model, width)(originals)
        assert picture == png(mosaic(to_bytes(originals), to_bytes(rebuilt), 5))


def test_every_width_has_the_marker_and_the_read_outs_of_the_live_widget(explorer):
    data = instrument_data(explorer)
    marker = str(len(data["figure"]["data"]) - 1)
    for width, changes, said in zip(data["widths"], data["changes"], data["readouts"], strict=True):
        explorer.slider.value = width
        assert set(changes) == {marker}
        live = explorer.figure.data[-1]
        assert changes[marker] == {"x": list(live.x), "y": list(live.y)}
        assert {name: tuple(rest) for name, *rest in said} == explorer.read_out(width)


def test_the_figure_and_the_slider_stand_where_they_were_left(explorer):
    data = instrument_data(explorer)
    assert (data["start"], data["label"], explorer.width) == (5, "code units", 5)
    assert data["figure"] == {
        name: json.loads(explorer.static_figure().to_json())[name] for name in ("data", "layout")
    }


def test_it_is_plain_json(explorer):
    data = instrument_data(explorer)
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_widths_are_left_out_rather_than_too_much_said(explorer):
    named = ("pictures", "changes", "layouts", "readouts")
    most = sum(len(json.dumps(instrument_data(explorer)[name])) for name in named) // 2
    fewer = instrument_data(explorer, most=most)
    assert {1, 5, 12} < set(fewer["widths"]) < set(range(1, 13))
    assert {len(fewer[name]) for name in named} == {len(fewer["widths"])}
    assert sum(len(json.dumps(fewer[name])) for name in named) < 1.1 * most
    assert instrument_data(explorer, most=1)["widths"] == [1, 5, 12]


def test_a_layout_that_moves_is_kept_and_several_pictures_are_changes(explorer):
    class Titled:
        slider = explorer.slider

        def static_figure(self):
            image = go.Image(source="data:image/png;base64,5")
            return go.Figure([image, go.Image(image)], {"title": {"text": "5"}})

        def move_figure(self, figure, width):
            figure.layout.title.text = f"{width}"
            figure.data[0].source = f"data:image/png;base64,{width}"
            figure.data[1].source = f"data:image/png;base64,{width // 2}"

        def read_out(self, width):
            return {}

    data = instrument_data(Titled())
    assert [each["title"]["text"] for each in data["layouts"]] == [f"{w}" for w in range(1, 13)]
    assert data["picture"] == 0
    assert data["pictures"][4] == "data:image/png;base64,5"
    assert data["changes"][4] == {"1": {"source": "data:image/png;base64,2"}}


def test_an_instrument_of_256_widths_fits_a_page():
    model = Autoencoder((1, 28, 28), Width(256), hidden=(9,))
    explorer = AutoencoderExplorer(model, torch.rand(10, 1, 28, 28))
    assert len(json.dumps(instrument_data(explorer))) < 3e6
