import math

import pytest
import torch
import torch.nn.functional as F

from vsnn_lab import (
    BitsPerByte,
    LanguageModel,
    WidthControl,
    at_width,
    next_token_agreement,
    token_cross_entropy,
    width_sweep,
)


def model():
    knob = WidthControl(3)
    return LanguageModel(11, layers=1, width=6, heads=knob.axis(3), ffn=knob.axis(9))


def test_cross_entropy_over_tokens_is_torchs_over_a_transpose():
    output, target = torch.randn(2, 5, 7), torch.randint(7, (2, 5))
    expected = F.cross_entropy(output.transpose(1, 2), target)
    torch.testing.assert_close(token_cross_entropy(output, target), expected)
    soft = torch.randn(2, 5, 7).softmax(-1)
    expected = F.cross_entropy(output.transpose(1, 2), soft.transpose(1, 2))
    torch.testing.assert_close(token_cross_entropy(output, soft), expected)


@pytest.mark.parametrize(
    "target", [torch.zeros(2, 5), torch.zeros(2, dtype=torch.long), torch.zeros(2, 7, 5)]
)
def test_targets_of_another_shape_are_refused(target):
    with pytest.raises(ValueError, match=r"output must have shape \(batch, \.\.\., classes\)"):
        token_cross_entropy(torch.zeros(2, 5, 7), target)


def test_bits_per_byte_of_a_sweep_are_all_bits_over_all_bytes():
    net, tokens = model(), torch.randint(11, (7, 6))
    sizes = torch.arange(1, 12)
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    metric = BitsPerByte(sizes[targets].double().mean().item())
    found = width_sweep(net, metric, (inputs, targets), progress=False)
    assert found.metric == "bits_per_byte"
    for width in (1, 2, 3):
        with at_width(net, width), torch.no_grad():
            logs = net(inputs).log_softmax(-1)
        bits = -logs.gather(-1, targets.unsqueeze(-1)).sum() / math.log(2)
        assert found.at(width) == pytest.approx(float(bits / sizes[targets].sum()), rel=1e-5)


def test_agreement_counts_tokens_whose_likeliest_successor_is_full_widths():
    net, tokens = model(), torch.randint(11, (70, 6))
    found = next_token_agreement(net, tokens)
    with torch.no_grad():
        full = net(tokens).argmax(-1)
        for width in (1, 2, 3):
            with at_width(net, width):
                alike = net(tokens).argmax(-1) == full
            assert found[width] == pytest.approx(alike.double().mean().item())
    assert found[3] == 1
    assert [*next_token_agreement(net, tokens, [2])] == [2]
    with pytest.raises(ValueError, match="bytes_per_token must be above 0, got 0"):
        BitsPerByte(0)
