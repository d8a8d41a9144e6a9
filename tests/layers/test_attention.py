"""Variable attention is torch's own layer with heads and entries of the embedding left out."""

import ast
import copy
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from vsnn_lab import (
    VariableMultiheadAttention,
    Width,
    WidthControl,
    at_width,
    count_macs,
    count_parameters,
    export_onnx,
    extract,
    verify_extraction,
)
from vsnn_lab.layers import plain_attention
from vsnn_lab.layers.plain_attention import CutMultiheadAttention

EMBEDDING, HEADS, ENTRIES, ROWS, QUERIES, KEYS = 8, 4, 2, 3, 5, 6
OPTIONS = {
    "packed": {},
    "without bias": {"bias": False, "batch_first": True},
    "keys and values of their own": {"kdim": 6, "vdim": 4},
    "variable keys and values": {"kdim": Width(6), "vdim": Width(4), "batch_first": True},
    "more keys": {"add_bias_kv": True, "add_zero_attn": True},
}
AXES = {
    "heads": lambda: (EMBEDDING, Width(HEADS)),
    "embedding": lambda: (WidthControl(3, rounded=True).axis(EMBEDDING), HEADS),
    "each": lambda: (WidthControl(5, rounded=True).axis(EMBEDDING), Width(HEADS)),
    "one knob": lambda: ((knob := WidthControl(HEADS)).axis(EMBEDDING), knob.axis(HEADS)),
}


def build(axes=AXES["heads"], **options):
    """Return a layer in float64, none of whose parameters are zero."""
    options = {
        name: Width(value.max_width) if isinstance(value, Width) else value
        for name, value in options.items()
    }
    layer = VariableMultiheadAttention(*axes(), **options).double().eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.6, generator=generator)
    return layer


def inputs(layer):
    """Return queries, keys and values of full size."""
    generator = torch.Generator().manual_seed(2)
    sizes = (QUERIES, EMBEDDING), (KEYS, layer.kdim), (KEYS, layer.vdim)
    order = (0, 1, 2) if layer.batch_first else (1, 0, 2)
    return tuple(
        torch.randn(ROWS, *size, generator=generator).double().permute(order) for size in sizes
    )


def masks():
    """List masks by their name; each sees the first key."""
    generator = torch.Generator().manual_seed(3)
    hidden = torch.rand(QUERIES, KEYS, generator=generator) > 0.6
    each = torch.randn(ROWS * HEADS, QUERIES, KEYS, generator=generator).double()
    padding = torch.arange(KEYS) >= torch.tensor([[6], [3], [5]])
    hidden[:, 0] = False
    return {
        "none": {},
        "padding": {"key_padding_mask": padding},
        "pairs": {"attn_mask": hidden},
        "pairs of each head": {"attn_mask": each},
        "both": {"attn_mask": each, "key_padding_mask": torch.zeros(ROWS, KEYS).double()},
        "causal": {"attn_mask": torch.ones(QUERIES, KEYS).triu(1).bool(), "is_causal": True},
    }


def every_position(layer):
    """Yield positions of all knobs, and what is kept: queries, keys, values, outputs, heads."""
    axes = [layer.in_axis, layer.key_axis, layer.value_axis, layer.out_axis, layer.heads_axis]
    controls = list({c: None for axis in axes if isinstance(axis, Width) for c in axis.controls})
    places = [range(1, control.steps + 1) for control in controls]
    for place in range(max(map(len, places))):
        turned = {
            c: each[(place * 3) % len(each)] for c, each in zip(controls, places, strict=True)
        }
        yield turned, [kept(axis, turned) for axis in axes]


def kept(axis, turned):
    return axis.at(turned[axis.control]) if isinstance(axis, Width) else axis


def first(x, units):
    return torch.cat((x[..., :units], torch.zeros_like(x[..., units:])), -1)


def reference(layer, given, sizes, **options):
    """Return what torch's layer of full size gives for zeros in place of all that is left out."""
    heads = sizes[4]
    plain = nn.MultiheadAttention(
        *(EMBEDDING, HEADS, 0.0, layer.in_proj_bias is not None, layer.bias_k is not None),
        *(layer.add_zero_attn, layer.kdim, layer.vdim, layer.batch_first),
    ).double()
    parameters = dict(layer.named_parameters())
    parameters["out_proj.weight"] = first(parameters["out_proj.weight"], heads * ENTRIES)
    given = [first(x, units) for x, units in zip(given, sizes, strict=False)]
    average = options.pop("average_attn_weights", True)
    output, weights = torch.func.functional_call(
        plain, parameters, tuple(given), options | {"average_attn_weights": False}
    )
    if weights is not None:
        weights = weights[:, :heads].mean(1) if average else weights[:, :heads]
    return output[..., : sizes[3]], weights


def close(found, expected):
    for one, other in zip(found, expected, strict=True):
        if other is None:
            assert one is None
        else:
            torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("axes", AXES.values(), ids=AXES)
@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
def test_a_layer_at_a_width_is_torchs_without_what_is_left_out_and_so_is_its_cut(options, axes):
    layer = build(axes, **options)
    given = inputs(layer)
    for turned, sizes in every_position(layer):
        cut = extract(layer, turned)
        narrow = [x[..., :units] for x, units in zip(given, sizes, strict=False)]
        assert count_parameters(layer, turned) == sum(p.numel() for p in cut.parameters())
        for mask in masks().values():
            for more in ({"average_attn_weights": bool(mask)}, {"need_weights": False}):
                expected = reference(layer, given, sizes, **mask | more)
                with at_width(layer, turned):
                    close(layer(*given, **mask | more), expected)
                    close(layer(*narrow, **mask | more), expected)
                options = mask | more
                if len(mask.get("attn_mask", ())) == ROWS * HEADS:
                    each = mask["attn_mask"].unflatten(0, (ROWS, HEADS))[:, : sizes[4]]
                    options = options | {"attn_mask": each.flatten(0, 1)}
                    with at_width(layer, turned):
                        close(layer(*given, **options), expected)
                close(cut(*narrow, **options), expected)
                # Torch's own kernels, where it has some for evaluation.
                with torch.no_grad():
                    close(cut(*narrow, **options), expected)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("axes", AXES.values(), ids=AXES)
def test_each_sample_has_a_width_of_its_own(options, axes):
    layer = build(axes, **options)
    given, dim = inputs(layer), 0 if layer.batch_first else 1
    turns = [turned for turned, _ in every_position(layer)][-ROWS:]
    widths = {c: torch.tensor([turned[c] for turned in turns]) for c in turns[0]}
    named = {name: mask for name, mask in masks().items() if name != "both"}
    kinds = [{"average_attn_weights": False}, {"need_weights": False}, *[{}] * len(named)]
    for more, mask in zip(kinds, named.values(), strict=False):
        with at_width(layer, widths):
            output, weights = layer(*given, **mask | more)
        for row, turned in enumerate(turns):
            one = [x.narrow(dim, row, 1) for x in given]
            of_row = dict(mask)
            if "key_padding_mask" in mask:
                of_row["key_padding_mask"] = mask["key_padding_mask"][row : row + 1]
            elif len(mask.get("attn_mask", ())) == ROWS * HEADS:
                of_row["attn_mask"] = mask["attn_mask"].unflatten(0, (ROWS, HEADS))[row]
            with at_width(layer, turned):
                expected = layer(*one, **of_row | more)
            units = expected[0].shape[-1]
            found = [output.narrow(dim, row, 1)[..., :units], weights]
            if weights is not None:
                found[1] = weights[row : row + 1]
            if not more.get("average_attn_weights", True):
                heads = expected[1].shape[1]
                assert not found[1][:, heads:].any()
                found[1] = found[1][:, :heads]
            close(found, expected)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("axes", AXES.values(), ids=AXES)
def test_gradients_reach_what_is_kept_alone(options, axes):
    layer = build(axes, **options)
    given = inputs(layer)
    for turned, sizes in every_position(layer):
        found = []
        for turned_layer in (True, False):
            layer.zero_grad()
            given = [x.detach().requires_grad_() for x in given]
            if turned_layer:
                with at_width(layer, turned):
                    output, weights = layer(*given)
            else:
                output, weights = reference(layer, given, sizes)
            (output.square().sum() + weights.square().sum()).backward()
            found.append([x.grad for x in (*layer.parameters(), *given)])
        close(*found)


def test_one_knob_for_both_gives_torchs_own_layer():
    layer = build(AXES["one knob"])
    for position in range(1, HEADS + 1):
        cut = extract(layer, position)
        small = nn.MultiheadAttention(2 * position, position).double()
        assert type(cut) is nn.MultiheadAttention
        small.load_state_dict(cut.state_dict())
        assert vars(small).keys() == vars(cut).keys()
        for name in ("embed_dim", "kdim", "vdim", "num_heads", "head_dim", "_qkv_same_embed_dim"):
            assert getattr(cut, name) == getattr(small, name)
        assert repr(cut) == repr(small)


def test_fewer_heads_of_the_whole_embedding_can_be_built_without_the_network():
    for options in ({"add_bias_kv": True}, {"kdim": 3, "vdim": 5, "bias": False}):
        layer = build(**options)
        cut, given = extract(layer, 3), inputs(layer)
        small = CutMultiheadAttention(EMBEDDING, 3, ENTRIES, **options).double().eval()
        assert type(cut) is CutMultiheadAttention
        small.load_state_dict(cut.state_dict())
        assert small.kdim == layer.kdim
        assert small.out_proj.in_features == cut.out_proj.in_features == 6
        for clone in (small, copy.deepcopy(cut), pickle.loads(pickle.dumps(cut)), extract(cut, 1)):
            close(clone(*given), cut(*given))


def test_the_cut_needs_nothing_but_torch():
    tree = ast.parse(Path(plain_attention.__file__).read_text())
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = [alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names]
    assert {name.split(".")[0] for name in (*modules, *names)} == {"math", "torch", "typing"}


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_single_sequence_is_attended_to(batch_first):
    layer = build(AXES["each"], batch_first=batch_first)
    x = torch.randn(QUERIES, EMBEDDING, generator=torch.Generator().manual_seed(4)).double()
    batch = x.unsqueeze(0 if batch_first else 1)
    padding = torch.arange(QUERIES) > 2
    for turned, sizes in every_position(layer):
        cut, narrow = extract(layer, turned), x[..., : sizes[0]]
        for average in (True, False):
            with at_width(layer, turned):
                output, weights = layer(
                    batch, batch, batch, padding.unsqueeze(0), average_attn_weights=average
                )
                alone = layer(x, x, x, padding, average_attn_weights=average)
            close(alone, (output.squeeze(0 if batch_first else 1), weights[0]))
            again = cut(narrow, narrow, narrow, padding, average_attn_weights=average)
            close(again, alone)


def test_a_trained_layer_becomes_variable_in_place():
    plain = nn.MultiheadAttention(EMBEDDING, HEADS, batch_first=True).double().eval()
    layer = VariableMultiheadAttention(EMBEDDING, Width(HEADS), batch_first=True).double().eval()
    assert list(layer.state_dict()) == list(plain.state_dict())
    layer.load_state_dict(plain.state_dict())
    given, converted = inputs(layer), copy.deepcopy(plain)
    axes = dict.fromkeys(layer.own_attributes, EMBEDDING) | {"heads_axis": Width(HEADS)}
    for name, axis in axes.items():
        setattr(converted, name, axis)
    converted.__class__ = VariableMultiheadAttention
    given = given[0], given[0], given[0]
    for each in (layer, converted, pickle.loads(pickle.dumps(converted))):
        assert torch.equal(each(*given)[0], plain(*given)[0])
        with at_width(each, 2):
            close(each(*given), reference(layer, given, (8, 8, 8, 8, 2)))
        close(extract(each, 2)(*given), reference(layer, given, (8, 8, 8, 8, 2)))


def test_heads_may_be_kept_by_groups_or_joined_of_parts():
    groups, low, high = WidthControl(2), Width(1), Width(3)
    layer = build(lambda: (EMBEDDING, groups.axis(2) * 2))
    given = inputs(layer)
    with at_width(layer, 1):
        close(layer(*given), reference(layer, given, (8, 8, 8, 8, 2)))
    joined = build(lambda: (EMBEDDING, low + high))
    weights = joined(*given, average_attn_weights=False)[1]
    turned = {low.control: 1, high.control: 2}
    masks_of_heads = torch.randn(ROWS * HEADS, QUERIES, KEYS).double()
    with at_width(joined, turned):
        _, found = joined(*given, average_attn_weights=False)
        torch.testing.assert_close(found, weights[:, :3])
        sliced = joined(*given, attn_mask=masks_of_heads)
    chosen = masks_of_heads.unflatten(0, (ROWS, HEADS))[:, :3].flatten(0, 1)
    close(extract(joined, turned)(*given, attn_mask=chosen), sliced)


# Encoder and decoder layers of torch, which read attributes of their attention.
def transformer_layers(kind, axes):
    for norm_first in (False, True):
        layer = kind(EMBEDDING, HEADS, 16, batch_first=True, norm_first=norm_first, dropout=0.0)
        for name, module in list(layer.named_children()):
            if isinstance(module, nn.MultiheadAttention):
                setattr(layer, name, VariableMultiheadAttention(*axes, batch_first=True))
        for parameter in layer.parameters():
            nn.init.normal_(parameter, std=0.4, generator=torch.Generator().manual_seed(5))
        yield layer.double().eval()


@pytest.mark.filterwarnings("ignore:.*nested tensors is in prototype stage")
def test_torchs_encoder_takes_no_fast_path_past_a_width():
    x = torch.randn(ROWS, QUERIES, EMBEDDING, generator=torch.Generator().manual_seed(6)).double()
    padding = torch.arange(QUERIES) >= torch.tensor([[5], [3], [4]])
    for layer in transformer_layers(nn.TransformerEncoderLayer, (EMBEDDING, Width(HEADS))):
        stack = nn.TransformerEncoder(layer, 1, enable_nested_tensor=not layer.norm_first).eval()
        for position in (1, 2, 4):
            cut = extract(stack, position)
            for options in ({}, {"src_key_padding_mask": padding}):
                with at_width(stack, position):
                    expected = stack(x, **options).detach()
                    with torch.no_grad():
                        found = stack(x, **options)
                seen = ~padding if options else torch.ones_like(padding)
                with torch.no_grad():
                    close((found[seen], cut(x, **options)[seen]), (expected[seen],) * 2)
            assert verify_extraction(stack, position, x) < 1e-9
        expected = stack(x, src_key_padding_mask=padding).detach()
        with torch.no_grad():
            found = stack(x, src_key_padding_mask=padding)
        close([found[~padding]], [expected[~padding]])


def test_torchs_decoder_attends_to_a_memory():
    generator = torch.Generator().manual_seed(7)
    x, memory = (torch.randn(ROWS, n, EMBEDDING, generator=generator).double() for n in (5, 6))
    causal = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    for layer in transformer_layers(nn.TransformerDecoderLayer, (EMBEDDING, Width(HEADS))):
        for position in (1, 3):
            with at_width(layer, position):
                expected = layer(x, memory, causal, tgt_is_causal=True)
            cut = extract(layer, position)
            close([cut(x, memory, causal, tgt_is_causal=True)], [expected])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays(dtype):
    layer, whole = build(batch_first=True).to(dtype), build(batch_first=True)
    given = inputs(layer)
    halves = [x.to(dtype) for x in given]
    for options in ({}, {"need_weights": False}):
        for width in (2, torch.tensor([1, 2, 4])):
            with at_width(layer, width), at_width(whole, width):
                found, expected = layer(*halves, **options), whole(*given, **options)
            assert found[0].dtype == dtype
            torch.testing.assert_close(found[0].double(), expected[0], rtol=0.1, atol=0.1)


def test_autocast_computes_in_half_precision_as_torch_does():
    plain = nn.MultiheadAttention(EMBEDDING, HEADS).eval()
    layer = VariableMultiheadAttention(EMBEDDING, Width(HEADS)).eval()
    layer.load_state_dict(plain.state_dict())
    x = torch.randn(QUERIES, ROWS, EMBEDDING)
    for mask in (None, torch.zeros(QUERIES, QUERIES)):
        for needed in (True, False):
            options = {"attn_mask": mask, "need_weights": needed}
            with torch.autocast("cpu", torch.bfloat16), at_width(layer, 2):
                expected, cut = plain(x, x, x, **options), extract(layer, 2)(x, x, x, **options)
                for one, two, three in zip(layer(x, x, x, **options), cut, expected, strict=True):
                    assert one is three is None or one.dtype == two.dtype == three.dtype


def test_a_recomputed_weight_is_a_parameter_of_the_cut():
    layer = build()
    nn.utils.parametrizations.weight_norm(layer, "in_proj_weight")
    given = inputs(layer)
    with at_width(layer, 2):
        expected = layer(*given)
    cut = extract(layer, 2)
    assert [*dict(cut.named_parameters())] == [*dict(extract(build(), 2).named_parameters())]
    close(cut(*given), expected)


def test_dropout_acts_in_training_alone_and_nothing_else_draws_numbers():
    layer = build(batch_first=True, dropout=0.5)
    given, state = inputs(layer), torch.get_rng_state()
    cut = extract(layer, 2)
    with at_width(layer, 2):
        expected = layer(*given)
    close(cut(*given), expected)
    assert torch.equal(torch.get_rng_state(), state)
    for options in ({}, {"need_weights": False}):
        with at_width(layer.train(), 2):
            torch.manual_seed(8)
            one = layer(*given, **options)
            torch.manual_seed(8)
            close(extract(layer, 2)(*given, **options), one)
        assert not torch.equal(one[0], expected[0])


def test_products_are_those_of_the_cut():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = build(batch_first=True)

        def forward(self, x):
            return self.inner(x, x, x)[0]

    model, x = Attention(), torch.randn(2, QUERIES, EMBEDDING).double()
    for position in range(1, HEADS + 1):
        units = position * ENTRIES
        expected = QUERIES * (4 * EMBEDDING * units + 2 * QUERIES * units)
        assert count_macs(model, position, x) == expected
    assert verify_extraction(model, 3, x) < 1e-9


def test_a_layer_at_a_width_is_compiled_and_exported():
    class SelfAttention(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = build(AXES["heads"], batch_first=True)

        def forward(self, x):
            return self.inner(x, x, x, need_weights=False)[0]

    torch._dynamo.reset()
    model, x = SelfAttention(), torch.randn(2, QUERIES, EMBEDDING).double()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for position in (4, 1, 3):
        with at_width(model, position):
            expected = model(x)
            close([compiled(x), torch.export.export(model, (x,)).module()(x)], [expected] * 2)
        cut = torch.export.export(extract(model, position), (x,)).module()
        close([cut(x)], [expected])


@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")
def test_a_cut_with_an_inner_size_of_its_own_runs_in_onnxruntime(tmp_path):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    layers = transformer_layers(nn.TransformerEncoderLayer, (EMBEDDING, Width(HEADS)))
    model, x = next(layers).float(), torch.randn(2, QUERIES, EMBEDDING)
    assert export_onnx(model, 3, tmp_path / "encoder.onnx", x) < 1e-5


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"embed_dim must be a multiple of num_heads .* 8 and 3"):
        VariableMultiheadAttention(8, Width(3))
    with pytest.raises(ValueError, match=r"kdim must be the axis of embed_dim .* Width\(8\) and 8"):
        VariableMultiheadAttention(8, 4, kdim=Width(8))
    with pytest.raises(TypeError, match=r"num_heads must be an integer at least 1, got .*2\.0"):
        VariableMultiheadAttention(8, 2.0)
    with pytest.raises(TypeError, match="add_bias_kv must be True or False, got 'yes'"):
        VariableMultiheadAttention(8, 4, add_bias_kv="yes")
    with pytest.raises(ValueError, match=r"dropout must lie in \[0, 1\], got 2"):
        VariableMultiheadAttention(8, 4, dropout=2)
    layer, x = build(batch_first=True), torch.zeros(ROWS, QUERIES, EMBEDDING).double()
    with at_width(layer, torch.tensor([1, 2])):
        with pytest.raises(ValueError, match="one row for each of the 2 widths"):
            layer(x, x, x)
        with pytest.raises(ValueError, match=r"query must be a batch .* got shape \(5, 8\)"):
            layer(x[0], x[0], x[0])
    with at_width(layer, 2):
        with pytest.raises(ValueError, match=r"attn_mask must have shape .* got shape \(9, 5, 5\)"):
            layer(x, x, x, attn_mask=torch.zeros(9, 5, 5))
        with pytest.raises(ValueError, match=r"key_padding_mask must .* got shape \(2, 5\)"):
            layer(x, x, x, torch.zeros(2, 5))
        with pytest.raises(ValueError, match=r"attn_mask must be the causal mask .* got None"):
            layer(x, x, x, is_causal=True)
        with pytest.raises(RuntimeError, match="gradient checkpointing must be off"):
            checkpoint(layer, x, x, x, use_reentrant=False)
    nn.utils.prune.l1_unstructured(layer.out_proj, "weight", 0.5)
    with pytest.raises(ValueError, match=r"out_proj.weight of the layer '' must be a parameter"):
        extract(layer, 2)
