"""A language model is, at every width, with a cache or without, the plain one of that size."""

import copy
import math
import pickle
from itertools import islice

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from vsnn_lab import (
    LanguageModel,
    Width,
    WidthControl,
    at_width,
    continuation,
    count_parameters,
    export_onnx,
    extract,
    forward_at_widths,
    joint_positions,
    load_weights,
    save_weights,
)
from vsnn_lab.networks.plain_language_model import KeyValueCache, PlainLanguageModel
from vsnn_lab.widths import width_controls

VOCABULARY, STEPS = 17, 3


def fh(knob, queries=1):
    return {"width": 12, "heads": knob.axis(3), "ffn": knob.axis(9), "queries_per_head": queries}


def everything(knob, queries=1):
    return fh(knob, queries) | {"width": knob.axis(12)}


def by_layer(knob, queries=1):
    other = WidthControl(STEPS)
    return fh(knob, queries) | {"ffn": [knob.axis(9), other.axis(6)], "heads": [3, Width(3)]}


SIZES = [fh, everything, by_layer]


def variable(sizes=everything, queries=1, gains="position"):
    options = sizes(WidthControl(STEPS), queries)
    model = LanguageModel(VOCABULARY, layers=2, head_dim=4, gains=gains, **options).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.add_(torch.randn_like(parameter) / 5)
    return model


def tokens(rows=3, length=6):
    return torch.randint(VOCABULARY, (rows, length))


def written_by_hand(model, ids):
    """Compute a plain model's logits position by position, from its tensors alone."""
    state, rows = model.state_dict(), []
    half, groups = model.head_dim // 2, model.queries_per_head

    def norm(x, name):
        return x / (x.square().mean() + 1e-5).sqrt() * state[f"{name}.weight"]

    def turned(x, at):
        pairs = []
        for index in range(half):
            angle = at * model.base ** (-2 * index / model.head_dim)
            cos, sin = math.cos(angle), math.sin(angle)
            pairs.append((x[index] * cos - x[index + half] * sin,
                          x[index + half] * cos + x[index] * sin))  # fmt: skip
        return torch.stack([pair[side] for side in (0, 1) for pair in pairs])

    for row in ids.tolist():
        past = [[] for _ in model.layers]
        outputs = []
        for at, token in enumerate(row):
            x = state["embed_tokens.weight"][token]
            for layer, read in enumerate(past):
                name = f"layers.{layer}"
                y = norm(x, f"{name}.input_layernorm")
                q, k, v = (
                    (state[f"{name}.self_attn.{kind}_proj.weight"] @ y).split(model.head_dim)
                    for kind in "qkv"
                )
                read.append(([turned(key, at) for key in k], v))
                heads = []
                for head, query in enumerate(q):
                    query = turned(query, at)
                    scores = torch.stack([keys[head // groups] @ query for keys, _ in read])
                    shares = (scores / math.sqrt(model.head_dim)).softmax(0)
                    values = torch.stack([values[head // groups] for _, values in read])
                    heads.append(shares @ values)
                x = x + state[f"{name}.self_attn.o_proj.weight"] @ torch.cat(heads)
                y = norm(x, f"{name}.post_attention_layernorm")
                gate, up = (state[f"{name}.mlp.{kind}_proj.weight"] @ y for kind in ("gate", "up"))
                x = x + state[f"{name}.mlp.down_proj.weight"] @ (gate * gate.sigmoid() * up)
            outputs.append(state["embed_tokens.weight"] @ norm(x, "norm"))
        rows.append(torch.stack(outputs))
    return torch.stack(rows)


@pytest.mark.parametrize("queries", [1, 2])
@pytest.mark.parametrize("sizes", SIZES)
def test_every_width_is_its_cut_and_what_is_written_by_hand(sizes, queries):
    model, ids = variable(sizes, queries), tokens()
    for position in range(1, STEPS + 1):
        turn = joint_positions(model, position)
        cut = extract(model, turn)
        with at_width(model, turn):
            found = model(ids)
        torch.testing.assert_close(found, cut(ids), rtol=0, atol=1e-12)
        # Rotary angles have single precision.
        torch.testing.assert_close(found, written_by_hand(cut, ids), rtol=0, atol=1e-6)


@pytest.mark.parametrize("gains", ["position", "octave", None])
def test_a_cut_holds_torchs_layers_and_files_that_need_nothing_else(gains):
    cut = extract(variable(gains=gains), 2)
    assert type(cut) is PlainLanguageModel
    for module in cut.modules():
        place = type(module).__module__
        assert place.startswith("torch.") or place == PlainLanguageModel.__module__
    plain = PlainLanguageModel(VOCABULARY, cut.width, cut.heads, cut.ffn, head_dim=4).double()
    plain.load_state_dict(cut.state_dict())
    ids = tokens()
    assert torch.equal(plain(ids), cut(ids))
    assert [cut.width, *cut.heads, *cut.ffn] == [8, 2, 2, 6, 6]


@pytest.mark.parametrize("sizes", SIZES)
def test_tokens_read_in_parts_with_a_cache_are_as_read_at_once(sizes):
    model, ids = variable(sizes, 2), tokens(length=9)
    for position in range(1, STEPS + 1):
        turn = joint_positions(model, position)
        for network in (model, extract(model, turn)):
            cache = KeyValueCache()
            with torch.no_grad(), at_width(model, turn):
                expected = network(ids)
                parts = [network(part, cache) for part in ids.split([3, 1, 4, 1], 1)]
            torch.testing.assert_close(torch.cat(parts, 1), expected, rtol=0, atol=1e-12)


def test_tokens_that_a_cache_forgets_were_never_read():
    model, ids = variable(), tokens(length=8)
    other = tokens(length=3)
    cache = KeyValueCache()
    with torch.no_grad():
        expected = model(torch.cat((ids[:, :5], other), 1))
        model(ids, cache)
        cache.truncate(5)
        found = model(other, cache)
    torch.testing.assert_close(found, expected[:, 5:], rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match=r"length must lie in 0\.\.8, got 9"):
        cache.truncate(9)


def test_samples_with_widths_of_their_own_are_as_each_alone():
    for sizes in (fh, everything):
        model, ids = variable(sizes, 2), tokens(4)
        widths = torch.tensor([3, 1, 2, 1])
        with at_width(model, widths):
            found = model(ids)
        torch.testing.assert_close(forward_at_widths(model, ids, widths), found)
        for row, width in enumerate(widths.tolist()):
            with at_width(model, width):
                torch.testing.assert_close(found[row], model(ids[row : row + 1])[0])


def test_samples_with_widths_of_their_own_read_with_a_cache_too():
    model, ids, cache = variable(), tokens(3), KeyValueCache()
    with torch.no_grad(), at_width(model, torch.tensor([2, 1, 3])):
        expected = model(ids)
        parts = [model(part, cache) for part in ids.split(2, 1)]
    torch.testing.assert_close(torch.cat(parts, 1), expected)


def test_no_gradient_reaches_what_a_width_does_not_keep():
    model, ids = variable(), tokens()
    with at_width(model, 2):
        model(ids).square().mean().backward()
    mlp = model.layers[0].mlp
    assert mlp.down_proj.weight.grad[:8, :6].abs().min() > 0
    assert not mlp.down_proj.weight.grad[8:].any()
    assert not mlp.down_proj.weight.grad[:, 6:].any()
    gain = model.norm.gain.grad.abs().sum(1)
    assert (gain > 0).tolist() == [False, True, False]


def test_a_token_sees_nothing_of_those_after_it():
    model, ids = variable(), tokens()
    other = ids.clone()
    other[:, 4:] = (other[:, 4:] + 1) % VOCABULARY
    torch.testing.assert_close(model(ids)[:, :4], model(other)[:, :4], rtol=0, atol=1e-14)
    assert not torch.allclose(model(ids)[:, 4:], model(other)[:, 4:])


def test_the_head_stays_tied_in_copies_cuts_and_files(tmp_path):
    model = variable()
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), extract(model, 2)]
    for network in (model, *copies):
        assert network.lm_head.weight is network.embed_tokens.weight
    expected = sum({id(each): each.numel() for each in copies[-1].parameters()}.values())
    assert count_parameters(model, 2) == expected
    path = save_weights(model, tmp_path / "cut.safetensors", width=2)
    held = load_file(path)
    assert torch.equal(held["lm_head.weight"], held["embed_tokens.weight"])
    cut = copies[-1]
    plain = PlainLanguageModel(VOCABULARY, cut.width, cut.heads, cut.ffn, head_dim=4).double()
    load_weights(plain, path)
    assert plain.lm_head.weight is plain.embed_tokens.weight
    ids = tokens()
    assert torch.equal(plain(ids), cut(ids))
    save_weights(model, tmp_path / "whole.safetensors")
    other = variable()
    load_weights(other, tmp_path / "whole.safetensors")
    assert torch.equal(other(ids), model(ids))


# Torch's own, while it exports.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")
@pytest.mark.parametrize("queries", [1, 2])
def test_onnx_takes_any_number_of_sequences_of_any_length(queries, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = variable(queries=queries).float()
    path = tmp_path / "model.onnx"
    assert export_onnx(model, 2, path, tokens(), free_dims=(1,)) < 1e-5
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    for rows, length in ((1, 1), (5, 30), (2, 3)):
        ids = tokens(rows, length)
        (found,) = session.run(None, {taken.name: ids.numpy()})
        expected = extract(model, 2)(ids).detach()
        torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-5)


def test_free_dims_are_dimensions_of_the_inputs(tmp_path):
    model = variable().float()
    with pytest.raises(ValueError, match="free_dims must be dimensions of every input, got"):
        export_onnx(model, 2, tmp_path / "m.onnx", tokens(), free_dims=(2,))
    with pytest.raises(ValueError, match="free_dims must be at least 1, got 0"):
        export_onnx(model, 2, tmp_path / "m.onnx", tokens(), free_dims=(0,))


def test_a_continuation_takes_the_likeliest_token_again_and_again():
    model, ids = variable(), tokens(2, 3)
    with at_width(model, 2):
        found = torch.stack([*islice(continuation(model, ids), 5)], 1)
        for _ in range(5):
            ids = torch.cat((ids, model(ids)[:, -1].argmax(-1, keepdim=True)), 1)
    assert torch.equal(found, ids[:, 3:])


def test_a_continuation_is_drawn_from_what_the_model_says(generator):
    model, ids = variable(), tokens(1, 3)
    with torch.no_grad():
        shares = model(ids)[0, -1].div(0.5).softmax(-1)
    drawn = [
        next(continuation(model, ids, temperature=0.5, generator=generator)) for _ in range(300)
    ]
    counts = torch.cat(drawn).bincount(minlength=VOCABULARY) / len(drawn)
    assert (counts - shares).abs().max() < 4 * math.sqrt(0.25 / len(drawn))
    with pytest.raises(
        ValueError, match="temperature must be a finite number of at least 0, got -1"
    ):
        continuation(model, ids, temperature=-1)
    with pytest.raises(ValueError, match=r"temperature must be 0 or at least 0\.01, got 0\.001"):
        continuation(model, ids, temperature=0.001)


def test_a_model_without_a_width_is_built_of_torchs_layers():
    model = LanguageModel(VOCABULARY, layers=1, width=8, heads=2, ffn=12, gains=None)
    places = {type(module).__module__ for module in model.modules() if module is not model}
    assert all(p.startswith("torch.") or p == PlainLanguageModel.__module__ for p in places)
    ids = tokens()
    loss = F.cross_entropy(model(ids).flatten(0, 1), ids.flatten())
    assert abs(loss - math.log(VOCABULARY)) < 0.3


def test_a_model_of_one_width_has_one_gain():
    model = LanguageModel(VOCABULARY, layers=1, width=8, heads=2, ffn=12)
    assert model.norm.gain.shape == (1, 8)
    assert len(width_controls(model)) == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"heads": 5}, ValueError, "width must be a multiple of the 5 heads of queries, got 12"),
        ({"heads": 4}, ValueError, "head_dim must be even for rotary positions, got 3"),
        ({"heads": [2]}, ValueError, "heads must name one axis for each of 2 layers, got 1"),
        ({"ffn": "many"}, TypeError, r"ffn must be an integer at least 1, got 'many'"),
        ({"width": 0}, ValueError, "width must be at least 1, got 0"),
        ({"layers": 0}, ValueError, "layers must be at least 1, got 0"),
        ({"gains": "width"}, ValueError, "gains must be .*position"),
        ({"base": 0.5}, ValueError, "base must be a finite number of at least 1, got 0.5"),
        ({"queries_per_head": 1.0}, TypeError, "queries_per_head must be an integer"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        LanguageModel(VOCABULARY, **{"layers": 2, "width": 12, "heads": 3, "ffn": 9} | options)


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([[1, 2]], TypeError, "tokens must be a tensor, got list"),
        (torch.zeros(2, 3), ValueError, r"tokens must be integers of shape \(batch, time\)"),
        (torch.zeros(3, dtype=torch.long), ValueError, r"got torch.int64 of shape \(3,\)"),
        (torch.zeros(3, 0, dtype=torch.long), ValueError, r"at least one a row"),
        (torch.tensor([[VOCABULARY]]), ValueError, r"tokens must lie in 0\.\.16, got 17"),
        (torch.tensor([[-1]]), ValueError, r"tokens must lie in 0\.\.16, got -1"),
    ],
)
def test_what_is_no_batch_of_tokens_is_refused(ids, error, message):
    with pytest.raises(error, match=message):
        variable()(ids)


def test_a_cache_is_refused_at_another_width_for_other_rows_and_with_gradients():
    model, cache = variable(by_layer), KeyValueCache()
    with pytest.raises(ValueError, match="cache must be None where gradients are recorded"):
        model(tokens(), cache)
    with torch.no_grad():
        with at_width(model, joint_positions(model, 2)):
            model(tokens(3), cache)
        # Knobs that leave keys as they are count, too: what was read would be another's.
        with pytest.raises(
            ValueError, match=r"width that it stands at, \(.*\), got that of another"
        ):
            model(tokens(3), cache)
        cut, same = (extract(model, joint_positions(model, 2)) for _ in range(2))
        of_cut = KeyValueCache()
        cut(tokens(), of_cut)
        with pytest.raises(ValueError, match="cache must be this model's at the width"):
            same(tokens(), of_cut)
        with (
            at_width(model, joint_positions(model, 2)),
            pytest.raises(
                ValueError, match=r"cache must hold \(1, 3\) rows and heads, got \(3, 3\)"
            ),
        ):
            model(tokens(1), cache)


def test_half_precision_turns_by_angles_of_single_precision():
    model = LanguageModel(VOCABULARY, layers=1, width=8, heads=2, ffn=12)
    whole = model._rotation(1000, 3, torch.zeros(1))
    assert torch.equal(model._rotation(1000, 3, torch.zeros(1).bfloat16()), whole.bfloat16())


@pytest.mark.parametrize("gains", ["position", None])
def test_compiled_all_widths_together_take_two_graphs(gains):
    knob = WidthControl(6)
    sizes = {"width": knob.axis(24), "heads": knob.axis(6), "ffn": knob.axis(12)}
    model = LanguageModel(VOCABULARY, layers=1, gains=gains, **sizes)
    torch._dynamo.reset()
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph.forward

    fast, ids = torch.compile(model, backend=count), tokens()
    with torch.no_grad():
        for position in (6, 3, 2, 5, 4):
            with at_width(model, position):
                torch.testing.assert_close(fast(ids), model(ids))
    assert len(graphs) == 2
