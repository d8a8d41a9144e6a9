"""A network drawn from top to bottom: each node once, told apart by shape and by number."""

from itertools import pairwise

import pytest

from vsnn_lab.figures import network_graph
from vsnn_lab.figures.layered import layered
from vsnn_lab.figures.style import PAGE

CHAIN = [("input", "input", None), ("0", "Linear", 1), ("2", "Linear", 2), ("4", "LSTM", None)]
BLOCK = [(0, 1), (1, 2), (1, 3), (2, 4), (3, 4), (1, 4)]


def drawn(figure):
    """Return the texts beside the nodes, and where each stands."""
    return {each.text: (each.x, each.y) for each in figure.layout.annotations}


def marks(figure):
    return {trace.name: trace.marker for trace in figure.data if trace.mode == "markers"}


def test_nodes_stand_below_all_that_lead_to_them_and_side_by_side_where_they_must():
    places = layered(5, BLOCK)
    assert [place.row for place in places] == [0, 1, 2, 2, 3]
    assert [place.lane for place in places] == [0, 0, 0, 1, 0]
    assert len(set(layered(9, [(0, each) for each in range(1, 9)]))) == 9


def test_a_graph_without_edges_is_drawn_one_below_the_other():
    rows = [y for _, y in drawn(network_graph(CHAIN, [])).values()]
    assert rows == sorted(set(rows))
    assert network_graph(CHAIN[:1], []).layout.width == PAGE


def test_a_label_says_knob_name_and_kind():
    assert [*drawn(network_graph(CHAIN, []))] == [
        "input", "1 · 0  Linear", "2 · 2  Linear", "4  LSTM",
    ]  # fmt: skip
    assert [*drawn(network_graph(CHAIN[:2], []))] == ["input", "0  Linear"]


def test_knobs_are_told_apart_by_colour_and_shape_and_what_stays_is_open():
    nodes = [(str(knob), "Linear", knob) for knob in range(1, 26)]
    found = marks(network_graph([*nodes, ("last", "Linear", None)], []))
    assert len({(mark.color, mark.symbol) for mark in found.values()}) == 26
    firsts = [found[f"knob {knob}"] for knob in range(1, 6)]
    assert len({mark.symbol for mark in firsts}) == len({mark.color for mark in firsts}) == 5
    assert found["stays"].symbol == "circle-open"


def test_the_legend_names_few_knobs_and_none_of_the_operations():
    nodes = [(str(knob), "Linear", knob) for knob in range(1, 30)]
    figure = network_graph([*nodes, ("+", "operation", None)], [])
    named = [trace.name for trace in figure.data if trace.showlegend]
    assert named == [f"knob {knob}" for knob in range(1, 9)]


def test_names_are_shown_as_they_are_and_as_short_as_the_lane_is():
    nodes = [
        ("<b>$x$", "K&", 1),
        *[(f"blocks.{at}." + "deep." * 20, "Linear", 1) for at in range(9)],
    ]
    figure = network_graph(nodes, [(0, each) for each in range(1, 10)])
    assert "&lt;b&gt;&#36;x&#36;" in [*drawn(figure)]
    assert len(drawn(figure)) == 10
    assert any("&lt;b&gt;&#36;x&#36;<br>K&amp;" in (trace.text or ()) for trace in figure.data)
    lane = sorted({x for x, _ in drawn(figure).values()})
    assert all(second - first > 60 for first, second in pairwise(lane))
    assert lane[-1] < PAGE - 40


def test_the_page_is_as_wide_as_a_notebook_and_as_high_as_the_longest_path():
    one, two = (network_graph(CHAIN * count, []) for count in (1, 10))
    assert one.layout.width == two.layout.width == PAGE
    assert two.layout.height - one.layout.height == 36 * 22
    assert network_graph(CHAIN, [], title="a <b>").layout.title.text == "a &lt;b&gt;"


def test_an_edge_that_passes_a_node_goes_round_it():
    nodes = [(str(at), "Linear", 1) for at in range(3)]
    (lines,) = (t for t in network_graph(nodes, [(0, 1), (1, 2), (0, 2)]).data if t.mode == "lines")
    straight, bent = set(lines.x[:2]), [x for x in lines.x[6:] if x is not None]
    assert len(straight) == 1
    assert min(bent) < min(straight) - 20
    assert min(bent) > 0


@pytest.mark.parametrize(
    ("nodes", "edges", "error", "message"),
    [
        ([], [], ValueError, "nodes must have one node at least"),
        ("ab", [], TypeError, "nodes must be a"),
        ([("a", "b")], [], ValueError, r"name, kind and knob each, got \('a', 'b'\)"),
        ([("a", None, 1)], [], TypeError, "nodes must have names and kinds, got None"),
        ([("a", 1, 1)], [], TypeError, "a name or a kind in nodes must be a string"),
        ([("a", "b", 0)], [], ValueError, "a knob in nodes must be at least 1, got 0"),
        (CHAIN, [(0, 4)], ValueError, r"a node in edges must lie in 0..3, got 4"),
        (CHAIN, [(1, 1)], ValueError, r"edges must lead to a later node, got \(1, 1\)"),
        (CHAIN, [1], ValueError, "edges must be pairs of nodes, got 1"),
    ],
)
def test_what_is_no_graph_is_refused(nodes, edges, error, message):
    with pytest.raises(error, match=message):
        network_graph(nodes, edges)
