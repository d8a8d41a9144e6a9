import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from vsnn_lab import MLP, VariableLinear, Width, at_width, extract, joint_positions, recalibrate
from vsnn_lab.layers import VariableBatchNorm1d

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def plain() -> nn.Sequential:
    """Two norms apart, a dropout, and a history of training and of another mode and momentum."""
    net = nn.Sequential(
        nn.Linear(3, 4),
        nn.BatchNorm1d(4),
        nn.Dropout(0.5),
        nn.ReLU(),
        nn.BatchNorm1d(4, momentum=0.3),
    )
    net(5 + torch.randn(20, 3))
    net[4].eval()
    return net


def statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model.state_dict().items() if k.endswith(STATISTICS)}


def assert_same(found, expected) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0, msg=name)


def test_statistics_are_the_averages_of_those_of_the_batches():
    net, batches = plain(), list(torch.randn(5, 8, 3))
    recalibrate(net, batches)
    # Dropout is off, and the second norm sees what the first makes of each batch.
    first = [net[0](x) for x in batches]
    second = [
        nn.functional.batch_norm(x, None, None, net[1].weight, net[1].bias, True).relu()
        for x in first
    ]
    for norm, seen in ((net[1], first), (net[4], second)):
        seen = torch.stack(seen)
        torch.testing.assert_close(norm.running_mean, seen.flatten(0, 1).mean(0))
        torch.testing.assert_close(norm.running_var, seen.var(1).mean(0))
        assert norm.num_batches_tracked == 5


def test_one_batch_gives_its_mean_and_unbiased_variance_as_numpy_has_them():
    net, x = nn.BatchNorm2d(2), torch.randn(6, 2, 5, 5)
    recalibrate(net, [x])
    units = x.transpose(0, 1).flatten(1).double().numpy()
    torch.testing.assert_close(net.running_mean.double(), torch.tensor(units.mean(1)))
    torch.testing.assert_close(net.running_var.double(), torch.tensor(units.var(1, ddof=1)))


def test_it_agrees_with_torchs_own_method_where_no_other_layer_depends_on_the_mode():
    net, batches = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), list(torch.randn(4, 8, 3))
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    other.load_state_dict(net.state_dict())
    torch.optim.swa_utils.update_bn(batches, other)
    recalibrate(net, batches)
    assert_same(statistics(net), statistics(other))


def test_modes_momenta_weights_gradients_and_torchs_random_state_stay():
    net = plain()
    modes = [module.training for module in net.modules()]
    weights = {name: value.clone() for name, value in net.named_parameters()}
    batch, state = torch.randn(8, 3), torch.get_rng_state()
    recalibrate(net, [batch])
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in net.modules()] == modes
    assert (net[1].momentum, net[4].momentum) == (0.1, 0.3)
    assert all(torch.equal(value, weights[name]) for name, value in net.named_parameters())
    assert all(value.grad is None for value in net.parameters())


def test_pairs_with_targets_and_a_generator_are_read_as_inputs_are():
    net, other, x = nn.BatchNorm1d(3), nn.BatchNorm1d(3), torch.randn(4, 8, 3)
    recalibrate(net, ((part, None) for part in x))
    recalibrate(other, x.unbind())
    assert_same(statistics(net), statistics(other))


@pytest.mark.parametrize(
    "targets",
    [torch.randn(64, 3), torch.randint(0, 5, (64,)), torch.zeros(64, 2, 2)],
    ids=["of the shape of inputs", "classes", "of another shape"],
)
def test_a_pair_of_tensors_is_inputs_and_targets(targets):
    net, other, x = plain(), plain(), 2 + torch.randn(64, 3)
    other.load_state_dict(net.state_dict())
    recalibrate(net, (x, targets))
    recalibrate(other, [x])
    assert_same(statistics(net), statistics(other))


def test_a_list_is_a_pair_where_only_its_first_tensor_can_be_inputs():
    net, other = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    loader = DataLoader(TensorDataset(torch.randn(8, 3), torch.arange(8)), batch_size=8)
    (batch,) = loader  # a list, as torch stacks them
    recalibrate(net, batch)
    recalibrate(other, loader)
    assert_same(statistics(net), statistics(other))
    x = torch.randn(2, 8, 3)
    recalibrate(net, list(x))
    torch.testing.assert_close(net.running_mean, x.mean((0, 1)))


def test_a_large_pair_is_read_in_batches_of_like_size():
    net, sizes, x = nn.BatchNorm1d(1), [], torch.randn(2049, 1)
    net.register_forward_hook(lambda _, args, __: sizes.append(len(args[0])))
    recalibrate(net, (x, x))
    assert sizes == [683] * 3
    torch.testing.assert_close(net.running_mean, x.mean(0))


@pytest.mark.parametrize("data", [lambda x: [x], lambda x: (x, x), lambda x: [(x, x)]])
def test_a_network_that_writes_into_its_inputs_leaves_the_callers_alone(data):
    net = nn.Sequential(nn.SELU(inplace=True), nn.BatchNorm1d(3))
    x = torch.randn(8, 3)
    before = x.clone()
    recalibrate(net, data(x))
    assert torch.equal(x, before)
    torch.testing.assert_close(net[1].running_mean, nn.functional.selu(x).mean(0))


def test_a_variable_norm_gets_the_statistics_of_the_hand_written_network_of_that_width():
    width = Width(6)
    net = nn.Sequential(
        VariableLinear(3, width), VariableBatchNorm1d(width), VariableLinear(width, 2)
    )
    x = torch.randn(3, 16, 3)
    net(x[0])
    before = statistics(net)
    hand = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    hand[0].weight.data, hand[0].bias.data = net[0].weight.data[:2], net[0].bias.data[:2]
    recalibrate(hand, list(x))
    recalibrate(net, list(x), 2)
    for name in STATISTICS[:2]:
        found = getattr(net[1], name)
        torch.testing.assert_close(found[:2], getattr(hand[1], name))
        assert torch.equal(found[2:], before[f"1.{name}"][2:]), "units beyond the width changed"
    with at_width(net, 2):
        torch.testing.assert_close(net.eval()[1](net[0](x[0])), hand.eval()(x[0]))
    cut = extract(net, 2)
    assert_same(statistics(cut), statistics(hand))
    recalibrate(cut, list(x))
    assert_same(statistics(cut), statistics(hand))


def test_several_knobs_stand_where_the_dict_says_and_the_others_are_full():
    one, other = Width(4), Width(6)
    net = nn.Sequential(
        *(VariableLinear(3, one), VariableBatchNorm1d(one)),
        *(VariableLinear(one, other), VariableBatchNorm1d(other)),
    )
    batches = list(torch.randn(3, 8, 3))
    for positions in ({other.control: 2}, joint_positions(net, 3)):
        cut = extract(net, positions)
        recalibrate(cut, batches)
        recalibrate(net, batches, positions)
        found, expected = statistics(extract(net, positions)), statistics(cut)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-6, msg=name)


def test_a_plain_norm_after_a_cut_network_is_recalibrated_in_the_cut():
    net = nn.Sequential(MLP(3, (Width(8),), 4), nn.BatchNorm1d(4))
    cut, x = extract(net, 3), torch.randn(2, 16, 3)
    recalibrate(cut, iter(x), 3)
    seen = torch.stack([cut[0](part) for part in x])
    torch.testing.assert_close(cut[1].running_mean, seen.mean((0, 1)))
    assert net[1].num_batches_tracked == 0
    recalibrate(net, iter(x), 3)
    assert_same(statistics(net), statistics(cut))
    with at_width(net, 3):
        recalibrate(net, iter(x))
        assert net[0][0].out_axis.control.position == 3
    assert_same(statistics(net), statistics(cut))


def test_statistics_that_are_no_numbers_are_replaced():
    norm, x = nn.BatchNorm1d(2), torch.randn(8, 2)
    norm.running_mean.fill_(torch.nan)
    norm.running_var.fill_(torch.inf)
    recalibrate(norm, [x])
    torch.testing.assert_close(norm.running_mean, x.mean(0))
    torch.testing.assert_close(norm.running_var, x.var(0))


def test_a_branch_that_evaluation_leaves_out_keeps_its_statistics():
    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.main, self.side = nn.BatchNorm1d(2), nn.BatchNorm1d(2)

        def forward(self, x):
            return (self.main(x), self.side(x)) if self.training else self.main(x)

    net = Auxiliary()
    net(torch.randn(4, 2))
    before = statistics(net.side)
    recalibrate(net, [torch.randn(4, 2)])
    assert_same(statistics(net.side), before)


def test_networks_without_running_statistics_are_left_alone():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False))
    recalibrate(net, [])
    assert net[1].running_mean is None
    assert net.training


@pytest.mark.parametrize(
    ("batches", "error", "message"),
    [
        ([], ValueError, "batches must hold at least one batch, got none"),
        ([torch.ones(4, 3), *torch.ones(2, 4, 7)], RuntimeError, "shapes cannot be multiplied"),
        (
            (torch.ones(4, 3), torch.ones(3)),
            ValueError,
            "batches must pair inputs with targets, got 4 and 3 rows",
        ),
        ([torch.ones(4, 3), {"x": 1}], TypeError, "must hold tensors or pairs .*, got dict"),
        ([torch.ones(4, 3), ()], TypeError, "must hold tensors or pairs .*, got tuple"),
        (torch.ones(4, 3), TypeError, r"must be an iterable of .*, got Tensor; \[x\] holds"),
        (None, TypeError, "must be an iterable of inputs .*, got NoneType"),
    ],
)
def test_after_an_error_everything_is_as_it_was(batches, error, message):
    net = plain()
    before, modes = statistics(net), [module.training for module in net.modules()]
    with pytest.raises(error, match=message):
        recalibrate(net, batches)
    assert_same(statistics(net), before)
    assert [module.training for module in net.modules()] == modes
    assert (net[1].momentum, net[4].momentum) == (0.1, 0.3)


@pytest.mark.parametrize(
    ("width", "error", "message"),
    [
        (9, ValueError, r"width must lie in 1\.\.8, got 9"),
        (2.0, TypeError, "width must be an integer"),
        (torch.tensor([1, 2]), TypeError, "width must be an integer, got a tensor"),
    ],
)
def test_a_bad_width_is_refused_before_a_batch_is_read(width, error, message):
    net = nn.Sequential(MLP(3, (Width(8),), 4), nn.BatchNorm1d(4))
    with pytest.raises(error, match=message):
        recalibrate(net, (pytest.fail("read") for _ in range(1)), width)


def test_a_width_for_each_sample_has_no_statistics_of_one_width():
    net = nn.Sequential(MLP(3, (Width(8),), 4), nn.BatchNorm1d(4))
    with (
        at_width(net, torch.tensor([1, 2])),
        pytest.raises(TypeError, match="width must be an integer, got a tensor"),
    ):
        recalibrate(net, [torch.ones(2, 3)])
