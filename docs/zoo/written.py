"""Networks as people write them, in plain PyTorch."""

from itertools import pairwise

import torch
from torch import Tensor, nn


class Block(nn.Sequential):
    """Two convolutions, each followed by a batch norm."""

    def __init__(self, channels: int, out: int) -> None:
        layers: list[nn.Module] = []
        for size in (channels, out):
            layers += [
                nn.Conv2d(size, out, 3, padding=1, bias=False),
                nn.BatchNorm2d(out),
                nn.ReLU(),
            ]
        super().__init__(*layers)


class UNet(nn.Module):
    """Ronneberger et al. 2015, arXiv 1505.04597, with three sizes of images."""

    def __init__(self, channels: int = 3, classes: int = 4, sizes: tuple[int, ...] = (32, 64, 128)):
        super().__init__()
        self.down = nn.ModuleList(
            Block(before, after) for before, after in zip((channels, *sizes), sizes, strict=False)
        )
        pairs = [*pairwise(sizes)][::-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(many, few, 2, 2) for few, many in pairs)
        self.blocks = nn.ModuleList(Block(2 * few, few) for few, _ in pairs)
        self.pool, self.head = nn.MaxPool2d(2), nn.Conv2d(sizes[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return a logit for each class and pixel."""
        skipped: list[Tensor] = []
        for block in self.down:
            x = block(self.pool(x) if skipped else x)
            skipped.append(x)
        skipped.pop()
        for up, block in zip(self.up, self.blocks, strict=True):
            x = block(torch.cat([skipped.pop(), up(x)], dim=1))
        return self.head(x)


class Tagger(nn.Module):
    """A tag for each word, by an LSTM that reads in both directions."""

    def __init__(
        self, words: int = 50, features: int = 32, hidden: int = 48, tags: int = 6
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, features)
        self.lstm = nn.LSTM(features, hidden, num_layers=2, batch_first=True, bidirectional=True)
        self.tags = nn.Linear(2 * hidden, tags)

    def forward(self, sentence: Tensor) -> Tensor:
        """Return a logit for each word and tag."""
        found, _ = self.lstm(self.embedding(sentence))
        return self.tags(found)


class Translator(nn.Module):
    """`nn.Transformer` between embeddings and logits of the next word."""

    def __init__(self, words: int = 50, features: int = 64) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(words, features), nn.Embedding(words, features)
        self.transformer = nn.Transformer(features, 8, 2, 2, 128, batch_first=True)
        self.words = nn.Linear(features, words)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return a logit for each word that may come next."""
        size = target.shape[1]
        mask = torch.ones(size, size, dtype=torch.bool, device=target.device).triu(1)
        found = self.transformer(self.source(source), self.target(target), tgt_mask=mask)
        return self.words(found)
