"""A language model to show, quickly made: untrained, and unlike at every width."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from vsnn_lab import LanguageModel, WidthControl

# Joined in this order; "f" and the first byte of "é" make a token that ends within a character.
MERGES = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("Ġ", "c"), ("f", "Ã"), ("Ċ", "Ċ")]
PASSAGE = 'the café, "naïve" as the 東京 of <b>then</b> &amp; 🙂\n\nthe end'
PROMPT = "over the café"
VOCABULARY = 256 + len(MERGES)


def byte_tokenizer(merges: list[tuple[str, str]] = MERGES) -> Tokenizer:
    """Return a tokenizer of single bytes and a few longer tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = {name: place for place, name in enumerate([*letters, *("".join(m) for m in merges)])}
    made = Tokenizer(models.BPE(tokens, merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return made


def language_model(
    steps: int = 6, vocabulary: int = VOCABULARY, knobs: int = 1, seed: int = 0
) -> LanguageModel:
    """Return a model whose weights are so large that widths disagree, the same one each time."""
    first = WidthControl(steps)
    second = first if knobs == 1 else WidthControl(3)
    axes = {"width": first.axis(4 * steps), "heads": second.axis(6), "ffn": first.axis(3 * steps)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = LanguageModel(vocabulary, layers=2, head_dim=4, **axes)
        with torch.no_grad():
            for weight in made.parameters():
                weight.mul_(15 if weight.dim() > 1 and weight.shape[0] != steps else 1)
    return made.eval()
