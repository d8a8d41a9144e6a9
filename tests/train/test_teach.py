"""Teaching narrow widths by the network's own output, which full width never notices."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vsnn_lab import (
    VariableBatchNorm2d,
    VariableConv1d,
    VariableConv2d,
    VariableLinear,
    Width,
    WidthControl,
    at_width,
    extract,
)
from vsnn_lab.networks import condition
from vsnn_lab.samplers import Fixed, Full
from vsnn_lab.train import divergence, teach
from vsnn_lab.train.layer_fit import fit_layers
from vsnn_lab.widths import width_controls


def random_rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seeded(build):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = build()
        for parameter in net.parameters():
            parameter.data *= 3  # so that outputs differ
    condition(net)
    return net


def chain():
    a, b = WidthControl(8, rounded=True).axis(12), WidthControl(6, rounded=True).axis(9)
    return nn.Sequential(
        VariableLinear(4, a), nn.ReLU(), VariableLinear(a, b), nn.Dropout(0.5), nn.Tanh(),
        VariableLinear(b, 3),
    )  # fmt: skip


def images():
    a, b = WidthControl(4).axis(4), WidthControl(8).axis(8)
    return nn.Sequential(
        VariableConv2d(1, a, 3, bias=False), VariableBatchNorm2d(a), nn.ReLU(), nn.Dropout(),
        VariableConv2d(a, b, 3, stride=2, padding=1, bias=False), VariableBatchNorm2d(b),
        nn.ReLU(), nn.Flatten(), VariableLinear(b * 9, 5),
    )  # fmt: skip


ROWS = [random_rows(32, 4, seed=seed) for seed in range(8)]
IMAGES = [random_rows(16, 1, 8, 8, seed=seed) for seed in range(4)]


def own_names(net):
    return {name for name, _ in net.named_parameters() if ".own_" in name}


def narrow_loss(net, share, batches):
    turned = {control: max(1, int(share * control.steps)) for control in width_controls(net)}
    small = extract(net, turned).eval()
    full = extract(net, {control: control.steps for control in width_controls(net)}).eval()
    with torch.no_grad():
        return float(sum(divergence(small(x), full(x)) for x in batches)) / len(batches)


@pytest.mark.parametrize(("build", "batches"), [(chain, ROWS), (images, IMAGES)])
def test_full_width_stays_what_it_was_to_the_bit(build, batches):
    net = seeded(build)
    before = copy.deepcopy(net)
    net[0].weight.grad = torch.ones_like(net[0].weight)
    net.train()
    net[1].eval()
    modes, state = [part.training for part in net.modules()], torch.get_rng_state()
    losses = teach(net, batches, epochs=2, seed=1, progress=False)
    assert len(losses) == 2 * len(batches)
    assert torch.equal(state, torch.get_rng_state())
    assert modes == [part.training for part in net.modules()]
    own = own_names(net)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before.state_dict()[name]) == (name not in own), name
    grads = {name for name, value in net.named_parameters() if value.grad is not None}
    assert grads == {"0.weight"}
    assert all(control.position == control.steps for control in width_controls(net))
    assert torch.equal(net.eval()(batches[0]), before.eval()(batches[0]))


@pytest.mark.parametrize(("build", "batches"), [(chain, ROWS), (images, IMAGES)])
@pytest.mark.parametrize("together", [True, False])
def test_narrow_widths_come_closer_to_full_width(build, batches, together):
    net = seeded(build)
    before = [narrow_loss(net, share, batches) for share in (0.25, 0.5)]
    teach(net, batches, epochs=12, together=together, learning_rate=0.05, progress=False)
    after = [narrow_loss(net, share, batches) for share in (0.25, 0.5)]
    assert all(new < 0.7 * old for new, old in zip(after, before, strict=True))


def test_the_same_seed_teaches_the_same():
    first, second, third = (seeded(chain) for _ in range(3))
    losses = [
        teach(net, ROWS, seed=seed, progress=False)
        for net, seed in ((first, 1), (second, 1), (third, 2))
    ]
    assert losses[0] == losses[1] != losses[2]
    assert all(
        torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items()
    )


def test_it_starts_from_the_least_squares_of_each_layer():
    hidden = Width(6)
    net = nn.Sequential(VariableLinear(3, hidden, bias=False), VariableLinear(hidden, 2)).double()
    x = random_rows(200, 3).double()
    y = net(x).detach()
    condition(net)
    fit_layers(net, x, [{hidden.control: 2}])
    small = extract(net, 2)
    assert torch.equal(small[0].weight, net[0].weight[:2])
    given = F.pad((x @ net[0].weight[:2].T).detach(), (0, 1), value=1.0)
    best = torch.linalg.lstsq(given, y).solution
    least, found = (given @ best - y).square().sum(), (small(x) - y).square().sum()
    assert found < least * 1.02
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fit_layers(net, x, [{hidden.control: 2}])  # it has been taught by now
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda a, b: VariableConv2d(a, b, 3, stride=2, padding=1), (10, 4, 7, 6)),
        (lambda a, b: VariableConv2d(a, b, (1, 1), stride=2, padding=1), (30, 4, 5, 6)),
        (lambda a, b: VariableConv1d(a, b, 3, dilation=2), (20, 4, 9)),
        (lambda a, b: VariableLinear(a, b), (20, 5, 4)),
    ],
)
def test_a_layer_is_fitted_to_its_outputs_whatever_its_kind(layer, shape):
    """Of inputs half of which are copies of the others nothing is lost by leaving those out."""
    fan_in, fan_out = Width(4), Width(3)
    net = nn.Sequential(layer(fan_in, fan_out)).double()
    x, dim = random_rows(*shape).double(), 2 if len(shape) == 3 and shape[1] == 5 else 1
    x.narrow(dim, 2, 2).copy_(x.narrow(dim, 0, 2))
    y = net(x).narrow(dim, 0, 2).detach()
    condition(net)
    turned = {fan_in.control: 2, fan_out.control: 2}
    errors = []
    for _ in range(2):
        with at_width(net, turned):
            errors.append((net(x) - y).square().mean() / y.square().mean())
        fit_layers(net, x, [turned])
    assert errors[1] < 0.05 * errors[0]


class Interrupt(Fixed):
    """Draws a width twice, and is interrupted then."""

    def __call__(self, batch_size, steps, generator=None):
        object.__setattr__(self, "calls", getattr(self, "calls", 0) + 1)
        if self.calls > 2:
            raise KeyboardInterrupt
        return super().__call__(batch_size, steps, generator)


def test_an_interruption_leaves_a_network_taught_so_far():
    net, whole = seeded(chain), seeded(chain)
    net.train()
    with pytest.raises(KeyboardInterrupt):
        teach(net, ROWS, sampler=Interrupt(3), progress=False)
    assert net[3].training
    assert all(control.position == control.steps for control in width_controls(net))
    assert not any(parameter.grad is not None for parameter in net.parameters())
    assert narrow_loss(net, 0.5, ROWS) < narrow_loss(whole, 0.5, ROWS)


def test_inputs_come_as_pairs_and_dicts_and_a_loss_may_be_given():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = chain()

        def forward(self, x, scale=1.0):
            return {"logits": scale * self.net(x)}

    net, pairs = seeded(Named), seeded(chain)
    given = [{"x": x, "scale": 2.0} for x in ROWS]
    losses = teach(
        net, given, loss=lambda y, t: F.mse_loss(y["logits"], t["logits"]), progress=False
    )
    assert len(losses) == len(ROWS)
    assert teach(pairs, [[x, None] for x in ROWS], progress=False)
    with pytest.raises(TypeError, match="loss must be given where the network returns no tensor"):
        teach(net, given, progress=False)


def test_a_step_whose_widths_are_all_full_changes_nothing():
    net = seeded(chain)
    fit_layers(net.eval(), ROWS[0], [dict.fromkeys(width_controls(net), 1)])
    before = copy.deepcopy(net.state_dict())
    assert teach(net, ROWS, sampler=Full(), progress=False) == [0.0] * len(ROWS)
    changed = [
        name for name, value in net.state_dict().items() if not torch.equal(value, before[name])
    ]
    assert all(name.startswith("0.") for name in changed)


def test_a_loss_that_is_not_finite_is_an_error():
    net = seeded(chain)
    with pytest.raises(FloatingPointError, match="loss must stay finite, got nan in step 1"):
        teach(net, ROWS, loss=lambda y, _: y.sum() * float("nan"), progress=False)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batches": []}, ValueError, "batches must hold at least one batch, got none"),
        ({"batches": ROWS[0]}, TypeError, "batches must be an iterable of inputs"),
        ({"epochs": 0}, ValueError, "epochs must"),
        ({"widths": 1.5}, TypeError, "widths must be an int"),
        ({"together": "yes"}, TypeError, "together must be"),
        ({"learning_rate": -1}, ValueError, "learning_rate must"),
        ({"loss": "kl"}, TypeError, "loss must be a function of two outputs"),
        ({"sampler": 3}, TypeError, "sampler must be"),
        (
            {"model": nn.Linear(4, 4)},
            ValueError,
            "model must have layers with weights of their own",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(options, error, message):
    arguments = {"model": seeded(chain), "batches": ROWS, "progress": False} | options
    with pytest.raises(error, match=message):
        teach(arguments.pop("model"), arguments.pop("batches"), **arguments)
