"""A language model of one width as a Llama of the package ``transformers``."""

from collections.abc import Mapping
from typing import Any

import torch

from vsnn_lab._basics.checks import short_repr
from vsnn_lab.networks.extraction import cut_positions, extract
from vsnn_lab.networks.plain_language_model import PlainLanguageModel
from vsnn_lab.widths import WidthControl

_LONGEST = 2048  # positions that its configuration names; rotary ones have no table that ends


def to_transformers(
    model: PlainLanguageModel, width: int | Mapping[WidthControl, int] | None = None
) -> Any:
    """Return one width of a language model as a ``transformers.LlamaForCausalLM`` of that size.

    It computes the same, to rounding, so that whatever takes a Llama takes it: ``generate``,
    ``save_pretrained``, conversion to other formats. Its head stays tied to its table of tokens.

    Args:
        model: A `LanguageModel`, or what was cut out of one.
        width: As in `extract`; by default full width.

    Raises:
        ImportError: If the package ``transformers`` is not installed.
        TypeError: If ``model`` is no language model.
        ValueError: If ``width`` lies outside the range, or layers have unlike sizes, which a Llama
            cannot have.

    References:
        Touvron et al. 2023, "LLaMA", arXiv 2302.13971.
    """
    if not isinstance(model, PlainLanguageModel):
        raise TypeError(f"model must be a LanguageModel, got {short_repr(type(model))}")
    cut: Any = extract(model, cut_positions(model, {} if width is None else width))
    sizes = sorted(set(zip(cut.heads, cut.ffn, strict=True)))
    if len(sizes) > 1:
        raise ValueError(
            f"width must give all layers one size for a Llama, got heads and units of {sizes}"
        )
    try:
        # It imports torchvision, whose usual wheel does not load beside a CPU build of torch.
        from vsnn_lab.data import _torchvision  # noqa: F401  # isort: skip
        from transformers import LlamaConfig, LlamaForCausalLM
    except ImportError as error:
        raise ImportError(
            f"to_transformers needs the package transformers, got {error}; "
            "pip install vsnn-lab[zoo] brings it",
            name="transformers",
        ) from error
    ((heads, ffn),) = sizes
    first = next(cut.parameters())
    config = LlamaConfig(
        vocab_size=cut.vocabulary,
        hidden_size=cut.width,
        intermediate_size=ffn,
        num_hidden_layers=len(cut.layers),
        num_attention_heads=heads * cut.queries_per_head,
        num_key_value_heads=heads,
        head_dim=cut.head_dim,
        max_position_embeddings=_LONGEST,
        rms_norm_eps=cut.norm.eps,
        rope_parameters={"rope_type": "default", "rope_theta": cut.base},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
    )
    # Its constructor draws weights, from torch's own generator.
    with torch.random.fork_rng(devices=[]):
        llama: Any = LlamaForCausalLM(config)
    names = {
        name if name.startswith("lm_head") else f"model.{name}": value
        for name, value in cut.state_dict().items()
    }
    llama.load_state_dict(names)
    return llama.to(device=first.device, dtype=first.dtype).train(cut.training)
