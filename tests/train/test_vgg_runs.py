"""VGGs of every width by every method: what they are, train, keep and say."""

import json

import pytest
import torch
from torch import nn

from vsnn_lab import at_width, count_macs, count_parameters, extract, recalibrate
from vsnn_lab._basics import checkpoints
from vsnn_lab.export import export_onnx
from vsnn_lab.train.kept_runs import RunCollection
from vsnn_lab.train.vgg import (
    METHODS,
    Run,
    accuracy_by_width,
    keep_runs,
    load_images,
    measuring,
    narrowest_within,
    on_canvas,
    parameters_that_can_go,
    plain_vgg,
    share_that_can_go,
    tracked_results,
    trained,
    untrained,
)
from vsnn_lab.train.vgg.__main__ import main
from vsnn_lab.train.vgg.images import AugmentedBatches
from vsnn_lab.train.vgg.layer_widths import accuracy_of_layer_widths, statistics_of_batches
from vsnn_lab.train.vgg.measuring import accuracy_recalibrated, costs_by_position, width_accuracies
from vsnn_lab.train.vgg.results import summary, track_results
from vsnn_lab.widths import width_controls

WIDTHS = (1, 5, 8, 17, 32)


@pytest.fixture
def images():
    return torch.rand(24, 1, 32, 32)


@pytest.fixture
def moved():
    """Networks as training leaves them: no weight, statistic or gain is what it was at first."""

    def make(method):
        model = untrained(method)
        with torch.no_grad():
            for each in model.parameters():
                each.add_(0.05 * torch.randn_like(each))
        return model.eval()

    return make


def result(method, seed, accuracies, parameters=None, **more):
    plain = {str(position): value for position, value in accuracies.items()}
    kinds = {"as trained": {at: value / 2 for at, value in plain.items()}, "recalibrated": plain}
    counts = parameters or dict.fromkeys(accuracies, 100)
    return {
        "method": method,
        "seed": seed,
        "epochs": 1,
        "images": 10,
        "device": "CPU",
        "statistics": kinds,
        "accuracy": plain,
        "parameters": {str(position): count for position, count in counts.items()},
        "parameters_kept": 130,
        "seconds": 10.0,
    } | more


COUNTS = {4: 2, 8: 7, 16: 25, 24: 60, 32: 100}
RESULTS = [
    result("plain", 0, {32: 0.92}),
    result("plain", 1, {32: 0.94}),
    result("dedicated-8", 0, {8: 0.91}),
    result("dedicated-16", 0, {16: 0.93}),
    result(
        "variable",
        0,
        {4: 0.8, 8: 0.9, 16: 0.921, 24: 0.926, 32: 0.928},
        COUNTS,
        seconds=20.0,
        latency_ms={"8": 3.0, "32": 10.0},
        macs={"8": 10, "32": 50},
    ),
    {
        "method": "layers",
        "layer_widths": {"8": {"uniform": 0.9, "chosen": 0.91}},
    },
]


def test_a_plain_network_has_the_size_of_the_variable_one_at_each_position():
    variable = untrained("variable")
    for position in WIDTHS:
        alone = plain_vgg(position)
        assert count_parameters(alone) == count_parameters(variable, position)
        shapes = [each.shape for each in extract(variable, position).state_dict().values()]
        assert [each.shape for each in alone.state_dict().values()] == shapes


def test_the_plain_network_is_vgg_11_a_quarter_as_wide():
    layers = [*plain_vgg().features]
    channels = [each.out_channels for each in layers if isinstance(each, nn.Conv2d)]
    assert channels == [each // 4 for each in (64, 128, 256, 256, 512, 512, 512, 512)]
    assert sum(isinstance(each, nn.BatchNorm2d) for each in layers) == 8
    assert plain_vgg().features(torch.zeros(2, 1, 32, 32)).shape == (2, 128, 1, 1)
    with pytest.raises(ValueError, match=r"position must lie in 1\.\.32, got 33"):
        plain_vgg(33)


def test_a_cut_computes_what_the_network_computes_after_recalibration(moved, images):
    model = moved("variable")
    for position in WIDTHS:
        recalibrate(model, [images], position)
        with at_width(model, position), torch.no_grad():
            wanted = model(images)
        torch.testing.assert_close(extract(model, position)(images), wanted, atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.filterwarnings(  # torch's own
    "ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning",
    "ignore:# The axis name. batch will not be used:UserWarning",
)
def test_a_cut_computes_the_same_as_an_onnx_file(moved, images, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = moved("variable")
    for position in (5, 17):
        recalibrate(model, [images], position)
        path = tmp_path / f"{position}.onnx"
        export_onnx(model, position, path, images, tolerance=1e-4)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        with at_width(model, position), torch.no_grad():
            wanted = model(images)
        torch.testing.assert_close(torch.from_numpy(found), wanted, atol=1e-4, rtol=0)


def test_full_width_begins_as_the_plain_network_of_the_seed(images, global_state_kept):
    plain = untrained("plain", 3).eval()
    torch.testing.assert_close(untrained("variable", 3).eval()(images), plain(images))
    other = untrained("plain", 4).eval()
    assert not torch.equal(other(images), plain(images))


@pytest.mark.parametrize("method", ["ordered", "layers"])
def test_an_ordered_network_computes_what_the_plain_one_did(method, moved, images):
    plain = moved("plain")
    recalibrate(plain, [images])
    labels = torch.arange(24) % 10
    model = untrained(method, 0, plain.state_dict(), (images, labels)).eval()
    torch.testing.assert_close(model(images), plain(images), atol=1e-4, rtol=1e-4)
    before, after = (each.state_dict()["features.0.weight"] for each in (plain, model))
    assert not torch.equal(before, after)
    torch.testing.assert_close(
        before.flatten(1).sum(1).sort()[0], after.flatten(1).sum(1).sort()[0]
    )
    assert len(width_controls(model)) == (1 if method == "ordered" else 10)


def test_batches_hold_images_somewhere_on_the_canvas_mirrored_or_not():
    images, labels = torch.rand(20, 1, 28, 28), torch.arange(20)
    batches = AugmentedBatches(images, labels, 8, seed=1)
    seen = []
    for x, y in batches:
        assert x.shape[1:] == (1, 32, 32)
        for each, label in zip(x, y.tolist(), strict=True):
            original = images[label]
            places = [
                (top, left, mirrored)
                for top in range(5)
                for left in range(5)
                for mirrored, image in enumerate((original, original.flip(-1)))
                if torch.equal(each[:, top : top + 28, left : left + 28], image)
                and each.sum().isclose(image.sum())
            ]
            assert len(places) == 1
            seen += places
    assert len(batches) == 3
    assert len(seen) == 20
    assert {mirrored for *_, mirrored in seen} == {0, 1}


def test_batches_depend_on_seed_and_epoch_alone():
    images, labels = torch.rand(20, 1, 28, 28), torch.arange(20)

    def first(seed, epoch):
        batches = AugmentedBatches(images, labels, 8, seed)
        batches.set_epoch(epoch)
        return next(iter(batches))[0]

    assert torch.equal(first(1, 2), first(1, 2))
    assert not torch.equal(first(1, 2), first(1, 3))
    assert not torch.equal(first(1, 2), first(2, 2))
    one, other = (AugmentedBatches(images, labels, 8, seed) for seed in (0, 1))
    assert one.data_fingerprint != other.data_fingerprint
    assert one.data_fingerprint == AugmentedBatches(images, labels, 8, 0).data_fingerprint


def test_the_canvas_has_the_image_in_its_middle():
    image = torch.rand(1, 1, 28, 28)
    canvas = on_canvas(image)
    assert torch.equal(canvas[..., 2:-2, 2:-2], image)
    assert canvas.sum().isclose(image.sum())


@pytest.mark.slow
def test_training_validation_and_test_images_are_apart():
    parts = {part: load_images(part) for part in ("train", "validation", "test")}
    assert [len(labels) for _, labels in parts.values()] == [54_000, 6_000, 10_000]
    assert len(load_images("train", 5)[0]) == 5
    with pytest.raises(ValueError, match="part must be"):
        load_images("all")


def test_accuracies_are_by_statistics_of_the_width_of_its_octave_and_as_they_are(
    moved, images, monkeypatch
):
    monkeypatch.setattr(measuring, "STEPS", 4)
    model = moved("variable")
    data, calibration = (images, torch.arange(24) % 10), torch.rand(40, 1, 32, 32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = width_accuracies(model, data, calibration)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert found["accuracy"] == found["statistics"]["recalibrated"]
    by_octave, own = found["statistics"]["of its octave"], found["statistics"]["recalibrated"]
    assert [*own] == ["1", "2", "3", "4"]
    assert by_octave["2"] == own["2"]
    recalibrate(model, [calibration], 3)
    with at_width(model, 3), torch.no_grad():
        share = (model(images).argmax(1) == data[1]).double().mean().item()
    assert own["3"] == pytest.approx(share, abs=1e-5)
    alone = width_accuracies(moved("dedicated-8"), data, calibration, 8)
    assert {kind: [*by] for kind, by in alone["statistics"].items()} == {
        "as trained": ["8"], "recalibrated": ["8"],
    }  # fmt: skip


def test_costs_are_those_of_networks_of_that_size(images):
    found = costs_by_position(untrained("variable"), images[:1])
    for position in (1, 8, 31):
        alone = plain_vgg(position)
        assert found["macs"][str(position)] == count_macs(alone, None, images)
        assert found["parameters"][str(position)] == sum(p.numel() for p in alone.parameters())
        same = costs_by_position(alone, images[:1], position)
        assert same["macs"] == {str(position): found["macs"][str(position)]}


def test_widths_of_layers_cost_no_more_than_the_uniform_cut(moved, images, monkeypatch):
    monkeypatch.setattr("vsnn_lab.train.vgg.layer_widths.UNIFORM", (26,))
    model, data = moved("layers"), (images, torch.arange(24) % 10)
    found = accuracy_of_layer_widths(model, data, data, images)["layer_widths"]["26"]
    knobs = width_controls(model)
    chosen = dict(zip(knobs, found["positions"], strict=True))
    assert found["parameters"]["chosen"] == count_parameters(model, chosen)
    assert found["parameters"]["chosen"] <= found["parameters"]["uniform"]
    assert found["chosen"] == accuracy_recalibrated(model, chosen, data, images)


def test_batch_norms_normalise_by_the_batch_for_a_while(moved, images):
    model = moved("plain")
    before = model(images)
    with statistics_of_batches(model):
        found = model(images)
    wanted = model.train()(images)
    torch.testing.assert_close(found, wanted)
    model = moved("plain")
    assert before.shape == model(images).shape
    assert model.features[1].running_mean is not None


def test_the_narrowest_width_that_loses_little_has_no_wider_one_that_loses_more():
    by_position = {1: 0.2, 2: 0.9, 3: 0.88, 4: 0.9, 5: 0.91}
    assert narrowest_within(by_position, 0.91, 1.0) == 4
    assert narrowest_within(by_position, 0.91, 3.0) == 2
    assert narrowest_within(by_position, 0.91, 0.0) == 5
    assert narrowest_within(by_position, 0.93, 1.0) is None
    parameters = {1: 1, 2: 4, 3: 9, 4: 16, 5: 25}
    assert share_that_can_go(by_position, parameters, 0.91, 1.0) == pytest.approx(0.36)
    assert share_that_can_go(by_position, parameters, 0.93, 1.0) == 0
    with pytest.raises(ValueError, match="lost must"):
        narrowest_within(by_position, 0.91, -1.0)


@pytest.mark.slow
def test_a_run_is_kept_with_its_weights_and_not_repeated(tmp_path):
    run = Run("dedicated-4", 0, epochs=1, images=200)
    first = run.keep(tmp_path)
    written = run.file(tmp_path).stat().st_mtime_ns
    assert run.keep(tmp_path) == first
    assert run.file(tmp_path).stat().st_mtime_ns == written
    assert first["accuracy"] == first["statistics"]["recalibrated"]
    assert first["parameters"] == {"4": count_parameters(plain_vgg(4))}
    _, header = checkpoints.read(run.model_file(tmp_path))
    model = trained(run, tmp_path)
    assert header["made_by"]["method"] == "dedicated-4"
    assert int(model.features[1].num_batches_tracked) == 2  # steps
    images, labels = load_images("test", 200)
    with torch.no_grad():
        share = (model(on_canvas(images)).argmax(1) == labels).double().mean().item()
    assert first["statistics"]["as trained"]["4"] == pytest.approx(share, abs=1e-5)


@pytest.mark.slow
def test_the_command_makes_what_is_missing_and_tracks_all_of_it(tmp_path, capsys):
    results = tmp_path / "results.json"
    track_results([RESULTS[0]], results)
    arguments = ["--methods", "dedicated-4", "--seeds", "1", "--epochs", "1", "--images", "100"]
    arguments += ["--folder", str(tmp_path / "runs"), "--results", str(results)]
    assert main([*arguments, "--processes", "1"]) == 0
    assert "1 of 1 runs are in" in capsys.readouterr().out
    assert [run["method"] for run in tracked_results(results)] == ["plain", "dedicated-4"]
    assert json.loads(results.read_text())["runs"][1]["images"] == 100


def test_what_begins_with_another_network_comes_after_it(tmp_path, monkeypatch):
    waves = []

    def make(_, runs, *__):
        waves.append([*map(str, runs)])

    monkeypatch.setattr(RunCollection, "_make", make)
    runs = [Run(method, 0) for method in ("ordered", "plain", "variable", "layers")]
    assert keep_runs(runs, tmp_path) == []
    assert waves == [[*map(str, runs[1:3])], [str(runs[0]), str(runs[3])]]
    assert keep_runs([Run("ordered", 1)], tmp_path) == []
    assert waves[2:] == [[str(Run("plain", 1))], [str(Run("ordered", 1))]]


def test_a_failure_is_a_line_that_names_the_run(tmp_path):
    failures = []
    assert keep_runs([Run("plain", 0, epochs=0)], tmp_path, 1, failures) == []
    assert len(failures) == 1
    assert failures[0].startswith("plain, seed 0, 0 epochs of 54000 images: ValueError")


def test_accuracies_are_read_by_position():
    assert accuracy_by_width(RESULTS[:-1], "dedicated") == {8: [0.91], 16: [0.93], 32: [0.92, 0.94]}
    assert accuracy_by_width(RESULTS, "variable", "as trained")[8] == [0.45]
    assert accuracy_by_width(RESULTS, "ordered") == {}
    assert parameters_that_can_go(RESULTS, "variable", 1.0) == pytest.approx(0.75)
    assert parameters_that_can_go(RESULTS, "variable", 0.5) == pytest.approx(0.4)


def test_the_summary_says_what_is_lost_and_what_may_be():
    lines = summary(RESULTS)
    assert (
        "variable 8: 90.00 %, 1 seeds; alone 91.00 %, -1.00 points (at least -0.5; missed)" in lines
    )
    assert "variable 32: 92.80 %, 1 seeds; alone 93.00 %, -0.20 points (at least -0.3)" in lines
    assert (
        "variable: from 16 on at most 1.0 points lost, with 25.0 % of the parameters (at most 25 %)"
        in lines
    )
    assert "variable: 1.30 times the weights of full width kept, trained in 20 s of one core, "\
        "2.00 times plain" in lines  # fmt: skip
    assert (
        "layers, as large as all at 8: searched widths 91.00 %, uniform 90.00 %, 1 seeds" in lines
    )
    assert (
        "variable 8: cut, it takes 30 % of the time of full width for 20 % of the multiplications"
        in lines
    )
    assert not any(line.startswith("ordered") for line in lines)


def test_methods_are_plain_or_begin_anew_or_with_a_plain_network():
    assert {name for name, how in METHODS.items() if how.position} == {
        "plain", "dedicated-4", "dedicated-8", "dedicated-16",
    }  # fmt: skip
    assert {name for name, how in METHODS.items() if how.begins_with} == {"ordered", "layers"}
