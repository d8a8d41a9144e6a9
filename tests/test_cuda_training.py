"""Training on a GPU: every recipe, in full and in half precision, stopped and resumed.

Nothing here needs a data set, a widget or a figure, so that a bare machine with a GPU can run it.
"""

import copy

import pytest
import torch
import torch.nn.functional as F

import vsnn_lab as lab
from tests.gpu import DEVICE, NETWORKS, ON_A_GPU, ROWS, inputs, stir

pytestmark = ON_A_GPU


RECIPES = {
    "sampled": lab.Sampled(lab.Stratified(3)),
    "sandwich": lab.Distilled(lab.NarrowestAndRandom()),
    "distilled": lab.Distilled(),
    "of samples": lab.Distilled(lab.LogUniform()),
}


def training(name: str):
    build, shape = NETWORKS[name]
    x = inputs(shape)
    if shape is None:
        return build, (x, x.roll(-1, 1)), lab.token_cross_entropy
    if name == "autoencoder":
        return build, (x, x), F.mse_loss
    return build, (x, torch.arange(ROWS) % 3), F.cross_entropy


@pytest.mark.usefixtures("gpu_state_kept")
@pytest.mark.parametrize("precision", ["full", "bf16"])
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", ["octaves", "convolutional", "autoencoder", "language model"])
def test_every_recipe_trains_and_leaves_the_model_where_it_was(name, recipe, precision):
    build, data, loss = training(name)
    how = {"epochs": 2, "batch_size": 6, "validation": data, "progress": False, "lr": 1e-3}
    how |= {"recipe": RECIPES[recipe], "precision": precision}
    net, found = stir(build()), []
    for device, rows in ((DEVICE, "cpu"), (DEVICE, DEVICE), ("cpu", "cpu")):
        twin = copy.deepcopy(net).to(device)
        history = lab.fit(twin, tuple(part.to(rows) for part in data), loss, **how)
        assert {each.device.type for each in twin.state_dict().values()} == {device}
        found.append([row["train_loss"] for row in history.epochs])
    assert torch.tensor(found).isfinite().all()
    assert found[1] == pytest.approx(found[0], rel=1e-2)
    assert found[2] == pytest.approx(found[0], rel=1e-2)


@pytest.mark.parametrize("name", ["octaves", "convolutional"])
def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(name, tmp_path, monkeypatch):
    build, data, loss = training(name)
    how = {"epochs": 3, "batch_size": 6, "validation": data, "progress": False, "lr": 1e-3}
    start = stir(build()).to(DEVICE)
    whole, broken = copy.deepcopy(start), copy.deepcopy(start)
    expected = lab.fit(whole, data, loss, **how)
    plain, steps = torch.optim.Adam.step, []

    def step(optimizer, *args, **options):
        steps.append(None)
        if len(steps) == 4:
            raise KeyboardInterrupt
        return plain(optimizer, *args, **options)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    with pytest.raises(KeyboardInterrupt):
        lab.fit(broken, data, loss, checkpoint=tmp_path, **how)
    assert {each.device.type for each in broken.state_dict().values()} == {DEVICE}
    history = lab.fit(broken, data, loss, checkpoint=tmp_path, **how)
    assert history.resumed_at == 1
    for own, other in zip(expected.epochs, history.epochs, strict=True):
        assert other["train_loss"] == pytest.approx(own["train_loss"], rel=1e-4)
    for own, other in zip(whole.parameters(), broken.parameters(), strict=True):
        torch.testing.assert_close(other, own, rtol=1e-3, atol=1e-5)
