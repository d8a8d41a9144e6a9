"""Networks that are not trained: sweeps over widths, and single widths."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.networks import plain_autoencoder, plain_mlp, variable_mlp
from benchmarks.timing import Measurement, ratios, threads
from vsnn_lab import Autoencoder, Width, at_width, extract, width_sweep

# Small networks are faster on one thread, plain ones as well.
_THREADS = 1


def sweep() -> Iterator[Measurement]:
    """Loss at all 256 widths, against as many forwards at full width."""
    x, y = torch.randn(2560, 32), torch.randn(2560, 32)
    values = _sweeps(plain_mlp(256), variable_mlp(256), x, y, 256, rounds=5)
    what = "loss at all 256 widths, MLP 32-256³-32, 2,560 samples, over 256 full forwards"
    yield Measurement(what, values, 0.35, threads=_THREADS)


def autoencoder() -> Iterator[Measurement]:
    """Error of an autoencoder at all widths of its code, against as many full forwards."""
    images, model = torch.rand(2560, 1, 28, 28), Autoencoder((1, 28, 28), Width(32))
    values = _sweeps(plain_autoencoder(32), model, images, images, 32, rounds=7)
    what = "MSE of an autoencoder at all 32 widths, 2,560 images, over 32 full forwards"
    yield Measurement(what, values, 0.5, threads=_THREADS)


def extracted() -> Iterator[Measurement]:
    """An extracted network against the one that is written by hand."""
    cut = extract(variable_mlp(256, 2, 784, 10), 64)
    for batch in (1, 256):
        what = f"extracted network of 64 units, batch {batch}"
        yield Measurement(what, _forwards(cut, batch), 1.03, 0.97, threads=_THREADS)


def turned() -> Iterator[Measurement]:
    """A forward under `at_width` against the network that is written by hand."""
    model = variable_mlp(256, 2, 784, 10)
    for batch, most in ((1, 1.25), (256, 1.05)):
        with at_width(model, 64):
            values = _forwards(model, batch)
        what = f"forward under at_width at 64 of 256 units, batch {batch}"
        yield Measurement(what, values, most, threads=_THREADS)


def _forwards(model: nn.Module, batch: int) -> np.ndarray:
    """Return the time of a forward over that of a network of 64 units written by hand."""
    x, plain = torch.randn(batch, 784), plain_mlp(64, 2, 784, 10)
    with threads(_THREADS), torch.no_grad():
        return ratios({"plain": lambda: plain(x), "measured": lambda: model(x)}, 31)["measured"]


def _sweeps(
    plain: nn.Module, model: nn.Module, x: Tensor, y: Tensor, steps: int, rounds: int
) -> np.ndarray:
    """Return the time of a sweep over all widths over that of as many plain forwards."""
    widths = list(range(1, steps + 1))

    def forwards() -> None:
        with torch.no_grad():
            for _ in widths:
                float(F.mse_loss(plain(x), y))

    works = {
        "plain": forwards,
        "variable": lambda: width_sweep(model, F.mse_loss, (x, y), widths, progress=False),
    }
    with threads(_THREADS):
        return ratios(works, rounds)["variable"]
