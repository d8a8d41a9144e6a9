"""Damage to the files of a run is noticed, whatever it is, and named."""

import importlib
import json
import random
import warnings

import pytest

from tests.tiny import fake_execution, tiny
from vsnn_lab.headless.runs import Run, folder_state, keep, load_runs, results
from vsnn_lab.headless.runs.folder import write_record

FILES = ("run.json", "results.json", "notebook.ipynb")
KEEPING = importlib.import_module("vsnn_lab.headless.runs.keep")


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Return a run whose table is beside a whole one."""
    monkeypatch.setenv("VSNN_LAB_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(KEEPING, "run_notebook", fake_execution)
    path = tiny(tmp_path, "SEED")
    keep(Run.of(path, {"SEED": 1}))
    run = Run.of(path, {"SEED": 2})
    keep(run)
    return run


def is_refused(run, name):
    for look in (run.read, lambda: results(run.folder), lambda: folder_state(run.folder)):
        with pytest.raises(ValueError, match=rf"{name} is damaged \(.*; restore it, or delete"):
            look()
    with pytest.warns(UserWarning, match=rf"left out: .*{name} is damaged"):
        assert load_runs()["SEED"].tolist() == [1]


def damaged(data: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(data))
    if draw.random() < 0.5:
        return data[:place]
    flipped = bytes([data[place] ^ 1 << draw.randrange(8)])
    return data[:place] + flipped + data[place + 1 :]


def test_no_truncation_and_no_flipped_bit_goes_unnoticed(kept):
    draw = random.Random(0)
    whole = {name: (kept.folder / name).read_bytes() for name in FILES}
    for _ in range(200):
        name = draw.choice(FILES)
        (kept.folder / name).write_bytes(damaged(whole[name], draw))
        is_refused(kept, name)
        (kept.folder / name).write_bytes(whole[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_runs()) == 2


def test_a_missing_file_is_named(kept):
    (kept.folder / "results.json").unlink()
    is_refused(kept, "results.json")


@pytest.mark.parametrize(
    "junk", [b"", b"null", b"[]", b"{}", b'{"run": 1, "digest": 2}', b"\xff", b"[" * 10**5]
)
def test_a_record_of_another_kind_is_refused(junk, kept):
    (kept.folder / "run.json").write_bytes(junk)
    is_refused(kept, "run.json")


def test_a_folder_in_place_of_the_record_is_refused(kept):
    (kept.folder / "run.json").unlink()
    (kept.folder / "run.json").mkdir()
    is_refused(kept, "run.json")


@pytest.mark.parametrize(
    "lie",
    [
        {"state": "stopped"},
        {"state": "failed"},
        {"failure": {"cell": 1, "source": "", "error": "it failed"}},
        {"state": "failed", "failure": {}},
        {"state": "failed", "failure": {"cell": 1, "source": "", "error": None}},
        {"seconds": -1.0},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"seconds": "1"},
        {"started": "yesterday"},
        {"parameters": [1]},
        {"seed": "0"},
        {"versions": None},
        {"commit": 1},
        {"notebook": ["tiny"]},
    ],
    ids=str,
)
def test_a_record_that_lies_is_refused_though_its_hash_fits(lie, kept):
    write_record(kept.folder, kept.read() | lie, ["notebook.ipynb", "results.json"])
    is_refused(kept, "run.json")


def test_a_record_that_vouches_for_no_file_is_refused(kept):
    write_record(kept.folder, kept.read(), [])
    for look in (kept.read, lambda: results(kept.folder)):
        with pytest.raises(ValueError, match=r"damaged \(KeyError"):
            look()


@pytest.mark.parametrize(
    "found",
    [
        [1],
        "text",
        {"table": {"columns": ["a"], "data": [[1, 2]]}},
        {"table": {"columns": 1, "data": 2}},
    ],
    ids=str,
)
def test_results_of_another_kind_are_refused_though_their_hash_fits(found, kept):
    told = kept.read()
    (kept.folder / "results.json").write_text(json.dumps(found))
    write_record(kept.folder, told, ["notebook.ipynb", "results.json"])
    with pytest.raises(ValueError, match=r"results\.json is damaged \("):
        results(kept.folder)
    with pytest.warns(UserWarning, match=r"left out: .*results\.json is damaged"):
        assert load_runs()["SEED"].tolist() == [1]
