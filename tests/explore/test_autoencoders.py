"""The instruments of one image: two widths of it, and the units of its code."""

import gc
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from tests.explore.shown import control, numbers, tiles
from vsnn_lab import Autoencoder, Width, at_width, extract
from vsnn_lab.explore import CodeExplorer, WidthComparison

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

NAMES = ["left", "right", "up"]
LABELS = torch.arange(30) % 3


@pytest.fixture
def model():
    return Autoencoder((1, 6, 5), Width(12), hidden=(9,))


@pytest.fixture
def images():
    return torch.rand(30, 1, 6, 5)


@pytest.fixture
def comparison(model, images):
    return WidthComparison(model, images, LABELS, class_names=NAMES)


@pytest.fixture
def codes(model, images):
    return CodeExplorer(model, images, LABELS, class_names=NAMES)


both = pytest.mark.parametrize("kind", [WidthComparison, CodeExplorer])


def same_picture(sprite: np.ndarray, expected: torch.Tensor) -> None:
    shown = sprite.reshape(6, 5) / 255
    np.testing.assert_allclose(shown, expected.squeeze(), atol=0.5 / 255 + 1e-6)


def rebuilt(model, image: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad():
        return [extract(model, width)(image[None])[0].double() for width in range(1, 13)]


def test_every_pair_of_widths_has_the_numbers_of_the_extracted_networks(comparison, model, images):
    comparison.show_image(7)
    every = rebuilt(model, images[7])
    same_picture(numbers(comparison, "original"), images[7])
    for width, picture in enumerate(every, 1):
        same_picture(numbers(comparison, "rebuilt")[width - 1], picture)
        error = 1000 * (picture - images[7]).square().mean().item()
        assert numbers(comparison, "errors")[width - 1] == pytest.approx(error, rel=1e-5)
    changes = [[1000 * (b - a).abs().mean().item() for b in every] for a in every]
    np.testing.assert_allclose(numbers(comparison, "change"), changes, rtol=1e-4, atol=1e-5)
    widest = max((b - a).abs().max().item() for a in every for b in every)
    difference = comparison.description["parts"][0]["tracks"][-1]
    assert difference["limit"] == pytest.approx(255 * widest, rel=1e-4)


def test_the_widths_shown_are_those_of_the_two_sliders(comparison):
    assert comparison.widths == (1, 12)
    comparison.first, comparison.second = 3, 5
    assert comparison.widths == (3, 5)
    title = comparison.static_figure().layout.title.text
    for width, name in ((3, "A"), (5, "B")):
        assert (
            f"MSE × 1000 at {name} <b>{numbers(comparison, 'errors')[width - 1]:.2f}</b>" in title
        )


def test_a_move_of_a_width_runs_no_network(comparison, codes, monkeypatch):
    monkeypatch.setattr(nn.Module, "__call__", lambda *_: pytest.fail("the network ran"))
    comparison.first, codes.width = 5, 4
    assert (comparison.widths, codes.width) == ((5, 12), 4)


def test_many_widths_leave_stops_out_so_that_their_pairs_fit(monkeypatch, model, images):
    monkeypatch.setattr("vsnn_lab.explore.width_comparison._PAIRS", 40)
    comparison = WidthComparison(model, images, widths=(5, 7))
    stops = control(comparison, "first")["values"]
    assert {1, 5, 7, 12} <= set(stops)
    assert len(stops) <= 6
    assert numbers(comparison, "change").shape == (len(stops), len(stops))
    for place, width in enumerate(stops):
        same_picture(numbers(comparison, "rebuilt")[place], rebuilt(model, images[0])[width - 1])


@both
def test_another_image_is_computed_and_named(kind, model, images):
    explorer = kind(model, images, LABELS, class_names=NAMES)
    assert control(explorer, "image")["classes"] == NAMES
    assert numbers(explorer, "labels").tolist() == LABELS.tolist()
    for image in (11, 4):
        explorer.image = image
        same_picture(numbers(explorer, "original"), images[image])
        said = tiles(explorer)["image"]
        assert (said["values"], said["notes"]) == (f"{image}", NAMES[LABELS[image]])
        waits = [each["answers"] for each in explorer.arrays.values() if "answers" in each]
        assert {answer["image"] for answer in waits} == {image}


@both
def test_classes_without_names_are_numbers_and_without_labels_there_are_none(kind, model, images):
    labels = np.where(np.arange(30) < 10, 4, 9)
    assert control(kind(model, images, labels), "image")["classes"] == ["class 4", "class 9"]
    without = kind(model, images)
    assert control(without, "image")["classes"] == []
    assert tiles(without)["image"]["notes"] == "of 30"


@both
def test_the_model_stays_as_it_was_and_no_gradient_is_kept(kind, model, images):
    model.train()
    state = torch.get_rng_state()
    kind(model, images).show_image(4)
    assert model.training
    assert model.code.control.position == 12
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


@both
def test_one_that_is_closed_is_freed(kind, model, images):
    explorer = kind(model, images, LABELS)
    explorer.show_image(3)
    gone = weakref.ref(explorer)
    explorer.close()
    assert explorer.arrays == {}
    del explorer
    gc.collect()
    assert gone() is None


def test_colour_images_are_compared_too():
    model = Autoencoder((3, 4, 4), Width(2), hidden=(5,))
    pictures = torch.rand(2, 3, 4, 4)
    explorer = WidthComparison(model, pictures)
    shown = numbers(explorer, "original")[0] / 255
    np.testing.assert_allclose(shown, pictures[0].permute(1, 2, 0), atol=0.5 / 255 + 1e-6)
    assert explorer.static_figure().layout.width <= 840


def test_the_sliders_of_the_units_stand_at_the_images_own_code(codes, model, images):
    codes.show_image(11)
    with torch.no_grad():
        own = model.encoder(images)[:, :8]
    low, high = np.percentile(own.double().numpy(), (1, 99), axis=0)
    home = own[11].double().numpy()
    expected = np.stack([np.minimum(low, home), np.maximum(high, home), home], 1)
    np.testing.assert_allclose(numbers(codes, "ends")[11], expected, rtol=1e-5, atol=1e-6)
    assert codes.units == [None] * 8


def test_units_beyond_the_width_have_no_slider(codes):
    there = np.isfinite(numbers(codes, "ends")).all(2)
    np.testing.assert_array_equal(there, np.tri(12, 8, dtype=bool))


def test_moving_a_unit_decodes_the_code_with_it_at_every_width(codes, model, images):
    codes.show_image(11)
    third, fifth = (0.3 * low + 0.7 * high for low, high, _ in numbers(codes, "ends")[11][[2, 4]])
    codes.units = [None, None, float(third), None, float(fifth), None, None, None]
    for width in (1, 3, 6, 12):
        codes.width = width
        with torch.no_grad(), at_width(model, width):
            code = model.encoder(images[11:12])
            own = model.decoder(code)
            for unit, value in ((2, third), (4, fifth)):
                if unit < width:
                    code[0, unit] = float(value)
            moved = model.decoder(code)
        same_picture(numbers(codes, "own")[width - 1], own)
        same_picture(numbers(codes, "moved")[width - 1], moved)
        torch.testing.assert_close(codes.code, code[0])
        change = 1000 * (moved - own).abs().mean().item()
        errors = {
            "own error": 1000 * (own - images[11]).square().mean().item(),
            "moved error": 1000 * (moved - images[11]).square().mean().item(),
        }
        for name, value in (errors | {"change": change}).items():
            assert numbers(codes, name)[width - 1] == pytest.approx(value, rel=1e-4, abs=1e-5)
    said = tiles(codes)["units moved"]
    assert [said["values"][width - 1] for width in (2, 3, 6)] == ["0", "1", "2"]
    assert [said["notes"][width - 1] for width in (2, 3, 6)] == ["none", "unit 3", "units 3 5"]
    assert codes.arrays["moved"]["answers"] == {"image": 11, "units": codes.units}


def test_the_button_returns_to_the_images_own_code(codes):
    own, before = codes.code.clone(), numbers(codes, "moved")
    codes.units = [3.0, *[None] * 7]
    assert not np.array_equal(numbers(codes, "moved"), before)
    codes._hear(codes, {"type": "action", "name": "restore", "id": 1}, [])
    assert torch.equal(codes.code, own)
    np.testing.assert_array_equal(numbers(codes, "moved"), before)


def test_another_width_keeps_what_was_moved_and_another_image_does_not(codes, model, images):
    codes.units = [0.5, None, None, None, None, -0.5, None, None]
    codes.width = 3
    assert codes.code[0].item() == pytest.approx(0.5)
    codes.width = 12
    assert codes.code[5].item() == pytest.approx(-0.5)
    codes.image = 9
    assert codes.units == [None] * 8
    with torch.no_grad():
        torch.testing.assert_close(codes.code, model.encoder(images[9:10])[0])


def test_the_sliders_reach_as_far_as_the_codes_of_the_width_where_hidden_layers_vary_too(images):
    code = Width(12)
    model = Autoencoder((1, 6, 5), code, hidden=(code.control.axis(24),))
    explorer = CodeExplorer(model, images)
    explorer.width = 2
    with torch.no_grad(), at_width(model, 2):
        codes = model.encoder(images).double().numpy()
    low, high = np.percentile(codes, (1, 99), axis=0)
    # Widened, if at all, to hold the image's own value.
    expected = np.stack([np.minimum(low, codes[0]), np.maximum(high, codes[0]), codes[0]], 1)
    np.testing.assert_allclose(numbers(explorer, "ends")[1][:2], expected, rtol=1e-5, atol=1e-6)


def test_a_code_of_few_units_has_as_many_sliders_and_a_dead_unit_has_one():
    model = Autoencoder((1, 6, 5), Width(2), hidden=(9,))
    with torch.no_grad():
        model.encoder[-1].weight[1] = 0
        model.encoder[-1].bias[1] = 0.5
    explorer = CodeExplorer(model, torch.rand(5, 1, 6, 5))
    assert control(explorer, "units")["count"] == 2
    assert numbers(explorer, "ends")[1][1].tolist() == [-0.5, 1.5, 0.5]


@pytest.mark.parametrize(
    ("units", "error", "message"),
    [
        ([None] * 7, ValueError, r"units must be 8 numbers or None, got \[None"),
        ([None] * 7 + [float("nan")], ValueError, "each of units must be a finite number, got nan"),
        ([None] * 7 + ["1"], TypeError, "each of units must be a finite number, got '1'"),
    ],
)
def test_units_that_are_none_are_refused(codes, units, error, message):
    with pytest.raises(error, match=message):
        codes.units = units
    assert codes.units == [None] * 8


@both
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"images": torch.rand(3, 1, 5, 6)}, ValueError, r"images must have shape \(n, 1, 6, 5\)"),
        ({"images": torch.rand(3, 1, 6, 5) * 9}, ValueError, r"images must be floats in \[0, 1\]"),
        ({"labels": torch.zeros(3).long()}, ValueError, r"labels must be integers of shape \(30,"),
        ({"labels": [1, 2]}, TypeError, r"labels must be an array or a tensor of integers, got"),
        ({"labels": LABELS, "class_names": ["a"]}, ValueError, r"labels must lie in 0\.\.0, got 2"),
        ({"class_names": [1]}, TypeError, "class_names must be strings, got 1"),
    ],
)
def test_what_does_not_fit_is_refused(kind, model, images, arguments, error, message):
    with pytest.raises(error, match=message):
        kind(**({"model": model, "images": images} | arguments))


@both
def test_a_model_that_gives_no_number_is_refused(kind, model, images):
    with torch.no_grad():
        model.decoder[0].weight[:, 4] = torch.nan
    with pytest.raises(ValueError, match="model must return finite pixels, got nan or inf"):
        kind(model, images)


@pytest.mark.parametrize(
    ("widths", "error", "message"),
    [
        ((0, 3), ValueError, r"each of widths must lie in 1\.\.12, got 0"),
        ((1, 13), ValueError, r"each of widths must lie in 1\.\.12, got 13"),
        ((1,), TypeError, r"widths must be a pair of widths \(A, B\), got \(1,\)"),
        (3, TypeError, r"widths must be a pair of widths \(A, B\), got 3"),
    ],
)
def test_widths_outside_the_knob_are_refused(model, images, widths, error, message):
    with pytest.raises(error, match=message):
        WidthComparison(model, images, widths=widths)


@pytest.mark.parametrize("image", [-1, 30, 1.0])
def test_an_image_that_there_is_not_is_refused(codes, comparison, image):
    for explorer in (codes, comparison):
        with pytest.raises((ValueError, TypeError), match="image must"):
            explorer.show_image(image)
        with pytest.raises((ValueError, TypeError), match="image must"):
            explorer.image = image


def test_a_model_without_a_decoder_is_refused(model, images):
    model.decoder = None
    with pytest.raises(ValueError, match=r"children encoder and decoder, got .* without decoder"):
        CodeExplorer(model, images)
