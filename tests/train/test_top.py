"""Variable tops on the features of a frozen backbone: images, features, training, results."""

import json

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from vsnn_lab import extract
from vsnn_lab._basics import checkpoints
from vsnn_lab.data import ImageSet
from vsnn_lab.data._torchvision import models
from vsnn_lab.measure.costs import count_parameters
from vsnn_lab.train.top import __main__ as command
from vsnn_lab.train.top import experiment, images
from vsnn_lab.train.top.backbones import Backbone, load_backbone
from vsnn_lab.train.top.experiment import METHODS, Run, make_top, measured_positions, train_top
from vsnn_lab.train.top.features import FeatureBatches, Features, features_folder, keep_features
from vsnn_lab.train.top.images import load_images
from vsnn_lab.train.top.results import (
    by_position,
    summary,
    track_results,
    tracked_results,
)
from vsnn_lab.train.top.setup import Setup
from vsnn_lab.widths import at_width, single_control

SMALL = {"units": (8, 8), "steps": 4, "epochs": 2, "batch_size": 8}


class Mean(nn.Module):
    """Features of two colours' means, and of a constant."""

    def forward(self, x):
        """Return them."""
        return torch.cat([x.mean((2, 3))[:, :2], x.new_ones(len(x), 1)], 1)


def backbone(top=None, network=None):
    return Backbone("vgg19", network or Mean(), (0.0,) * 3, (1.0,) * 3, top)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as ImageNet has: red and blue pictures, taller or wider than they are."""
    path = tmp_path_factory.mktemp("pictures")
    for split, count in (("train", 6), ("val", 3)):
        for name, colour in (("n01", (255, 0, 0)), ("n02", (0, 0, 255))):
            (path / split / name).mkdir(parents=True)
            for number in range(count):
                size = (40 + number, 60) if number % 2 else (60, 40)
                picture = Image.new("RGB", size, colour)
                picture.save(path / split / name / f"{number}.png")
    return path


@pytest.fixture
def fashion(monkeypatch):
    """Twelve pictures of two classes, of one brightness each."""
    values = torch.arange(12.0).reshape(12, 1, 1, 1) / 12
    found = ImageSet(values.expand(12, 1, 28, 28), torch.arange(12) % 2, "f", ("a", "b"))
    monkeypatch.setattr(images, "load", lambda name, split: found)


def features(rows=64, width=6, classes=3):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(rows) % classes
    centres = 3 * torch.randn(classes, width, generator=generator)
    values = centres[labels] + torch.randn(rows, width, generator=generator)
    return Features(values.half(), labels, classes)


def test_pictures_of_a_folder_are_cut_and_normalised_as_the_paper_says(folder):
    wide = Image.new("RGB", (600, 300), (255, 0, 0))
    wide.paste((0, 255, 0), (150, 0, 450, 300))
    path = folder / "train" / "n01" / "wide.png"
    wide.save(path)
    try:
        vgg = Backbone("vgg19", Mean(), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        found = load_images(str(folder), "train", vgg, 224)
        row = next(i for i, (name, _) in enumerate(found.files.samples) if "wide" in name)
        picture, label = found[row]
    finally:
        path.unlink()
    assert (picture.shape, label) == ((3, 224, 224), 0)
    # The shorter side becomes 256; of 512 the middle 224 are all green.
    green = torch.tensor([0 - 0.485, 1 - 0.456, 0 - 0.406]) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(picture, green[:, None, None].expand(3, 224, 224))


def test_splits_of_a_folder_are_told_apart_and_a_limit_is_spread(folder):
    whole = {split: load_images(str(folder), split, backbone(), 32) for split in ("train", "test")}
    assert [len(each) for each in whole.values()] == [12, 6]
    few = load_images(str(folder), "train", backbone(), 32, limit=4)
    assert [few[row][1] for row in range(4)] == [0, 0, 1, 1]
    identities = [json.dumps(each.identity) for each in (*whole.values(), few)]
    assert len(set(identities)) == 3
    assert load_images(str(folder), "train", backbone(), 64).identity != whole["train"].identity


def test_a_folder_without_the_splits_or_with_other_classes_is_refused(folder, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"data must be 'fashion-mnist' or a folder .* train"
    ):
        load_images(str(tmp_path / "none"), "train", backbone(), 32)
    for split, names in (("train", "ab"), ("val", "ac")):
        for name in names:
            (tmp_path / split / name).mkdir(parents=True)
    with pytest.raises(ValueError, match=r"same classes in train and val, got \['b', 'c'\] in one"):
        load_images(str(tmp_path), "train", backbone(), 32)


def test_grey_images_are_enlarged_in_each_colour(fashion):
    found = load_images("fashion-mnist", "train", backbone(), 64, limit=6)
    picture, label = found[3]
    assert (len(found), picture.shape, label) == (6, (3, 64, 64), 0)
    torch.testing.assert_close(picture, torch.full((3, 64, 64), 6 / 12))


def test_features_are_computed_once_and_go_on_behind_the_last_file(
    fashion, tmp_path, monkeypatch, global_state_kept
):
    monkeypatch.setattr("vsnn_lab.train.top.features._PART", 5)
    found = load_images("fashion-mnist", "train", backbone(), 32)
    quiet = {"progress": False, "batch_size": 2}
    with pytest.raises(FileNotFoundError, match="got 0 of 3 files; compute them in one process"):
        keep_features(tmp_path, backbone(), found, compute=False)
    first = keep_features(tmp_path, backbone(), found, **quiet)
    assert first.values.dtype == torch.float16
    torch.testing.assert_close(first.values[:, 1].float(), torch.arange(12) / 12, atol=1e-3, rtol=0)
    assert first.labels.tolist() == [0, 1] * 6
    files = sorted(features_folder(tmp_path, backbone(), found).iterdir())
    assert [file.name[:8] for file in files] == ["00000000", "00000005", "00000010"]
    files[1].unlink()
    kept = {file: file.stat().st_mtime_ns for file in (files[0], files[2])}
    again = keep_features(tmp_path, backbone(), found, **quiet)
    assert torch.equal(first.values, again.values)
    assert kept == {file: file.stat().st_mtime_ns for file in kept}
    # Other weights and other images are kept apart.
    other = backbone(network=nn.Sequential(Mean(), nn.BatchNorm1d(3).eval()))
    half = load_images("fashion-mnist", "train", backbone(), 32, limit=6)
    places = {features_folder(tmp_path, *each) for each in ((other, found), (backbone(), half))}
    assert len({*places, files[0].parent}) == 3
    # A file of something else is not taken for these.
    tensors, header = checkpoints.read(files[0])
    checkpoints.write(files[0], tensors, header | {"weights": "0"})
    with pytest.raises(ValueError, match="it holds features of something else"):
        keep_features(tmp_path, backbone(), found)


def test_features_beyond_half_precision_are_refused(fashion, tmp_path):
    class Large(Mean):
        def forward(self, x):
            return 1e6 * super().forward(x)

    found = load_images("fashion-mnist", "train", backbone(), 32)
    with pytest.raises(ValueError, match="features must be finite in half precision, got others"):
        keep_features(tmp_path, backbone(network=Large()), found, progress=False)


def test_batches_are_in_single_precision_and_otherwise_those_of_the_features():
    found = features(rows=10)
    rows = torch.cat([x for x, _ in FeatureBatches(found.values, found.labels, 4)])
    assert rows.dtype == torch.float32
    expected, _ = found.values.float().sort(0)
    torch.testing.assert_close(rows.sort(0).values, expected)


def test_tops_of_one_size_have_the_sizes_of_cuts(global_state_kept):
    setup = Setup(**SMALL | {"steps": 8, "units": (16, 8)})
    tops = {each: make_top(Run(each, 0, setup), features()) for each in METHODS[:-1]}
    variable = tops.pop("variable")
    assert count_parameters(tops["linear"]) == 6 * 3 + 3
    for method, position in (("plain", 8), ("dedicated-1", 1), ("dedicated-2", 2)):
        assert count_parameters(tops[method]) == count_parameters(variable, position)
    again = make_top(Run("plain", 0, setup), features())
    assert torch.equal(again[0].weight, tops["plain"][0].weight)
    other = make_top(Run("plain", 1, setup), features())
    assert not torch.equal(other[0].weight, tops["plain"][0].weight)


def original_top():
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Linear(6, 8), nn.ReLU(), nn.Dropout()),
        *(nn.Linear(8, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3)),
    ).eval()


@pytest.mark.slow
def test_the_original_top_becomes_variable_and_computes_what_it_did(monkeypatch):
    monkeypatch.setattr(experiment, "load_backbone", lambda *names: backbone(original_top()))
    setup = Setup(**SMALL, start="original")
    found = features()
    x = found.values[:5].float()
    variable, plain = (make_top(Run(each, 0, setup), found) for each in ("variable", "plain"))
    torch.testing.assert_close(variable.eval()(x), original_top()(x))
    assert torch.equal(plain(x), original_top()(x))
    assert single_control(variable).steps == 4
    assert not torch.equal(variable[0].weight, original_top()[0].weight), "ordered by use"
    with pytest.raises(ValueError, match=r"layers of \[6, 16, 3\], .* layers of \[6, 8, 8, 3\]"):
        make_top(Run("plain", 0, Setup(**SMALL | {"units": (16,)}, start="original")), found)


@pytest.mark.slow
def test_a_trained_top_is_right_at_each_width_and_measured_there(tmp_path):
    found = features(rows=256)
    setup = Setup(**SMALL | {"epochs": 8, "lr": 2e-2, "batch_size": 32})
    model = train_top(Run("variable", 0, setup), found, tmp_path)
    measured = experiment.measure_top(model, found)
    x = found.values.float()
    assert list(measured["accuracy"]) == ["1", "2", "3", "4"]
    for width in range(1, 5):
        cut = extract(model, width)
        share = (cut(x).argmax(1) == found.labels).double().mean().item()
        assert measured["accuracy"][str(width)] == pytest.approx(share, abs=1e-5)
        assert measured["parameters"][str(width)] == sum(p.numel() for p in cut.parameters())
        with at_width(model, width), torch.no_grad():
            torch.testing.assert_close(cut(x), model(x))
    assert measured["accuracy"]["4"] > 0.9
    assert all(ms > 0 for ms in measured["latency_ms"].values())


@pytest.mark.slow
def test_vgg19_and_a_folder_of_images_train_a_top(folder, tmp_path, capsys, monkeypatch):
    """The path of ImageNet, with random weights and small images."""
    monkeypatch.setenv("VSNN_LAB_DATA", str(tmp_path))
    results = tmp_path / "results.json"
    arguments = ["--backbone", "vgg19", "--weights", "random", "--data", str(folder)]
    arguments += ["--side", "32", "--units", "8", "8", "--steps", "4", "--epochs", "1"]
    arguments += ["--seeds", "1", "--workers", "2", "--results", str(results)]
    assert command.main([*arguments, "--features-only"]) == 0
    assert not results.exists()
    methods = ["--methods", "plain", "variable", "dedicated-1", "dedicated-4"]
    assert command.main([*arguments, *methods]) == 0
    said = capsys.readouterr().out
    assert "variable 1 of 4: " in said
    assert "position 1 beside full width: " in said
    found = tracked_results(results)
    assert [each["method"] for each in found] == ["dedicated-1", "plain", "variable"]
    assert found[1]["parameters"]["1"] == 25_088 * 8 + 8 + 8 * 8 + 8 + 8 * 2 + 2
    assert found[1]["settings"]["data"] == folder.name
    assert (found[1]["trained on"], found[1]["measured on"]) == (12, 6)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert command.main([*arguments, *methods]) == 0
    kept.pop(results)
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


@pytest.fixture
def tiny_vgg(monkeypatch):
    """Torchvision's network with few layers, small ones."""

    class Tiny(nn.Module):
        def __init__(self, init_weights=True):
            super().__init__()
            self.features = models.vgg.make_layers([4, "M"])
            self.avgpool = nn.AdaptiveAvgPool2d(7)
            self.classifier = nn.Sequential(nn.Linear(4 * 49, 6), nn.ReLU(), nn.Linear(6, 5))

        def forward(self, x):
            """Return the logits."""
            return self.classifier(self.avgpool(self.features(x)).flatten(1))

    monkeypatch.setattr(models, "vgg19", Tiny)
    return Tiny().eval()


def test_weights_of_vgg19_are_read_from_files_of_both_kinds(tiny_vgg, tmp_path):
    state = tiny_vgg.state_dict()
    torch.save(state, tmp_path / "vgg.pth")
    save_file(state, tmp_path / "vgg.safetensors")
    x = torch.rand(2, 3, 32, 32)
    for name in ("vgg.pth", "vgg.safetensors"):
        found = load_backbone("vgg19", str(tmp_path / name))
        with torch.no_grad():
            torch.testing.assert_close(found.top(found.network(x)), tiny_vgg(x))
    assert found.mean == (0.485, 0.456, 0.406)


def test_weights_that_are_others_or_no_tensors_are_refused(tiny_vgg, tmp_path, monkeypatch):
    path = tmp_path / "vgg.pth"
    with pytest.raises(FileNotFoundError, match=r"weights must be a file, got '.*vgg\.pth'"):
        load_backbone("vgg19", str(path))
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(
        ValueError, match=r"weights must be a file of tensors, got '.*vgg\.pth', wh"
    ):
        load_backbone("vgg19", str(path))
    torch.save(nn.Linear(1, 1), path)  # a pickle of code
    with pytest.raises(ValueError, match=r"a file of tensors, .* torch reads with UnpicklingError"):
        load_backbone("vgg19", str(path))
    torch.save([1], path)
    with pytest.raises(ValueError, match="weights must be a state dict, got list"):
        load_backbone("vgg19", str(path))
    torch.save({"other": torch.ones(1)}, path)
    with pytest.raises(
        ValueError, match=r"must be a state dict of torchvision's vgg19, got .*Missing"
    ):
        load_backbone("vgg19", str(path))

    def unreachable(*options, **more):
        raise OSError("no network")

    monkeypatch.setattr(type(models.VGG19_Weights.IMAGENET1K_V1), "get_state_dict", unreachable)
    with pytest.raises(
        FileNotFoundError, match=r"got none from https.*\(no network\); fetch that f"
    ):
        load_backbone("vgg19")
    with pytest.raises(ValueError, match="name must be one of 'efficientnet-lite0', 'vgg19', got"):
        load_backbone("alexnet")


def test_the_features_of_efficientnet_are_what_its_last_layer_takes(global_state_kept):
    found = load_backbone("efficientnet-lite0", "random")
    again = load_backbone("efficientnet-lite0", "random")
    assert found.digest == again.digest
    with torch.no_grad():
        assert found.network(torch.zeros(1, 3, 32, 32)).shape == (1, 1280)
    assert 255 * found.mean[0] == pytest.approx(127)
    assert 255 * found.deviation[0] == pytest.approx(128)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"side": 80}, ValueError, "side must be a multiple of 32 for this backbone, got 80"),
        ({"backbone": "vgg"}, ValueError, "backbone must be one of 'efficientnet-lite0', 'vgg19'"),
        ({"units": ()}, ValueError, "units must name at least one hidden layer, got none"),
        ({"units": (100,)}, ValueError, "units must be multiples of steps, got 100 and 16; each"),
        ({"images": 0}, ValueError, "images must be at least 1, got 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be an integer at least 1, got 1.5"),
        ({"lr": 0}, ValueError, "lr must be above 0, got 0"),
        ({"start": "zero"}, ValueError, "start must be one of 'random', 'original', got 'zero'"),
        (
            {"start": "original", "weights": "random"},
            ValueError,
            "start must be 'random' where the weights are, got 'original'",
        ),
    ],
)
def test_settings_out_of_range_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        Setup(**options)


def test_other_settings_are_kept_in_other_folders_and_no_path_is_told(tmp_path):
    setups = [Setup(), Setup(lr=2e-3), Setup(data=str(tmp_path / "a")), Setup(data="/other/a")]
    assert len({setup.folder(tmp_path) for setup in setups}) == 4
    assert setups[2].settings() == setups[3].settings()


def test_positions_measured_are_powers_of_two_and_one_between_any_two():
    assert measured_positions(8) == [1, 2, 3, 4, 6, 8]
    assert measured_positions(10) == [1, 2, 3, 4, 6, 8, 10]
    assert measured_positions(1) == [1]


def result(method, seed, **accuracy):
    by = {name.removeprefix("w"): value for name, value in accuracy.items()}
    parameters = {position: 10 * int(position) for position in by}
    costs = {"parameters": parameters, "macs": parameters, "latency_ms": dict.fromkeys(by, 0.5)}
    return {"method": method, "seed": seed, "settings": {}, "accuracy": by} | costs


RESULTS = [
    result("plain", 0, w1=0.9),
    result("plain", 1, w1=0.92),
    result("dedicated-1", 0, w1=0.88),
    result("variable", 0, w1=0.89, w4=0.9),
    result("variable", 1, w1=0.9, w4=0.91),
]


def test_the_summary_has_the_curve_and_each_target_beside_its_figure(tmp_path):
    assert by_position(RESULTS, "variable") == {1: [0.89, 0.9], 4: [0.9, 0.91]}
    assert summary(RESULTS) == [
        "plain: 91.00 % (90.00 to 92.00, 2 seeds)",
        "variable 1 of 4: 89.50 % (89.00 to 90.00, 2 seeds); 25 % of parameters, 25 % of macs; "
        "0.5 ms; alone 88.00 % (88.00 to 88.00, 1 seeds), +1.50",
        "variable 4 of 4: 90.50 % (90.00 to 91.00, 2 seeds); 100 % of parameters, 100 % of macs; "
        "0.5 ms",
        "full width beside the plain top: -0.50 points (at least -1.0)",
        "position 1 beside full width: -1.00 points (at least -1.0), without 75.00 % of the top's "
        "parameters",
        "at most 0.5 points lost: position 4, without 0.00 % of the top's parameters",
        "at most 1.0 points lost: position 1, without 75.00 % of the top's parameters",
    ]
    assert len(summary(RESULTS[:2])) == 1
    path = tmp_path / "results.json"
    track_results(RESULTS[:3], path)
    track_results(RESULTS[2:], path)
    assert len(tracked_results(path)) == 5
    assert tracked_results(tmp_path / "none") == []


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    assert command.main(["--data", str(tmp_path), "--weights", "random"]) == 1
    assert "error: data must be 'fashion-mnist' or a folder with folders train" in (
        capsys.readouterr().err
    )
    assert command.main(["--lr", "0"]) == 1
    assert "error: lr must be above 0, got 0" in capsys.readouterr().err


def test_a_setup_of_a_folder_is_imagenets_unless_it_says_otherwise():
    parse = command._parser().parse_args
    assert command._setup(parse([])) == Setup()
    found = command._setup(parse(["--data", "a", "--backbone", "vgg19", "--images", "50"]))
    assert (found.side, found.images, found.data) == (224, 50, "a")
    assert command._setup(parse(["--data", "a"])).images is None


def test_the_loss_of_a_plain_top_falls(global_state_kept):
    found = features()
    x, y = found.values.float(), found.labels
    run = Run("plain", 0, Setup(**SMALL | {"epochs": 3, "lr": 1e-2}))
    before = F.cross_entropy(make_top(run, found)(x), y)
    assert F.cross_entropy(train_top(run, found)(x), y) < before
