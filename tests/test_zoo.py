"""Small networks of the documentation's table: each converts, and all ways to a width agree."""

import importlib.util
import json

import pytest
import torch
from torch import nn

from docs.zoo import __main__ as command
from docs.zoo.entries import FAMILIES, Entry, image, plain_entries
from docs.zoo.examine import examine
from docs.zoo.table import as_markdown
from vsnn_lab.data._torchvision import models

# Of sums of thousands of numbers in double precision.
_CLOSE = 1e-9


def densenet():
    return models.DenseNet(growth_rate=8, block_config=(2, 2), num_init_features=16, bn_size=2)


def vit():
    return models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=64
    )


def swin():
    return models.SwinTransformer(
        patch_size=[4, 4], embed_dim=32, depths=[2, 2], num_heads=[2, 4], window_size=[4, 4],
        num_classes=10,
    )  # fmt: skip


def convnext():
    block = models.convnext.CNBlockConfig
    return models.ConvNeXt([block(16, 32, 1), block(32, None, 1)], num_classes=10)


def deeplab():
    backbone = nn.Sequential(nn.Conv2d(3, 32, 3, 4), nn.BatchNorm2d(32), nn.ReLU())
    feature = models._utils.IntermediateLayerGetter(backbone, {"2": "out"})
    head = models.segmentation.deeplabv3.DeepLabHead(32, 5)
    return models.segmentation.DeepLabV3(feature, head)


# What is built, the sides of its images, and the share of its parameters that varies at least.
SMALL = {
    "resnet18": (lambda: models.resnet18(num_classes=10), 32, 0.99),
    "shufflenet": (lambda: models.shufflenet_v2_x0_5(num_classes=10), 32, 0.9),
    "densenet": (densenet, 32, 0.9),
    "vit": (vit, 32, 0.9),
    "swin": (swin, 32, 0.5),
    "convnext": (convnext, 32, 0.9),
    "deeplab": (deeplab, 32, 0.99),
}


def check(row, share):
    assert row["converts"], row
    assert min(row["positions"]) >= 16
    assert row["share"] >= share
    assert row["deviations"]["full"] == 0
    assert max(row["deviations"].values()) < _CLOSE
    assert all(row.get("checks", {}).values()), row


@pytest.mark.parametrize("name", SMALL)
def test_a_small_torchvision_network_converts_and_agrees_with_its_cuts(name):
    build, size, share = SMALL[name]
    check(examine(Entry("torchvision", name, build, lambda: image(size))), share)


@pytest.mark.parametrize("entry", [*plain_entries()], ids=lambda entry: entry.name)
def test_a_network_written_by_hand_converts_and_agrees_with_its_cuts(entry):
    check(examine(entry), 0.99)


# Of timm two that have layers and parameters of their own; the others are in the table.
OTHERS = {
    "transformers": ["BERT", "GPT-2", "Llama", "ViT"],
    "timm": ["vit_tiny_patch16_224", "convnext_atto"],
}


@pytest.mark.parametrize(
    ("family", "name"), [(key, name) for key in OTHERS for name in OTHERS[key]]
)
def test_a_network_of_another_package_converts_and_is_cut_to_its_own_classes(family, name):
    if importlib.util.find_spec(family) is None:
        pytest.skip(f"{family} is not installed; the extra zoo has it")
    check(examine(next(each for each in FAMILIES[family]() if each.name == name)), 0.9)


def test_the_command_keeps_what_is_done_and_writes_a_table(tmp_path, monkeypatch):
    results, page = tmp_path / "zoo.json", tmp_path / "page.md"
    page.write_text("Before.\n<!-- table -->\nold\n<!-- end of table -->\nAfter.\n", "utf-8")
    options = ["--families", "written", "--results", str(results), "--table", str(page)]
    monkeypatch.setattr("sys.argv", ["zoo", *options, "LSTM tagger"])
    command.main()
    (row,) = json.loads(results.read_text("utf-8"))["networks"]
    assert (row["name"], row["converts"]) == ("LSTM tagger", True)
    text = page.read_text("utf-8")
    assert text.startswith("Before.\n<!-- table -->\n## written by hand")
    assert text.endswith("<!-- end of table -->\nAfter.\n")
    monkeypatch.setattr("docs.zoo.__main__.examine", lambda entry: row | {"name": entry.name})
    monkeypatch.setattr("sys.argv", ["zoo", *options])
    command.main()
    names = [each["name"] for each in json.loads(results.read_text("utf-8"))["networks"]]
    assert sorted(names) == ["LSTM tagger", "U-Net", "nn.Transformer"]


def test_a_refusal_stands_in_the_table():
    row = examine(Entry("torchvision", "linear", lambda: nn.Linear(2, 3), lambda: torch.ones(3, 2)))
    assert not row["converts"]
    assert "refused: ValueError: model must have an axis between two layers" in as_markdown([row])
