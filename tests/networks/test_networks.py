import pytest
import torch
from torch import nn

from vsnn_lab import (
    MLP,
    Autoencoder,
    ConvAutoencoder,
    Width,
    WidthControl,
    at_width,
    count_parameters,
    extract,
)
from vsnn_lab.layers import VariableLayer


def test_a_state_dict_of_plain_layers_loads_straight_in():
    plain = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    width = Width(8)
    net = MLP(5, (width,), 3)
    net.load_state_dict(plain.state_dict())
    x = torch.randn(4, 5)
    assert torch.equal(net(x), plain(x))


def test_the_same_seed_draws_the_same_weights_as_plain_torch():
    torch.manual_seed(1)
    plain = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    torch.manual_seed(1)
    net = MLP(5, (Width(8),), 3)
    for name, value in plain.state_dict().items():
        assert torch.equal(net.state_dict()[name], value)


def test_a_network_without_a_width_is_plain_pytorch():
    for net in (MLP(5, (8,), 3), Autoencoder((1, 4, 4), 2, hidden=(6,))):
        assert not any(isinstance(module, VariableLayer) for module in net.modules())


def test_the_autoencoder_is_a_mirror_and_its_pixels_lie_in_the_unit_interval():
    net = Autoencoder((3, 4, 5), Width(7), hidden=(30, 20))
    sizes = [(m.in_features, m.out_features) for m in net.modules() if isinstance(m, nn.Linear)]
    assert sizes == [(60, 30), (30, 20), (20, 7), (7, 20), (20, 30), (30, 60)]
    output = net(torch.randn(2, 3, 4, 5) * 100)
    assert output.shape == (2, 3, 4, 5)
    assert output.min() >= 0
    assert output.max() <= 1


def by_hand(pixels: tuple[int, int], code: int, first: int, last: int) -> nn.Sequential:
    """Write the convolutional autoencoder of images (2, 7, 10), as one would without Widths."""
    flat = last * pixels[0] * pixels[1]
    return nn.Sequential(
        nn.Conv2d(2, first, 3, 2, 1), nn.ReLU(), nn.Conv2d(first, last, 3, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(flat, code),
        nn.Linear(code, flat), nn.Unflatten(1, (last, *pixels)), nn.ReLU(),
        nn.ConvTranspose2d(last, first, 3, 2, 1, (1, 0)), nn.ReLU(),
        nn.ConvTranspose2d(first, 2, 3, 2, 1, (0, 1)), nn.Sigmoid(),
    )  # fmt: skip


@pytest.mark.parametrize("channels_vary", [False, True])
@pytest.mark.parametrize("conditioned", [False, True])
def test_a_convolutional_autoencoder_is_the_hand_written_one_at_every_width(
    channels_vary, conditioned
):
    knob = WidthControl(3)
    channels = (knob.axis(3), knob.axis(9)) if channels_vary else (3, 9)
    net = ConvAutoencoder((2, 7, 10), knob.axis(6), channels, conditioned=conditioned).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0, 0.3)
    x = torch.rand(4, 2, 7, 10).double()
    for width in (1, 2, 3):
        sizes = (width, 3 * width) if channels_vary else (3, 9)
        plain, cut = by_hand((2, 3), 2 * width, *sizes).double(), extract(net, width)
        values = list(cut.state_dict().values())
        plain.load_state_dict(dict(zip(plain.state_dict(), values, strict=True)))
        expected = plain(x)
        torch.testing.assert_close(cut(x), expected, rtol=1e-10, atol=1e-12)
        for position in (width, torch.full((4,), width)):
            with at_width(net, position):
                torch.testing.assert_close(net(x), expected, rtol=1e-10, atol=1e-12)
        assert count_parameters(net, width) == sum(p.numel() for p in plain.parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConvAutoencoder((4, 4), 3), r"shape must be \(channels, height, width\), got"),
        (lambda: ConvAutoencoder((1, 4, 4), 3, ()), "channels must name at least one"),
        (
            lambda: ConvAutoencoder((1, 4, 4), 3, conditioned=True),
            "conditioned must be False unless all variable axes are on one knob, got",
        ),
    ],
)
def test_a_convolutional_autoencoder_that_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_images_of_another_shape_are_refused():
    net = Autoencoder((1, 4, 4), Width(3), hidden=(6,))
    # The same number of pixels would pass the flatten and come out as a picture of another size.
    with pytest.raises(ValueError, match=r"shape \(batch, 1, 4, 4\), got \(2, 1, 2, 8\)"):
        net(torch.zeros(2, 1, 2, 8))
    with pytest.raises(ValueError, match=r"got \(16,\)"):
        net(torch.zeros(16))


def test_a_slice_of_a_model_is_a_plain_sequential():
    net = MLP(5, (Width(8),), 3)
    assert type(net[:2]) is nn.Sequential
    assert net[:2][0] is net[0]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: MLP(0, (4,), 2), ValueError, "in_features must be at least 1, got 0"),
        (lambda: MLP(4, (2.0,), 2), TypeError, r"hidden must be an integer .* got 2\.0"),
        (lambda: MLP(4, (2,), "3"), TypeError, "out_features must be an integer"),
        (lambda: Autoencoder((), 2), ValueError, r"shape must name at least one dimension"),
        (lambda: Autoencoder((1, 0), 2), ValueError, "shape must be at least 1, got 0"),
        (lambda: Autoencoder((4,), 0), ValueError, r"code must be at least 1, got 0; Width\(n\)"),
    ],
)
def test_a_bad_size_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
