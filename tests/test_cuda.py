"""Networks and tensors on a GPU give what they give on the CPU.

Nothing here needs a data set, a widget or a figure, so that a bare machine with a GPU can run it.
"""

import copy
from itertools import islice

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import vsnn_lab as lab
from tests.gpu import (
    DEVICE,
    NETWORKS,
    ON_A_GPU,
    ROWS,
    STEPS,
    agree,
    convolutional,
    inputs,
    language_model,
    stir,
    vector,
)
from tests.ids import by_repr
from vsnn_lab.measure.ablation import mean_metric
from vsnn_lab.measure.metrics import accuracy
from vsnn_lab.widths import width_controls

pytestmark = ON_A_GPU


@pytest.fixture(params=NETWORKS)
def pair(request):
    """A network and its inputs on the CPU, and both on the GPU; in double precision."""
    build, shape = NETWORKS[request.param]
    net = stir(build()).double()
    x = inputs(shape) if shape is None else inputs(shape).double()
    return (net, x), (copy.deepcopy(net).to(DEVICE), x.to(DEVICE))


@torch.no_grad()
def test_every_width_is_that_of_the_cpu_under_a_knob_and_cut_out(pair):
    (net, x), (on_gpu, given) = pair
    for width in (1, 2, 5, STEPS):
        with lab.at_width(net, width), lab.at_width(on_gpu, width):
            expected = net(x)
            agree(on_gpu(given), expected)
        agree(lab.extract(on_gpu, width)(given), expected)


@pytest.mark.parametrize("place", ["cpu", DEVICE])
@torch.no_grad()
def test_samples_have_widths_of_their_own_wherever_these_are(pair, place):
    (net, x), (on_gpu, given) = pair
    with lab.at_width(net, vector()), lab.at_width(on_gpu, vector().to(place)):
        agree(on_gpu(given), net(x))
    expected = lab.forward_at_widths(net, x, vector())
    agree(lab.forward_at_widths(on_gpu, given, vector().to(place)), expected)


def test_gradients_are_those_of_the_cpu(pair):
    for net, x in pair:
        net.train()
        output = lab.forward_at_widths(net, x, vector())
        with lab.at_width(net, 3):
            (output.square().mean() + net(x).square().mean()).backward()
    for own, other in zip(pair[0][0].parameters(), pair[1][0].parameters(), strict=True):
        assert (own.grad is None) == (other.grad is None)
        if own.grad is not None:
            agree(other.grad, own.grad)
    for own, other in zip(pair[0][0].buffers(), pair[1][0].buffers(), strict=True):
        agree(other, own)


@pytest.mark.filterwarnings("ignore:RNN module weights")
@pytest.mark.parametrize("kind", [lab.VariableRNN, lab.VariableLSTM, lab.VariableGRU])
@torch.no_grad()
def test_recurrent_layers_take_columns_of_their_weights(kind):
    for layer, size in (
        (kind(5, lab.Width(STEPS), batch_first=True), 5),
        (kind(lab.Width(STEPS), 6, batch_first=True), STEPS),
    ):
        net = stir(layer)
        on_gpu, x = copy.deepcopy(net).to(DEVICE), torch.rand(ROWS, 4, size)
        for width in (2, 5, STEPS, vector()):
            with lab.at_width(net, width), lab.at_width(on_gpu, width):
                agree(on_gpu(x.to(DEVICE))[0], net(x)[0], 1e-4)


@torch.no_grad()
def test_knobs_stand_at_an_integer_and_at_a_vector_on_the_gpu():
    net = lab.MLP(6, (first := lab.Width(STEPS), lab.Width(4)), 3)
    lab.condition(net)
    on_gpu, x = copy.deepcopy(stir(net)).to(DEVICE), inputs((6,))
    (one, other), knobs = width_controls(on_gpu), width_controls(net)
    assert knobs[0] is first.control
    with lab.at_width(net, {knobs[0]: vector(), knobs[1]: 2}):
        expected = net(x)
    with lab.at_width(on_gpu, {one: vector().to(DEVICE), other: 2}):
        agree(on_gpu(x.to(DEVICE)), expected)


def test_files_go_from_one_device_to_the_other(pair, tmp_path):
    (net, x), (on_gpu, given) = pair
    lab.save_weights(on_gpu, tmp_path / "whole.safetensors")
    lab.save_weights(on_gpu, tmp_path / "cut.safetensors", width=3)
    for each in (net, on_gpu):
        for parameter in each.parameters():
            parameter.data.zero_()
        lab.load_weights(each, tmp_path / "whole.safetensors")
    with torch.no_grad(), lab.at_width(net, 3):
        cut = lab.extract(on_gpu, 3)
        lab.load_weights(cut, tmp_path / "cut.safetensors")
        agree(cut(given), net(x))
    assert lab.verify_extraction(on_gpu, 3, given) < 1e-9


def test_sweeps_cost_and_measure_alike(pair):
    sweeps = []
    for net, x in pair:
        last = net(x).flatten(1).shape[1]
        y = torch.arange(ROWS, device=x.device) % last

        def loss(output, target):
            return F.cross_entropy(output.flatten(1), target)

        sweeps.append(lab.width_sweep(net, loss, (x.cpu(), y.cpu()), [1, 3, 8], progress=False))
        rest = [lab.at_width(net, 3)]
        found = mean_metric(
            net, lambda a, b: accuracy(a.flatten(1), b), (x, y), rest, progress=False
        )
        assert 0 <= found[0] <= 1
        assert lab.measure_latency(net, 3, x, repeats=2).device.startswith(x.device.type)
    own, other = sweeps
    assert other.values == pytest.approx(own.values, rel=1e-5)
    assert (other.macs == own.macs).all()
    assert (other.parameters == own.parameters).all()


def test_tokens_agree_as_on_the_cpu():
    net, tokens = stir(language_model()).double(), inputs(None)
    expected = lab.next_token_agreement(net, tokens, [1, 4, 8])
    assert lab.next_token_agreement(net.to(DEVICE), tokens, [1, 4, 8]) == expected


@pytest.mark.filterwarnings("ignore:RNN module weights")
@pytest.mark.parametrize("kind", [lab.VariableLSTM, lab.VariableGRU])
def test_products_of_recurrent_layers_are_counted(kind):
    net, x = kind(5, lab.Width(STEPS), batch_first=True), torch.rand(2, 4, 5)
    expected = lab.count_macs(net, 3, x)
    assert lab.count_macs(net.to(DEVICE), 3, x.to(DEVICE)) == expected > 0


@pytest.mark.parametrize("per", [None, "position", "octave"])
def test_statistics_are_measured_alike(per):
    net, x = stir(convolutional()).double(), inputs((2, 8, 8)).double()
    on_gpu = copy.deepcopy(net).to(DEVICE)
    for each in (net, on_gpu):
        if per is None:
            lab.recalibrate(each, [x], 3)
        else:
            lab.recalibrate_widths(each, [x], per, progress=False)
    for own, other in zip(net.buffers(), on_gpu.buffers(), strict=True):
        agree(other, own)
    for width in (3, vector(), vector().to(DEVICE)):
        with torch.no_grad(), lab.at_width(net, width), lab.at_width(on_gpu, width):
            agree(on_gpu(x.to(DEVICE)), net(x))
            agree(lab.extract(on_gpu, 3)(x.to(DEVICE)), lab.extract(net, 3)(x))


def test_the_same_widths_are_chosen():
    net = stir(lab.MLP(6, (lab.Width(8), lab.Width(6)), 3)).double()
    data, budget = (inputs((6,)), torch.arange(ROWS) % 3), {"max_parameters": 70, "progress": False}
    expected = [*lab.choose_widths(net, F.cross_entropy, data, **budget).values()]
    net.to(DEVICE)
    assert [*lab.choose_widths(net, F.cross_entropy, data, **budget).values()] == expected


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.inner = nn.Sequential(
            nn.Conv2d(16, 24, 1), nn.BatchNorm2d(24), nn.ReLU6(), nn.Conv2d(24, 16, 1)
        )
        self.drop, self.head = nn.Dropout(0.2), nn.Linear(16, 3)

    def forward(self, x):
        x = self.stem(x)
        x = torch.cat([x + self.inner(x), x], 1)[:, :16]
        return self.head(self.drop(F.adaptive_avg_pool2d(x, 1).flatten(1)))


@pytest.mark.usefixtures("gpu_state_kept")
@pytest.mark.parametrize("conditioned", [False, True])
@pytest.mark.parametrize("order", [None, "magnitude", "taylor"])
def test_networks_are_converted_and_taught_where_they_are(order, conditioned):
    net, x = stir(Residual()).double(), inputs((2, 8, 8)).double()
    outputs, shown = [], []
    for device in ("cpu", DEVICE):
        given = x.to(device)
        scored = lab.Taylor([given]) if order == "taylor" else order
        made = lab.make_variable(
            net.to(device), given, steps=8, order=scored, conditioned=conditioned
        )
        if conditioned:
            losses = lab.teach(made, [given] * 3, progress=False)
            assert (
                losses[-1] <= losses[0] * 2 + 1e-12
            )  # nothing can be learned where nothing was cut
        shown.append(repr(made))
        with torch.no_grad(), lab.at_width(made, 3):
            outputs.append(made(given))
    assert shown[0] == shown[1]
    agree(outputs[1], outputs[0])


@pytest.mark.parametrize("rows", [1, 2])
def test_a_draft_changes_no_token(rows):
    net = stir(language_model()).double()
    on_gpu, prompt = copy.deepcopy(net).to(DEVICE), inputs(None)[:rows, :4]
    expected = torch.stack([*islice(lab.continuation(net, prompt), 12)], 1)
    found = torch.stack([*islice(lab.continuation(on_gpu, prompt.to(DEVICE)), 12)], 1)
    text = lab.speculative_continuation(on_gpu, prompt.to(DEVICE), 2)
    assert found.tolist() == expected.tolist()
    assert torch.stack([*islice(text, 12)], 1).tolist() == expected.tolist()


def test_text_is_drawn_from_a_generator_of_the_gpu():
    net, prompt = stir(language_model()).to(DEVICE), inputs(None)[:2, :4].to(DEVICE)
    for start in (
        lambda **how: lab.continuation(net, prompt, **how),
        lambda **how: lab.speculative_continuation(net, prompt, 2, **how),
    ):
        texts = []
        for _ in range(2):
            numbers = torch.Generator(DEVICE).manual_seed(4)
            text = islice(start(temperature=1.0, generator=numbers), 8)
            texts.append(torch.stack([*text], 1).tolist())
        assert texts[0] == texts[1]


SAMPLERS = [
    *(lab.Fixed(2), lab.FixedFraction(0.5), lab.Full(), lab.Geometric(0.3), lab.Triangular()),
    *(lab.Interpolated(lab.Triangular(), 0.3), lab.Listed([1, 4]), lab.LogUniform(), lab.Uniform()),
    *(lab.Sandwich(), lab.Shifted(lab.Uniform(), 1), lab.Stratified(3), lab.TailExponential(0.5)),
    lab.Weighted(lambda fraction: fraction, runs=3),
]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=by_repr)
def test_samplers_and_masks_draw_from_a_generator_of_the_gpu(sampler):
    numbers = torch.Generator(DEVICE).manual_seed(3)
    drawn = sampler(ROWS, STEPS, numbers).tolist()
    assert drawn == sampler(ROWS, STEPS, numbers.manual_seed(3)).tolist()
    assert len(drawn) == ROWS
    assert set(drawn) <= {*range(1, STEPS + 1)}
    mask = lab.TriangularDropout(
        lab.Width(STEPS), generator=numbers.manual_seed(3), sampler=sampler
    )
    assert mask(torch.ones(ROWS, STEPS, device=DEVICE)).sum(1).tolist() == drawn
