"""The classifier instrument: every number of every width, checked by another route."""

import json
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import confusion_matrix
from torch import nn

from vsnn_lab import MLP, Width, extract, joint_positions, width_sweep
from vsnn_lab.explore import ClassifierExplorer, predictions
from vsnn_lab.explore.portable import portable_state
from vsnn_lab.explore.predictions import choose_samples, settling_widths
from vsnn_lab.export import submodel
from vsnn_lab.measure.ablation import WidthSweep
from vsnn_lab.measure.metrics import accuracy

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    # Torch's own, while it exports to ONNX; tests/export/test_verification.py says more.
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.`:FutureWarning"),
    pytest.mark.filterwarnings("ignore:# The axis name. batch will not be used:UserWarning"),
]

STEPS, COUNT = 16, 200
NAMES = ["left", "right", "up"]


@pytest.fixture
def model():
    hidden = Width(STEPS)
    return MLP(30, (hidden, hidden), 3)


@pytest.fixture
def images():
    return torch.rand(COUNT, 1, 6, 5)


@pytest.fixture
def labels(model, images):
    """Classes that the full width mostly finds, so that accuracy changes over width."""
    with torch.no_grad():
        said = extract(model, STEPS)(images.flatten(1)).argmax(1)
    return torch.where(torch.rand(COUNT) < 0.8, said, torch.randint(3, (COUNT,)))


@pytest.fixture
def explorer(model, images, labels, tmp_path):
    return ClassifierExplorer(
        model,
        images,
        labels,
        inputs=images.flatten(1),
        class_names=NAMES,
        folder=tmp_path / "sub.models",
    )


def said(model, images, width) -> list[int]:
    """Predict with the extracted network, a sample at a time."""
    cut, found = extract(model, width), []
    with torch.no_grad():
        for image in images:
            scores = cut(image.flatten()[None])[0].tolist()
            found.append(scores.index(max(scores)))
    return found


def held(explorer, name) -> np.ndarray:
    """Return an array as the browser has it."""
    found = explorer.arrays[name]
    return np.frombuffer(found["data"], found["dtype"]).reshape(found["shape"])


def part(explorer, kind) -> dict:
    (found,) = [each for each in explorer.description["parts"] if each["type"] == kind]
    return found


def read_outs(explorer) -> dict[str, tuple[str, str]]:
    """Return number and remark of each read-out at the width shown."""
    place = explorer.description["controls"][0]["values"].index(explorer.width)

    def at(texts):
        return texts if isinstance(texts, str) else texts[place]

    items = part(explorer, "tiles")["items"]
    return {item["name"]: (at(item["values"]), at(item["notes"])) for item in items}


def press(explorer, name: str) -> None:
    explorer._hear(explorer, {"type": "action", "name": name, "id": 1}, [])


def test_the_samples_are_taken_for_what_the_extracted_network_says(explorer, model, images, labels):
    full = said(model, images, STEPS)
    assert held(explorer, "full").tolist() == [full[sample] for sample in explorer.chosen]
    assert held(explorer, "truth").tolist() == labels[explorer.chosen].tolist()
    for width in (3, STEPS, 1):
        found = said(model, images, width)
        expected = [found[sample] for sample in explorer.chosen]
        assert held(explorer, "said")[width - 1].tolist() == expected
    for picture, sample in zip(held(explorer, "pictures"), explorer.chosen, strict=True):
        expected = [[round(255 * pixel) for pixel in row] for row in images[sample, 0].tolist()]
        np.testing.assert_array_equal(picture[..., 0], expected)


def test_matrix_curve_and_read_outs_are_those_of_the_extracted_network(
    explorer, model, images, labels
):
    full = said(model, images, STEPS)
    full_hits = sum(a == b for a, b in zip(full, labels.tolist(), strict=True))
    all_sizes = sum(p.numel() for p in model.parameters())
    for width in (2, 11):
        explorer.width = width
        found = said(model, images, width)
        hits = sum(a == b for a, b in zip(found, labels.tolist(), strict=True))
        flips = sum(one != other for one, other in zip(found, full, strict=True))
        size = sum(p.numel() for p in extract(model, width).parameters())
        macs, all_macs = (30 * w + w * w + w * 3 for w in (width, STEPS))
        shown = read_outs(explorer)
        assert [*shown] == [
            "width",
            "test accuracy",
            "against full width",
            "parameters",
            "MACs a sample",
            "latency, batch 200",
            "flips vs full width",
        ]
        del shown["latency, batch 200"]
        assert [*shown.values()] == [
            (f"{width}", "of 16"),
            (f"{100 * hits / COUNT:.2f} %", "of the test images"),
            (
                f"{100 * (hits - full_hits) / COUNT:+.2f}",
                f"points; full: {100 * full_hits / COUNT:.2f} %",
            ),
            (f"{size:,}", f"{size / all_sizes:.1%} of full width"),
            (f"{macs:,}", f"{macs / all_macs:.1%} of full width"),
            (f"{flips:,}", "of 200 images"),
        ]
        expected = confusion_matrix(labels, found, labels=range(3))
        np.testing.assert_array_equal(held(explorer, "confusion")[width - 1], expected)
        assert held(explorer, "curve")[width - 1] == pytest.approx(100 * hits / COUNT)


def test_the_latency_is_that_of_the_nearest_width_timed_which_is_named(explorer):
    measured = explorer.latency
    assert {1, 2, 4, 8, STEPS} <= set(measured) < set(range(1, STEPS + 1))
    for width in range(1, STEPS + 1):
        explorer.width = width
        nearest = min(measured, key=lambda timed: (abs(timed - width), timed))
        assert read_outs(explorer)["latency, batch 200"] == (
            f"{measured[nearest].median_ms:.3f} ms",
            f"width {nearest}, {torch.get_num_threads()} thread",
        )


def test_dedicated_and_plain_networks_stand_beside_the_curve(model, images, labels):
    alone = {2: [0.3, 0.4], 4: 0.5}
    explorer = ClassifierExplorer(
        model, images, labels, inputs=images.flatten(1), dedicated=alone, plain=0.75
    )
    line = part(explorer, "curve")
    own, plain, points = line["series"]
    assert own["y"] == "curve"
    assert own["x"] == list(range(1, STEPS + 1))
    assert plain["level"] == pytest.approx(75)
    assert points["x"] == [2, 4]
    for name, expected in (("y", [35, 50]), ("low", [30, 50]), ("high", [40, 50])):
        assert points[name] == pytest.approx(expected)
    assert line["y"]["range"] == [0, 100]


def test_the_width_can_be_set_and_observed_and_runs_no_network(explorer, monkeypatch):
    monkeypatch.setattr(nn.Module, "__call__", lambda *_: pytest.fail("the network ran"))
    seen = []
    explorer.observe(lambda change: seen.append(change.new), "width")
    explorer.width = 8
    explorer.set_state({"width": 5})  # as a browser does
    assert seen == [8, 5]
    for width in (0, STEPS + 1):
        with pytest.raises(ValueError, match=rf"width must lie in 1\.\.16, got {width}"):
            explorer.width = width
    assert explorer.width == 5


def test_samples_stay_while_the_slider_moves(explorer):
    before, chosen = explorer.arrays, explorer.chosen.tolist()
    for width in range(1, STEPS + 1):
        explorer.width = width
    assert explorer.arrays is before
    assert explorer.chosen.tolist() == chosen


def test_a_drawing_is_taken_for_what_the_extracted_networks_say(explorer, model):
    pixels = torch.randint(256, (30,), dtype=torch.uint8)
    message = {"type": "draw", "id": 1}
    explorer._hear(explorer, message, [pixels.numpy().tobytes()])
    found = np.frombuffer(explorer.drawn["data"], np.float32).reshape(STEPS, 3)
    for width in (1, 7, STEPS):
        with torch.no_grad():
            expected = extract(model, width)(pixels[None] / 255).softmax(1)[0]
        np.testing.assert_allclose(found[width - 1], expected, atol=1e-5)
    assert part(explorer, "pad")["classes"] == NAMES


def test_where_no_drawing_becomes_an_input_there_is_no_pad(model, images, labels):
    explorer = ClassifierExplorer(model, images, labels, inputs=torch.rand(COUNT, 30))
    assert all(each["type"] != "pad" for each in explorer.description["parts"])


def test_long_names_with_a_common_beginning_stay_apart(model, images, labels):
    names = [f"something long, then {end}" for end in ("left", "right", "up")]
    explorer = ClassifierExplorer(
        model, images, labels, inputs=images.flatten(1), class_names=names
    )
    (track,) = part(explorer, "pictures")["tracks"]
    for found, letters in ((track["captions"], 9), (part(explorer, "matrix"), 12)):
        assert found["names"] == names
        assert len(set(found["short"])) == 3
        assert max(map(len, found["short"])) <= letters


def test_large_matrices_leave_widths_out_and_the_slider_has_fewer_stops(
    model, images, labels, monkeypatch
):
    monkeypatch.setattr("vsnn_lab.explore.classifier._MOST", 100)
    explorer = ClassifierExplorer(model, images, labels, inputs=images.flatten(1))
    widths = explorer.description["controls"][0]["values"]
    assert 2 <= len(widths) * 9 <= 100
    assert {1, STEPS} <= set(widths)
    for place, width in enumerate(widths):
        expected = confusion_matrix(labels, said(model, images, width), labels=range(3))
        np.testing.assert_array_equal(held(explorer, "confusion")[place], expected)


class TestSamples:
    def test_a_sample_settles_where_its_last_other_prediction_ends(self):
        generator = np.random.default_rng(0)
        predictions = generator.integers(0, 2, (9, 40))
        for settled, column in zip(settling_widths(predictions), predictions.T, strict=True):
            expected = 9
            while expected > 1 and column[expected - 2] == column[-1]:
                expected -= 1
            assert settled == expected

    def test_two_thirds_change_spread_over_the_octaves_and_come_in_order(self):
        settled = np.repeat([1, 2, 4, 8, 16], [500, 100, 60, 30, 3])
        for seed in range(5):
            generator = torch.Generator().manual_seed(seed)
            chosen = choose_samples(settled, 15, generator)
            assert len(set(chosen)) == 15
            widths = settled[chosen].tolist()
            assert widths == sorted(widths)
            assert all(widths.count(width) >= 2 for width in (2, 4, 8, 16))
            assert sum(width > 1 for width in widths) >= 10

    def test_where_nothing_changes_the_others_fill_the_places(self):
        chosen = choose_samples(np.ones(20, int), 15, torch.Generator())
        assert len(set(chosen)) == 15

    def test_fewer_samples_than_are_shown_are_all_shown(self, model, images, labels):
        explorer = ClassifierExplorer(model, images[:4], labels[:4], inputs=images[:4].flatten(1))
        assert sorted(explorer.chosen) == [0, 1, 2, 3]

    def test_new_images_are_others_at_the_same_width(self, explorer, images):
        explorer.width = 5
        before, matrix = set(explorer.chosen), explorer.arrays["confusion"]
        press(explorer, "new_images")
        assert explorer.width == 5
        assert set(explorer.chosen) != before
        assert explorer.arrays["confusion"] is matrix
        expected = (255 * images[explorer.chosen, 0]).round().numpy()
        np.testing.assert_array_equal(held(explorer, "pictures")[..., 0], expected)
        assert held(explorer, "said").tolist() == explorer.predictions[:, explorer.chosen].tolist()


class TestBudgets:
    def test_costs_and_accuracy_of_every_width_are_there(self, explorer, model, images, labels):
        lists = part(explorer, "budget")["by_width"]
        assert lists["width"] == list(range(1, STEPS + 1))
        # Two hidden layers of w units: 31 w + w (w + 1) + 3 w + 3 parameters.
        assert lists["parameters"] == [w * w + 35 * w + 3 for w in lists["width"]]
        assert lists["macs"] == [w * w + 33 * w for w in lists["width"]]
        hits = [
            sum(np.equal(said(model, images, w), labels.numpy())) / COUNT for w in lists["width"]
        ]
        assert lists["accuracy"] == pytest.approx(hits, abs=1e-9)

    def test_latency_is_there_at_the_widths_that_were_timed(self, explorer):
        times = part(explorer, "budget")["by_width"]["latency_ms"]
        for width, time in enumerate(times, 1):
            timed = explorer.latency.get(width)
            assert time == (None if timed is None else timed.median_ms)

    def test_means_of_float32_are_rounded_to_what_they_stand_for(self, model, images, labels):
        values = np.linspace(0.5, 0.9, STEPS).round(3)
        sweep = WidthSweep("accuracy", np.arange(1, STEPS + 1), values - 3e-8, STEPS)
        explorer = ClassifierExplorer(model, images, labels, inputs=images.flatten(1), sweep=sweep)
        assert part(explorer, "budget")["by_width"]["accuracy"] == values.tolist()

    def test_where_widths_are_left_out_the_others_keep_their_numbers(self, explorer):
        whole = part(explorer, "budget")["by_width"]
        state = portable_state(explorer, most=len(json.dumps(explorer.description)))
        widths = state["description"]["controls"][0]["values"]
        lists = state["description"]["parts"][-1]["by_width"]
        assert 2 <= len(widths) < STEPS
        assert lists["width"] == widths
        for kind in lists:
            assert lists[kind] == [whole[kind][width - 1] for width in widths]


class TestSaving:
    def test_the_files_hold_the_extracted_network(self, explorer, model, images):
        import onnxruntime

        explorer.width = 7
        press(explorer, "save")
        weights, network = (
            explorer.folder / f"classifier-width-7.{kind}" for kind in ("safetensors", "onnx")
        )
        hand = nn.Sequential(
            nn.Linear(30, 7), nn.ReLU(), nn.Linear(7, 7), nn.ReLU(), nn.Linear(7, 3)
        )
        hand.load_state_dict(load_file(weights))
        x = images[:9].flatten(1)
        with torch.no_grad():
            expected = extract(model, 7)(x)
            torch.testing.assert_close(hand(x), expected)
        session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
        found = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
        np.testing.assert_allclose(found, expected, atol=1e-5)
        status = explorer.status
        for text in (weights.name, network.name, "MB)", "largest deviation", "1.0e-05 accepted"):
            assert text in status

    def test_without_onnx_the_weights_are_there_and_the_status_says_why(
        self, explorer, monkeypatch
    ):
        monkeypatch.setitem(sys.modules, "onnxscript", None)
        explorer.width = 3
        (weights,) = explorer.save()
        assert weights.name == "classifier-width-3.safetensors"
        assert "no ONNX file: export_onnx needs onnxscript" in explorer.status

    def test_a_folder_that_cannot_be_written_is_said_and_raised(self, explorer, tmp_path):
        explorer.folder = tmp_path / "file"
        explorer.folder.write_text("in the way")
        with pytest.raises(OSError, match="file"):
            explorer.save()
        assert "not saved: " in explorer.status

    def test_another_network_keeps_its_files_and_the_same_one_is_saved_in_place(
        self, explorer, model, monkeypatch
    ):
        monkeypatch.setitem(sys.modules, "onnxscript", None)
        first = explorer.save()
        assert explorer.save() == first
        before = first[0].read_bytes()
        assert "another network" not in explorer.status
        with torch.no_grad():
            model[0].weight.mul_(0.5)
        (second,) = explorer.save()
        assert second.name == "classifier-width-16-2.safetensors"
        assert first[0].read_bytes() == before
        told = "classifier-width-16 holds another network and was kept"
        assert told in explorer.status
        assert explorer.save() == (second,)
        torch.testing.assert_close(load_file(second)["0.weight"], model[0].weight.detach())

    @pytest.mark.parametrize("file", ["safetensors", "onnx"])
    def test_a_file_that_is_not_ours_is_kept(self, explorer, monkeypatch, file):
        monkeypatch.setitem(sys.modules, "onnxscript", None)
        explorer.folder.mkdir()
        theirs = explorer.folder / f"classifier-width-16.{file}"
        theirs.write_bytes(b"theirs")
        (weights,) = explorer.save()
        assert weights.name == "classifier-width-16-2.safetensors"
        assert theirs.read_bytes() == b"theirs"

    def test_a_network_that_deviates_is_not_saved(self, explorer, monkeypatch):
        monkeypatch.setattr(submodel, "verify_extraction", lambda *_: 0.1)
        with pytest.raises(ValueError, match=r"to 1.0e-05, got a deviation of 0.1 at width 16"):
            explorer.save()
        assert "not saved: model must agree" in explorer.status
        assert not explorer.folder.exists()

    def test_large_outputs_may_deviate_by_as_many_digits(self, explorer, model, images):
        with torch.no_grad():
            model[-1].weight.mul_(1e4)
            largest = extract(model, 5)(images[:100].flatten(1)).abs().max().item()
        explorer.width = 5
        assert len(explorer.save()) == 2
        text = f"{1e-5 * largest:.1e} accepted (1e-05 of the largest output)"
        assert text in explorer.status

    def test_what_fails_after_the_weights_says_that_they_are_there(self, explorer, monkeypatch):
        def fail(*_, **__):
            raise ValueError("no such operator")

        monkeypatch.setattr(submodel, "export_onnx", fail)
        with pytest.raises(ValueError, match="no such operator"):
            explorer.save()
        assert "saved classifier-width-16.safetensors" in explorer.status
        assert "then: no such operator" in explorer.status


def test_256_widths_of_ten_classes_fit_a_page():
    hidden, images = Width(256), torch.rand(300, 1, 28, 28)
    model = MLP(784, (hidden, hidden), 10)
    explorer = ClassifierExplorer(model, images, torch.arange(300) % 10, inputs=images.flatten(1))
    state = portable_state(explorer)
    assert len(state["description"]["controls"][0]["values"]) == 256
    assert len(json.dumps(state, allow_nan=False)) < 1e6


def test_a_known_sweep_is_drawn_and_the_model_stays_as_it_was(model, images, labels):
    model.train()
    x = images.flatten(1)
    known = width_sweep(model, accuracy, (x[:50], labels[:50]))
    state = torch.get_rng_state()
    explorer = ClassifierExplorer(model, images, labels, inputs=x, sweep=known, dedicated={4: 0.5})
    assert explorer.sweep.values is known.values
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    explorer.width = 3
    assert read_outs(explorer)["test accuracy"][0] == f"{100 * known.at(3):.2f} %"


def test_its_own_sweep_is_that_of_width_sweep(explorer, model, images, labels):
    sweep = width_sweep(model, accuracy, (images.flatten(1), labels))
    np.testing.assert_allclose(explorer.sweep.values, sweep.values, atol=1e-7)
    np.testing.assert_array_equal(explorer.sweep.parameters, sweep.parameters)
    np.testing.assert_array_equal(explorer.sweep.macs, sweep.macs)


def test_a_network_that_takes_images_needs_no_inputs(images, labels):
    hidden = Width(4)
    model = nn.Sequential(nn.Flatten(), *MLP(30, (hidden,), 3))
    explorer = ClassifierExplorer(model, images, labels)
    assert explorer.class_names == ["0", "1", "2"]
    assert explorer.predictions[1].tolist() == said_of_images(model, images, 2)


def said_of_images(model, images, width) -> list[int]:
    with torch.no_grad():
        return extract(model, width)(images).argmax(1).tolist()


def test_the_static_figure_shows_the_width_shown(explorer, model, images, labels):
    explorer.width = 4
    figure = explorer.static_figure()
    found = said(model, images, 4)
    traces = [trace for trace in figure.data if trace.type == "scatter"]
    captions = [text for trace in traces if trace.mode == "text" for text in trace.text]
    assert [text.startswith("✗") for text in captions] == [
        found[sample] != labels[sample] for sample in explorer.chosen
    ]
    (heat,) = [trace for trace in figure.data if trace.type == "heatmap"]
    expected = confusion_matrix(labels, found, labels=range(3), normalize="true")
    np.testing.assert_allclose(np.array(heat.z), expected)
    hits = sum(a == b for a, b in zip(found, labels.tolist(), strict=True))
    (marker,) = [trace for trace in traces if tuple(trace.x) == (4, 4)]
    np.testing.assert_allclose(marker.y, (0, 100 * hits / COUNT))
    assert f"test accuracy <b>{100 * hits / COUNT:.2f} %</b>" in figure.layout.title.text


def bad_sweep() -> WidthSweep:
    return WidthSweep("accuracy", np.array([1, 16]), np.array([0.1, 0.2]), 16)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"images": torch.rand(200, 30)}, ValueError, r"images must have shape \(n, 1 or 3, h"),
        ({"images": [1]}, TypeError, "images must be a tensor, got list"),
        ({"labels": torch.zeros(3).long()}, ValueError, r"labels must be integers of shape \(200,"),
        ({"labels": torch.full((200,), 3)}, ValueError, r"labels must lie in 0\.\.2, got 3"),
        (
            {"labels": torch.full((200,), 3), "class_names": None},
            ValueError,
            r"labels must lie in 0\.\.2, the classes that model tells apart, got 3",
        ),
        ({"inputs": torch.rand(9, 30)}, ValueError, "inputs must have a row for each .* 200.* 9"),
        (
            {"inputs": torch.rand(200, 31)},
            ValueError,
            r"inputs must be what model takes.*\(200, 31",
        ),
        ({"inputs": None}, ValueError, r"takes images\.flatten\(1\)"),
        ({"class_names": ["a", "b", "c", "d"]}, ValueError, "must name the 3 classes .* got 4"),
        ({"class_names": "abc"}, TypeError, "class_names must be a sequence of names"),
        ({"sweep": bad_sweep()}, ValueError, r"sweep must hold every width 1\.\.16, got \[ 1 16\]"),
        ({"sweep": 1}, TypeError, "sweep must be a WidthSweep, got 1"),
        ({"dedicated": {4: 70.0}}, ValueError, "each value of dedicated must be a share"),
        ({"dedicated": {17: 0.7}}, ValueError, r"each width of dedicated must lie in 1\.\.16, got"),
        ({"plain": 70.0}, ValueError, r"plain must be a share in \[0, 1\], got 70.0"),
        ({"shown": 16}, ValueError, r"shown must lie in 1\.\.15, got 16"),
        ({"timed": 0}, ValueError, "timed must be at least 1, got 0"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"folder": 3}, TypeError, "folder must be a string or a path"),
        ({"model": nn.Linear(30, 3)}, ValueError, "model"),
        ({"model": MLP(30, (4,), Width(3))}, ValueError, "as many classes at every width, got 3"),
        ({"model": nn.Sequential(MLP(30, (Width(4),), 3), nn.Flatten(0))}, ValueError, "a number"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(
    model, images, labels, options, error, message, monkeypatch
):
    monkeypatch.setattr(
        "vsnn_lab.explore.classifier.measure_widths", lambda *_: pytest.fail("it began to work")
    )
    arguments = {"model": model, "images": images, "labels": labels, "class_names": NAMES}
    arguments |= {"inputs": images.flatten(1)} | options
    with pytest.raises(error, match=message):
        ClassifierExplorer(**arguments)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_model_of_another_dtype_takes_float32_images(images, dtype, tmp_path):
    hidden = Width(4)
    model = MLP(30, (hidden, hidden), 3).to(dtype)
    x, labels = images.flatten(1), torch.zeros(COUNT, dtype=torch.int64)
    explorer = ClassifierExplorer(model, images, labels, inputs=x, folder=tmp_path)
    with torch.no_grad():
        expected = extract(model, 4)(x.to(dtype)).argmax(1)
    assert explorer.predictions[-1].tolist() == expected.tolist()
    weights, *network = explorer.save()
    assert load_file(weights)["0.weight"].dtype is dtype
    refused = "no ONNX file: model must be in float16, float32 or float64 for ONNX, got bfloat16"
    assert (refused in explorer.status) == (not network) == (dtype is torch.bfloat16)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_outputs_that_are_not_finite_are_one_error_with_width_and_count(
    model, images, labels, wrong, monkeypatch
):
    with torch.no_grad():
        model[2].weight[4, 2] = wrong  # unit 5 of the second layer, of unit 3 of the first
    monkeypatch.setattr(ClassifierExplorer, "static_figure", lambda *_: pytest.fail("it drew"))
    with torch.no_grad():
        outputs = extract(model, 5)(images.flatten(1))
    count = int((~outputs.isfinite()).sum())
    assert count
    message = f"finite numbers, got {count} of {COUNT * 3} that are infinite or NaN at width 5"
    with pytest.raises(ValueError, match=message):
        ClassifierExplorer(model, images, labels, inputs=images.flatten(1))


@pytest.mark.parametrize("names", [None, [f"imagenet/class {i:03}" for i in range(100)]])
def test_a_hundred_classes_have_a_row_each(images, names):
    model, labels = MLP(30, (Width(4),), 100), torch.arange(COUNT) % 100
    explorer = ClassifierExplorer(
        model, images, labels, inputs=images.flatten(1), class_names=names
    )
    assert len(explorer.class_names) == 100
    for width in (1, 4):
        expected = confusion_matrix(labels, explorer.predictions[width - 1], labels=range(100))
        np.testing.assert_array_equal(held(explorer, "confusion")[width - 1], expected)


def test_more_classes_than_a_figure_holds_are_refused(images):
    model, labels = MLP(30, (Width(4),), 1001), torch.zeros(COUNT, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"class_names must name 1\.\.1000 classes, got 1001"):
        ClassifierExplorer(model, images, labels, inputs=images.flatten(1))


def test_an_error_of_ten_thousand_labels_is_a_line(model):
    images, labels = torch.rand(10_000, 1, 6, 5), [*range(10_000)]
    with pytest.raises(TypeError, match="labels must be an array or a tensor") as raised:
        ClassifierExplorer(model, images, labels, inputs=images.flatten(1))
    assert len(str(raised.value)) < 300


def test_one_bar_covers_predictions_and_timing(model, images, labels, monkeypatch):
    bars = []

    class Bar(predictions.tqdm):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options | {"disable": False, "delay": 0})
            bars.append(self)

    monkeypatch.setattr(predictions, "tqdm", Bar)
    explorer = ClassifierExplorer(model, images, labels, inputs=images.flatten(1))
    (bar,) = bars
    assert bar.n == bar.total == STEPS + len(explorer.latency)


def test_small_networks_are_run_by_one_thread_which_is_put_back(model, images, labels, monkeypatch):
    seen, predict, threads = [], predictions.predict, torch.get_num_threads()

    def watched(*arguments):
        seen.append(torch.get_num_threads())
        return predict(*arguments)

    monkeypatch.setattr(predictions, "predict", watched)
    try:
        torch.set_num_threads(2)
        for most in (predictions._ONE_THREAD, 0):
            monkeypatch.setattr(predictions, "_ONE_THREAD", most)
            ClassifierExplorer(model, images, labels, inputs=images.flatten(1))
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert seen == [1, 2]


def test_several_knobs_are_turned_together_by_the_slider(images, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    model = MLP(30, (Width(STEPS), Width(4)), 3)
    labels, inputs = torch.arange(COUNT) % 3, images.flatten(1)
    explorer = ClassifierExplorer(model, images, labels, inputs=inputs, folder=tmp_path)
    turns = [joint_positions(model, width) for width in range(1, STEPS + 1)]
    expected = [said(model, images, turn) for turn in turns]
    assert explorer.predictions.tolist() == expected
    swept = width_sweep(model, accuracy, (inputs, labels))
    np.testing.assert_allclose(explorer.sweep.values, swept.values, atol=1e-6)
    assert explorer.sweep.macs.tolist() == swept.macs.tolist()
    ClassifierExplorer(model, images, labels, inputs=inputs, sweep=swept)
    explorer.width = 6
    (file,) = explorer.save()
    assert load_file(file)["2.weight"].shape == (2, 6)
    pixels = (images[0] * 255).byte()
    drawn = explorer.run_drawing(pixels.numpy().tobytes())
    for turn, found in zip(turns, drawn, strict=True):
        with torch.no_grad():
            output = extract(model, turn)(pixels.flatten()[None] / 255)
        np.testing.assert_allclose(found, output.softmax(1)[0], atol=1e-6)
