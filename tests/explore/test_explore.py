"""The autoencoder's and the samplers' instruments: what they send is what the networks give."""

import gc
import weakref

import ipywidgets as widgets
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from tests.explore.shown import control, numbers, tiles
from vsnn_lab import Autoencoder, Stratified, Triangular, Width, at_width, extract, width_sweep
from vsnn_lab.explore import AutoencoderExplorer, MaskExplorer

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


def test_every_width_has_the_reconstructions_of_the_extracted_network(explorer, model, images):
    chosen = torch.randperm(30, generator=torch.Generator().manual_seed(0))[:4]
    originals = numbers(explorer, "originals")[..., 0]
    np.testing.assert_allclose(originals / 255, images[chosen, 0], atol=0.5 / 255 + 1e-6)
    for width in range(1, 13):
        with torch.no_grad():
            rebuilt = extract(model, width)(images[chosen])[:, 0]
        shown = numbers(explorer, "rebuilt")[width - 1, ..., 0]
        np.testing.assert_allclose(shown / 255, rebuilt, atol=0.5 / 255 + 1e-6)


def test_every_width_has_its_error_and_its_size(explorer, model, images):
    said = tiles(explorer)
    for width in range(1, 13):
        cut = extract(model, width)
        with torch.no_grad():
            error = 1000 * F.mse_loss(cut(images), images).item()
        assert numbers(explorer, "curve")[width - 1] == pytest.approx(error, rel=1e-5)
        texts = {name: tile["values"][width - 1] for name, tile in said.items()}
        assert texts["code units kept"] == f"{width}"
        assert texts["compression"] == f"{30 / width:.1f} : 1"
        assert texts["test MSE × 1000"] == f"{error:.2f}"
        assert texts["parameters"] == f"{sum(p.numel() for p in cut.parameters()):,}"


def test_a_move_runs_no_network_and_is_heard(explorer, monkeypatch):
    monkeypatch.setattr(nn.Module, "__call__", lambda *_: pytest.fail("the network ran"))
    heard = []
    explorer.observe(lambda change: heard.append(change.new), "width")
    for width in (3, 7, 12):
        explorer.width = width
    assert heard == [3, 7, 12]


@pytest.mark.parametrize("width", [0, 13, -1])
def test_a_width_that_there_is_not_is_refused_and_the_last_one_stays(explorer, width):
    explorer.width = 5
    with pytest.raises(ValueError, match=rf"width must lie in 1\.\.12, got {width}"):
        explorer.width = width
    assert explorer.width == 5


def test_new_images_change_the_pictures_but_not_the_width(explorer):
    explorer.width = 5
    before = numbers(explorer, "originals"), numbers(explorer, "rebuilt")
    explorer.new_images()
    assert explorer.width == 5
    for old, name in zip(before, ("originals", "rebuilt"), strict=True):
        assert not np.array_equal(numbers(explorer, name), old)


def test_a_saved_width_loads_into_the_hand_written_network(explorer, model):
    explorer.width = 7
    path = explorer.save()
    hand = nn.Sequential()
    hand.encoder = nn.Sequential(nn.Flatten(), nn.Linear(30, 9), nn.ReLU(), nn.Linear(9, 7))
    hand.decoder = nn.Sequential(
        nn.Linear(7, 9), nn.ReLU(), nn.Linear(9, 30), nn.Sigmoid(), nn.Unflatten(1, (1, 6, 5))
    )
    hand.load_state_dict(load_file(path))
    x = torch.rand(3, 1, 6, 5)
    with at_width(model, 7):
        torch.testing.assert_close(hand(x), model(x))
    assert explorer.status.startswith(f"saved {path.name}")


def test_a_folder_that_cannot_be_written_is_said_and_raised(model, images, tmp_path):
    (tmp_path / "file").write_text("in the way")
    explorer = AutoencoderExplorer(model, images, shown=2, folder=tmp_path / "file")
    with pytest.raises(OSError, match="file"):
        explorer.save()
    assert explorer.status.startswith("not saved: ")


def test_pictures_beyond_24_megabytes_leave_widths_out(monkeypatch, model, images):
    size = 4 * 30  # bytes of a width
    monkeypatch.setattr("vsnn_lab.explore.autoencoder._MOST", 5 * size)
    explorer = AutoencoderExplorer(model, images, shown=4)
    stops = control(explorer, "width")["values"]
    assert {1, 12} < set(stops) < set(range(1, 13))
    assert len(stops) <= 5
    assert len(numbers(explorer, "rebuilt")) == len(stops)
    with torch.no_grad():
        for place, width in enumerate(stops):
            rebuilt = extract(model, width)(images[explorer_choice()])[:, 0]
            shown = numbers(explorer, "rebuilt")[place, ..., 0]
            np.testing.assert_allclose(shown / 255, rebuilt, atol=0.5 / 255 + 1e-6)


def explorer_choice() -> torch.Tensor:
    return torch.randperm(30, generator=torch.Generator().manual_seed(0))[:4]


def test_the_static_figure_shows_the_width(explorer, model, images):
    explorer.width = 4
    figure = explorer.static_figure()
    with torch.no_grad():
        error = 1000 * F.mse_loss(extract(model, 4)(images), images).item()
    marker = figure.data[-1]
    assert tuple(marker.x) == (4, 4)
    assert marker.y[1] == pytest.approx(error, rel=1e-5)
    assert f"<b>{error:.2f}</b>" in figure.layout.title.text
    assert figure.layout.width <= 840


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


def test_a_model_that_gives_no_number_is_refused(model, images):
    sweep = width_sweep(model, F.mse_loss, (images, images))
    with torch.no_grad():
        model.decoder[0].weight[:, 4] = torch.nan
    with pytest.raises(ValueError, match="finite pixels, got nan or inf at 5 units"):
        AutoencoderExplorer(model, images, sweep=sweep)


def test_fewer_images_than_are_shown_at_a_time_are_all_shown(model, images):
    explorer = AutoencoderExplorer(model, images[:3], shown=10)
    assert numbers(explorer, "originals").shape == (3, 6, 5, 1)
    assert numbers(explorer, "rebuilt").shape == (12, 3, 6, 5, 1)


def test_a_sweep_that_lacks_a_width_is_refused(model, images):
    sweep = width_sweep(model, F.mse_loss, (images, images), widths=[1, 12])
    with pytest.raises(ValueError, match=r"sweep must hold every width 1\.\.12, got \[ 1 12\]"):
        AutoencoderExplorer(model, images, sweep=sweep)


def test_an_instrument_that_is_closed_holds_nothing_and_is_freed(explorer):
    assert isinstance(explorer, widgets.Widget)
    explorer.close()
    assert explorer.arrays == explorer.description == {}


def test_an_instrument_that_nobody_refers_to_is_freed(model, images):
    explorer = AutoencoderExplorer(model, images, shown=2)
    gone = weakref.ref(explorer)
    explorer.close()
    del explorer
    gc.collect()
    assert gone() is None


def test_the_mask_instrument_holds_what_each_sampler_draws_for_every_batch_and_width():
    samplers = {"triangle": Triangular(), "runs": Stratified(2)}
    explorer = MaskExplorer(samplers, most=9, seed=3)
    widths, kept = numbers(explorer, "widths"), numbers(explorer, "kept")
    for place, sampler in enumerate(samplers.values()):
        for batch in (1, 4, 9):
            for units in (1, 5, 9):
                drawn = sampler(batch, units, torch.Generator().manual_seed(3)).tolist()
                at = place, batch - 1, units - 1
                assert widths[at][:batch].tolist() == drawn
                assert not widths[at][batch:].any()
                assert numbers(explorer, "runs")[at] == len(set(drawn))
                assert kept[at] == pytest.approx(100 * sum(drawn) / batch / units)
                explorer.sampler, explorer.batch, explorer.units = place, batch, units
                expected = np.arange(units) < np.array(drawn)[:, None]
                np.testing.assert_array_equal(explorer.mask(), expected)
                np.testing.assert_array_equal(explorer.static_figure().data[0].z, expected)


def test_the_triangle_is_the_papers():
    explorer = MaskExplorer({"triangle": Triangular()}, most=20)
    explorer.batch = explorer.units = 5
    np.testing.assert_array_equal(explorer.mask(), np.tri(5))


def test_masks_of_many_units_leave_sizes_out_and_stay_below_4_megabytes():
    explorer = MaskExplorer({"triangle": Triangular(), "runs": Stratified(2)}, most=300)
    assert sum(len(held["data"]) for held in explorer.arrays.values()) < 4e6
    for name in ("batch", "units"):
        stops = control(explorer, name)["values"]
        assert {1, 16, 300} < set(stops)
    batch, units = stops[len(stops) // 2], stops[-2]
    place = stops.index(batch), stops.index(units)
    drawn = Stratified(2)(batch, units, torch.Generator().manual_seed(0))
    assert numbers(explorer, "widths")[1][place][:batch].tolist() == drawn.tolist()


def test_a_mask_instrument_without_samplers_is_refused():
    with pytest.raises(ValueError, match="at least one sampler, got none"):
        MaskExplorer({})
