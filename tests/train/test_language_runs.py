"""Trainings of language models by every method: what they train, keep and say."""

import json

import pytest
import torch

from vsnn_lab import Width, at_width, count_parameters, extract
from vsnn_lab._basics import checkpoints
from vsnn_lab.train.language import (
    METHODS,
    Run,
    bits_by_width,
    keep_runs,
    language_model,
    tracked_results,
)
from vsnn_lab.train.language.__main__ import main
from vsnn_lab.train.language.results import summary, track_results


def result(method, seed, *bits, ratio=1.0):
    by_position = {str(position): value for position, value in enumerate(bits, 1)}
    return {
        "method": method,
        "seed": seed,
        "steps": 10,
        "bits_per_byte": by_position,
        "agreement": {"1": 0.7},
        "drafts_accepted": {"2": 0.6},
        "step_over_plain": ratio,
    }


RESULTS = [
    result("plain", 0, 1.8),
    result("plain", 1, 2.0),
    result("fh-1", 0, 2.0),
    result("fh-3", 0, 1.9),
    result("fh", 0, 2.04, 2.0, 1.95, 1.9, 1.9, 1.71, ratio=1.9),
    result("fhd-1", 0, 2.2),
]


def test_a_model_of_one_size_has_the_parameters_of_the_cut_of_that_size(global_state_kept):
    for method in METHODS:
        kind, _, position = method.partition("-")
        if position:
            alone, whole = language_model(method), language_model(kind)
            assert count_parameters(alone, 1) == count_parameters(whole, int(position))
    assert count_parameters(language_model("plain"), 1) == count_parameters(language_model("fh"), 6)
    assert isinstance(language_model("fhd").width, Width)
    assert language_model("fh").width == 192


def test_models_begin_as_their_seed_says():
    one, same, other = (language_model("plain", seed).norm.gain for seed in (0, 0, 1))
    assert torch.equal(one, same)
    weights = [language_model("plain", seed).embed_tokens.weight for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert other.shape == one.shape
    assert weights[0].std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.slow
def test_a_run_is_kept_with_its_weights_and_not_repeated(tmp_path):
    pytest.importorskip("tokenizers", reason="the extra text is not installed")
    run = Run("fhd-1", 0, steps=2)
    first = run.keep(tmp_path)
    written = run.file(tmp_path).stat().st_mtime_ns
    assert run.keep(tmp_path) == first
    assert run.file(tmp_path).stat().st_mtime_ns == written
    assert 2 < first["bits_per_byte"]["1"] < 5
    assert first["parameters"]["1"] == count_parameters(language_model("fhd-1"), 1)
    tensors, header = checkpoints.read(run.model_file(tmp_path))
    model = language_model("fhd-1")
    model.load_state_dict(tensors)
    assert header["made_by"]["method"] == "fhd-1"
    ids = torch.zeros(1, 3, dtype=torch.long)
    with at_width(model, 1), torch.no_grad():
        torch.testing.assert_close(extract(model, 1)(ids), model(ids))


@pytest.mark.slow
def test_the_command_makes_what_is_missing_and_tracks_all_of_it(tmp_path, capsys):
    pytest.importorskip("tokenizers", reason="the extra text is not installed")
    results = tmp_path / "results.json"
    track_results([RESULTS[0]], results)
    arguments = ["--methods", "fhd-1", "--seeds", "1", "--steps", "1", "--processes", "1"]
    arguments += ["--folder", str(tmp_path / "runs"), "--results", str(results)]
    assert main(arguments) == 0
    assert "1 of 1 runs are in" in capsys.readouterr().out
    assert [run["method"] for run in tracked_results(results)] == ["fhd-1", "plain"]
    assert json.loads(results.read_text())["runs"][0]["steps"] == 1


def test_a_failure_is_a_line_that_names_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("VSNN_LAB_DATA", str(tmp_path))
    failures = []
    run = Run("plain", 0, steps=0)
    assert keep_runs([run], tmp_path, 1, failures) == []
    assert len(failures) == 1
    assert failures[0].startswith("plain, seed 0, 0 steps: ")


def test_bits_are_read_by_position():
    assert bits_by_width(RESULTS, "fh") == {
        1: [2.04], 2: [2.0], 3: [1.95], 4: [1.9], 5: [1.9], 6: [1.71],
    }  # fmt: skip
    assert bits_by_width(RESULTS, "fh-dedicated") == {1: [2.0], 3: [1.9], 6: [1.8, 2.0]}
    assert bits_by_width(RESULTS, "fhd-dedicated") == {1: [2.2], 6: [1.8, 2.0]}
    assert bits_by_width(RESULTS, "fhd") == {}


def test_the_summary_says_what_is_lost_and_what_may_be():
    lines = summary(RESULTS)
    assert "fh 1: 2.0400 bits per byte, 1 seeds; alone 2.0000, +2.00 % (at most +3.0 %)" in lines
    assert "fh 6: 1.7100 bits per byte, 1 seeds; alone 1.9000, -10.00 % (at most +0.5 %)" in lines
    assert "fh: a step takes 1.90 of plain's" in lines
    assert "fh: of two drafts of it 60.0 % are accepted" in lines
    assert not any(line.startswith("fhd") for line in lines)
