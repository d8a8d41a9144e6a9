"""Torch's fused encoder layer, which calls none of its layers, is off while a knob is turned."""

import copy
import pickle
import threading

import pytest
import torch
from torch import nn

from tests.own import own_linear
from vsnn_lab import Width, at_width, extract, verify_extraction
from vsnn_lab.layers import VariableLinear

X = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))
PADDING = torch.tensor([[False] * 5, [False] * 3 + [True] * 2, [False] * 4 + [True]])


def encoder_layer(kind, **options):
    """Return an encoder layer whose hidden layer of 16 units varies."""
    width = Width(16)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **options)
    knob = () if kind is VariableLinear else (width.control,)
    layer.linear1 = kind(8, width, *knob)
    layer.linear2 = kind(width, 8, *knob)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.3)
    return layer


def before_stacking(kind):
    layer = encoder_layer(kind)
    return nn.TransformerEncoder(layer, 1)


def after_stacking(kind):
    stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1)
    stack.layers[0] = encoder_layer(kind, activation="gelu")
    return stack


def within_a_chain(kind):
    return nn.Sequential(nn.Linear(8, 8), encoder_layer(kind, norm_first=True), nn.LayerNorm(8))


BUILDS = [before_stacking, after_stacking, within_a_chain]
KINDS = [VariableLinear, own_linear]
CLONES = [lambda net: net, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))]


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.__name__)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("clone", CLONES, ids=["itself", "deepcopy", "pickle"])
def test_an_encoder_computes_its_width_in_evaluation_without_gradients(build, kind, clone):
    net = clone(build(kind)).eval()
    for position in (1, 3, 16):
        with at_width(net, position):
            expected = net(X).detach()  # gradients keep torch off its fast path
            with torch.no_grad():
                torch.testing.assert_close(net(X), expected, rtol=1e-4, atol=1e-5)
            with torch.inference_mode():
                torch.testing.assert_close(net(X), expected, rtol=1e-4, atol=1e-5)
        assert verify_extraction(net, position, X) < 1e-4
        torch.testing.assert_close(extract(net, position)(X), expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        at_rest = net(X)
    torch.testing.assert_close(at_rest, net(X).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.filterwarnings("ignore:.*nested tensors is in prototype stage")
def test_a_padded_batch_computes_its_width(kind):
    net = nn.TransformerEncoder(encoder_layer(kind), 1).eval()
    with at_width(net, 3):
        expected = net(X, src_key_padding_mask=PADDING).detach()
        with torch.no_grad():
            found = net(X, src_key_padding_mask=PADDING)
    torch.testing.assert_close(found[~PADDING], expected[~PADDING], rtol=1e-4, atol=1e-5)


def test_a_function_that_turns_the_knob_is_compiled_whole():
    torch._dynamo.reset()
    net = encoder_layer(VariableLinear).eval()

    def at_three(x):
        with at_width(net, 3):
            return net(x)

    expected = at_three(X).detach()
    with torch.no_grad():
        found = torch.compile(at_three, backend="eager", fullgraph=True)(X)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert torch.backends.mha.get_fastpath_enabled()


def test_what_was_compiled_at_full_width_is_not_used_at_another():
    torch._dynamo.reset()
    net = within_a_chain(VariableLinear).eval()
    compiled = torch.compile(net, backend="eager")
    with torch.no_grad():
        compiled(X)
    for position in (2, 5):
        with at_width(net, position):
            expected = net(X).detach()
            with torch.no_grad():
                torch.testing.assert_close(compiled(X), expected, rtol=1e-4, atol=1e-5)


def test_torchs_switch_is_as_it_was_when_every_knob_is_back():
    enabled = torch.backends.mha.get_fastpath_enabled
    first, second = Width(4).control, Width(4).control
    with at_width(first, 2):
        with at_width(second, 3):
            assert not enabled()
        assert not enabled()
    assert enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with at_width(first, 2):
            assert not enabled()
        assert not enabled()
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


def test_a_thread_that_is_done_leaves_the_others_their_width():
    net, other = within_a_chain(VariableLinear).eval(), Width(4).control
    turned, done = threading.Event(), threading.Event()

    def turn():
        with at_width(other, 2):
            turned.set()
            done.wait(10)

    thread = threading.Thread(target=turn)
    thread.start()
    turned.wait(10)
    with at_width(net, 3):
        expected = net(X).detach()
        done.set()
        thread.join()
        with torch.no_grad():
            torch.testing.assert_close(net(X), expected, rtol=1e-4, atol=1e-5)
    assert torch.backends.mha.get_fastpath_enabled()
