"""What is said of a network that was made variable: what varies, what stays, where and why."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vsnn_lab import (
    MLP,
    ConvNet,
    Width,
    WidthControl,
    explain,
    extract,
    fit,
    make_variable,
    save_weights,
)
from vsnn_lab.figures import network_graph
from vsnn_lab.layers import VariableLinear
from vsnn_lab.networks.notes import NOTES


class Attending(nn.Module):
    """A block whose attention scales by the size of what it mixes."""

    def __init__(self, size: int):
        super().__init__()
        self.norm, self.fused = nn.LayerNorm(size), nn.Linear(size, 3 * size)
        self.first, self.second = nn.Linear(size, 32), nn.Linear(32, size)

    def forward(self, x):
        x = x + F.scaled_dot_product_attention(*self.fused(self.norm(x)).chunk(3, -1))
        return x + self.second(F.gelu(self.first(x)))


class Reader(nn.Module):
    """Attending blocks, a vector of its own, a layer twice, a cell, and one that is not called."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(3, 8)
        self.place = nn.Parameter(torch.zeros(8))
        self.blocks = nn.Sequential(*[Attending(8) for _ in range(4)])
        self.hidden, self.twice, self.last = nn.Linear(8, 6), nn.Linear(6, 6), nn.Linear(6, 4)
        self.memory, self.unused, self.out = nn.RNNCell(4, 5), nn.Linear(2, 2), nn.Linear(5, 2)

    def forward(self, x):
        x = self.hidden(self.blocks(self.embed(x) + self.place).mean(1))
        x = self.last(self.twice(self.twice(x).relu()))
        return self.out(self.memory(x))


@pytest.fixture(scope="module")
def reader():
    return make_variable(Reader(), torch.randn(2, 4, 3), exclude=["blocks.1.first"])


def by_name(found):
    return {row.name: row for row in found.rows}


def reasons(found):
    return {reason.reason: reason.layers for reason in found.fixed}


def test_a_row_says_what_a_layer_takes_and_gives_and_how_much_of_it_varies():
    model = nn.Sequential(
        nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 4, 10)
    )
    found = explain(make_variable(model, torch.randn(2, 3, 4, 4), steps=16))
    assert [row[:5] for row in found.rows] == [
        ("0", "Conv2d", "3 -> 4..64 channels", (1,), 3 * 64 * 9 + 64),
        ("1", "BatchNorm2d", "4..64 channels", (1,), 128),
        ("4", "Linear", "16..256 -> 10 features", (1,), 2570),
    ]
    assert [row.share for row in found.rows] == [1, 1, pytest.approx(2560 / 2570)]
    assert [knob[:] for knob in found.knobs] == [(1, 16, False, 3)]
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert found.share == pytest.approx(1 - 10 / found.parameters)
    assert reasons(found) == {"the network's output": ("4",)}


def test_axes_that_are_joined_repeated_or_rounded_are_said_part_by_part():
    narrow, rounded = Width(6), WidthControl(4, rounded=True).axis(10)
    net = nn.Sequential(
        nn.Embedding(9, 5), VariableLinear(5 + narrow, rounded), nn.LayerNorm(10), nn.PReLU(3)
    )
    assert [row.axes for row in explain(net).rows] == [
        "9 rows -> 5 features",
        "5 + 1..6 -> 3..10 features",
        "10 features",
        "3 channels",
    ]
    assert explain(net).rows[1].knobs == (1, 2)


def test_reasons_that_differ_in_a_number_are_one(reader):
    found = explain(reader)
    # Before the first block, too: what it makes is what the blocks add to.
    stay = ("", "embed", *(f"blocks.{place}.fused" for place in range(4)))
    assert reasons(found)["scaled_dot_product_attention behind 'blocks.*.fused'"] == stay
    assert f"6 layers (the module itself, 'embed', ... '{stay[5]}'): scaled" in str(found)


def test_what_stays_has_its_reason(reader):
    found = reasons(explain(reader))
    assert found["RNNCell has no variable form"] == ("memory",)
    assert found["excluded"] == ("blocks.1.first",)
    assert found["not called on the example"] == ("unused",)
    assert "out" in found["the network's output"]
    rows = by_name(explain(reader))
    assert rows["blocks.0.first"].knobs == rows["twice"].knobs == (1,)
    assert rows["memory"].share == rows["blocks.1.first"].share == 0
    assert rows["blocks.0.norm"].reason == "what it is given stays"


def test_the_picture_has_each_call_and_what_joins_paths(reader):
    found = explain(reader)
    names = [node.name for node in found.nodes]
    assert names.count("twice") == 2
    assert "unused" not in names
    knobs = {node.name: node.knob for node in found.nodes}
    assert knobs["twice"] == knobs["blocks.0.first"] == 1
    assert knobs["blocks.0.fused"] is knobs["+"] is knobs["input"] is None
    pairs = {(names[first], names[second]) for first, second in found.edges}
    assert {("input", "embed"), ("embed", ""), ("last", "memory"), ("out", "output")} <= pairs
    assert {("", "blocks.0.norm"), ("blocks.0.norm", "blocks.0.fused"), ("", "+")} <= pairs
    assert all(first < second for first, second in found.edges)
    assert len(network_graph(found.nodes, found.edges).layout.annotations) == len(names)


def test_the_time_and_whether_it_is_proven_are_said():
    model, x = nn.Sequential(nn.Linear(3, 16), nn.Linear(16, 2)), torch.randn(2, 3)
    proven, not_proven = (
        explain(make_variable(model, x)),
        explain(make_variable(model, verify=False)),
    )
    assert proven.proven
    assert proven.converted_seconds > 0
    assert proven.proof_seconds > 0
    assert "s and proven in" in str(proven)
    assert not not_proven.proven
    assert not_proven.proof_seconds is None
    assert "s; not proven." in str(not_proven)


def test_a_network_that_cannot_be_looked_at_in_training_says_so():
    class Evaluated(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(3, 16), nn.Linear(16, 2)

        def forward(self, x):
            if self.training:
                raise NotImplementedError("no training")
            return self.second(self.first(x))

    found = explain(make_variable(Evaluated()))
    assert found.training == "no training"
    assert "Not looked at in training mode: no training" in str(found)


def test_all_that_comes_from_the_network_is_escaped():
    class Marked(nn.Module):
        def __init__(self):
            super().__init__()
            self.add_module("<b>&", nn.Linear(3, 16))
            self.out = nn.Linear(16, 2)

        def forward(self, x):
            return self.out(getattr(self, "<b>&")(x).softmax(-1) * 2)

    model = nn.Sequential(Marked(), nn.Linear(2, 16), nn.Linear(16, 1))
    page = explain(make_variable(model))._repr_html_()
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;" in page
    assert page.count("<tr>") == 5
    assert "softmax behind" in page


def test_many_layers_alike_are_one_line_and_many_knobs_a_range():
    layers = [nn.Linear(4, 16)]
    for _ in range(30):
        layers += [nn.Linear(16, 16), nn.LayerNorm(16)]
    model = nn.Sequential(*layers, nn.Linear(16, 2))
    text = str(explain(make_variable(model, knobs="per_layer", verify=False)))
    assert "31 knobs of 16 to 16 positions" in text
    shared = explain(make_variable(model, verify=False))
    assert len(shared.rows) == 62
    lines = str(shared).splitlines()
    assert any(line.startswith("1 and 29 alike") and "8,160" in line for line in lines)
    assert len(lines) < 15


def clones(net):
    stream = io.BytesIO()
    torch.save(net, stream)
    stream.seek(0)
    return [
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
        torch.load(stream, weights_only=False),
    ]


def test_copies_keep_it_and_cuts_files_and_state_know_nothing_of_it(tmp_path):
    model = nn.Sequential(nn.Linear(3, 16), nn.Linear(16, 2))
    net = make_variable(model)
    for clone in clones(net):
        assert explain(clone) == explain(net)
    assert [*net.state_dict()] == [*model.state_dict()]
    cut = extract(net, 4)
    assert NOTES in vars(net)
    assert NOTES not in vars(cut)
    assert b"vsnn_lab" not in pickle.dumps(cut)
    save_weights(net, tmp_path / "net.safetensors")
    assert NOTES.encode() not in (tmp_path / "net.safetensors").read_bytes()
    with pytest.raises(ValueError, match="got a plain Sequential; make_variable"):
        explain(cut)
    assert explain(make_variable(cut)).parameters == 3 * 4 + 4 + 4 * 2 + 2


def test_a_run_goes_on_whatever_time_conversion_took(tmp_path):
    data = torch.randn(12, 3), torch.randn(12, 2)
    state = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 2)).state_dict()

    def history(epochs):
        model = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 2))
        model.load_state_dict(state)
        options = {"epochs": epochs, "checkpoint": tmp_path, "progress": False, "batch_size": 4}
        return fit(make_variable(model), data, F.mse_loss, **options).epochs

    first = history(2)
    assert history(2) == first  # seconds included: nothing was trained again


def test_a_converted_part_of_a_network_is_explained_under_its_name():
    part = make_variable(nn.Sequential(nn.Linear(6, 16), nn.Linear(16, 2)))
    whole = nn.ModuleDict({"memory": nn.LSTM(3, 6), "head": part, "tail": MLP(2, (Width(3),), 1)})
    found = explain(whole)
    assert reasons(found) == {"the network's output": ("head.1",)}
    assert by_name(found)["head.0"].knobs == (1,)
    assert by_name(found)["tail.0"].knobs == (2,)
    assert [node.name for node in found.nodes] == ["input", "head.0", "head.1", "output"]
    assert found.proven


@pytest.mark.parametrize(
    "build", [lambda: MLP(4, (Width(8),), 2), lambda: ConvNet((1, 8, 8), (Width(4),), 2)]
)
def test_a_network_that_was_built_by_hand_has_layers_and_knobs(build):
    found = explain(build())
    assert found.rows[0].knobs == (1,)
    assert found.fixed == []
    assert found.converted_seconds is None
    assert not found.proven
    assert "Built by hand" in str(found)
    assert [node.name for node in found.nodes] == [row.name for row in found.rows]
    assert len(network_graph(found.nodes, found.edges).layout.annotations) == len(found.nodes)


def test_weights_that_layers_share_are_counted_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = nn.Embedding(9, 16), nn.Linear(16, 9, bias=False)
            self.head.weight = self.table.weight

        def forward(self, x):
            return self.head(self.table(x))

    found = explain(make_variable(Tied()))
    assert found.parameters == 9 * 16
    assert found.share == 1


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ("vgg", TypeError, r"model must be a torch\.nn\.Module, got 'vgg'"),
        (nn.Linear(2, 3), ValueError, r"variable axis, got a plain Linear; make_variable\(model\)"),
    ],
)
def test_what_has_no_variable_axis_is_refused(model, error, message):
    with pytest.raises(error, match=message):
        explain(model)
