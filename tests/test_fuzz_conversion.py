"""Whatever plain network is made variable computes at each width what its cut computes.

CI draws the same networks each time; ``make fuzz`` draws others, an eighth of VSNN_LAB_FUZZ.
VSNN_LAB_FUZZ_SEED is the first one's seed; a failure names the seed of its own.
"""

import os
import random
from collections import Counter

import pytest
import torch

from tests.random_networks import RandomNetwork
from vsnn_lab import at_width, extract, make_variable
from vsnn_lab.widths import width_controls

PARTS = 8
WANTED = int(os.environ.get("VSNN_LAB_FUZZ", "320")) // 8
FIRST = random.randrange(2**30) if "VSNN_LAB_FUZZ" in os.environ else 0
FIRST = int(os.environ.get("VSNN_LAB_FUZZ_SEED", FIRST))
REFUSED = ("nothing left to vary", "that can vary, got none", "on sizes alone")


def run(model, x):
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return model(x.clone())


def close(found, expected):
    size = max(1.0, expected.nan_to_num(0, 0, 0).abs().max().item())
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9 * size, equal_nan=True)


def positions_of(knobs, draw):
    return {knob: draw.randint(1, knob.steps) for knob in knobs}


def check(seed):
    """Convert a network; return what became of it."""
    model, draw = RandomNetwork(seed), random.Random(seed)
    x = model.example
    knobs = draw.choice(["shared", "per_layer"])
    try:
        variable = make_variable(model, x, knobs=knobs, verify=False)
    except ValueError as error:
        if not any(each in str(error) for each in REFUSED):
            raise
        return "nothing varies"
    expected = run(model, x)
    assert torch.equal(run(variable, x).nan_to_num(7.0), expected.nan_to_num(7.0)), "full width"
    controls = width_controls(variable)
    for training in (False, True):
        variable.train(training)
        positions = positions_of(controls, draw)
        cut = extract(variable, positions)
        wanted = run(cut, x)
        with at_width(variable, positions):
            close(run(variable, x), wanted)
    variable.eval()
    rows = [positions_of(controls, draw) for _ in x]
    vectors = {knob: torch.tensor([row[knob] for row in rows]) for knob in controls}
    with at_width(variable, vectors):
        masked = run(variable, x)
    for place, row in enumerate(rows):
        with at_width(variable, row):
            close(masked[place], run(variable, x)[place])
    return "varies"


@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_is_made_variable_is_its_cut_at_every_width(part):
    found = Counter()
    for seed in range(FIRST + part, FIRST + WANTED, PARTS):
        try:
            found[check(seed)] += 1
        except Exception as error:
            error.add_note(
                f"It is of RandomNetwork({seed}):\n" + "\n".join(RandomNetwork(seed).names)
            )
            raise
    assert found["varies"] >= sum(found.values()) / 5
