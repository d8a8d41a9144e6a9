"""The atlas of widths: every number of its page and its table stands in a file of results."""

import csv
import io
import json
import re
import shutil
from fractions import Fraction
from statistics import fmean

import pytest

import vsnn_lab
from docs.atlas.__main__ import main
from docs.atlas.files import CSV, PAGE, csv_text
from docs.atlas.fragment import atlas_html, page_data
from docs.atlas.metrics import METRICS
from docs.atlas.rows import COLLECTIONS, RESULTS, Row, read_rows
from docs.atlas.tasks import READOUTS, slider_stops, summarise
from tests.atlas import MADE_UP, image_runs, vgg_runs, write_results

DOCS = RESULTS.parent
METRIC = {"autoencoders": "mse", "policies": "returns", "language": "bits_per_byte"}


@pytest.fixture(scope="module", params=["tracked", "complete"])
def folder(request, tmp_path_factory):
    """What is tracked as it is, and with made-up runs in place of what is not there yet."""
    if request.param == "tracked":
        return RESULTS
    return write_results(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def rows(folder):
    """The table, as who downloads it reads it."""
    return [*csv.DictReader(io.StringIO(csv_text(read_rows(folder))))]


@pytest.fixture(scope="module")
def tasks(folder):
    return summarise(read_rows(folder))


@pytest.fixture(scope="module")
def data(tasks):
    """What the page moves, by task."""
    return {task["name"]: task for task in page_data(tasks, slider_stops(tasks))["tasks"]}


def runs_of(folder, name):
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))["runs"] if path.exists() else []


def test_every_number_of_the_table_stands_where_its_row_says(folder, rows):
    files = {path.stem: path for path in folder.glob("*.json")}
    read = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in files.items()}
    for row in rows:
        name, _, pointer = row["source"].partition(".json#/runs/")
        index, metric, position = pointer.split("/")
        run = read[name]["runs"][int(index)]
        assert (row["collection"], row["metric"]) == (name, metric)
        assert float(row["value"]) == run[metric][position]
        macs = "macs_per_token" if name == "language" else "macs"
        for column, kept in (("parameters",) * 2, ("macs", macs), ("latency_ms",) * 2):
            expected = run.get(kept, {}).get(position)
            assert (float(row[column]) if row[column] else None) == expected, row
        assert (row["seed"], row["date"]) == (str(run["seed"]), run["date"])
        assert row["versions"].split("; ") == [" ".join(each) for each in run["versions"].items()]
        assert row["command"] == run.get("command", f"make {name}")
        assert row["device"] == run.get("device", "")
        assert row["timed_samples"] in ("", "1" if name == "top" else str(min(128, samples(run))))
        assert bool(row["timed_samples"]) == bool(row["latency_ms"])


def samples(run):
    return run.get("measured_on", 128)


def test_every_measured_width_of_every_run_has_a_row(folder, rows):
    found = {}
    for row in rows:
        found.setdefault(row["collection"], []).append(row)
    assert len(found) >= 3
    for name in (collection.name for collection in COLLECTIONS):
        metric, runs = METRIC.get(name, "accuracy"), runs_of(folder, name)
        # Of tasks with a network of every width, which is all that a whole collection has.
        varied = {run.get("task") for run in runs if run["method"] in ("variable", "fh", "fhd")}
        known = [run for run in runs if metric in run and run.get("task") in varied]
        count = sum(len(run[metric]) for run in known)
        if name == "language":  # plain models stand in two tasks
            count += sum(run["method"] == "plain" for run in known)
        assert len(found.get(name, [])) == count
        for row in found.get(name, []):
            index, _, position = row["source"].partition("#/runs/")[2].split("/")
            whole, _, size = runs[int(index)]["method"].partition("-")
            width = {"dedicated": size, "plain": row["full_width"], "linear": "0"}
            assert row["width"] == width.get(row["network"], position)
            expected = {"fh": "dedicated" if size else "variable"}.get(whole[:2], whole)
            assert row["network"] == expected


def in_table(rows, task, network, width, column="value"):
    return [
        float(row[column])
        for row in rows
        if (row["network"], row["width"]) == (network, str(width)) and row[column]
        if f"{row['collection']}-{row['task']}" == task
    ]


def numbers(text):
    return [float(each.replace(",", "")) for each in re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)]


SHOWN = {
    "accuracy": lambda value: 100 * (1 - value),
    "mse": lambda value: 1000 * value,
    "bits_per_byte": float,
    "returns": float,
}


def worse_by(metric, value, other):
    """Return by how much a shown value is worse than another: points, per cent or return."""
    if metric in ("mse", "bits_per_byte"):
        return 100 * (value - other) / other
    return other - value if metric == "returns" else value - other


def metric_of(rows, task):
    found = {row["metric"] for row in rows if task == f"{row['collection']}-{row['task']}"}
    (metric,) = found
    return metric


def test_readouts_are_the_means_of_the_table(rows, tasks, data):
    checked = 0
    for task in tasks:
        metric = metric_of(rows, task.name)
        show, full = SHOWN[metric], task.full_width
        for width, texts in zip(task.widths, data[task.name]["texts"], strict=True):
            said = dict(zip(READOUTS, texts, strict=True))
            value = show(fmean(in_table(rows, task.name, "variable", width)))
            assert numbers(said["width"]) == [width, full]
            assert numbers(said["metric"])[-1 if metric == "mse" else 0] == pytest.approx(
                value, abs=0.51 if metric == "returns" else 0.0051
            )
            for cost in ("parameters", "macs"):
                own, whole = (
                    in_table(rows, task.name, "variable", each, cost) for each in (width, full)
                )
                if own:
                    share = 100 * fmean(own) / fmean(whole)
                    assert numbers(said[cost])[0] == pytest.approx(share, rel=0.0051)
                assert (said[cost] == "–") == (not own)  # noqa: RUF001
            latency = in_table(rows, task.name, "variable", width, "latency_ms")
            if latency:
                assert numbers(said["latency"])[0] == pytest.approx(fmean(latency), rel=0.0051)
            alone = "plain" if width == full else "dedicated"
            plain = "plain" if in_table(rows, task.name, "plain", full) else "variable"
            for name, others in (
                ("alone", in_table(rows, task.name, alone, width)),
                ("full", in_table(rows, task.name, plain, full)),
            ):
                assert (said[name] == "–") == (not others)  # noqa: RUF001
                if others:
                    gap = worse_by(metric, value, show(fmean(others)))
                    text = said[name]
                    amount = 0.0 if text == "level" else numbers(text)[0]
                    amount *= -1 if text.endswith("better") else 1
                    step = {"accuracy": 0.0051, "returns": 0.51}.get(metric, 0.051)
                    assert amount == pytest.approx(gap, abs=step), (task.name, width, text)
                    checked += 1
    assert checked > 50


def test_figures_and_markers_are_the_means_of_the_table(rows, tasks, data):
    for task in tasks:
        metric = metric_of(rows, task.name)
        means = [
            SHOWN[metric](fmean(in_table(rows, task.name, "variable", w))) for w in task.widths
        ]
        for axis, figure in data[task.name]["figures"].items():
            column = "width" if axis == "width" else axis
            scale = {"width": 1 / task.full_width, "latency_ms": 1 / 1000}.get(axis, 1)
            costs = [in_table(rows, task.name, "variable", w, column) for w in task.widths]
            assert (figure is None) == (not any(costs))
            if figure is None:
                continue
            expected = [scale * fmean(each) if each else None for each in costs]
            x, y = zip(*figure["markers"], strict=True)
            assert [*x] == pytest.approx(expected)
            assert [*y] == pytest.approx(means)
            (line,) = (each for each in figure["data"] if each["name"] == "variable network")
            drawn = [pair for pair in zip(expected, means, strict=True) if pair[0] is not None]
            assert line["x"] == pytest.approx([pair[0] for pair in drawn])
            assert line["y"] == pytest.approx([pair[1] for pair in drawn])
            bands = [each for each in figure["data"] if each["name"] == "variable network, seeds"]
            assert len(bands) == (len(in_table(rows, task.name, "variable", task.widths[0])) > 1)


def test_the_slider_stops_where_something_was_measured_and_a_task_stays_within_the_share(
    tasks, data
):
    stops = slider_stops(tasks)
    assert stops == sorted(set(stops))
    assert stops[-1] == 1
    for task in tasks:
        places = data[task.name]["shown"]
        assert {*places} == {*range(len(task.widths))}
        for stop, place in zip(stops, places, strict=True):
            width = task.widths[place]
            assert Fraction(width, task.full_width) <= stop or place == 0
            wider = task.widths[place + 1 :]
            assert all(Fraction(each, task.full_width) > stop for each in wider)


@pytest.mark.parametrize("name", [collection.name for collection in COLLECTIONS])
def test_a_task_without_a_file_is_absent_and_the_others_stay(name, tmp_path):
    write_results(tmp_path)
    before = {(row.collection, row.task) for row in read_rows(tmp_path)}
    (tmp_path / f"{name}.json").unlink()
    after = {(row.collection, row.task) for row in read_rows(tmp_path)}
    assert after == {each for each in before if each[0] != name}
    assert len(after) < len(before)
    names = [task.name for task in summarise(read_rows(tmp_path))]
    assert sorted(names) == sorted(map("-".join, after))


def test_without_any_results_there_is_no_atlas(tmp_path):
    with pytest.raises(ValueError, match="results must hold a task with a variable network, got n"):
        atlas_html(summarise(read_rows(tmp_path)), "x.csv")


def changed(name, change):
    runs = MADE_UP[name]()
    change(runs)
    return runs


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("classifiers", lambda runs: runs[0].update(epochs=3), "mnist, must have the same epochs"),
        ("vgg", lambda runs: runs.append(runs[0]), "each run must be in vgg.json once, got"),
        (
            "classifiers",
            lambda runs: runs[2]["accuracy"].update({"512": 0.9}),
            "classifiers.json, mnist, must have one full width, got 512 and 256",
        ),
    ],
)
def test_results_that_do_not_belong_together_are_refused(name, change, message, tmp_path):
    runs = changed(name, change)
    (tmp_path / f"{name}.json").write_text(json.dumps({"runs": runs}))
    with pytest.raises(ValueError, match=message):
        read_rows(tmp_path)


def test_a_network_of_a_knob_for_each_layer_or_of_no_task_has_no_row(tmp_path):
    (tmp_path / "vgg.json").write_text(json.dumps({"runs": vgg_runs()}))
    alone = [run for run in image_runs("mnist", "accuracy", 256) if run["method"] == "plain"]
    (tmp_path / "classifiers.json").write_text(json.dumps({"runs": alone}))
    assert {row.network for row in read_rows(tmp_path)} == {
        "plain", "dedicated", "variable", "ordered",
    }  # fmt: skip
    assert {row.collection for row in read_rows(tmp_path)} == {"vgg"}


@pytest.mark.parametrize(
    ("metric", "value", "other", "text"),
    [
        ("accuracy", 10.31, 10.0, "0.31 points worse"),
        ("accuracy", 10.0, 10.001, "level"),
        ("mse", 9.0, 10.0, "10.0\xa0% better"),
        ("returns", 1500.0, 500.0, "1,000 better"),
        ("bits_per_byte", 1.1, 1.0, "10.0\xa0% worse"),
    ],
)
def test_a_difference_says_how_much_and_which_way(metric, value, other, text):
    assert METRICS[metric].difference(value, other) == text


def test_the_page_describes_every_column_and_every_command():
    page = (DOCS / "width_atlas.md").read_text(encoding="utf-8")
    section = page.split("## The table\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [*Row._fields]
    tasks = page.split("## What the tasks are\n")[1].split("\n## ")[0]
    assert {*re.findall(r"`make (\w+)`", tasks)} - {"docs"} == {each.name for each in COLLECTIONS}
    assert f"version = {{{vsnn_lab.__version__}}}" in page


def test_one_command_writes_the_table_and_a_page_that_asks_for_nothing(
    tmp_path, capsys, monkeypatch
):
    results = tmp_path / "results"
    results.mkdir()
    shutil.copyfile(RESULTS / "top.json", results / "top.json")
    arguments = ["atlas", "--results", str(results), "--folder", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", arguments)
    main()
    paths = [tmp_path / "out" / name for name in (CSV, PAGE)]
    assert capsys.readouterr().out.split() == [*map(str, paths)]
    assert paths[0].read_text(encoding="utf-8") == csv_text(read_rows(results))
    html = paths[1].read_text(encoding="utf-8")
    assert not re.findall(r'<(?:script|img|link)[^>]*(?:src|href)="(?!data:)', html)
    assert f'href="{CSV}" download' in html
    assert 'data-task="top-fashion-mnist"' in html
