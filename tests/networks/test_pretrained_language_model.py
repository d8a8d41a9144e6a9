"""The language model that ships: it writes at once, and is as good as its file says."""

import importlib.util
from functools import partial
from itertools import islice

import pytest
import torch

from vsnn_lab import (
    BitsPerByte,
    LanguageModel,
    at_width,
    continuation,
    data,
    extract,
    load_pretrained,
    pretrained_header,
    pretrained_tokenizer,
    width_sweep,
)
from vsnn_lab._basics import checkpoints
from vsnn_lab.networks.pretrained import pretrained_path
from vsnn_lab.train import language, pretraining

NAME = "austen-language-model"
needs_tokenizers = pytest.mark.skipif(
    importlib.util.find_spec("tokenizers") is None, reason="the extra text is not installed"
)


def test_it_is_an_ordinary_language_model_and_torchs_random_state_stays():
    state = torch.get_rng_state()
    model = load_pretrained(NAME)
    assert torch.equal(torch.get_rng_state(), state)
    assert type(model) is LanguageModel
    assert not model.training
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert model.lm_head.weight is model.embed_tokens.weight
    assert pretrained_path(NAME).stat().st_size <= 4e6


def test_the_header_says_how_it_was_made():
    header, run = pretrained_header(NAME), pretraining.LANGUAGE
    assert header["command"] == "make models"
    assert header["seed"] == run.seed
    assert header["training"]["steps"] == run.steps
    assert header["training"]["recipe"] == repr(language.RECIPES[run.method])
    assert len(header["test_bits_per_byte"]) == header["arguments"]["positions"]


@needs_tokenizers
def test_the_bits_of_the_test_text_are_those_of_the_header():
    model, text = load_pretrained(NAME), data.load_text(vocabulary=1024)
    assert text.tokenizer.to_str() == pretrained_tokenizer(NAME).to_str()
    inputs, targets = text.windows("test", language.LENGTH)
    metric = BitsPerByte(text.bytes_per_token(targets))
    told = pretrained_header(NAME)["test_bits_per_byte"]
    # The others were made alike; all of them take a minute.
    found = width_sweep(model, metric, (inputs, targets), [1], progress=False)
    assert found.values.tolist() == pytest.approx(told[:1], abs=2e-4)
    assert told == sorted(told, reverse=True), "wider, fewer bits"


@needs_tokenizers
def test_it_writes_english_at_every_width():
    model, tokenizer = load_pretrained(NAME), pretrained_tokenizer()
    prompt = torch.tensor([tokenizer.encode("She was not").ids])
    for position in (1, 6):
        with at_width(model, position):
            written = [int(token) for token in islice(continuation(model, prompt), 60)]
        cut = [int(token) for token in islice(continuation(extract(model, position), prompt), 60)]
        assert written == cut
        words = tokenizer.decode(written).split()
        assert {"the", "of"} & {*words}
        assert all(len(word) < 20 for word in words)


def test_a_network_without_words_has_no_tokenizer():
    with pytest.raises(ValueError, match="must be that of a language model, got 'mnist-auto"):
        pretrained_tokenizer("mnist-autoencoder")


@pytest.mark.slow
@needs_tokenizers
def test_the_command_writes_what_the_loader_reads(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretraining, "LANGUAGE", language.Run("fh", 0, steps=1))
    monkeypatch.setattr(language, "results_folder", lambda: tmp_path / "runs")
    monkeypatch.setattr(language.experiment, "_TURN", 1)
    for module in (language, language.experiment):
        monkeypatch.setattr(module, "measure", partial(language.measure, limit=4))
    few = partial(language.experiment.accepted_drafts, prompts=1)
    monkeypatch.setattr(language.experiment, "accepted_drafts", few)
    pretraining.main([NAME, "--folder", str(tmp_path)])
    assert "position 6: " in capsys.readouterr().out
    monkeypatch.setattr("vsnn_lab.networks.pretrained.FOLDER", tmp_path)
    kept = checkpoints.read(pretraining.LANGUAGE.model_file(tmp_path / "runs"))[0]
    for name, weight in load_pretrained(NAME).state_dict().items():
        torch.testing.assert_close(weight, kept[name], rtol=1e-3, atol=1e-6)
