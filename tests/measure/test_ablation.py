import functools
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.ids import by_repr
from vsnn_lab import MLP, Width, WidthControl, at_width, choose_width, extract
from vsnn_lab.measure import Latency, ablation
from vsnn_lab.measure.ablation import mean_metric, width_sweep


def accuracy(output, target):
    return (output.argmax(1) == target).float().mean()


@pytest.fixture
def net():
    width = Width(6)
    return MLP(4, (width, width), 3, nn.Sigmoid)


@pytest.fixture
def batches():
    sizes = (5, 1, 8)
    return [(torch.randn(size, 4), torch.randint(3, (size,))) for size in sizes]


def swept_by_hand(net, metric, batches, widths):
    """Measure each width's extracted network, sample by sample."""
    x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    means = []
    for width in widths:
        cut = extract(net, width).eval()
        with torch.no_grad():
            single = [float(metric(cut(x[[i]]), y[[i]])) for i in range(len(x))]
        means.append(sum(single) / len(single))
    return means


@pytest.mark.parametrize("metric", [accuracy, F.cross_entropy, nn.CrossEntropyLoss()])
def test_a_sweep_equals_a_loop_over_extracted_networks_and_single_samples(net, batches, metric):
    sweep = width_sweep(net, metric, batches)
    assert sweep.widths.tolist() == [1, 2, 3, 4, 5, 6]
    assert sweep.values.dtype == np.float64
    np.testing.assert_allclose(
        sweep.values, swept_by_hand(net, metric, batches, range(1, 7)), rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_network_of_another_dtype_takes_float32_inputs_and_targets_stay(net, batches, dtype):
    x, _ = batches[0]
    target, seen = torch.rand(len(x), 3), []

    def error(output, y):
        seen.append((output.dtype, y.dtype))
        return F.mse_loss(output, y)

    sweep = width_sweep(net.to(dtype), error, (x, target), [4])
    assert {*seen} == {(dtype, torch.float32)}
    with torch.no_grad():
        expected = ((extract(net, 4).eval()(x.to(dtype)) - target) ** 2).mean().item()
    assert sweep.at(4) == pytest.approx(expected, rel=1e-2 if dtype is torch.bfloat16 else 1e-6)


def test_batches_that_can_be_read_only_once_are_enough(net, batches):
    expected = swept_by_hand(net, F.cross_entropy, batches, [2, 5])
    found = width_sweep(net, F.cross_entropy, (batch for batch in batches), [2, 5])
    np.testing.assert_allclose(found.values, expected, rtol=1e-6)


def test_a_stream_without_a_length_is_enough(net, batches):
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(batches)

    loader = torch.utils.data.DataLoader(Stream(), batch_size=None)
    expected = swept_by_hand(net, F.cross_entropy, batches, [3])
    np.testing.assert_allclose(
        width_sweep(net, F.cross_entropy, loader, [3]).values, expected, rtol=1e-6
    )


def test_a_pair_of_tensors_is_one_set_however_long_it_is(net, monkeypatch):
    monkeypatch.setattr("vsnn_lab.measure.evaluation._CHUNK", 4)
    pair = torch.randn(10, 4), torch.randint(3, (10,))
    expected = swept_by_hand(net, F.cross_entropy, [pair], [1, 6])
    for given in (pair, [pair], list(pair)):
        found = width_sweep(net, F.cross_entropy, given, [1, 6]).values
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_subset_of_widths_comes_out_ascending_and_once_each(net, batches):
    sweep = width_sweep(net, accuracy, batches, widths=[5, np.int64(2), 5, 1])
    assert sweep.widths.tolist() == [1, 2, 5]
    expected = swept_by_hand(net, accuracy, batches, [1, 2, 5])
    np.testing.assert_allclose(sweep.values, expected, rtol=1e-6)
    np.testing.assert_allclose(sweep.fractions, [1 / 6, 2 / 6, 5 / 6])
    assert sweep.at(2) == pytest.approx(expected[1])
    with pytest.raises(ValueError, match=r"width must be one of those swept, got 3: \[1 2 5\]"):
        sweep.at(3)


@pytest.mark.parametrize(
    "widths",
    [
        torch.tensor([5, 2, 5]),
        torch.tensor([5, 2], dtype=torch.uint8),
        np.array([5, 2, 5]),
        np.array([2, 5], dtype=np.int16),
        range(2, 6, 3),
        (2, 5),
        {2, 5},
        [torch.tensor(2), np.int64(5)],
        iter([5, 2]),
    ],
    ids=by_repr,
)
def test_widths_may_be_a_vector_or_any_iterable_of_integers(net, batches, widths):
    sweep = width_sweep(net, accuracy, batches, widths)
    assert sweep.widths.tolist() == [2, 5]
    expected = swept_by_hand(net, accuracy, batches, [2, 5])
    np.testing.assert_allclose(sweep.values, expected, rtol=1e-6)


def test_widths_are_knob_positions_where_a_step_is_several_units(batches):
    knob = WidthControl(3)
    net = MLP(4, (knob.axis(6), knob.axis(9)), 3)
    sweep = width_sweep(net, F.cross_entropy, batches)
    assert sweep.steps == 3
    expected = swept_by_hand(net, F.cross_entropy, batches, [1, 2, 3])
    np.testing.assert_allclose(sweep.values, expected, rtol=1e-6)


def test_several_knobs_are_swept_together_and_the_finest_of_them_counts(batches):
    fine, coarse = WidthControl(6), WidthControl(4)
    net = MLP(4, (fine.axis(6), coarse.axis(8)), 3, nn.Sigmoid)
    sweep = width_sweep(net, F.cross_entropy, batches)
    # By hand: a sixth of 4 positions is 0.67, rounded up 1; a third 1.33, rounded up 2; and so on.
    turns = [{fine: p, coarse: q} for p, q in zip(range(1, 7), (1, 2, 2, 3, 4, 4), strict=True)]
    assert (sweep.widths.tolist(), sweep.steps) == ([1, 2, 3, 4, 5, 6], 6)
    expected = swept_by_hand(net, F.cross_entropy, batches, turns)
    np.testing.assert_allclose(sweep.values, expected, rtol=1e-6)
    units = [(p, 2 * q) for p, q in (turn.values() for turn in turns)]
    assert sweep.macs.tolist() == [4 * a + a * b + 3 * b for a, b in units]
    assert sweep.parameters.tolist() == [5 * a + (a + 1) * b + 3 * (b + 1) for a, b in units]
    assert width_sweep(net, F.cross_entropy, batches, [3]).at(3) == sweep.at(3)
    assert choose_width(sweep, max_parameters=90) == 4


def test_a_sweep_over_dicts_measures_each_and_leaves_the_other_knobs_full(batches):
    first, second = Width(6), Width(8)
    net = MLP(4, (first, second), 3, nn.Sigmoid)
    one, other = first.control, second.control
    asked = [{one: 2, other: 7}, {other: 1}, {one: 2, other: 7}]
    with at_width(net, {one: 3}):  # wherever a knob stands
        sweep = width_sweep(net, F.cross_entropy, batches, asked, timed=batches[0][0])
    turns = [{one: 2, other: 7}, {one: 6, other: 1}]
    assert sweep.widths.tolist() == turns
    expected = swept_by_hand(net, F.cross_entropy, batches, turns)
    np.testing.assert_allclose(sweep.values, expected, rtol=1e-6)
    assert sweep.at({other: 1}) == sweep.values[1]
    assert sweep.cost("macs", turns[0]) == sweep.macs[0] == 4 * 2 + 2 * 7 + 7 * 3
    columns = ["width", "cross_entropy", "parameters", "macs", "latency_ms"]
    assert sweep.to_frame().columns.tolist() == columns
    for refused in (lambda: sweep.fractions, lambda: choose_width(sweep, max_macs=1)):
        with pytest.raises(ValueError, match="sweep must be over positions of one slider, got one"):
            refused()
    with pytest.raises(ValueError, match=r"width must be one of those swept, got \{WidthControl"):
        sweep.at({one: 1})
    with pytest.raises(ValueError, match="width must be one of those swept, got 1"):
        sweep.at(1)


def test_each_width_is_timed_with_the_threads_and_as_often_as_asked_for(net, batches, monkeypatch):
    def time(model, width, inputs, *, repeats, threads):
        ms = 1000.0 * repeats + 100.0 * threads + width
        return Latency(ms, ms, ms, threads, len(inputs), "cpu")

    monkeypatch.setattr(ablation, "measure_latency", time)
    timed = {"timed": batches[0][0], "progress": False}
    sweep = width_sweep(net, accuracy, batches, [1, 3], threads=2, **timed)
    assert sweep.latency_ms.tolist() == [50_201, 50_203]
    sweep = width_sweep(net, accuracy, batches, [1, 3], threads=1, repeats=7, **timed)
    assert sweep.latency_ms.tolist() == [7_101, 7_103]
    with pytest.raises(ValueError, match="repeats must be None where nothing is timed, got 7"):
        width_sweep(net, accuracy, batches, [1], repeats=7)
    with pytest.raises(ValueError, match=r"repeats must be at least 1, got 0"):
        width_sweep(net, accuracy, batches, [1], repeats=0, **timed)
    with pytest.raises(ValueError, match="threads must be None where nothing is timed, got 2"):
        width_sweep(net, accuracy, batches, [1], threads=2)
    with pytest.raises(ValueError, match=r"threads must lie in 1\.\.1024, got 0; None leaves"):
        width_sweep(net, accuracy, batches, [1], threads=0, **timed)


def test_the_frame_has_one_row_a_width_and_the_metric_under_its_name(net, batches):
    frame = width_sweep(net, accuracy, batches, [3, 6]).to_frame()
    assert list(frame.columns) == ["width", "fraction", "accuracy", "parameters", "macs"]
    assert frame["width"].tolist() == [3, 6]
    assert frame["fraction"].tolist() == [0.5, 1.0]
    assert frame["accuracy"].tolist() == pytest.approx(
        swept_by_hand(net, accuracy, batches, [3, 6])
    )


def test_what_a_width_costs_is_what_its_extracted_network_has(net, batches):
    sweep = width_sweep(net, accuracy, iter(batches), timed=batches[0][0], progress=False)
    for width, parameters, macs in zip(sweep.widths, sweep.parameters, sweep.macs, strict=True):
        assert parameters == sum(p.numel() for p in extract(net, int(width)).parameters())
        assert macs == 4 * width + width * width + width * 3
        assert sweep.cost("macs", width) == macs
    assert (sweep.latency_ms > 0).all()
    assert sweep.to_frame()["latency_ms"].tolist() == sweep.latency_ms.tolist()
    with pytest.raises(ValueError, match=r"kind must be one of 'parameters', 'macs', .*, got"):
        sweep.cost("flops", 1)
    with pytest.raises(ValueError, match="width must be one of those swept, got 9"):
        sweep.cost("macs", 9)


def test_a_compiled_network_is_swept_like_its_original(net, batches):
    compiled = torch.compile(net, backend="eager")
    first, second = (width_sweep(m, accuracy, batches, [2, 6]) for m in (compiled, net))
    assert first.to_frame().equals(second.to_frame())


def test_a_metric_without_a_name_of_its_own_goes_by_its_class(net, batches):
    assert width_sweep(net, nn.CrossEntropyLoss(), batches, [1]).metric == "CrossEntropyLoss"
    smooth = functools.partial(F.cross_entropy, label_smoothing=0.1)
    assert width_sweep(net, smooth, batches, [1]).metric == "partial"


class Watchful(nn.Module):
    """A network in training that holds a batch norm which is not."""

    def __init__(self):
        super().__init__()
        self.net = MLP(4, (Width(6),), 3)
        self.dropout = nn.Dropout()
        self.frozen = nn.BatchNorm1d(3).eval()
        self.seen = []

    def forward(self, x):
        self.seen.append((self.training, self.dropout.training, torch.is_grad_enabled()))
        return self.frozen(self.dropout(self.net(x)))


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_measured_in_evaluation_mode_without_gradients_and_put_back(batches, training):
    model = Watchful()
    model.training = training
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    width_sweep(model, F.cross_entropy, batches, [1, 6])
    assert set(model.seen) == {(False, False, False)}
    modes = [model.training, model.net.training, model.dropout.training, model.frozen.training]
    assert modes == [training, True, True, False]
    assert torch.is_grad_enabled()
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_metric_that_raises_leaves_mode_gradients_and_knob_as_they_were(batches):
    model = Watchful()

    def broken(output, target):
        raise RuntimeError("metric broke")

    with pytest.raises(RuntimeError, match="metric broke"):
        width_sweep(model, broken, batches, [2])
    assert model.training
    assert not model.frozen.training
    assert torch.is_grad_enabled()
    assert model.net[0].out_axis.control.position == 6


def test_a_sweep_inside_at_width_leaves_the_knob_where_it_stood(net, batches):
    with at_width(net, 2):
        width_sweep(net, accuracy, batches, [1, 4])
        assert net[0].out_axis.control.position == 2


def test_the_mean_under_other_settings_weighs_batches_by_their_size(batches):
    class Scaled(nn.Module):
        factor = 1.0

        def forward(self, x):
            return x * self.factor

    class Setting:
        def __init__(self, model, factor):
            self.model, self.factor = model, factor

        def __enter__(self):
            self.model.factor = self.factor

        def __exit__(self, *_):
            self.model.factor = 1.0

    model = Scaled()
    values = mean_metric(
        model, lambda output, _: output.mean(), batches, [Setting(model, f) for f in (1.0, 3.0)]
    )
    mean = torch.cat([x for x, _ in batches]).double().mean().item()
    np.testing.assert_allclose(values, [mean, 3 * mean], rtol=1e-5)


NO_WIDTHS = r"widths must be a vector or another iterable of integers in 1\.\.6, got "


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"widths": [0]}, ValueError, r"widths must lie in 1\.\.6, got 0"),
        ({"widths": [2, 7]}, ValueError, r"widths must lie in 1\.\.6, got 7"),
        ({"widths": [2.0]}, TypeError, r"widths must be an integer in 1\.\.6, got 2\.0"),
        ({"widths": [torch.tensor([1])]}, TypeError, r"widths must be integers, got tensor"),
        ({"widths": 5}, TypeError, NO_WIDTHS + r"5; \[5\] measures a single width"),
        ({"widths": "12"}, TypeError, NO_WIDTHS + "'12'"),
        ({"widths": torch.tensor(5)}, ValueError, NO_WIDTHS + r"shape \(\): tensor\(5\)"),
        ({"widths": torch.ones(2, 1).int()}, ValueError, NO_WIDTHS + r"shape \(2, 1\)"),
        ({"widths": np.array([[1, 2]])}, ValueError, NO_WIDTHS + r"shape \(1, 2\): array"),
        ({"widths": torch.tensor([1.0])}, TypeError, r"an integer in 1\.\.6, got 1\.0"),
        ({"widths": torch.tensor([True])}, TypeError, r"an integer in 1\.\.6, got True"),
        ({"widths": np.array([7])}, ValueError, r"widths must lie in 1\.\.6, got 7"),
        ({"widths": []}, ValueError, r"widths must name at least one width, got \[\]"),
        ({"metric": "accuracy"}, TypeError, "metric must be callable on .*, got 'accuracy'"),
        ({"batches": []}, ValueError, "batches must hold at least one sample, got none"),
        ({"batches": (torch.ones(2, 4), torch.ones(3))}, ValueError, "got 2 and 3 rows"),
        ({"model": nn.Linear(4, 3)}, ValueError, "model must have a variable axis, got none"),
        ({"widths": [{}, 2]}, TypeError, "widths must be dicts all of them or none, got 2 among"),
        ({"widths": itertools.count(1)}, ValueError, r"widths must lie in 1\.\.6, got 7"),
        ({"widths": {}}, TypeError, r"another iterable .*, got \{\}; \[\{\}\] measures a single"),
        ({"widths": [{WidthControl(2): 1}]}, ValueError, r"knobs of the model, got WidthControl"),
        ({"model": "net"}, TypeError, r"model must be a torch\.nn\.Module, got 'net'"),
    ],
)
def test_what_cannot_be_swept_is_refused(net, batches, arguments, error, message):
    asked = {"model": net, "metric": accuracy, "batches": batches} | arguments
    with pytest.raises(error, match=message):
        width_sweep(**asked)
