"""The benchmarks measure what they say, and a reader can run one alone."""

import io
import re
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks import __main__ as command
from benchmarks import growth, memory, report
from benchmarks import threads as two_threads
from benchmarks.networks import (
    PlainVGG,
    plain_autoencoder,
    plain_mlp,
    variable_mlp,
    variable_vgg,
)
from benchmarks.timing import Measurement, interleaved_times, on_device, ratios, threads
from benchmarks.training import language_models, step
from vsnn_lab import (
    Autoencoder,
    Sampled,
    Stratified,
    Width,
    count_macs,
    count_parameters,
    token_cross_entropy,
)


def test_every_work_is_timed_once_a_round_and_ratios_are_of_one_round():
    calls = []
    works = {name: (lambda name=name: calls.append(name)) for name in ("plain", "a", "b")}
    times = interleaved_times(works, rounds=4)
    assert {name: each.shape for name, each in times.items()} == dict.fromkeys(works, (4,))
    assert set(calls) == set(works)
    slow = {"plain": lambda: None, "slow": lambda: [None for _ in range(200_000)]}
    assert ratios(slow, rounds=3)["slow"].min() > 10


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("values", "options", "value", "met"),
    [
        ([3, 1, 2], {"most": 2}, 2, True),
        ([3, 1, 2], {"most": 1.9}, 2, False),
        ([3, 1, 2], {"most": 9, "least": 2.1}, 2, False),
        (range(101), {"most": 95, "percentile": 95}, 95, True),
    ],
)
def test_a_figure_is_met_where_its_percentile_lies_in_the_range(values, options, value, met):
    measurement = Measurement("what", np.array(values, float), **options)
    assert (measurement.value, measurement.met) == (value, met)
    assert measurement.quartiles[0] <= np.median(measurement.values) <= measurement.quartiles[1]


def test_variable_networks_are_the_plain_ones_at_full_width():
    pairs = [
        (plain_mlp(8, 2, 5, 3), variable_mlp(8, 2, 5, 3), torch.ones(1, 5)),
        (PlainVGG(), variable_vgg(), torch.ones(1, 3, 32, 32)),
        (plain_autoencoder(4), Autoencoder((1, 28, 28), Width(4)), torch.ones(1, 1, 28, 28)),
    ]
    for plain, variable, x in pairs:
        assert count_parameters(plain) == count_parameters(variable)
        assert count_macs(plain, None, x) == count_macs(variable, None, x)
        assert plain(x).shape == variable(x).shape


def test_a_step_trains_and_its_memory_grows_with_the_batch():
    x, y = torch.randn(64, 32), torch.randn(64, 32)
    model = variable_mlp(16)
    work = step(model, x, y, recipe=Sampled(Stratified(4)))
    before = F.mse_loss(model(x), y).item()
    for _ in range(20):
        work()
    assert F.mse_loss(model(x), y).item() < before
    small, large = (
        memory.bytes_at_peak(step(plain_mlp(16), torch.ones(n, 32), torch.ones(n, 32)))
        for n in (100, 1000)
    )
    # Three hidden layers before and after their activation are held for the backward.
    assert large - small > 900 * 4 * 16 * 3


def test_a_process_trains_once_for_every_line_and_says_how_long_a_step_took(monkeypatch, capsys):
    monkeypatch.setattr(two_threads, "_SECONDS", 0)
    monkeypatch.setattr(sys, "stdin", io.StringIO("1\n2\n"))
    two_threads.train_when_told()
    times = [float(line) for line in capsys.readouterr().out.splitlines()]
    assert len(times) == 2
    assert all(0 < each < 60 for each in times)


def test_the_theory_of_square_layers_is_a_third_of_the_multiplications():
    assert growth.Case(width=4096).multiplications == pytest.approx(1 / 3, abs=0.01)
    assert growth.Case(depth=1).multiplications == pytest.approx(1 / 2, abs=0.01)


def test_one_is_run_by_name_and_the_exit_tells_whether_targets_are_met(monkeypatch, capsys):
    measurement = Measurement("a thing that was measured", np.array([0.5]), 0.4, threads=2)
    monkeypatch.setitem(command.BENCHMARKS, "wide", lambda: iter([measurement]))
    monkeypatch.setattr(sys, "argv", ["benchmarks", "wide"])
    with pytest.raises(SystemExit, match="1"):
        command.main()
    said = re.sub(r"[^\w. ×]", " ", capsys.readouterr().out)
    assert all(part in said for part in ("measured", "0.50 ×", "at most 0.40", "missed"))


def test_a_name_that_there_is_not_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "fast"])
    with pytest.raises(SystemExit, match="2"):
        command.main()
    assert "name must be one of runs, wide" in capsys.readouterr().err


def test_the_kept_table_says_what_it_was_measured_on(monkeypatch, tmp_path):
    monkeypatch.setattr(report, "_RESULTS", tmp_path / "RESULTS.md")
    report.write_results([Measurement("a step", np.array([0.5, 0.6, 0.7]), 1.0, 0.2, threads=2)])
    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "| a step | 0.60 × | 0.55 to 0.65 | 0.20 to 1.00 | met | 2 | CPU |" in page
    assert f"torch {torch.__version__}" in page


def test_a_table_of_a_card_names_it_and_leaves_that_of_the_processor_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(report, "_RESULTS", tmp_path / "RESULTS.md")
    monkeypatch.setattr(report, "_RESULTS_OF_A_CARD", tmp_path / "RESULTS-gpu.md")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some Card 3000")
    with on_device("cuda"):
        report.write_results([Measurement("a step", np.array([0.5]), 1.0)])
    page = (tmp_path / "RESULTS-gpu.md").read_text(encoding="utf-8")
    assert "| met | 1 | Some Card 3000 |" in page
    assert "\nSome Card 3000 (CUDA" in page
    assert not (tmp_path / "RESULTS.md").exists()
    assert Measurement("a step", np.array([0.5]), 1.0).device == "CPU"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card here")
def test_a_card_that_is_not_there_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--device", "cuda"])
    with pytest.raises(SystemExit, match="2"):
        command.main()
    assert "cuda needs a card that torch can use" in capsys.readouterr().err


@pytest.mark.parametrize("half", [False, True])
def test_a_step_in_bfloat16_trains_too(half):
    plain, model, x, y, recipe = language_models()
    for work in (
        step(plain, x[:2], y[:2], token_cross_entropy, half=half),
        step(model, x[:2], y[:2], token_cross_entropy, recipe, half),
    ):
        work()
    assert all(each.grad is not None for each in model.parameters())
