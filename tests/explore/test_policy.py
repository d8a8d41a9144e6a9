"""The policy's instrument: what it plays is what the policy does at each width."""

import sys

import numpy as np
import pytest

from tests.explore.policies import coloured, drawing, untrained
from tests.explore.shown import numbers, tiles
from vsnn_lab.explore import PolicyExplorer
from vsnn_lab.explore.frames import frames_part
from vsnn_lab.explore.portable import portable_html, portable_state
from vsnn_lab.figures.frames import decode_frames, encode_frames
from vsnn_lab.train.policies import episode_returns, render_episode, rendering

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

PENDULUM = "InvertedPendulum-v5"
WIDTHS = [1, 3, 8]


@pytest.fixture(scope="module")
def trained():
    return untrained(PENDULUM, steps=8)


@pytest.fixture(scope="module")
def explorer(trained):
    with drawing():
        return PolicyExplorer(trained, widths=WIDTHS, frames=7, size=(48, 64), episodes=2)


@pytest.fixture(scope="module")
def ready():
    """What an instrument of CartPole shows, where nothing needs to be computed."""
    returns = {1: [10.0, 30.0], 3: 80.0, 8: [90.0, 110.0]}
    return {"returns": returns, "strips": coloured(WIDTHS)}


def sheets(explorer: PolicyExplorer) -> list[np.ndarray]:
    """Return the frames of each width."""
    (part, *_), lengths = explorer.description["parts"], numbers(explorer, "lengths")
    rows = zip(numbers(explorer, "sheets"), lengths, strict=True)
    return [decode_frames(row[:n].tobytes(), part["count"], part["size"]) for row, n in rows]


def test_each_width_plays_its_own_episode_from_the_same_start(explorer, trained):
    played = sheets(explorer)
    every = round(4 * 25 / 7)  # steps of 0.04 s
    assert explorer.description["parts"][0]["rate"] == pytest.approx(25 / every)
    for width, frames in zip(WIDTHS, played, strict=True):
        drawn = render_episode(trained, width, 7, every=every, size=(48, 64))
        assert np.abs(frames.astype(float) - drawn).mean() < 4
    np.testing.assert_allclose(played[0][0].astype(float), played[2][0], atol=20)
    for narrow in played[:2]:
        assert np.abs(narrow[1:].astype(float) - played[2][1:]).max() > 60


def test_returns_are_measured_where_none_are_given(explorer, trained):
    found = [
        np.mean(episode_returns(trained.policy.at(w), PENDULUM, 2, statistics=trained.statistics))
        for w in WIDTHS
    ]
    assert [*explorer.returns] == WIDTHS
    assert np.ravel([*explorer.returns.values()]) == pytest.approx(found)
    assert tiles(explorer)["return"]["notes"] == ["mean of 2 episodes"] * 3


def test_read_outs_say_what_a_width_earns_and_costs(ready):
    said = tiles(PolicyExplorer(untrained("CartPole-v1", 8), **ready))
    assert said["width"]["values"] == ["1", "3", "8"]
    assert said["return"]["values"] == ["20", "80", "100"]
    assert said["return"]["notes"] == ["2 seeds, 10 to 30", "", "2 seeds, 90 to 110"]
    assert said["of the full return"]["values"] == ["20%", "80%", "100%"]
    # From 4 numbers through two hidden layers to 2 actions.
    sizes = [5 * w + (w + 1) * w + (w + 1) * 2 for w in WIDTHS]
    assert said["parameters"]["values"] == [f"{size}" for size in sizes]
    assert all(float(text) > 0 for text in said["µs an action"]["values"])


def test_a_share_of_a_loss_is_not_said(ready):
    losses = {"returns": {width: -width for width in WIDTHS}}
    said = tiles(PolicyExplorer(untrained("CartPole-v1", 8), **ready | losses))
    assert said["of the full return"]["values"] == ["\N{EN DASH}"] * 3


def test_the_curve_has_seeds_levels_and_dedicated_policies(ready):
    beside = {"dedicated": {3: [50.0, 70.0]}, "ordinary": [90, 110], "linear": 40}
    explorer = PolicyExplorer(untrained("CartPole-v1", 8), **ready, **beside)
    graph = explorer.description["parts"][1]
    own, ordinary, linear, dedicated = graph["series"]
    assert (own["x"], own["y"]) == (WIDTHS, [20.0, 80.0, 100.0])
    assert (own["low"], own["high"]) == ([10, 80, 90], [30, 80, 110])
    assert (ordinary["level"], linear["level"]) == (100, 40)
    assert (dedicated["y"], dedicated["low"], dedicated["high"]) == ([60.0], [50.0], [70.0])
    assert graph["y"]["range"] == [0.0, pytest.approx(1.08 * 110)]
    figure = explorer.static_figure()
    shown = {trace.name: trace for trace in figure.data if trace.name}
    assert list(shown["variable policy"].error_y.arrayminus) == [10, 0, 10]
    assert list(shown["dedicated policies"].error_y.array) == [10]


def test_the_figure_shows_frames_of_the_width(ready):
    explorer = PolicyExplorer(untrained("CartPole-v1", 8), **ready)
    sources = []
    for width in WIDTHS:
        explorer.width = width
        sources.append(explorer.static_figure().data[0].source)
    assert len({*sources}) == 3


def test_a_saved_page_of_half_cheetah_stays_below_3_mb():
    widths, trained = [1, 2, 4, 8, 16, 24, 32, 48, 64], untrained("HalfCheetah-v5")
    with drawing():
        drawn = render_episode(trained, 64, 68, size=(120, 160))
    strips = {width: drawn[place : place + 60] for place, width in enumerate(widths)}
    returns = dict.fromkeys(widths, 1.0)
    explorer = PolicyExplorer(trained, returns=returns, strips=strips)
    assert portable_state(explorer)["description"]["controls"][0]["values"] == widths
    assert len(portable_html(explorer).encode()) < 3_000_000


def test_frames_are_coarser_where_they_would_not_fit():
    noise = np.random.default_rng(0).integers(0, 256, (20, 120, 160, 3)).astype(np.uint8)
    _, arrays = frames_part([noise] * 9, 20, {"noise": False}, "")
    assert len(encode_frames(noise, 80)) * 9 > 1_600_000 >= len(arrays["sheets"]["data"])


@pytest.mark.parametrize(("count", "size"), [(1, (8, 8)), (7, (24, 32)), (12, (16, 200))])
def test_frames_come_back_from_their_sheet(count, size):
    frames = coloured([1], count, size)[1]
    np.testing.assert_allclose(
        decode_frames(encode_frames(frames, 90), count, size), frames, atol=10
    )


STRIPS = coloured(WIDTHS)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"trained": "CartPole-v1"}, TypeError, "trained must be a TrainedPolicy, got 'CartPole"),
        ({"returns": [1.0]}, TypeError, r"returns must map widths to numbers, got \[1\.0\]"),
        ({"widths": [1, 9]}, ValueError, r"each of widths must lie in 1\.\.8, got 9"),
        ({"widths": 3}, TypeError, "widths must be a sequence of widths, got 3"),
        ({"widths": [2]}, ValueError, r"returns must hold each width of the slider, lacks \[2\]"),
        ({"strips": [1]}, TypeError, r"strips must map widths to frames, got \[1\]"),
        ({"strips": {8: STRIPS[8]}}, ValueError, r"strips must hold each .*, lacks \[1, 3\]"),
        (
            {"strips": STRIPS | {3: STRIPS[3][:4]}},
            ValueError,
            r"each of strips must be uint8 of one shape .*, got uint8 \(4, 24, 32, 3\) at 3",
        ),
        ({"strips": {8: STRIPS[8][0]}}, ValueError, r"each of strips must be uint8 of one shape"),
        ({"strips": None, "frames": 0}, ValueError, "frames must be at least 1, got 0"),
        ({"strips": None, "every": 0}, ValueError, "every must be at least 1, got 0"),
        ({"strips": None, "size": 120}, TypeError, "size must be a sequence of sides, got 120"),
        ({"strips": None, "size": [9] * 3}, ValueError, "size must be a height and a width, got"),
        (
            {"strips": None, "size": (1000, 1000)},
            ValueError,
            "frames times size must be at most 5,000,000 pixels, got 60 of 1000 x 1000",
        ),
        ({"episodes": 0}, ValueError, "episodes must be at least 1, got 0"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(ready, monkeypatch, changes, error, message):
    monkeypatch.setattr(rendering, "_drawing_environment", lambda *_: pytest.fail("it drew"))
    given = {"trained": untrained("CartPole-v1", 8), **ready} | changes
    with pytest.raises(error, match=message):
        PolicyExplorer(**given)


def test_without_the_extra_it_is_named(ready, monkeypatch):
    trained = untrained("CartPole-v1", 8)
    for name in [name for name in sys.modules if name.startswith("vsnn_lab.train.policies")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(ImportError, match=r"pip install 'vsnn-lab\[rl\]'"):
        PolicyExplorer(trained, **ready)
