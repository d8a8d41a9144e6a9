import base64
import io

import ipywidgets as widgets
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from vsnn_lab import Autoencoder, Stratified, Triangular, Width, at_width, extract, width_sweep
from vsnn_lab.explore import AutoencoderExplorer, MaskExplorer
from vsnn_lab.explore.controls import ReadOuts, WidthSlider, log2_positions

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def model():
    return Autoencoder((1, 6, 5), Width(12), hidden=(9,))


@pytest.fixture
def images():
    return torch.rand(30, 1, 6, 5)


@pytest.fixture
def explorer(model, images, tmp_path):
    return AutoencoderExplorer(model, images, shown=4, folder=tmp_path / "submodels")


def pixels_of(figure) -> np.ndarray:
    """Decode the picture that a figure shows: grey values and opacity."""
    head, _, body = figure.data[0].source.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))


def test_a_move_shows_the_reconstructions_of_the_extracted_network(explorer, model, images):
    chosen = torch.randperm(30, generator=torch.Generator().manual_seed(0))[:4]
    originals = images[chosen]
    for width in (3, 12, 1):
        explorer.slider.value = width
        with torch.no_grad():
            rebuilt = extract(model, width)(originals)
        canvas = pixels_of(explorer.figure)
        for index in range(4):
            left = index * 7
            for top, expected in ((0, originals[index, 0]), (8, rebuilt[index, 0])):
                shown = canvas[top : top + 6, left : left + 5, 0]
                np.testing.assert_allclose(shown / 255, expected.numpy(), atol=0.5 / 255 + 1e-6)


def test_a_move_puts_marker_and_read_outs_to_the_width(explorer, model, images):
    for width in (2, 11):
        explorer.slider.value = width
        cut = extract(model, width)
        with torch.no_grad():
            error = 1000 * F.mse_loss(cut(images), images).item()
        marker = explorer.figure.data[-1]
        assert tuple(marker.x) == (width, width)
        np.testing.assert_allclose(marker.y, (0, error), rtol=1e-5)
        text = explorer.read_outs.value
        for number in (width, f"{30 / width:.1f} : 1", f"{error:.2f}"):
            assert f">{number}</div>" in text
        assert f">{sum(p.numel() for p in cut.parameters()):,}</div>" in text


def test_axes_stay_while_the_slider_moves(explorer):
    before = explorer.figure.layout.to_plotly_json()
    for width in range(1, 13):
        explorer.slider.value = width
    assert explorer.figure.layout.to_plotly_json() == before
    assert explorer.figure.layout.yaxis2.range[0] == 0


def test_a_move_runs_no_network(explorer, monkeypatch):
    monkeypatch.setattr(nn.Module, "__call__", lambda *_: pytest.fail("the network ran"))
    explorer.show(5)


def test_new_images_change_the_picture_but_not_the_width(explorer):
    explorer.slider.value = 5
    before = pixels_of(explorer.figure)
    explorer.new_button.click()
    assert explorer.width == 5
    assert not np.array_equal(pixels_of(explorer.figure), before)


def test_the_save_button_writes_a_file_that_loads_into_the_hand_written_network(explorer, model):
    explorer.slider.value = 7
    explorer.save_button.click()
    hand = nn.Sequential()
    hand.encoder = nn.Sequential(nn.Flatten(), nn.Linear(30, 9), nn.ReLU(), nn.Linear(9, 7))
    hand.decoder = nn.Sequential(
        nn.Linear(7, 9), nn.ReLU(), nn.Linear(9, 30), nn.Sigmoid(), nn.Unflatten(1, (1, 6, 5))
    )
    hand.load_state_dict(load_file(explorer.folder / "autoencoder-width-7.safetensors"))
    x = torch.rand(3, 1, 6, 5)
    with at_width(model, 7):
        torch.testing.assert_close(hand(x), model(x))
    assert "saved autoencoder-width-7.safetensors" in explorer.status.value


def test_a_folder_that_cannot_be_written_is_said_and_raised(model, images, tmp_path):
    (tmp_path / "file").write_text("in the way")
    explorer = AutoencoderExplorer(model, images, shown=2, folder=tmp_path / "file")
    with pytest.raises(OSError, match="file"):
        explorer.save()
    assert explorer.status.value.startswith("not saved: ")


def test_the_static_figure_shows_what_the_instrument_shows(explorer):
    explorer.slider.value = 4
    shown, static = explorer.figure.to_plotly_json(), explorer.static_figure().to_plotly_json()
    for trace in shown["data"]:
        del trace["uid"]  # the widget's own
    assert shown == static


def test_a_known_sweep_is_taken_and_the_model_stays_as_it_was(model, images):
    model.train()
    sweep = width_sweep(model, F.mse_loss, (images, images))
    state = torch.get_rng_state()
    explorer = AutoencoderExplorer(model, images, sweep=sweep)
    assert explorer.sweep is sweep
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("images", "options", "error", "message"),
    [
        (torch.rand(3, 1, 5, 6), {}, ValueError, r"shape \(n, 1, 6, 5\), got \(3, 1, 5, 6\)"),
        (torch.rand(6, 5), {}, ValueError, r"shape \(n, 1, 6, 5\), got \(6, 5\)"),
        (torch.rand(0, 1, 6, 5), {}, ValueError, r"got \(0, 1, 6, 5\)"),
        (torch.rand(3, 1, 6, 5) * 255, {}, ValueError, r"floats in \[0, 1\], got torch.float32"),
        (torch.ones(3, 1, 6, 5).long(), {}, ValueError, "floats in .* got torch.int64"),
        ([[0.5]], {}, TypeError, "images must be a tensor, got list"),
        (torch.rand(3, 1, 6, 5), {"shown": 0}, ValueError, "shown must be at least 1, got 0"),
        (torch.rand(3, 1, 6, 5), {"seed": -1}, ValueError, "seed must be at least 0, got -1"),
    ],
)
def test_images_that_do_not_fit_are_refused(model, images, options, error, message):
    with pytest.raises(error, match=message):
        AutoencoderExplorer(model, images, **({"shown": 1} | options))


def test_fewer_images_than_are_shown_at_a_time_are_all_shown(model, images):
    explorer = AutoencoderExplorer(model, images[:3], shown=10)
    canvas = pixels_of(explorer.figure)
    assert canvas[..., 1].sum() == 255 * 2 * 3 * 30


def test_a_sweep_that_lacks_a_width_is_refused(model, images):
    sweep = width_sweep(model, F.mse_loss, (images, images), widths=[1, 12])
    with pytest.raises(ValueError, match=r"sweep must hold every width 1\.\.12, got \[ 1 12\]"):
        AutoencoderExplorer(model, images, sweep=sweep)


class TestWidthSlider:
    def test_both_spacings_lead_to_the_same_widths(self):
        slider = WidthSlider(64, 9)
        assert slider.active is slider.linear
        slider.spacing.value = "log2"
        assert slider.children[1] is slider.log2
        assert slider.value == slider.log2.value == 9
        slider.log2.value = 32
        slider.spacing.value = "linear"
        assert slider.children[1] is slider.linear
        assert slider.value == slider.linear.value == 32

    def test_a_width_between_the_stops_of_the_log2_scale_brings_the_linear_one_back(self):
        slider = WidthSlider(64, 8)
        slider.spacing.value = "log2"
        slider.value = 63
        assert slider.active is slider.linear
        assert slider.linear.value == 63

    def test_switching_to_log2_takes_the_nearest_stop(self):
        slider = WidthSlider(64, 63)
        slider.spacing.value = "log2"
        assert slider.value == min(log2_positions(64), key=lambda stop: abs(stop - 63))

    def test_the_play_button_runs_through_the_stops_from_where_the_slider_is(self):
        slider = WidthSlider(64, 3)
        seen = []
        slider.observe(lambda change: seen.append(change.new), "value")
        for tick in (1, 2, 3):
            slider.play.value = tick
        assert seen == [2, 3, 4]
        slider.linear.value = 40
        slider.play.value = 4
        assert slider.value == 41
        slider.linear.value = 64
        slider.play.value += 1
        assert slider.value == 1

    def test_log2_positions_hold_every_power_and_both_ends(self):
        for steps in (1, 2, 7, 256, 1000):
            stops = log2_positions(steps)
            assert stops[0] == 1
            assert stops[-1] == steps
            assert {2**p for p in range(20) if 2**p <= steps} <= set(stops)
            assert stops == sorted(set(stops))


def test_read_outs_escape_what_they_show():
    read_outs = ReadOuts()
    read_outs.show({"a<b": ("<1>", "&")})
    assert "a&lt;b" in read_outs.value
    assert "&lt;1&gt;" in read_outs.value


def test_the_mask_instrument_draws_the_samplers_mask_and_its_shares():
    explorer = MaskExplorer({"triangle": Triangular(), "runs": Stratified(2)}, most=20)
    explorer.batch_size.value, explorer.units.value = 5, 5
    triangle = np.tri(5)
    np.testing.assert_array_equal(explorer.figure.data[0].z, triangle)
    np.testing.assert_array_equal(explorer.figure.data[1].y, [1, 0.8, 0.6, 0.4, 0.2])
    assert explorer.status.value == (
        "5 samples in 5 runs of equal width; 60% of the units kept on average"
    )
    layout = explorer.figure.layout.to_plotly_json()
    explorer.sampler.value = "runs"
    assert len(np.unique(explorer.figure.data[0].z.sum(1))) <= 2
    assert explorer.figure.layout.to_plotly_json() == layout
    explorer.batch_size.value, explorer.units.value = 1, 20
    assert explorer.figure.data[0].z.shape == (1, 20)


def test_a_mask_instrument_without_samplers_is_refused():
    with pytest.raises(ValueError, match="at least one sampler, got none"):
        MaskExplorer({})


def test_instruments_are_widgets(explorer):
    assert isinstance(explorer, widgets.Widget)
