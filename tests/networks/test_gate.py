"""What may take a shortcut, and what takes the plain path."""

import logging

import pytest
import torch
from torch import nn

from tests.grammar import AddInPlace, Centred, LinearOfOnesOwn, Listed
from vsnn_lab import (
    MLP,
    Autoencoder,
    VariableConv2d,
    VariableEmbedding,
    VariableLinear,
    Width,
    forward_at_widths,
)
from vsnn_lab._basics.sums import sums_are_safe
from vsnn_lab.networks.gate import is_maskable, may_write_in_place, proven_chain

width = Width(4)


def layers(*between):
    return [VariableLinear(3, width), *between, VariableLinear(width, 2)]


def hooked(register):
    model = nn.Sequential(*layers(nn.ReLU()))
    register(model)
    return model


def overridden():
    model = nn.Sequential(*layers())
    model[0].forward = model[0].forward
    return model


def parametrized():
    model = nn.Sequential(*layers())
    torch.nn.utils.parametrizations.weight_norm(model[0])
    return model


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(*layers(nn.ReLU(inplace=True))),
        nn.Sequential(nn.Sequential(*layers()[:1]), nn.Sequential(nn.GELU(), *layers()[1:])),
        MLP(3, (width, width), 2, conditioned=True),
        Autoencoder((3,), width, (5,)),
        nn.Sequential(nn.LSTM(3, 4)),
        VariableLinear(3, width),
    ],
    ids=["chain", "nested", "octaves", "autoencoder", "recurrent", "a layer"],
)
def test_chains_of_torchs_modules_and_ours_are_proven(model):
    assert proven_chain(model) is not None


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: Listed(*layers()), "neither torch's nor this package's"),
        (lambda: Centred(*layers()), "neither torch's nor this package's"),
        (lambda: nn.Sequential(*layers(AddInPlace())), "neither torch's nor this package's"),
        (lambda: nn.Sequential(LinearOfOnesOwn(3, width)), "neither torch's nor this package's"),
        (lambda: hooked(lambda m: m.register_forward_hook(print)), "has hooks"),
        (lambda: hooked(lambda m: m[0].register_forward_pre_hook(print)), "has hooks"),
        (lambda: hooked(lambda m: m[1].register_full_backward_hook(print)), "has hooks"),
        (lambda: hooked(lambda m: m[2].register_full_backward_pre_hook(print)), "has hooks"),
        (overridden, "overrides its call or its forward"),
        (parametrized, "parametrizations"),
    ],
)
def test_what_is_not_proven_takes_the_plain_path_and_a_log_says_why(build, reason, caplog):
    with caplog.at_level(logging.DEBUG, "vsnn_lab.networks.gate"):
        assert proven_chain(build()) is None
    assert reason in caplog.text
    assert not is_maskable(build())
    assert may_write_in_place(build())


def test_torchs_global_hooks_close_every_shortcut():
    model = nn.Sequential(*layers())
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        assert proven_chain(model) is None
    finally:
        handle.remove()
    assert proven_chain(model) is not None


class Chain(MLP):
    """A subclass of ours that changes the order of things."""

    def forward(self, x):
        return super().forward(-x)


def test_a_subclass_of_this_packages_networks_is_not_one_of_them():
    assert proven_chain(Chain(3, (width,), 2)) is None


@pytest.mark.parametrize(
    ("between", "maskable"),
    [
        ([], True),
        ([nn.Sigmoid(), nn.Dropout()], True),
        ([nn.PReLU()], True),
        ([nn.PReLU(4)], False),
        ([nn.Softmax(-1)], False),
        ([nn.LayerNorm(4)], False),
        ([nn.Flatten()], False),  # of sequences it would interleave the units
        ([nn.MaxPool1d(1)], False),
        ([nn.ReLU(), VariableLinear(width, width), nn.GLU()], False),
    ],
)
def test_masks_are_for_what_keeps_units_apart(between, maskable):
    assert is_maskable(nn.Sequential(*layers(*between))) is maskable


def test_an_embedding_that_counts_the_indices_of_a_call_is_not_masked():
    tables = [VariableEmbedding(5, width, scale_grad_by_freq=scaled) for scaled in (False, True)]
    assert [is_maskable(table) for table in tables] == [True, False]


def test_channels_may_be_pooled_and_flattened_under_a_mask():
    chain = [VariableConv2d(1, width, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    assert is_maskable(nn.Sequential(*chain, VariableLinear(width * 4, 2)))
    assert not is_maskable(nn.Sequential(*chain[:2], nn.Softmax2d(), *chain[2:]))


def test_what_stands_before_or_behind_the_axis_may_be_anything_of_torchs():
    last = [nn.LayerNorm(2), nn.Softmax(-1)]
    assert is_maskable(nn.Sequential(nn.LayerNorm(3), *layers(), *last))


@pytest.mark.parametrize(
    ("module", "writes"),
    [(nn.ReLU(), False), (nn.SELU(inplace=True), True), (AddInPlace(), True)],
)
def test_inputs_are_copied_for_whoever_may_write_into_them(module, writes):
    model = nn.Sequential(module, *layers())
    assert may_write_in_place(model) is writes
    x = torch.randn(3, 3)
    given = x.clone()
    for widths in ([1, 2, 3], [3, 1, 2], [2, 2, 2]):
        forward_at_widths(model, given, torch.tensor(widths))
        assert torch.equal(given, x)


def test_what_is_compiled_is_judged_by_what_it_was():
    plain = [nn.Sequential(*layers(part)) for part in (nn.ReLU(), nn.Softmax(1))]
    compiled = [torch.compile(model, backend="eager") for model in plain]
    assert [is_maskable(model) for model in compiled] == [True, False]
    assert not any(map(may_write_in_place, compiled))


def test_sums_are_safe_in_single_and_double_precision_outside_autocast():
    x = torch.ones(2)
    assert sums_are_safe(x, x.double(), None, nn.Parameter(x))
    assert not sums_are_safe(x, x.half())
    assert not sums_are_safe(x.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        assert not sums_are_safe(x)
