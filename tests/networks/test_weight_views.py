"""A cut whose weights lie in those of the model is the cut."""

import pytest
import torch
from torch import nn

from vsnn_lab import (
    MLP,
    LanguageModel,
    VariableLinear,
    VariableLSTM,
    VariableRNN,
    Width,
    WidthControl,
    extract,
    extract_view,
)


def storage(tensor):
    return tensor.untyped_storage().data_ptr()


def language_model(gains="position"):
    knob = WidthControl(3)
    sizes = {"width": knob.axis(12), "heads": knob.axis(3), "ffn": knob.axis(9)}
    model = LanguageModel(17, layers=2, head_dim=4, gains=gains, **sizes)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.add_(torch.randn_like(parameter) / 5)
    return model


def network(kind):
    hidden = Width(3)
    torch.manual_seed(1)
    return {
        "language": lambda: (language_model(), torch.ones(1, 4, dtype=torch.long)),
        "octaves": lambda: (MLP(4, (hidden,), 2, conditioned=True), torch.randn(5, 4)),
        "joined": lambda: (
            nn.Sequential(VariableLinear(4, hidden + hidden), VariableLinear(hidden + hidden, 2)),
            torch.randn(5, 4),
        ),
        "recurrent": lambda: (VariableRNN(4, hidden), torch.randn(5, 2, 4)),
        "gated": lambda: (VariableLSTM(4, hidden), torch.randn(5, 2, 4)),
    }[kind]()


@pytest.mark.parametrize("kind", ["language", "octaves", "joined", "recurrent", "gated"])
def test_it_computes_what_the_cut_computes(kind):
    model, x = network(kind)
    for position in (1, 2, 3):
        expected, found = (take(model, position)(x) for take in (extract, extract_view))
        if isinstance(expected, tuple):
            expected, found = expected[0], found[0]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
        assert not found.requires_grad


def test_all_but_folded_gains_lies_in_the_model():
    model = language_model()
    whole, cut = dict(model.named_parameters()), extract_view(model, 2)
    own = {name for name, part in cut.named_parameters() if storage(part) != storage(whole[name])}
    assert own == {name for name, _ in cut.named_parameters() if "norm" in name}
    assert cut.lm_head.weight is cut.embed_tokens.weight
    plain = language_model(gains=None)
    whole = dict(plain.named_parameters())
    parts = dict(extract_view(plain, 2).named_parameters())
    assert all(storage(part) == storage(whole[name]) for name, part in parts.items())


def test_recurrent_layers_run_on_the_views_that_they_hold():
    model, x = network("recurrent")
    cut = extract_view(model, 2)
    before = cut(x)[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    torch.testing.assert_close(cut(x)[0], extract(model, 2)(x)[0])
    assert not torch.allclose(cut(x)[0], before)


def test_what_is_written_into_the_model_shows_but_in_copies():
    model = language_model()
    cut = extract_view(model, 2)
    with torch.no_grad():
        model.embed_tokens.weight.fill_(3)
        model.norm.weight.fill_(3)
    assert (cut.embed_tokens.weight == 3).all()
    assert (cut.norm.weight != 3).all()


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(ValueError, match="model must have a variable axis, got none"):
        extract_view(nn.Linear(2, 2), 1)
    with pytest.raises(ValueError, match=r"width must lie in 1\.\.3, got 4"):
        extract_view(language_model(), 4)
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module, got 'model'"):
        extract_view("model", 4)
