"""`fit(precision="bf16")` on the CPU, where it is slower and tells as much: dense, images, text."""

import copy

import pytest
import torch
import torch.nn.functional as F

import vsnn_lab as lab
from tests.gpu import NETWORKS, ROWS, inputs, stir

RECIPES = {
    "sampled": lab.Sampled(lab.Stratified(3)),
    "distilled": lab.Distilled(),
    "of samples": lab.Distilled(lab.LogUniform()),
}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(
    "name", ["octaves", "switchable", "convolutional", "autoencoder", "language model"]
)
def test_every_recipe_learns_in_bfloat16_what_it_learns_in_full_precision(name, recipe):
    build, shape = NETWORKS[name]
    x = inputs(shape)
    data, loss = (x, torch.arange(ROWS) % 3), F.cross_entropy
    if name == "autoencoder":
        data, loss = (x, x), F.mse_loss
    elif name == "language model":
        data, loss = (x, x.roll(-1, 1)), lab.token_cross_entropy
    how = {"epochs": 2, "batch_size": 6, "validation": None, "progress": False, "lr": 1e-3}
    how |= {"recipe": RECIPES[recipe], "schedule": "constant"}
    full = stir(build())
    half = copy.deepcopy(full)
    expected = [row["train_loss"] for row in lab.fit(full, data, loss, **how).epochs]
    history = lab.fit(half, data, loss, precision="bf16", **how)
    found = [row["train_loss"] for row in history.epochs]
    # Eight bits of each number, and rounding errors that mostly cancel; but some there are.
    assert found == pytest.approx(expected, rel=2e-2)
    assert found != expected
    assert {each.dtype for each in half.parameters()} == {torch.float32}
