import pytest
import torch
from torch import nn

from vsnn_lab import MLP, Autoencoder, Width
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
