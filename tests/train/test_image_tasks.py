"""Classifiers and autoencoders by every method: what they are, train, keep and say."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml

from vsnn_lab import count_macs, count_parameters, extract
from vsnn_lab.data import ImageSet, load
from vsnn_lab.measure.metrics import accuracy
from vsnn_lab.train import baselines
from vsnn_lab.train.by_position import measured_positions
from vsnn_lab.train.image_tasks import COLLECTIONS, KINDS, Run, tasks, values_by_width
from vsnn_lab.train.image_tasks.__main__ import main
from vsnn_lab.train.image_tasks.results import summary

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SHAPES = {"fashion-mnist": (1, 28, 28), "mnist": (1, 28, 28), "emoji": (3, 32, 32)}
SHAPES["faces"] = (1, 25, 25)
TASKS = [(kind, name) for kind, found in KINDS.items() for name in found]
FACES = Run("autoencoders", "faces", "dedicated-2", 0, epochs=2, images=24)


@pytest.fixture
def few_images(monkeypatch):
    """Forty-eight images of each split, in place of the data sets that are downloaded."""
    generator = torch.Generator().manual_seed(0)
    sets = {
        split: ImageSet(
            torch.rand(48, 1, 28, 28, generator=generator),
            torch.arange(48) % 10,
            "few",
            tuple("0123456789"),
        )
        for split in ("train", "test")
    }
    monkeypatch.setattr(tasks, "load", lambda name, split: sets[split])
    return sets


def shape_of(task):
    shape = SHAPES[task.data]
    return (int(np.prod(shape)),) if task.flat else shape


def parameters_of(notebook, profile, entry):
    """Return the parameters that a headless run of a notebook has."""
    (path,) = NOTEBOOKS.glob(f"{notebook}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    (cell,) = (each for each in cells if "parameters" in each["metadata"].get("tags", ()))
    found = {}
    exec("".join(cell["source"]), found)
    return found | yaml.safe_load((NOTEBOOKS / profile).read_text(encoding="utf-8"))[entry]


@pytest.mark.parametrize(("kind", "name"), TASKS)
def test_a_network_of_one_size_has_the_size_of_the_variable_one_at_that_width(kind, name):
    task = KINDS[kind][name]
    variable = Run(kind, name, "variable", 0).untrained(shape_of(task))
    for width in (*task.dedicated, task.width):
        method = "plain" if width == task.width else f"dedicated-{width}"
        alone = Run(kind, name, method, 0).untrained(shape_of(task))
        shapes = [each.shape for each in extract(variable, width).state_dict().values()]
        assert [each.shape for each in alone.state_dict().values()] == shapes


@pytest.mark.parametrize("name", KINDS["classifiers"])
def test_a_plain_classifier_begins_as_the_variable_one_at_full_width(name):
    shape = shape_of(KINDS["classifiers"][name])
    plain, variable = (
        Run("classifiers", name, method, 3).untrained(shape) for method in ("plain", "variable")
    )
    whole = extract(variable, KINDS["classifiers"][name].width)
    for one, other in zip(plain.parameters(), whole.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("kind", "name"), TASKS)
def test_a_task_is_what_the_notebook_trains(kind, name):
    task = KINDS[kind][name]
    if kind == "classifiers":
        found = parameters_of("05", "gap.yaml", name)
        assert task.width == found["WIDTH"]
    else:
        found = parameters_of("03", "figures.yaml", name)
        assert (task.width, task.batch_size) == (found["CODE"], found["BATCH"])
    assert [*task.dedicated, task.width] == found["WIDTHS"]
    assert (task.data, task.epochs) == (found["DATA"], found["EPOCHS"])
    kinds = {tasks.dense_classifier: "dense", tasks.Autoencoder: "dense"}
    assert kinds.get(task.network, "convolutional") == found["MODEL"]
    assert {*task.measured} >= {*found["WIDTHS"]}


def test_networks_begin_as_their_seed_says(global_state_kept):
    def weight(method, seed):
        network = Run("classifiers", "mnist", method, seed).untrained((784,))
        return next(network.parameters())[:4].detach()

    for method in ("variable", "plain", "dedicated-4"):
        assert torch.equal(weight(method, 1), weight(method, 1))
        assert not torch.equal(weight(method, 1), weight(method, 2))
    assert not torch.equal(weight("plain", 0), weight("dedicated-4", 0))


@pytest.mark.parametrize("name", ["mnist", "convolutional"])
def test_dedicated_classifiers_are_those_of_the_notebook(name, few_images, tmp_path):
    task = KINDS["classifiers"][name]
    found = Run("classifiers", name, "dedicated-8", 3, epochs=2).execute(tmp_path)
    expected = baselines.dedicated(
        lambda width: task.network(shape_of(task), width),
        task.images("train"),
        F.cross_entropy,
        [8],
        task.images("test"),
        metric=accuracy,
        seed=3,
        epochs=2,
        lr=8e-3,
        validation=None,
        progress=False,
    )
    assert found["accuracy"] == {"8": round(expected.at(8), 7)}
    assert found["parameters"] == {"8": expected.cost("parameters", 8)}
    assert (found["images"], found["measured_on"], found["epochs"]) == (48, 48, 2)
    assert found["settings"]["recipe"] is None


def test_dedicated_autoencoders_are_those_of_the_notebook(tmp_path):
    pair, test = ((load("faces", split).images[:24],) * 2 for split in ("train", "test"))
    options = {"seed": 0, "epochs": 2, "lr": 6e-3, "batch_size": 32, "progress": False}
    expected = baselines.dedicated(
        lambda width: tasks.Autoencoder((1, 25, 25), width),
        *(pair, F.mse_loss, [2], test),
        **options,
    )
    found = FACES.execute(tmp_path)
    assert found["mse"] == {"2": round(expected.at(2), 7)}
    assert found["parameters"] == {"2": expected.cost("parameters", 2)}
    assert found["measured_on"] == 20


def test_a_variable_network_is_measured_at_every_width(few_images, tmp_path):
    run = Run("classifiers", "convolutional", "variable", 0, epochs=1)
    found = run.execute(tmp_path)
    columns = ("accuracy", "parameters", "macs", "latency_ms")
    assert all([*found[name]] == [str(width) for width in range(1, 33)] for name in columns)
    data = KINDS["classifiers"]["convolutional"].images("train")
    model, _ = run.train(data, 1)
    images = few_images["test"].images
    for width in (1, 11, 32):
        cut = extract(model, width)
        assert found["parameters"][str(width)] == sum(each.numel() for each in cut.parameters())
        assert found["macs"][str(width)] == count_macs(cut, None, images)
        with torch.no_grad():
            share = accuracy(cut(images), few_images["test"].labels).item()
        assert found["accuracy"][str(width)] == pytest.approx(share, abs=1e-6)
    wide = Run("classifiers", "mnist", "variable", 0)
    assert wide.how.measured == measured_positions(256)


def test_principal_components_are_those_of_a_singular_value_decomposition(tmp_path):
    found = Run("autoencoders", "faces", "pca", 0).execute(tmp_path)
    train, test = (
        load("faces", split).images.flatten(1).double().numpy() for split in ("train", "test")
    )
    mean = train.mean(0)
    _, _, directions = np.linalg.svd(train - mean, full_matrices=False)
    for width in (1, 16):
        kept = directions[:width]
        rebuilt = (test - mean) @ kept.T @ kept + mean
        assert found["mse"][str(width)] == pytest.approx(((rebuilt - test) ** 2).mean(), abs=1e-6)
        assert found["parameters"][str(width)] == kept.size + mean.size
        assert found["macs"][str(width)] == 2 * kept.size
    assert len(found["mse"]) == 16


def test_a_run_is_kept_and_not_repeated_unless_its_settings_change(tmp_path, monkeypatch):
    first = FACES.keep(tmp_path)
    written = FACES.file(tmp_path).stat().st_mtime_ns
    assert FACES.keep(tmp_path) == first
    assert FACES.file(tmp_path).stat().st_mtime_ns == written
    again = FACES.execute(tmp_path)
    assert again["mse"] == first["mse"]
    assert first["seconds"] > 0
    assert again["seconds"] is None
    path = FACES.file(tmp_path)
    task = KINDS["autoencoders"]["faces"]
    rates = task.rates | {"dedicated": 1e-3}
    monkeypatch.setitem(KINDS["autoencoders"], "faces", replace(task, rates=rates))
    assert FACES.file(tmp_path) != path
    assert FACES._replace(epochs=3).file(tmp_path) != FACES.file(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "policies"}, "kind must be one of 'classifiers', 'autoencoders'"),
        ({"task": "digits"}, "task must be one of 'fashion-mnist', 'mnist', 'emoji', 'faces'"),
        ({"method": "dedicated-3"}, "method must be one of 'plain', 'dedicated-1'"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"images": 0}, "images must be at least 1, got 0"),
    ],
)
def test_what_is_not_there_is_refused(wrong, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        FACES._replace(**wrong).keep(tmp_path)


@pytest.mark.slow
def test_the_command_makes_what_is_missing_and_tracks_all_of_it(tmp_path, capsys):
    results = tmp_path / "results.json"
    arguments = ["autoencoders", "--tasks", "faces", "--methods", "dedicated-2", "pca"]
    arguments += ["--seeds", "2", "--epochs", "1", "--images", "24", "--processes", "1"]
    arguments += ["--folder", str(tmp_path / "runs"), "--results", str(results)]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "3 of 3 runs are in" in said
    tracked = COLLECTIONS["autoencoders"].tracked(results)
    assert [(each["method"], each["seed"]) for each in tracked] == [
        ("dedicated-2", 0), ("dedicated-2", 1), ("pca", 0),
    ]  # fmt: skip
    assert tracked[0]["command"] == "make autoencoders ARGS='--tasks faces --methods dedicated-2'"


def result(task, method, seed, **values):
    by = {width.removeprefix("w"): value for width, value in values.items()}
    return {"task": task, "method": method, "seed": seed, "accuracy": by, "mse": by}


def test_the_summary_says_how_variable_networks_stand_beside_those_of_one_size():
    found = [
        result("mnist", "plain", 0, w256=0.97),
        result("mnist", "plain", 1, w256=0.99),
        result("mnist", "dedicated-8", 0, w8=0.9),
        result("mnist", "dedicated-16", 0, w16=0.92),
        result("mnist", "variable", 0, w8=0.91, w96=0.95, w256=0.979),
    ]
    assert values_by_width(found, "dedicated", "accuracy") == {
        8: [0.9], 16: [0.92], 256: [0.97, 0.99],
    }  # fmt: skip
    assert summary("classifiers", found) == [
        "mnist 8: alone 90.00 % variable 91.00 %, +1.00 points",
        "mnist 16: alone 92.00 %",
        "mnist 256: alone 98.00 % variable 97.90 %, -0.10 points",
        "mnist, mean of 2 widths: +0.45 points",
    ]
    codes = [
        result("faces", "plain", 0, w16=0.01),
        result("faces", "dedicated-8", 0, w8=0.02),
        result("faces", "variable", 0, w8=0.032, w16=0.01),
        result("faces", "pca", 0, w8=0.05),
    ]
    assert summary("autoencoders", codes) == [
        "faces 8: alone 20.000 x 1000 variable 32.000 x 1000 pca 50.000 x 1000, 1.600 times",
        "faces 16: alone 10.000 x 1000 variable 10.000 x 1000, 1.000 times",
        "faces, mean of 2 widths: 1.265 times",
    ]


def test_costs_of_a_network_of_one_size_are_its_own(few_images, tmp_path):
    found = Run("classifiers", "mnist", "plain", 0, epochs=1).execute(tmp_path)
    model = tasks.dense_classifier((784,), 256)
    assert found["parameters"] == {"256": count_parameters(model)}
    assert found["macs"] == {"256": 784 * 256 + 256 * 256 + 256 * 10}
    assert [*found["latency_ms"]] == ["256"]
