import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from vsnn_lab import Autoencoder, Width, at_width, extract
from vsnn_lab.explore import CodeExplorer, WidthComparison
from vsnn_lab.figures.diverging import colorize

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


def picture(explorer, panel: int) -> np.ndarray:
    """Decode a panel: colours or grey, without opacity."""
    _, _, body = explorer.figure.data[panel].source.partition(",")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))[..., :-1]


def shows(explorer, panel: int, expected: torch.Tensor) -> None:
    shown = picture(explorer, panel)[..., 0] / 255
    np.testing.assert_allclose(shown, expected.squeeze(), atol=0.5 / 255 + 1e-6)


def rebuilt(model, width: int, image: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return extract(model, width)(image[None])[0]


def test_a_move_of_either_slider_shows_the_extracted_networks_reconstruction(
    comparison, model, images
):
    assert comparison.widths == (1, 12)
    comparison.picker.position.value = 7
    for a, b in ((3, 12), (3, 5), (11, 2)):
        comparison.first.value, comparison.second.value = a, b
        assert comparison.widths == (a, b)
        first, second = rebuilt(model, a, images[7]), rebuilt(model, b, images[7])
        shows(comparison, 0, images[7])
        shows(comparison, 1, first)
        shows(comparison, 2, second)
        limit = comparison.figure.data[4].marker.cmax
        expected = colorize((second - first).double().numpy(), limit)
        np.testing.assert_allclose(picture(comparison, 3).astype(int), expected, atol=1)
        text = comparison.read_outs.value
        for each in (first, second):
            assert f">{1000 * ((each - images[7]) ** 2).mean():.2f}</div>" in text


def test_the_scale_of_differences_holds_for_every_pair_of_widths(comparison, model, images):
    comparison.picker.position.value = 2
    every = torch.stack([rebuilt(model, width, images[2]) for width in range(1, 13)])
    widest = max((one - other).abs().max().item() for one in every for other in every)
    marker = comparison.figure.data[4].marker
    assert (marker.cmin, marker.cmax) == pytest.approx((-widest, widest), rel=1e-4)


def test_a_move_of_a_width_runs_no_network(comparison, monkeypatch):
    monkeypatch.setattr(nn.Module, "__call__", lambda *_: pytest.fail("the network ran"))
    comparison.first.value = 5
    assert comparison.widths == (5, 12)


@pytest.mark.parametrize("kind", [WidthComparison, CodeExplorer])
def test_the_static_figure_shows_what_the_instrument_shows(kind, model, images):
    explorer = kind(model, images)
    explorer.picker.position.value = 4
    shown, static = explorer.figure.to_plotly_json(), explorer.static_figure().to_plotly_json()
    for trace in shown["data"]:
        del trace["uid"]  # the widget's own
    assert shown == static


@pytest.mark.parametrize("kind", [WidthComparison, CodeExplorer])
def test_the_layout_stays_while_sliders_move(kind, model, images):
    explorer = kind(model, images, LABELS)
    before = explorer.figure.layout.to_plotly_json()
    explorer.picker.position.value = 4
    for slider in (explorer.picker.category, *getattr(explorer, "units", ())):
        slider.value = 1
    assert explorer.figure.layout.to_plotly_json() == before


@pytest.mark.parametrize("kind", [WidthComparison, CodeExplorer])
def test_the_model_stays_as_it_was_and_no_gradient_is_kept(kind, model, images):
    model.train()
    state = torch.get_rng_state()
    explorer = kind(model, images)
    explorer.picker.position.value = 4
    assert model.training
    assert model.code.control.position == 12
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_colour_images_are_compared_too():
    model = Autoencoder((3, 4, 4), Width(2), hidden=(5,))
    pictures = torch.rand(2, 3, 4, 4)
    explorer = WidthComparison(model, pictures)
    shown = picture(explorer, 0) / 255
    np.testing.assert_allclose(shown, pictures[0].permute(1, 2, 0), atol=0.5 / 255 + 1e-6)


def test_the_sliders_of_the_units_stand_at_the_images_own_code(codes, model, images):
    codes.picker.position.value = 11
    with torch.no_grad():
        own = model.encoder(images)[:, :8]
    assert [slider.value for slider in codes.units] == pytest.approx(own[11].tolist(), rel=1e-5)
    low, high = np.percentile(own.double().numpy(), (1, 99), axis=0)
    for index, slider in enumerate(codes.units):
        value = float(own[11, index])
        assert slider.low == pytest.approx(min(low[index], value))
        assert slider.high == pytest.approx(max(high[index], value))


def test_moving_a_unit_decodes_the_code_with_it(codes, model, images):
    codes.picker.position.value, codes.width.value = 11, 6
    third, fifth = (0.3 * s.low + 0.7 * s.high for s in (codes.units[2], codes.units[4]))
    codes.units[2].value, codes.units[4].value = third, fifth
    with torch.no_grad(), at_width(model, 6):
        code = model.encoder(images[11:12])
        own = model.decoder(code)
        code[0, 2], code[0, 4] = third, fifth
        moved = model.decoder(code)
    shows(codes, 0, images[11])
    shows(codes, 1, own)
    shows(codes, 2, moved)
    torch.testing.assert_close(codes.code, code[0])
    text = codes.read_outs.value
    assert ">units 3 5</div>" in text
    assert f">{1000 * ((moved - images[11]) ** 2).mean():.2f}</div>" in text
    assert [slider.disabled for slider in codes.units] == [False] * 6 + [True] * 2


def test_the_button_returns_to_the_images_own_code(codes):
    own = codes.code.clone()
    before = codes.figure.data[2].source
    codes.units[0].value = codes.units[0].high
    assert codes.figure.data[2].source != before
    codes.button.click()
    assert torch.equal(codes.code, own)
    assert codes.figure.data[2].source == before
    assert [slider.value for slider in codes.units] == own[:8].tolist()


def test_another_width_keeps_what_was_moved_and_another_image_does_not(codes, model, images):
    first, sixth = codes.units[0].high, codes.units[5].low
    codes.units[0].value, codes.units[5].value = first, sixth
    codes.width.value = 3
    assert codes.code[0].item() == codes.units[0].value == pytest.approx(first)
    codes.width.value = 12
    assert codes.code[5].item() == codes.units[5].value == pytest.approx(sixth)
    codes.picker.position.value = 9
    with torch.no_grad():
        torch.testing.assert_close(codes.code, model.encoder(images[9:10])[0])


def test_a_hand_that_moves_a_slider_decodes(codes):
    before = codes.figure.data[2].source
    place = codes.units[0].position.value
    codes.units[0].position.value = 200 if place < 100 else 0
    assert codes.figure.data[2].source != before
    codes.units[0].position.value = place
    assert codes.figure.data[2].source == before


def test_the_sliders_reach_as_far_as_the_codes_of_the_width_where_hidden_layers_vary_too(images):
    code = Width(12)
    model = Autoencoder((1, 6, 5), code, hidden=(code.control.axis(24),))
    explorer = CodeExplorer(model, images)
    explorer.width.value = 2
    with torch.no_grad(), at_width(model, 2):
        codes = model.encoder(images)
    for unit in range(2):
        low, high = np.percentile(codes[:, unit].double().numpy(), (1, 99))
        # Widened, if at all, to hold the image's own value.
        own = codes[0, unit].item()
        assert explorer.units[unit].low == pytest.approx(min(low, own))
        assert explorer.units[unit].high == pytest.approx(max(high, own))


def test_a_code_of_few_units_has_as_many_sliders_and_a_dead_unit_has_one():
    model = Autoencoder((1, 6, 5), Width(2), hidden=(9,))
    with torch.no_grad():
        model.encoder[-1].weight[1] = 0
        model.encoder[-1].bias[1] = 0.5
    explorer = CodeExplorer(model, torch.rand(5, 1, 6, 5))
    assert len(explorer.units) == 2
    assert (explorer.units[1].low, explorer.units[1].high) == (-0.5, 1.5)


@pytest.mark.parametrize("kind", [WidthComparison, CodeExplorer])
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


def test_a_model_without_a_decoder_is_refused(model, images):
    model.decoder = None
    with pytest.raises(ValueError, match=r"children encoder and decoder, got .* without decoder"):
        CodeExplorer(model, images)
