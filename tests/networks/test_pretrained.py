"""Networks that ship, the autoencoder above all: as good as their files say."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vsnn_lab import Autoencoder, Width, data, extract, load_pretrained, load_weights
from vsnn_lab.networks.pretrained import NAMES, pretrained_header, pretrained_path
from vsnn_lab.train import pretraining
from vsnn_lab.train.baselines import pca_errors

NAME = "mnist-autoencoder"
BUDGET = 2e6  # bytes of weights that ride along with a page without a kernel


@pytest.fixture(scope="module")
def test_images():
    return data.load("mnist", "test").images


def test_it_is_an_ordinary_autoencoder_in_float32_and_torchs_random_state_stays():
    state = torch.get_rng_state()
    model = load_pretrained(NAME)
    assert torch.equal(torch.get_rng_state(), state)
    assert type(model) is Autoencoder
    assert not model.training
    weights = [*model.parameters()]
    assert {(weight.dtype, weight.device.type) for weight in weights} == {(torch.float32, "cpu")}
    assert all(weight.requires_grad for weight in weights)
    assert sum(2 * weight.numel() for weight in weights) < BUDGET
    assert load_pretrained(NAME) is not model


def test_files_are_small_and_no_file_is_left_over():
    folder = pretrained_path(NAME).parent
    assert {path.name for path in folder.iterdir()} == {f"{name}.safetensors" for name in NAMES}
    assert all(path.stat().st_size <= 2 * BUDGET for path in folder.iterdir())
    assert pretrained_path(NAME).stat().st_size <= BUDGET


def test_the_errors_on_the_test_images_are_those_of_the_header(test_images):
    model, header = load_pretrained(NAME), pretrained_header(NAME)
    told = header["test_mse"]
    assert len(told) == model.code.max_width
    with torch.no_grad():
        found = [
            F.mse_loss(extract(model, width)(test_images), test_images).item()
            for width in range(1, len(told) + 1)
        ]
    np.testing.assert_allclose(found, told, rtol=1e-3)
    assert all(np.diff(found) < 0), "more units, less error"


def test_the_errors_lie_below_those_of_principal_components_from_width_2(test_images):
    told = pretrained_header(NAME)["test_mse"]
    pca = pca_errors(data.load("mnist", "train").images, test_images, range(2, len(told) + 1))
    assert all(told[width - 1] < error for width, error in pca.items())


def test_the_header_says_how_it_was_made():
    header = pretrained_header(NAME)
    assert header["command"] == "make models"
    assert header["arguments"] == pretraining.ARGUMENTS
    assert header["seed"] == pretraining.SEED
    assert header["training"]["recipe"] == repr(pretraining.RECIPE)
    assert header["training"].items() >= pretraining.SETTINGS.items()
    assert {*header["versions"]} == {"torch", "vsnn_lab"}
    assert header["date"]


def test_load_weights_reads_the_file_too():
    model, shipped = Autoencoder((1, 28, 28), Width(32), (448, 224)), load_pretrained(NAME)
    assert load_weights(model, pretrained_path(NAME)) == pretrained_header(NAME)
    for key, value in shipped.state_dict().items():
        assert torch.equal(model.state_dict()[key], value)


@pytest.mark.parametrize("name", ["mnist", "../mnist-autoencoder", 3, None])
def test_an_unknown_name_is_refused_with_those_there_are(name):
    for function in (load_pretrained, pretrained_header):
        with pytest.raises(ValueError, match=r"name must be one of '.*', 'mnist-autoencoder', got"):
            function(name)


def test_a_damaged_file_is_refused(tmp_path, monkeypatch):
    copy = tmp_path / f"{NAME}.safetensors"
    whole = pretrained_path(NAME).read_bytes()
    copy.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    monkeypatch.setattr("vsnn_lab.networks.pretrained.FOLDER", tmp_path)
    with pytest.raises(ValueError, match=f"{NAME}.safetensors is damaged"):
        load_pretrained(NAME)


def test_the_command_writes_what_the_loader_reads(tmp_path, monkeypatch, capsys):
    images = torch.rand(60, 1, 28, 28)
    for name, value in {"epochs": 1, "batch_size": 20}.items():
        monkeypatch.setitem(pretraining.SETTINGS, name, value)
    monkeypatch.setitem(pretraining.SETTINGS, "progress", False)
    monkeypatch.setattr(pretraining.data, "data_root", lambda: tmp_path)
    monkeypatch.setattr(
        pretraining.data, "load", lambda *_: data.sets.ImageSet(images, images, "mnist", ())
    )
    state = torch.get_rng_state()
    pretraining.main([NAME, "--folder", str(tmp_path)])
    assert torch.equal(torch.get_rng_state(), state)
    monkeypatch.setattr("vsnn_lab.networks.pretrained.FOLDER", tmp_path)
    model = load_pretrained(NAME)
    with torch.no_grad():
        error = F.mse_loss(extract(model, 3)(images), images).item()
    assert pretrained_header(NAME)["test_mse"][2] == pytest.approx(error, rel=1e-5)
    assert "32 units: test MSE x 1000" in capsys.readouterr().out
