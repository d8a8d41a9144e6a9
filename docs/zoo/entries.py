"""The networks of the table, each built without weights from elsewhere, with what it takes."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

# Three samples, so that three widths are looked at in one batch.
SAMPLES = 3
# Images are smaller than what networks were trained on, and all that they are made of still runs.
_SIZE = 96
_CLASSES = 10


class Entry(NamedTuple):
    """A network.

    Attributes:
        family: Where it is from.
        name: Its name there.
        build: Makes it.
        example: Makes what it takes, of floats in float32.
    """

    family: str
    name: str
    build: Callable[[], nn.Module]
    example: Callable[[], Any]


def image(size: int = _SIZE) -> torch.Tensor:
    """Return images of noise, the same ones each time."""
    noise = torch.Generator().manual_seed(0)
    return torch.randn(SAMPLES, 3, size, size, generator=noise)


def tokens(most: int, length: int = 7) -> torch.Tensor:
    """Return rows of tokens from 1 to ``most``, the same ones each time."""
    return torch.randint(1, most, (SAMPLES, length), generator=torch.Generator().manual_seed(0))


def torchvision_entries() -> Iterator[Entry]:
    """List torchvision's networks that classify or segment images."""
    from vsnn_lab.data._torchvision import models

    segmentation = {*models.list_models(module=models.segmentation)}
    names = models.list_models(module=models) + sorted(segmentation)
    for name in names:
        options: dict[str, Any] = {"weights": None}
        size = _SIZE
        if name in segmentation:
            options |= {"weights_backbone": None, "num_classes": _CLASSES}
        if name in ("googlenet", "inception_v3"):
            options |= {"init_weights": False}
        if name == "inception_v3":
            size = 299  # Its second head takes no smaller ones.
        if name.startswith("maxvit"):
            size = 224  # The size of its windows divides no smaller ones.
        if name.startswith("vit_"):
            size = 84 if name.endswith("_14") else _SIZE
            options |= {"image_size": size}
        yield Entry("torchvision", name, _getter(models, name, options), _imager(size))


def _getter(models: Any, name: str, options: dict[str, Any]) -> Callable[[], nn.Module]:
    return lambda: models.get_model(name, **options)


def _imager(size: int) -> Callable[[], Any]:
    return lambda: image(size)


def plain_entries() -> Iterator[Entry]:
    """List networks as they are written by hand."""
    from docs.zoo import written

    yield Entry("written by hand", "U-Net", written.UNet, lambda: image(32))
    yield Entry("written by hand", "LSTM tagger", written.Tagger, lambda: tokens(50))
    yield Entry(
        "written by hand",
        "nn.Transformer",
        lambda: written.Translator(),
        lambda: (tokens(50, 6), tokens(50, 5)),
    )


def transformers_entries() -> Iterator[Entry]:
    """List tiny networks of transformers, from configurations."""
    from vsnn_lab.data import _torchvision  # noqa: F401  # Before transformers, which imports it.
    import transformers as t  # isort: skip

    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128}
    words = {"vocab_size": 99, "max_position_embeddings": 64}
    heads = {"num_attention_heads": 8}

    def text() -> dict[str, Any]:
        return {"input_ids": tokens(99), "use_cache": False}

    yield Entry(
        "transformers",
        "BERT",
        lambda: t.BertForSequenceClassification(t.BertConfig(**sizes, **words, **heads)),
        lambda: {
            "input_ids": tokens(99),
            "attention_mask": torch.ones(SAMPLES, 7, dtype=torch.long),
        },
    )
    yield Entry(
        "transformers",
        "GPT-2",
        lambda: t.GPT2LMHeadModel(
            t.GPT2Config(
                vocab_size=99, n_positions=64, n_embd=64, n_layer=2, n_head=8, n_inner=128,
                bos_token_id=0, eos_token_id=0,
            )
        ),
        text,
    )  # fmt: skip
    yield Entry(
        "transformers",
        "Llama",
        lambda: t.LlamaForCausalLM(t.LlamaConfig(**sizes, **words, **heads, num_key_value_heads=4)),
        text,
    )
    yield Entry(
        "transformers",
        "ViT",
        lambda: t.ViTForImageClassification(
            t.ViTConfig(**sizes, **heads, image_size=32, patch_size=8, num_labels=_CLASSES)
        ),
        lambda: {"pixel_values": image(32)},
    )


def timm_entries() -> Iterator[Entry]:
    """List small networks of five families of timm."""
    from vsnn_lab.data import _torchvision  # noqa: F401  # Before timm, which imports it.
    import timm  # isort: skip

    small: dict[str, dict[str, Any]] = {
        "vit_tiny_patch16_224": {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2,
                                 "num_heads": 4},
        "convnext_atto": {"depths": (1, 1, 2, 1), "dims": (16, 24, 32, 48)},
        "mixer_s32_224": {"img_size": 64},
        "efficientnet_lite0": {},
        "regnety_002": {},
        "resnetv2_50": {"layers": (1, 1, 1, 1)},
        "resnet18": {},
    }  # fmt: skip
    for name, options in small.items():
        size = options.get("img_size", 64)
        yield Entry("timm", name, _creator(timm, name, options), _imager(size))


def _creator(timm: Any, name: str, options: dict[str, Any]) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, pretrained=False, num_classes=_CLASSES, **options)


FAMILIES: dict[str, Callable[[], Iterator[Entry]]] = {
    "torchvision": torchvision_entries,
    "written": plain_entries,
    "transformers": transformers_entries,
    "timm": timm_entries,
}
"""What lists the networks of each family, and imports what makes them."""
