"""Networks built of layers, or made variable; how they run at widths, and how one is cut out.

A network without a `Width` is plain PyTorch throughout. Imports `layers` and the rooms below it.

May import ``_basics``, ``widths``, ``samplers``, ``layers``.
"""

from typing import TYPE_CHECKING

from vsnn_lab._basics.late import late_names as _late_names
from vsnn_lab.networks.autoencoders import Autoencoder, ConvAutoencoder
from vsnn_lab.networks.conditioning import condition, condition_norms
from vsnn_lab.networks.convnet import ConvNet
from vsnn_lab.networks.extraction import extract
from vsnn_lab.networks.forward import forward_at_widths
from vsnn_lab.networks.mlp import MLP

if TYPE_CHECKING:
    from vsnn_lab.networks.conversion import make_variable
    from vsnn_lab.networks.explanation import explain
    from vsnn_lab.networks.generation import continuation
    from vsnn_lab.networks.language_model import LanguageModel
    from vsnn_lab.networks.ordering import Taylor, TiedAxis, order_units
    from vsnn_lab.networks.pretrained import (
        load_pretrained,
        pretrained_header,
        pretrained_tokenizer,
    )
    from vsnn_lab.networks.speculative_decoding import (
        SpeculativeContinuation,
        speculative_continuation,
    )
    from vsnn_lab.networks.weight_views import extract_view

__all__ = [
    "MLP",
    "Autoencoder",
    "ConvAutoencoder",
    "ConvNet",
    "LanguageModel",
    "SpeculativeContinuation",
    "Taylor",
    "TiedAxis",
    "condition",
    "condition_norms",
    "continuation",
    "explain",
    "extract",
    "extract_view",
    "forward_at_widths",
    "load_pretrained",
    "make_variable",
    "order_units",
    "pretrained_header",
    "pretrained_tokenizer",
    "speculative_continuation",
]

# Loaded when first used: what reads somebody else's network takes longer to import than all layers,
# and language models are few people's.
_MODULES = {
    "LanguageModel": "language_model",
    "SpeculativeContinuation": "speculative_decoding",
    "Taylor": "ordering",
    "TiedAxis": "ordering",
    "continuation": "generation",
    "explain": "explanation",
    "extract_view": "weight_views",
    "load_pretrained": "pretrained",
    "make_variable": "conversion",
    "order_units": "ordering",
    "pretrained_header": "pretrained",
    "pretrained_tokenizer": "pretrained",
    "speculative_continuation": "speculative_decoding",
}
__getattr__ = _late_names(__name__, _MODULES)
