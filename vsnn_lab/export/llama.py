"""A language model of one width as a Llama of the package ``transformers``."""

from collections.abc import Mapping
from typing import Any

import torch

from vsnn_lab._basics.checks import short_repr
from vsnn_lab.measure.evaluation import evaluation_mode
from vsnn_lab.networks.extraction import cut_positions, extract
from vsnn_lab.networks.plain_language_model import PlainLanguageModel
from vsnn_lab.widths import WidthControl

_COMPARED = 16  # tokens
# Largest deviation of a logit; beyond 1, and in half precision, as a share of the largest one.
_TOLERANCE, _STEPS = 1e-5, 16
_LONGEST = 2048  # positions that its configuration names; rotary ones have no table that ends


def to_transformers(
    model: PlainLanguageModel, width: int | Mapping[WidthControl, int] | None = None
) -> Any:
    """Return one width of a language model as a ``transformers.LlamaForCausalLM`` of that size.

    It computes the same, to rounding, which a few tokens prove before it is returned; so whatever
    takes a Llama takes it: ``generate``, ``save_pretrained``, conversion to other formats. Its head
    stays tied to its table of tokens, unless the cut has them apart.

    Args:
        model: A `LanguageModel`, or what was cut out of one.
        width: As in `extract`; by default full width.

    Raises:
        ImportError: If the package ``transformers`` is not installed.
        TypeError: If ``model`` is no language model.
        ValueError: If ``width`` lies outside the range, layers have unlike sizes, which a Llama
            cannot have, or the Llama gives other logits.

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
        # A head may have weights of its own for narrow widths, which a cut then has apart.
        tie_word_embeddings=cut.lm_head.weight is cut.embed_tokens.weight,
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
    llama = llama.to(device=first.device, dtype=first.dtype).train(cut.training)
    _verify(llama, cut)
    return llama


def _verify(llama: Any, cut: Any) -> None:
    """Compare with the cut on a few tokens, since classes of others change with their versions."""
    first = next(cut.parameters())
    tokens = torch.arange(_COMPARED, device=first.device).remainder(cut.vocabulary).unsqueeze(0)
    with evaluation_mode(cut), evaluation_mode(llama):
        expected = cut(tokens).double()
        gap = (llama(tokens).logits.double() - expected).abs().max().item()
    share = max(_TOLERANCE, _STEPS * torch.finfo(first.dtype).eps)
    # Written so that a NaN does not agree.
    if not gap <= share * max(1.0, expected.abs().max().item()):
        raise ValueError(
            f"model must compute what a Llama of its size does, got logits {gap:.3g} away from it"
        )
