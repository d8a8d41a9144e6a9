"""Trained networks that ship with the package, for a look before any training."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import torch
from torch import nn

from vsnn_lab._basics import checkpoints
from vsnn_lab._basics.checks import check_choice
from vsnn_lab.networks.autoencoders import Autoencoder
from vsnn_lab.networks.language_model import LanguageModel
from vsnn_lab.widths import Width, WidthControl

if TYPE_CHECKING:
    import tokenizers

FOLDER = Path(__file__).with_name("weights")


def _autoencoder(options: Mapping[str, Any]) -> nn.Module:
    return Autoencoder(options["shape"], Width(options["code"]), options["hidden"])


def _language_model(options: Mapping[str, Any]) -> nn.Module:
    knob, sizes = WidthControl(options["positions"]), dict(options["sizes"])
    for name in options["varies"]:
        sizes[name] = knob.axis(sizes[name])
    return LanguageModel(**sizes)


_BUILDERS: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {
    "austen-language-model": _language_model,
    "mnist-autoencoder": _autoencoder,
}
NAMES = tuple(_BUILDERS)


@overload
def load_pretrained(name: Literal["mnist-autoencoder"]) -> Autoencoder: ...
@overload
def load_pretrained(name: Literal["austen-language-model"]) -> LanguageModel: ...
def load_pretrained(name: str) -> nn.Module:
    """Load a trained network that ships with the package.

    Its weights are kept in half precision; the network is in float32, on the CPU and in evaluation
    mode. Nothing is unpickled, and torch's random state stays as it is. `pretrained_header` says
    what it was trained on and how good it is; ``make models`` trains it anew.

    Args:
        name: "mnist-autoencoder": a code of 1 to 32 units, for grey images of 28 by 28 pixels.
            "austen-language-model": English prose in 1,024 tokens, 1.6 million parameters; heads
            and feed-forward network on a knob of six positions. `pretrained_tokenizer` has its
            tokens; it has learned to read 128 of them at once.

    Raises:
        ValueError: If there is no such network, or its file is damaged.

    Example:
        >>> model = load_pretrained("mnist-autoencoder")
        >>> model(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 1, 28, 28])
    """
    tensors, header = checkpoints.read(pretrained_path(name))
    # Not on the meta device, from where parameters that are tied would come back apart.
    with torch.random.fork_rng(devices=[]):
        model = _BUILDERS[name](header["arguments"])
    model.load_state_dict(tensors)
    return model.eval()


def pretrained_header(name: str) -> dict[str, Any]:
    """Return what the file of a network that ships says about it.

    Args:
        name: As in `load_pretrained`.

    Returns:
        Among others ``arguments`` (its architecture), ``command``, ``training``, ``versions``,
        ``date`` and ``seed``. Of the autoencoder ``test_mse``: the mean square error per pixel on
        the test images, with 1, 2, 3, … units; of the language model ``test_bits_per_byte`` at each
        position.

    Raises:
        ValueError: As `load_pretrained`.

    Example:
        >>> len(pretrained_header("mnist-autoencoder")["test_mse"])
        32
    """
    return checkpoints.read_header(pretrained_path(name))


def pretrained_tokenizer(name: str = "austen-language-model") -> "tokenizers.Tokenizer":
    """Return the tokenizer of a language model that ships, from the package ``tokenizers``.

    Args:
        name: As in `load_pretrained`.

    Raises:
        ImportError: If that package is not installed.
        ValueError: If there is no such network, or it is no language model.

    Example:
        >>> pretrained_tokenizer().encode("It is a man").tokens
        ['It', 'Ġis', 'Ġa', 'Ġman']
    """
    text = pretrained_header(name).get("tokenizer")
    if text is None:
        raise ValueError(f"name must be that of a language model, got {name!r}")
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ImportError(
            "pretrained_tokenizer needs the package tokenizers; "
            "pip install vsnn-lab[text] brings it",
            name="tokenizers",
        ) from error
    return Tokenizer.from_str(text)


def pretrained_path(name: str, folder: Path | None = None) -> Path:
    """Return the file of a network that ships, in another folder if one is given."""
    return (folder or FOLDER) / f"{check_choice('name', name, NAMES)}.safetensors"
