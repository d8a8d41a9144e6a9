"""A recurrent layer at a width is torch's own layer of so many hidden units."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint

from vsnn_lab import (
    VariableGRU,
    VariableLinear,
    VariableLSTM,
    VariableRNN,
    Width,
    WidthControl,
    at_width,
    count_macs,
    count_parameters,
    export_onnx,
    extract,
    forward_at_widths,
    layers,
    verify_extraction,
)
from vsnn_lab.networks.gate import is_maskable
from vsnn_lab.networks.trunk import outputs_by_width

INPUTS, HIDDEN, ROWS, STEPS = 5, 6, 4, 7
KINDS = {VariableLSTM: nn.LSTM, VariableGRU: nn.GRU, VariableRNN: nn.RNN}
GATES = {VariableLSTM: 4, VariableGRU: 3, VariableRNN: 1}
OPTIONS = {
    "plain": {},
    "two layers": {"num_layers": 2, "batch_first": True},
    "both directions": {"num_layers": 3, "bidirectional": True, "bias": False},
}
CASES = [(kind, options) for kind in KINDS for options in OPTIONS.values()]
CASES += [
    (VariableRNN, {"nonlinearity": "relu", "num_layers": 2}),
    (VariableLSTM, {"proj_size": 1, "num_layers": 2, "bidirectional": True}),
    (VariableLSTM, {"proj_size": 1, "batch_first": True, "bias": False}),
]
AXES = {
    "hidden": lambda: (INPUTS, WidthControl(3).axis(HIDDEN)),
    "input": lambda: (Width(INPUTS), HIDDEN),
    "each": lambda: (Width(INPUTS), WidthControl(4, rounded=True).axis(HIDDEN)),
    "one knob": lambda: ((knob := WidthControl(3, rounded=True)).axis(INPUTS), knob.axis(HIDDEN)),
}
every_case = pytest.mark.parametrize(
    ("kind", "options"), CASES, ids=[f"{k.__name__} {o}" for k, o in CASES]
)
every_axis = pytest.mark.parametrize("axes", AXES.values(), ids=AXES)


def build(kind, options=None, axes=AXES["hidden"]):
    torch.manual_seed(0)
    return kind(*axes(), **options or {}).double().eval()


def inputs(layer):
    generator = torch.Generator().manual_seed(1)
    shape = (ROWS, STEPS, INPUTS) if layer.batch_first else (STEPS, ROWS, INPUTS)
    return torch.randn(shape, generator=generator).double()


def states(layer, rows=ROWS):
    """Return initial states of full size, in a tuple."""
    generator = torch.Generator().manual_seed(2)
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    sizes = [layer.proj_size or HIDDEN] + [HIDDEN] * isinstance(layer, nn.LSTM)
    return tuple(torch.randn(count, rows, n, generator=generator).double() for n in sizes)


def as_given(layer, parts):
    return tuple(parts) if isinstance(layer, nn.LSTM) else parts[0]


def as_tuple(parts):
    return parts if isinstance(parts, tuple) else (parts,)


def every_position(layer):
    """Yield positions of all knobs, and how many inputs and hidden units are kept."""
    axes = [layer.in_axis, layer.hidden_axis]
    controls = list({axis.control: None for axis in axes if isinstance(axis, Width)})
    for place in range(max(control.steps for control in controls)):
        turned = {control: 1 + (place * 5) % control.steps for control in controls}
        yield (
            turned,
            *(a.at(turned[a.control]) if isinstance(a, Width) else a for a in axes),
        )


def small_layer(layer, kept_inputs, kept_hidden):
    """Return torch's layer of that size, its weights written out of the large ones by hand."""
    kind = next(plain for variable, plain in KINDS.items() if isinstance(layer, variable))
    options = {
        name: getattr(layer, name)
        for name in ("num_layers", "bias", "batch_first", "bidirectional", "proj_size")
        if name != "proj_size" or layer.proj_size
    }
    if kind is nn.RNN:
        options["nonlinearity"] = layer.nonlinearity
    proj = layer.proj_size
    small = kind(kept_inputs, kept_hidden, **options).double().eval()
    directions = 2 if layer.bidirectional else 1
    for name, whole in layer.named_parameters():
        part = whole.detach()
        if not name.startswith("weight_hr"):
            gates = part.unflatten(0, (GATES[type(layer)], HIDDEN))
            part = gates[:, :kept_hidden].flatten(0, 1)
        if name.startswith("weight_ih_l0"):
            part = part[:, :kept_inputs]
        elif name.startswith("weight_ih") and not proj:
            part = part.unflatten(1, (directions, HIDDEN))[:, :, :kept_hidden].flatten(1)
        elif name.startswith("weight_hr") or (name.startswith("weight_hh") and not proj):
            part = part[:, :kept_hidden]
        setattr(small, name, nn.Parameter(part.clone()))
    return small


def close(found, expected, atol=1e-9):
    (output, ends), (other, others) = found, expected
    for one, two in zip((output, *as_tuple(ends)), (other, *as_tuple(others)), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=atol)


@every_case
@every_axis
def test_a_layer_at_a_width_is_torchs_small_one_and_so_is_its_cut(kind, options, axes):
    layer = build(kind, options, axes)
    x, hx = inputs(layer), states(layer)
    for turned, kept_inputs, kept_hidden in every_position(layer):
        small, cut = small_layer(layer, kept_inputs, kept_hidden), extract(layer, turned)
        narrow = x[..., :kept_inputs]
        few = [h if h.shape[-1] == layer.proj_size else h[..., :kept_hidden] for h in hx]
        assert type(cut) is KINDS[kind]
        assert (cut.input_size, cut.hidden_size) == (kept_inputs, kept_hidden)
        assert count_parameters(layer, turned) == sum(p.numel() for p in cut.parameters())
        expected = small(narrow)
        with at_width(layer, turned):
            close(layer(x), expected)
            close(layer(narrow), expected)
        close(cut(narrow), expected)
        expected = small(narrow, as_given(layer, few))
        with at_width(layer, turned):
            close(layer(x, as_given(layer, hx)), expected)
            close(layer(narrow, as_given(layer, few)), expected)
        close(cut(narrow, as_given(layer, few)), expected)


@every_case
@every_axis
def test_each_sequence_has_a_width_of_its_own(kind, options, axes):
    layer = build(kind, options, axes)
    x, hx, dim = inputs(layer), states(layer), 0 if layer.batch_first else 1
    turns = [turned for turned, *_ in every_position(layer)]
    turns = [turns[i % len(turns)] for i in (2, 0, 2, 1)]
    widths = {c: torch.tensor([turned[c] for turned in turns]) for c in turns[0]}
    for given in (None, as_given(layer, hx)):
        with at_width(layer, widths):
            output, ends = layer(x, given)
        for row, turned in enumerate(turns):
            one = None if given is None else [h[:, row : row + 1] for h in hx]
            with at_width(layer, turned):
                expected = layer(x.narrow(dim, row, 1), one and as_given(layer, one))
            found = output.narrow(dim, row, 1)
            directions = 2 if layer.bidirectional else 1
            units = expected[0].shape[-1] // directions
            found = found.unflatten(-1, (directions, -1))
            assert not found[..., units:].any()
            last = []
            for h, end in zip(as_tuple(ends), as_tuple(expected[1]), strict=True):
                assert not h[:, row, end.shape[-1] :].any()
                last.append(h[:, row : row + 1, : end.shape[-1]])
            close((found[..., :units].flatten(-2), tuple(last)), expected)


@every_case
def test_gradients_reach_what_is_kept_alone(kind, options):
    layer = build(kind, options, AXES["one knob"])
    for turned, kept_inputs, kept_hidden in every_position(layer):
        small, x = small_layer(layer, kept_inputs, kept_hidden), inputs(layer).requires_grad_()
        layer.zero_grad()
        with at_width(layer, turned):
            layer(x)[0].square().sum().backward()
        narrow = x.detach()[..., :kept_inputs].requires_grad_()
        small(narrow)[0].square().sum().backward()
        torch.testing.assert_close(x.grad[..., :kept_inputs], narrow.grad)
        assert not x.grad[..., kept_inputs:].any()
        # Written out of the large one in the same way as the weights are.
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(parameter.grad)
        gradients = small_layer(layer, kept_inputs, kept_hidden)
        for name, parameter in small.named_parameters():
            torch.testing.assert_close(gradients.get_parameter(name).detach(), parameter.grad)
        kept = sum(p.grad.ne(0).sum() for p in small.parameters())
        assert sum(p.grad.ne(0).sum() for p in layer.parameters()) == kept


@every_case
def test_packed_and_single_sequences_have_the_width_of_all(kind, options):
    layer = build(kind, options, AXES["each"])
    x, hx, lengths = inputs(layer), as_given(layer, states(layer)), torch.tensor([3, 7, 1, 5])
    packed = pack_padded_sequence(x, lengths, layer.batch_first, enforce_sorted=False)
    one = as_given(layer, [h[:, 0] for h in states(layer)])
    first = x[0] if layer.batch_first else x[:, 0]
    for turned, kept_inputs, kept_hidden in every_position(layer):
        cut = extract(layer, turned)
        narrow = packed._replace(data=packed.data[..., :kept_inputs])
        few = [h if h.shape[-1] == layer.proj_size else h[..., :kept_hidden] for h in as_tuple(hx)]
        with at_width(layer, turned):
            for given, wanted in ((None, None), (hx, as_given(layer, few))):
                (output, ends), (other, others) = layer(packed, given), cut(narrow, wanted)
                assert output.batch_sizes.equal(other.batch_sizes)
                close(
                    (pad_packed_sequence(output)[0], ends), (pad_packed_sequence(other)[0], others)
                )
            alone = [h[:, 0] for h in few]
            close(layer(first, one), cut(first[:, :kept_inputs], as_given(layer, alone)))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_trained_layer_becomes_variable_in_place(kind):
    torch.manual_seed(0)
    plain = KINDS[kind](INPUTS, HIDDEN, 2, bidirectional=True).double()
    layer = build(kind, {"num_layers": 2, "bidirectional": True})
    assert list(layer.state_dict()) == list(plain.state_dict())
    layer.load_state_dict(plain.state_dict())
    converted = copy.deepcopy(plain)
    converted.in_axis, converted.hidden_axis = INPUTS, WidthControl(3).axis(HIDDEN)
    converted.__class__ = kind
    x = inputs(layer)
    clones = copy.deepcopy(layer), pickle.loads(pickle.dumps(converted)), converted.to("cpu")
    for each in (layer, converted, *clones, converted.float().double()):
        each.load_state_dict(plain.state_dict())
        close(each(x), plain(x))
        assert all(a is b for a, b in zip(each._flat_weights, each.parameters(), strict=True))
        with at_width(each, 2):
            close(each(x), small_layer(layer, INPUTS, 4)(x))
        cut = extract(each, 2)
        assert vars(cut).keys() == vars(plain).keys()
        assert all(a is b for a, b in zip(cut._flat_weights, cut.parameters(), strict=True))
        for clone in (cut, copy.deepcopy(cut), pickle.loads(pickle.dumps(cut)), extract(cut, 1)):
            close(clone(x), small_layer(layer, INPUTS, 4)(x))
        assert repr(cut) == repr(small_layer(layer, INPUTS, 4))


def test_parameters_of_a_call_are_those_that_are_used():
    layer, other = build(VariableGRU), build(VariableGRU)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(2)
    parameters, x = dict(other.named_parameters()), inputs(layer)
    with at_width(layer, 2), at_width(other, 2):
        close(torch.func.functional_call(layer, parameters, (x,)), other(x))
    nn.utils.parametrize.register_parametrization(layer, "weight_hh_l0", nn.Tanh())
    with at_width(layer, 2):
        expected = layer(x)
    close(extract(layer, 2)(x), expected)


def test_half_precision_stays_and_dropout_alone_draws_numbers():
    layer = build(VariableLSTM, {"num_layers": 2, "dropout": 0.5})
    x, half, state = inputs(layer), copy.deepcopy(layer).bfloat16(), torch.get_rng_state()
    for width in (2, torch.tensor([1, 3, 2, 3])):
        with at_width(layer, width), at_width(half, width):
            output, ends = half(x.bfloat16())
            assert output.dtype == ends[0].dtype == torch.bfloat16
            close((output.double(), tuple(h.double() for h in ends)), layer(x), 0.05)
    assert torch.equal(torch.get_rng_state(), state)
    with at_width(layer.train(), 2):
        torch.manual_seed(3)
        once = layer(x)
        torch.manual_seed(3)
        close(extract(layer, 2)(x), once)
        assert not torch.equal(once[0], layer.eval()(x)[0])


class Tagger(nn.Module):
    """A layer of embeddings, a recurrent one and a linear one, all on one knob."""

    def __init__(self, kind=VariableLSTM, **options):
        super().__init__()
        torch.manual_seed(0)
        knob = WidthControl(3)
        self.embedding = layers.VariableEmbedding(9, knob.axis(3))
        self.recurrent = kind(knob.axis(3), knob.axis(6), batch_first=True, **options)
        self.tags = VariableLinear(self.recurrent.out_axis, 4)

    def forward(self, words):
        return self.tags(self.recurrent(self.embedding(words))[0])


WORDS = torch.randint(9, (ROWS, STEPS), generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.filterwarnings("ignore:.*_flat_weights.* were assigned during export")
def test_a_tagger_computes_and_counts_its_width(kind, bidirectional):
    model = Tagger(kind, bidirectional=bidirectional).double().eval()
    gates, directions = GATES[kind], 2 if bidirectional else 1
    widths = torch.tensor([1, 3, 2, 1])
    with at_width(model, widths):
        masked = model(WORDS)
    for position in (1, 2, 3):
        cut = extract(model, position)
        with at_width(model, position):
            expected = model(WORDS)
        torch.testing.assert_close(cut(WORDS), expected, rtol=0, atol=1e-9)
        assert verify_extraction(model, position, WORDS) < 1e-9
        rows = widths == position
        torch.testing.assert_close(masked[rows], expected[rows], rtol=0, atol=1e-9)
        hidden = 2 * position
        macs = STEPS * directions * (gates * hidden * (position + hidden) + 4 * hidden)
        assert count_macs(model, position, WORDS) == macs
        exported = torch.export.export(cut, (WORDS,)).module()
        torch.testing.assert_close(exported(WORDS), expected, rtol=0, atol=1e-9)
    assert not is_maskable(model)
    torch.testing.assert_close(forward_at_widths(model, WORDS, widths), masked)


def test_a_layer_that_returns_states_takes_no_shortcut():
    for kind in KINDS:
        layer = build(kind, {"batch_first": True})
        with pytest.raises(TypeError, match="model must return one tensor, got tuple"):
            forward_at_widths(layer, inputs(layer), torch.tensor([1, 2, 3, 1]))
        model, widths = nn.Sequential(nn.Linear(INPUTS, INPUTS), layer).double(), (1, 2, 3)
        assert not is_maskable(model)
        for width, found in zip(
            widths, outputs_by_width(model, inputs(layer), widths), strict=True
        ):
            with at_width(model, width):
                close(found, model(inputs(layer)))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_tagger_at_a_width_is_exported_and_compiled():
    model = Tagger(bidirectional=True).eval()
    with at_width(model, 2):
        expected = model(WORDS)
        exported = torch.export.export(model, (WORDS,)).module()
        torch.testing.assert_close(exported(WORDS), expected)
    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = torch.compile(model, backend=counter)
    with at_width(model, 2):
        torch.testing.assert_close(compiled(WORDS), expected)
        # The embedding and the tags; torch's compiler leaves recurrent layers out.
        assert counter.frame_count == 2
    for position in (3, 1):
        with at_width(model, position):
            torch.testing.assert_close(compiled(WORDS), model(WORDS))


@pytest.mark.filterwarnings(
    "ignore:.*_flat_weights.* were assigned during export",
    "ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning",
)
def test_a_tagger_at_a_width_runs_in_onnxruntime(tmp_path):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    model = Tagger(num_layers=2, bidirectional=True).eval()
    assert export_onnx(model, 2, tmp_path / "tagger.onnx", WORDS) < 1e-5


def test_what_cannot_be_is_refused():
    with pytest.raises(TypeError, match=r"hidden_size must be an integer at least 1, got .*2\.0"):
        VariableLSTM(4, 2.0)
    with pytest.raises(TypeError, match=r"proj_size must be an integer .* got .*Width\(2\)"):
        VariableLSTM(4, Width(4), proj_size=Width(2))
    with pytest.raises(ValueError, match=r"hidden_size must keep more units .* got 2 and 2"):
        VariableLSTM(4, WidthControl(2).axis(4), proj_size=2)
    converted = nn.LSTM(4, 6, proj_size=2)
    converted.in_axis, converted.hidden_axis = 4, Width(6)
    converted.__class__ = VariableLSTM
    with pytest.raises(ValueError, match=r"hidden_size must keep more units .* got 2 and 2"):
        extract(converted, 2)
    with (
        at_width(converted, 1),
        pytest.raises(ValueError, match=r"hidden_size must keep more units .* got 1 and 2"),
    ):
        converted(torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"nonlinearity must be one of 'tanh', 'relu', got 'sin'"):
        VariableRNN(4, Width(4), nonlinearity="sin")
    with pytest.raises(TypeError, match="bidirectional must be True or False, got 'yes'"):
        VariableGRU(4, Width(4), bidirectional="yes")
    layer = build(VariableLSTM, axes=AXES["each"])
    x, hx = inputs(layer), states(layer)
    widths = {layer.hidden_axis.control: torch.tensor([1, 2, 3, 4])}
    with at_width(layer, widths):
        packed = pack_padded_sequence(x, torch.tensor([7, 5, 5, 1]))
        with pytest.raises(ValueError, match=r"input must be a batch .* got .*PackedSequence"):
            layer(packed)
        with pytest.raises(ValueError, match=r"input must be a batch .* got shape \(7, 5\)"):
            layer(x[:, 0])
        with pytest.raises(ValueError, match=r"one sequence for each of the 4 widths, .* 3, 5\)"):
            layer(x[:, 1:])
    with at_width(layer, {layer.hidden_axis.control: 2}):
        with pytest.raises(ValueError, match="x must have 3 or 6 units in dimension -1 at width 2"):
            layer(x, (hx[0], hx[1][..., :4]))
        with pytest.raises(RuntimeError, match="gradient checkpointing must be off"):
            checkpoint(layer, x, use_reentrant=False)
        with pytest.raises(RuntimeError, match=r"Expected hidden\[0\] size \(1, 4, 3\)"):
            layer(x, states(layer, 3))
