"""What theory says of linear autoencoders, tried on real images.

The training loss of a linear autoencoder without biases on centred images X, shape (n, 784),
depends on them only through their scatter matrix: with M the product of both weight matrices,
the sum of squares of X M - X is trace((M - I)' X'X (M - I)). Any R with R'R = X'X therefore has
the same loss and the same gradients as X. The triangular one of 784 rows stands for 60,000 images
here; it says nothing of principal directions, which its rows are not.
"""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from torch import nn

from vsnn_lab import VariableLinear, Width, at_width, data, width_sweep

pytestmark = pytest.mark.slow

PIXELS, CODE = 28 * 28, 16
EVALUATIONS = 600  # of loss and gradient; 30 s to 60 s on one core
# Small, so that the encoder starts with next to nothing where images hardly vary. What it has
# there is noise in the code, and almost no gradient takes it away.
INITIAL = 0.01


@pytest.fixture(scope="module")
def images() -> tuple[torch.Tensor, torch.Tensor]:
    """Training and test images, flat, less the mean of the training images, in float64."""
    train, test = (
        data.load("fashion-mnist", split).images.flatten(1).double() for split in ("train", "test")
    )
    return train - train.mean(0), test - train.mean(0)


@pytest.fixture(scope="module")
def pca(images) -> PCA:
    return PCA(CODE, svd_solver="covariance_eigh").fit(images[0].numpy())


@pytest.fixture(scope="module")
def compressed(images) -> torch.Tensor:
    """The R of the module's docstring, scaled so that its mean loss is that of the images."""
    train = images[0]
    # A pixel that never changes has no variance, and Cholesky wants some: 1e-10 of it.
    scatter = train.T @ train / len(train) + 1e-10 * torch.eye(PIXELS).double()
    return torch.linalg.cholesky(scatter).T * math.sqrt(PIXELS)


def network(seed: int) -> nn.Sequential:
    code = Width(CODE)
    net = nn.Sequential(
        VariableLinear(PIXELS, code, bias=False), VariableLinear(code, PIXELS, bias=False)
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in net.parameters():
            weight.normal_(std=INITIAL, generator=generator)
    return net


def mean_loss(net: nn.Module, x: torch.Tensor, widths: range) -> torch.Tensor:
    """Return the mean over widths of the reconstruction error, without sampling."""
    losses = []
    for width in widths:
        with at_width(net, width):
            losses.append(F.mse_loss(net(x), x))
    return torch.stack(losses).mean()


def trained(x: torch.Tensor, widths: range, seed: int = 0) -> nn.Sequential:
    """Train by L-BFGS: by gradients alone, since SGD needs far more of them (Bao et al. 2020)."""
    net, x = network(seed), x.float()
    optimizer = torch.optim.LBFGS(
        net.parameters(),
        max_iter=EVALUATIONS,
        max_eval=EVALUATIONS,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = mean_loss(net, x, widths)
        loss.backward()
        return loss

    optimizer.step(closure)
    return net


@pytest.fixture(scope="module")
def nested(compressed) -> nn.Sequential:
    return trained(compressed, range(1, CODE + 1))


@pytest.fixture(scope="module")
def plain(compressed) -> nn.Sequential:
    return trained(compressed, range(CODE, CODE + 1))


def errors(net: nn.Module, images: torch.Tensor) -> np.ndarray:
    x = images.float()
    return width_sweep(net, F.mse_loss, (x, x), progress=False).values


def pca_errors(pca: PCA, images: torch.Tensor) -> np.ndarray:
    """Return PCA's error on centred images at each width by building the reconstructions."""
    x, found = images.numpy(), []
    for width in range(1, CODE + 1):
        directions = pca.components_[:width]
        found.append(np.square(x @ directions.T @ directions - x).mean())
    return np.array(found)


def cosines(net: nn.Sequential, pca: PCA) -> np.ndarray:
    """Return the size of the cosine between each unit's decoder column and its direction."""
    columns = net[1].weight.detach().double().numpy().T
    columns /= np.linalg.norm(columns, axis=1, keepdims=True)
    return np.abs((columns * pca.components_).sum(1))


def test_a_triangle_of_784_rows_has_the_loss_and_gradients_of_all_training_images(
    images, compressed
):
    gradients = []
    for x in (images[0], compressed):
        net = network(seed=1).double()
        loss = mean_loss(net, x, range(3, 12, 8))
        loss.backward()
        gradients.append([loss.detach(), *(weight.grad for weight in net.parameters())])
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-9)


def test_a_linear_autoencoder_with_a_code_of_16_is_within_1_percent_of_pca_at_every_width(
    nested, pca, images, compressed
):
    for x in (images[1], compressed):
        ratios = errors(nested, x) / pca_errors(pca, x)
        assert ratios.max() < 1.01, ratios


def test_no_linear_code_beats_as_many_principal_components_on_the_images_they_are_fitted_to(
    nested, plain, pca, compressed
):
    for net in (nested, plain):
        ratios = errors(net, compressed) / pca_errors(pca, compressed)
        assert ratios.min() > 1 - 1e-5, ratios


def test_the_first_8_units_of_a_nested_code_are_the_first_8_principal_directions_in_order(
    nested, pca
):
    found = cosines(nested, pca)
    assert found[:8].min() >= 0.99, found


def test_full_width_training_finds_the_same_space_but_no_order(plain, pca, compressed):
    ratios = errors(plain, compressed) / pca_errors(pca, compressed)
    assert ratios[-1] < 1.01, ratios
    assert ratios[:8].min() > 1.2, ratios
    found = cosines(plain, pca)
    assert found[:8].max() < 0.9, found
