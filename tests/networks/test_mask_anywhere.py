"""Any network that holds a mask has a knob, and zeros in place of cuts."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.masks import (
    STEPS,
    Tokens,
    assert_close,
    before_and_after_a_cut,
    beside_layers_that_are_cut,
    by_hand,
    dense,
    each_network,
    inputs,
    network,
    turned,
    zeroed,
)
from vsnn_lab import (
    TriangularDropout,
    at_width,
    extract,
    forward_at_widths,
    load_weights,
    save_weights,
)
from vsnn_lab.networks.trunk import outputs_by_width


@each_network
@pytest.mark.parametrize("training", [False, True])
def test_a_turned_knob_zeroes_the_units_beyond_and_draws_nothing(build, training):
    net, x = network(build).train(training), inputs()
    for module in net.modules():
        if isinstance(module, TriangularDropout):
            module.sampler = None  # It would fail if it were called.
    for position in range(1, STEPS + 1):
        expected = by_hand(net, x, position)
        with at_width(net, position):
            assert_close(net(x), expected)
        with at_width(net, torch.full((len(x),), position)):
            masked = net(x)
        assert_close(masked[:, : expected.shape[1]], expected)
        assert_close(extract(net, position)(x), expected)


def rows_by_hand(net, x, positions):
    rows = [by_hand(net, x[[row]], position) for row, position in enumerate(positions)]
    size = max(row.shape[1] for row in [*rows, by_hand(net, x[:1], STEPS)])
    return torch.cat([F.pad(row, (0, size - row.shape[1])) for row in rows])


@each_network
@pytest.mark.parametrize("smallest_run", [0, 10**6])
def test_each_sample_has_its_own_width(build, smallest_run, monkeypatch):
    for name in ("_SMALLEST_RUN", "_SMALLEST_RUN_OF_IMAGES"):
        monkeypatch.setattr(f"vsnn_lab.networks.forward.{name}", smallest_run)
    net, x, positions = network(build), inputs(), [2, 5, 1, 3, 1]
    expected = rows_by_hand(net, x, positions)
    assert_close(forward_at_widths(net, x, torch.tensor(positions)), expected)


def test_blocks_of_widths_are_computed_as_wide_as_their_widest(monkeypatch):
    monkeypatch.setattr("vsnn_lab.networks.forward._SMALLEST_RUN", 2)
    for build in (dense, beside_layers_that_are_cut, before_and_after_a_cut):
        net, x, positions = network(build), inputs(8), [1, 1, 2, 2, 3, 3, 4, 4]
        found = forward_at_widths(net, x, torch.tensor([*positions[4:], *positions[:4]]))
        assert_close(found, rows_by_hand(net, x, [*positions[4:], *positions[:4]]))


@each_network
def test_widths_that_share_their_work_are_the_same(build):
    net, x = network(build), inputs()
    widths = range(1, STEPS + 1)
    for width, output in zip(widths, outputs_by_width(net, x, widths), strict=True):
        assert_close(output, by_hand(net, x, width))


@each_network
def test_copies_and_files_compute_the_same(build, tmp_path):
    net, x = network(build), inputs()
    loaded = network(build)
    load_weights(loaded, save_weights(net, tmp_path / "a"))
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), loaded):
        with at_width(twin, 2):
            assert_close(twin(x), by_hand(net, x, 2))
            assert_close(net(x), by_hand(net, x, STEPS))
    plain = build()
    assert list(net.state_dict()) == list(plain.state_dict())


@each_network
def test_a_submodel_holds_nothing_of_this_package_and_can_be_copied(build):
    net, x = network(build), inputs()
    cut = extract(net, 2)
    assert not any(
        "vsnn_lab" in f"{type(v)}" for m in cut.modules() for v in (m, *vars(m).values())
    )
    expected = by_hand(net, x, 2)
    for twin in (copy.deepcopy(cut), pickle.loads(pickle.dumps(cut)), extract(cut, 2)):
        assert_close(twin(x), expected)
    assert repr(cut) != repr(extract(net, 1))
    if build is not Tokens:  # whose recurrent layer torch does not export without a warning
        assert_close(torch.export.export(cut, (x,)).module()(x), expected)


def test_a_submodel_keeps_the_hooks_and_the_ties_of_a_mask():
    net, x = network(dense), inputs()
    net[1].register_forward_hook(lambda module, args, output: 2 * output)
    net.extend([nn.Linear(2, 8).double(), net[1]])
    with at_width(net, 2):
        expected = net(x)
    cut = extract(net, 2)
    assert cut[1] is cut[5]
    assert_close(cut(x), expected)
    assert_close(copy.deepcopy(cut)(x), expected)


def test_at_full_width_it_is_an_identity():
    cut = extract(network(dense), STEPS)
    assert type(cut[1]) is nn.Identity


@each_network
def test_compiled_networks_compute_the_same(build):
    torch._dynamo.reset()
    graphs, net, x = [], network(build), inputs()

    def count(graph, _):
        graphs.append(graph)
        return graph.forward

    fast = torch.compile(net, backend=count)
    with torch.no_grad():
        assert_close(fast(x), by_hand(net, x, STEPS))
        for position in (2, 5, 1, 4, 3, 2):
            with at_width(net, position):
                assert_close(fast(x), net(x))
            assert_close(fast(x), net(x))
    breaks = 3 if build is Tokens else 1  # torch's recurrent layers are not compiled
    assert len(graphs) <= 3 * breaks


@each_network
def test_gradients_are_those_of_the_zeros(build):
    net, x = network(build), inputs()
    for width in (2, torch.full((len(x),), 2)):
        net.zero_grad()
        with at_width(net, width):
            net(x).square().sum().backward()
        found = {name: weight.grad for name, weight in net.named_parameters()}
        twin = zeroed(net, 2)
        twin.zero_grad()
        turned(twin, x, 2).square().sum().backward()
        for name, weight in twin.named_parameters():
            assert_close(found[name], weight.grad)


def test_halves_stay_halves():
    net, x = network(dense).bfloat16(), inputs().bfloat16()
    expected = by_hand(net, x, 2)
    for width in (2, torch.full((len(x),), 2)):
        with at_width(net, width):
            assert torch.equal(net(x), expected)
    assert torch.equal(extract(net, 2)(x), expected)


def test_a_network_of_tokens_takes_a_width_for_each():
    net, x = Tokens(batch_dims=2).double().eval(), inputs(2)
    positions = torch.tensor([1, 2, 3, 4, 5, 1])
    tokens = net.embed(x.unflatten(1, (3, 2)))
    axis = net.mask.width
    kept = [[axis.at(place) for place in row] for row in positions.view(2, 3).tolist()]
    zeros = torch.arange(8) < torch.tensor(kept)[..., None]
    expected = net.last(net.recur(tokens + zeros * net.attend(tokens))[0]).flatten(1)
    with at_width(net, positions):
        assert_close(net(x), expected)
