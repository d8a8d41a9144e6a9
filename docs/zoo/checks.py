"""What is asked of networks of transformers and timm besides: files, classes, sizes, texts."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from docs.zoo.entries import Entry
from vsnn_lab import at_width, extract, save_weights
from vsnn_lab.widths import WidthControl

_NEW = 6  # tokens that are generated


def further_checks(
    entry: Entry, variable: nn.Module, given: Any, knobs: list[WidthControl]
) -> dict[str, Any]:
    """Return what holds of a network of transformers or timm at half width."""
    if entry.family not in ("transformers", "timm"):
        return {}
    turn = {knob: (knob.steps + 1) // 2 for knob in knobs}
    plain, cut = entry.build(), extract(variable, turn)
    with tempfile.TemporaryDirectory() as folder:
        saved = load_file(save_weights(variable, Path(folder) / "variable.safetensors"))
        kept = load_file(save_weights(cut, Path(folder) / "cut.safetensors"))
    own = [*plain.state_dict()]
    found: dict[str, Any] = {
        "own names": set(saved) <= set(own) and set(kept) <= set(own),
        "own classes": _classes(cut) == _classes(plain),
    }
    if hasattr(cut, "config") and isinstance(given, Mapping):
        found["built from its config"] = _rebuilt(cut, kept)
    if hasattr(cut, "generate") and "input_ids" in given:
        found["generates alike"] = _generates(variable, cut, turn, given["input_ids"])
    return {"checks": found}


def _classes(model: nn.Module) -> list[type]:
    return [type(module) for module in model.modules()]


def _rebuilt(cut: Any, kept: Mapping[str, torch.Tensor]) -> bool:
    """Whether a network built from a cut's configuration takes its weights."""
    twin = type(cut)(cut.config).to(next(cut.parameters()).dtype)
    try:
        twin.load_state_dict(dict(kept), strict=False)
    except RuntimeError:
        return False
    return True


def _generates(
    variable: Any, cut: Any, turn: Mapping[WidthControl, int], prompt: torch.Tensor
) -> bool:
    """Whether a variable network at a width writes what its cut writes, with a cache or without."""
    with torch.no_grad():
        texts = []
        for cache in (False, True):
            options = {"max_new_tokens": _NEW, "do_sample": False, "use_cache": cache}
            options |= {"pad_token_id": 0, "attention_mask": torch.ones_like(prompt)}
            with at_width(variable, dict(turn)):
                texts.append(variable.generate(prompt, **options))
            texts.append(cut.generate(prompt, **options))
    return all(torch.equal(texts[0], other) for other in texts[1:])
