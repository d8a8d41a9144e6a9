"""Sizes in the configuration that a network carries along, as those of transformers do.

Such an object says in numbers of its own what a class is built with. In a submodel those that name
an axis become what is left of it, where all layers that it is said of keep the same.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from torch import nn

from vsnn_lab.layers import VariableLayer
from vsnn_lab.widths import WidthControl, full_size, kept_size

# What configurations call a size, and the ends of the names of layers that make units of it.
_HIDDEN = ("word_embeddings", "embed_tokens", "wte", "patch_embeddings.projection")
_WITHIN = ("up_proj", "intermediate.dense", "mlp.fc1", "mlp.c_fc", ".fc1")
_QUERIES, _KEYS = ("q_proj", ".query", "c_attn"), ("k_proj", ".key")
_LAYERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model"), _HIDDEN),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "encoder_ffn_dim"), _WITHIN),
    **dict.fromkeys(("num_attention_heads", "n_head"), _QUERIES),
    "num_key_value_heads": _KEYS,
}


def update_configs(cut: nn.Module, model: nn.Module, positions: Mapping[WidthControl, int]) -> None:
    """Let the configurations in a submodel say its sizes.

    Args:
        cut: The submodel, whose configurations are its own.
        model: What it was cut out of.
        positions: Of all knobs.
    """
    whole = dict(model.named_modules())
    for name, module in cut.named_modules():
        config = vars(module).get("config")
        if config is None or isinstance(config, int | float | str | Mapping):
            continue
        # What a part of the network shares with all of it is said of all of it.
        if config is not vars(cut).get("config") or module is cut:
            for key, size in dict(_sizes(whole[name], config, positions)).items():
                with suppress(AttributeError):  # Of one that is frozen.
                    setattr(config, key, size)


def _sizes(
    model: nn.Module, config: Any, positions: Mapping[WidthControl, int]
) -> Iterator[tuple[str, int]]:
    for key, ends in _LAYERS.items():
        if not hasattr(config, key):
            continue
        before = getattr(config, key)
        if before is not None and type(before) is not int:
            continue
        found = set()
        for name, layer in model.named_modules():
            if isinstance(layer, VariableLayer) and f".{name}".endswith(ends):
                full, kept = full_size(layer.out_axis), kept_size(layer.out_axis, positions)
                # Where none is said it is a multiple of another, which it need not be any more.
                size, rest = divmod((full if before is None else before) * kept, full)
                found.add(None if rest else size)
        if len(found) == 1 and (one := found.pop()) is not None and one != before:
            yield key, one
