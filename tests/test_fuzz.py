"""Whatever people write: every way to a width gives what the plain path gives, or is refused.

The plain path is the model's own forward under `at_width`, one width after the other. CI draws
2,000 networks, the same ones each time; ``make fuzz`` draws others, VSNN_LAB_FUZZ of them.
"""

import copy
import math
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.grammar import CONTAINERS, STEPS, networks
from vsnn_lab import (
    Distilled,
    Sampled,
    at_width,
    extract,
    forward_at_widths,
    load_weights,
    save_weights,
    width_sweep,
)
from vsnn_lab.networks.gate import output_axis
from vsnn_lab.networks.trunk import outputs_by_width
from vsnn_lab.train.recipes.step import Step
from vsnn_lab.widths import kept_ranges, single_control

WANTED = int(os.environ.get("VSNN_LAB_FUZZ", "2000"))
FUZZ = settings(
    max_examples=-(-WANTED // len(CONTAINERS)),
    derandomize="VSNN_LAB_FUZZ" not in os.environ,
    suppress_health_check=list(HealthCheck),
    deadline=None,
)
ERRORS = {torch.float64: 1e-9, torch.float32: 2e-4, torch.bfloat16: 0.05}


def close(found, expected):
    error = ERRORS[expected.dtype]
    size = max(1.0, expected.abs().max().item()) if expected.numel() else 1.0
    torch.testing.assert_close(found, expected, rtol=error, atol=error * size, equal_nan=True)


def plain(model, x, width):
    """Run the plain path, on inputs that nobody else sees."""
    with at_width(single_control(model), width):
        return model(x.clone())


def mean_loss(output, target):
    """A mean over samples, of outputs of any size."""
    output = output.float().flatten(1)
    # Far from 0, which a relative loss could not be divided by.
    return 9 + (output.square().mean(1) + output.sum(1) * target.float()).mean()


def unless_refused(message, call):
    """Return what a call returns; None where it is refused with this message."""
    try:
        return call()
    except (TypeError, ValueError) as error:
        if message not in str(error):
            raise
        return None


def check_outputs(model, x):
    with torch.no_grad():
        expected = [plain(model, x, width) for width in range(1, STEPS + 1)]
        given = x.clone()
        found = outputs_by_width(model, given, range(1, STEPS + 1))
        for output, wanted in zip(found, expected, strict=True):
            close(output, wanted)
            assert not output.requires_grad
        y = torch.arange(len(x)).to(x) / len(x)
        # A network that cannot be cut has no counts.
        sweep = unless_refused(
            "to be extracted", lambda: width_sweep(model, mean_loss, (given, y), progress=False)
        )
        if sweep is not None:
            wanted = [mean_loss(output, y).item() for output in expected]
            error = ERRORS[x.dtype]
            assert sweep.values.tolist() == pytest.approx(wanted, rel=error, abs=error)
        assert torch.equal(given, x), "the caller's inputs were changed"
    return expected


ONE_SHAPE = "model must return one shape at every width"


def check_mixed(model, x, expected, widths):
    given = x.clone()
    with torch.no_grad():
        found = unless_refused(ONE_SHAPE, lambda: forward_at_widths(model, given, widths))
    if found is None:
        assert len({output.shape for output in expected}) > 1
        return
    assert torch.equal(given, x), "the caller's inputs were changed"
    for row, width in enumerate(widths.tolist()):
        wanted = expected[width - 1][row]
        kept = [*range(wanted.shape[-1])]
        if len(kept) < found.shape[-1]:
            # The units of a joined axis lie where each part begins.
            axis, _ = output_axis(model)
            ranges = kept_ranges(axis, {axis.control: width})
            kept = [unit for start, length in ranges for unit in range(start, start + length)]
        beyond = [unit for unit in range(found.shape[-1]) if unit not in kept]
        close(found[row][..., kept], wanted)
        assert not found[row][..., beyond].any(), "units beyond the width"


def check_loss(model, found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    owners = [part for part in model.parameters() if part.requires_grad]
    # In half precision sums of gradients depend on their order.
    if not owners or not expected.requires_grad or owners[0].dtype == torch.bfloat16:
        return
    try:
        wanted = torch.autograd.grad(expected, owners, allow_unused=True)
    except RuntimeError as error:
        if "modified by an inplace operation" not in str(error):
            raise
        return  # Torch itself cannot train it: two activations in place, one after the other.
    gradients = torch.autograd.grad(found, owners, allow_unused=True)
    largest = max(part.abs().max().item() for part in wanted if part is not None)
    for owner, *both in zip(owners, gradients, wanted, strict=True):
        one, other = (torch.zeros_like(owner) if part is None else part for part in both)
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * max(1.0, largest))


def sampled_loss(model, x, y, widths):
    total = 0.0
    for width in widths.unique().tolist():
        rows = widths == width
        total = total + rows.sum() * mean_loss(plain(model, x[rows], width), y[rows])
    return total / len(x)


def distilled_loss(model, recipe, x, y, generator):
    total = mean_loss(plain(model, x, STEPS), y)
    for width, share, weight in recipe.narrow.draw(STEPS, generator):
        rows = slice(math.ceil(share * len(x)))
        # A loss of one's own learns from the labels alone.
        total = total + recipe.weight * weight * mean_loss(plain(model, x[rows], width), y[rows])
    return total


def loss_of_samples(model, x, y, widths):
    full, narrow = mean_loss(plain(model, x, STEPS), y), 0.0
    for width in widths.unique().tolist():
        rows = widths == width
        value = mean_loss(plain(model, x[rows], width), y[rows])
        narrow = narrow + rows.sum() * value * (full / value).detach().abs()
    return full + narrow / len(x)


def check_recipes(model, x, widths, seed):
    y = torch.arange(len(x)).to(x) / len(x) + 0.1

    def loss_of(recipe):
        generator = torch.Generator().manual_seed(seed)
        given = x.clone()
        step = Step(model, given, y, mean_loss, generator)
        found = sum(recipe.losses(step))
        assert torch.equal(given, x), "the caller's inputs were changed"
        return found

    def sampler(batch_size, steps, generator=None):
        return widths

    found = unless_refused(ONE_SHAPE, lambda: loss_of(Sampled(sampler)))
    if found is None or plain(model, x, 1).shape != plain(model, x, STEPS).shape:
        return  # Units beyond a sample's width count as zeros in the loss of a whole batch.
    check_loss(model, found, sampled_loss(model, x, y, widths))
    generator = torch.Generator().manual_seed(seed)
    recipe = Distilled()
    check_loss(model, loss_of(recipe), distilled_loss(model, recipe, x, y, generator))
    narrow = widths.clamp(max=STEPS - 1)
    recipe = Distilled(lambda *_: narrow, labels=1.0, relative=True)
    check_loss(model, loss_of(recipe), loss_of_samples(model, x, y, narrow))


def check_extracted(model, x, expected, width):
    small = unless_refused("to be extracted", lambda: extract(model, width))
    if small is not None:
        with torch.no_grad():
            close(small(x.clone()), expected[width - 1])


def check_saved(model, other):
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    with TemporaryDirectory() as folder:
        load_weights(other, save_weights(model, Path(folder) / "net.safetensors"))
    for one, two in zip(other.state_dict().values(), model.state_dict().values(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize("container", CONTAINERS)
@FUZZ
@given(data=st.data())
def test_every_way_to_a_width_is_the_plain_one(container, data):
    model, x = data.draw(networks(container))
    widths = torch.tensor(data.draw(st.lists(st.integers(1, STEPS), min_size=6, max_size=6)))
    widths = widths.sort().values if data.draw(st.booleans()) else widths
    other = copy.deepcopy(model)
    expected = check_outputs(model, x)
    check_mixed(model, x, expected, widths)
    check_recipes(model, x, widths.sort().values, seed=int(widths.sum()))
    check_extracted(model, x, expected, int(widths[0]))
    check_saved(model, other)
