"""Text as tokens: a byte-level tokenizer, blocks for each split, and windows that stay in them."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vsnn_lab._basics.checks import check_choice, check_int, check_path, short_repr
from vsnn_lab._basics.files import atomic_write
from vsnn_lab.data.austen import read_austen
from vsnn_lab.data.batches import seed_from

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TEXTS = ("austen",)
TEXT_SPLITS = ("train", "validation", "test")
# Neighbouring text of this many characters is in one split, of fewer where the whole is short. Of
# 20 such blocks the 10th is for validation and the 20th for testing, so that all three have
# something of every part of a book.
_BLOCK, _SMALLEST_BLOCK = 32_768, 256
_OF, _VALIDATION, _TEST = 20, 9, 19
_SUFFIXES = (".txt", ".md")
# Raise it when the same text gives another tokenizer, so that nobody keeps the old one.
_RECIPE = 1
_FEWEST_TOKENS = 257  # every byte, and one that joins two


@dataclass(frozen=True, eq=False)
class TextSet:
    """A text in tokens, split into blocks of neighbouring text.

    Attributes:
        name: What it is.
        tokenizer: From the package ``tokenizers``.
        blocks: The tokens of each block, by split.
        token_bytes: Bytes of each token, shape (vocabulary,).
    """

    name: str
    tokenizer: "Tokenizer"
    blocks: dict[str, list[Tensor]]
    token_bytes: Tensor

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return len(self.token_bytes)

    def encode(self, text: str) -> Tensor:
        """Return the tokens of a text, shape (1, time)."""
        if not isinstance(text, str):
            raise TypeError(f"text must be a string, got {short_repr(text)}")
        return torch.tensor([self.tokenizer.encode(text).ids], dtype=torch.long)

    def decode(self, tokens: Tensor | Sequence[int]) -> str:
        """Return the text of some tokens, shape (time,)."""
        ids = tokens.tolist() if isinstance(tokens, Tensor) else tokens
        if not isinstance(ids, list | tuple):
            raise TypeError(f"tokens must be a vector of integers, got {short_repr(tokens)}")
        known = [check_int("tokens", each, 0, self.vocabulary - 1) for each in ids]
        text: str = self.tokenizer.decode(known)
        return text

    def windows(self, split: str, length: int, limit: int | None = None) -> tuple[Tensor, Tensor]:
        """Return windows side by side, each within a block, and the token after each of theirs.

        Args:
            split: "train", "validation" or "test".
            length: Tokens of a window.
            limit: At most so many windows, spread evenly; by default all.

        Returns:
            Inputs and targets, shape (windows, length); what is left of a block is left out.

        Raises:
            ValueError: If no block is as long.
        """
        length, blocks = check_int("length", length), self._blocks(split)
        pairs = [
            (block[: count * length], block[1 : count * length + 1])
            for block in blocks
            if (count := (len(block) - 1) // length)
        ]
        if not pairs:
            longest = max(map(len, blocks), default=0)
            raise ValueError(
                f"length must be below the {longest} tokens of the longest block, got {length}"
            )
        inputs, targets = (torch.cat(parts).view(-1, length) for parts in zip(*pairs, strict=True))
        if limit is not None:
            rows = torch.linspace(0, len(inputs) - 1, min(check_int("limit", limit), len(inputs)))
            inputs, targets = inputs[rows.round().long()], targets[rows.round().long()]
        return inputs, targets

    def batches(
        self, length: int, batch_size: int = 8, steps: int = 100, seed: int = 0
    ) -> "TextBatches":
        """Return batches for `fit`: windows that begin anywhere in the training blocks.

        Args:
            length: Tokens of a window.
            batch_size: Windows of a batch.
            steps: Batches of an epoch.
            seed: With the epoch, chooses where they begin.

        Raises:
            ValueError: If no block is as long.
        """
        length, batch_size = check_int("length", length), check_int("batch_size", batch_size)
        blocks = [block for block in self._blocks("train") if len(block) > length]
        if not blocks:
            self.windows("train", length)  # says what is wrong
        return TextBatches(blocks, length, batch_size, steps, seed)

    def bytes_per_token(self, targets: Tensor) -> float:
        """Return the mean bytes of some tokens, which bits per byte are counted by."""
        whole = isinstance(targets, Tensor) and targets.dtype in (torch.int64, torch.int32)
        if not whole or not targets.numel():
            raise TypeError(f"targets must be a tensor of tokens, got {short_repr(targets)}")
        low, high = (int(each) for each in targets.aminmax())
        if low < 0 or high >= self.vocabulary:
            worst = low if low < 0 else high
            raise ValueError(f"targets must lie in 0..{self.vocabulary - 1}, got {worst}")
        return self.token_bytes[targets.long()].double().mean().item()

    def _blocks(self, split: str) -> list[Tensor]:
        return self.blocks[check_choice("split", split, TEXT_SPLITS)]


class TextBatches:
    """Batches of windows that begin anywhere in some blocks, the same for the same seed and epoch.

    Args:
        blocks: Tokens, each block longer than a window.
        length: Tokens of a window.
        batch_size: Windows of a batch.
        steps: Batches of an epoch.
        seed: With the epoch, chooses where windows begin.
    """

    def __init__(
        self, blocks: Sequence[Tensor], length: int, batch_size: int, steps: int, seed: int
    ) -> None:
        self.tokens = torch.cat(list(blocks))
        ends = torch.tensor([len(block) for block in blocks]).cumsum(0)
        # Where a window may begin so that the token after it is of the same block, too.
        starts = torch.arange(len(self.tokens))
        of_block = torch.bucketize(starts, ends, right=True)
        self.starts = starts[starts + length < ends[of_block]]
        self.length, self.batch_size = length, batch_size
        self.steps, self.seed = check_int("steps", steps), check_int("seed", seed, 0)
        self._next_epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Let the next ``iter`` give this epoch's windows."""
        self._next_epoch = check_int("epoch", epoch, low=0)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(seed_from(self.seed, self._next_epoch))
        self._next_epoch += 1
        return (self._draw(generator) for _ in range(self.steps))

    def _draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(self.starts), (self.batch_size, 1), generator=generator)
        at = self.starts[chosen] + torch.arange(self.length)
        return self.tokens[at], self.tokens[at + 1]


def load_text(
    source: str | os.PathLike[str] = "austen",
    *,
    vocabulary: int = 1024,
    root: str | os.PathLike[str] | None = None,
) -> TextSet:
    """Load a text as tokens of its own byte-level tokenizer, which is trained once and kept.

    Blocks of about 32,000 characters, of fewer where the whole is short, ended at a line where
    there is one, are in one split each: of twenty one for validation, one for testing. The
    tokenizer learns of the training blocks.

    Args:
        source: "austen", six novels of 4.0 MB that are fetched if need be, or a text file, or a
            folder whose ``.txt`` and ``.md`` files are read in the order of their names.
        vocabulary: Tokens, at least 257.
        root: Folder of the downloads and tokenizers; ``data_root()`` if not given.

    Raises:
        FileNotFoundError: If there is no such file or folder, or no text in it.
        ImportError: If the package ``tokenizers`` is not installed.
        ValueError: If a file is no UTF-8, the text too short for three splits, or ``vocabulary``
            out of range.

    References:
        Sennrich et al. 2016, arXiv 1508.07909, for byte pair encoding; Radford et al. 2019, GPT-2,
        for doing it on bytes.
    """
    from vsnn_lab.data.sets import data_root

    vocabulary = check_int("vocabulary", vocabulary, _FEWEST_TOKENS)
    folder = data_root() if root is None else check_path("root", root)
    name = str(check_path("source", source))
    documents = read_austen(folder) if name in TEXTS else _read_documents(Path(name))
    total = sum(map(len, documents))
    if total < (fewest := 2 * _OF * _SMALLEST_BLOCK):
        raise ValueError(f"source must hold at least {fewest} characters, got {total} in {name}")
    size = min(_BLOCK, total // (2 * _OF))
    texts: dict[str, list[str]] = {split: [] for split in TEXT_SPLITS}
    for index, block in enumerate(block for text in documents for block in _blocks_of(text, size)):
        split = {_VALIDATION: "validation", _TEST: "test"}.get(index % _OF, "train")
        texts[split].append(block)
    tokenizer = _tokenizer(texts["train"], vocabulary, folder / "tokenizers")
    blocks = {
        split: [torch.tensor(each.ids) for each in tokenizer.encode_batch(parts)]
        for split, parts in texts.items()
    }
    return TextSet(name, tokenizer, blocks, _token_bytes(tokenizer))


def _read_documents(path: Path) -> list[str]:
    if path.is_dir():
        paths = sorted(each for each in path.rglob("*") if each.suffix.lower() in _SUFFIXES)
    else:
        paths = [path]
    if not paths or not path.exists():
        raise FileNotFoundError(
            f"source must be {', '.join(TEXTS)}, a text file, or a folder of "
            f"{' and '.join(_SUFFIXES)} files, got {path}"
        )
    texts = []
    for each in paths:
        try:
            texts.append(each.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise ValueError(f"source must be UTF-8, got {each}: {error}") from error
    return texts


def _blocks_of(text: str, size: int) -> Iterable[str]:
    """Cut a text into blocks, at the last line that ends in each if there is one."""
    start = 0
    while start < len(text):
        end = start + size
        line = text.rfind("\n", start, end) + 1
        end = line if end < len(text) and line > start else end
        yield text[start:end]
        start = end


def _tokenizer(texts: Sequence[str], vocabulary: int, folder: Path) -> "Tokenizer":
    """Return the tokenizer of some texts: the one that was kept, or one that is trained now."""
    try:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    except ImportError as error:
        raise ImportError(
            "load_text needs the package tokenizers; pip install vsnn-lab[text] brings it",
            name="tokenizers",
        ) from error
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
    kept = folder / f"{digest}-{vocabulary}-{_RECIPE}.json"
    if kept.is_file():
        # A file that is damaged is no reason to fail: it is made again.
        with suppress(Exception):
            return Tokenizer.from_file(str(kept))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # A folder that cannot be written costs the training each time and nothing else.
    with suppress(OSError), atomic_write(kept) as part:
        part.write_text(tokenizer.to_str(), encoding="utf-8")
    return tokenizer


def _token_bytes(tokenizer: "Tokenizer") -> Tensor:
    """Return how many bytes each token stands for; a token has one character for each byte."""
    vocabulary: dict[str, int] = json.loads(tokenizer.to_str())["model"]["vocab"]
    sizes: Any = sorted((index, len(token)) for token, index in vocabulary.items())
    return torch.tensor([size for _, size in sizes])
