"""Networks that others made, variable: exported, compiled, counted, trained by two processes."""

import os

import pytest
import torch
import torch.multiprocessing
from torch import nn

from vsnn_lab import (
    at_width,
    count_macs,
    count_parameters,
    export_onnx,
    extract,
    forward_at_widths,
    make_variable,
    recalibrate,
)
from vsnn_lab.data._torchvision import models
from vsnn_lab.widths import single_control

# Torch warns of itself: as it exports, and of recurrent layers.
pytestmark = pytest.mark.filterwarnings("default")

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
WORDS = torch.randint(0, 30, (4, 6), generator=torch.Generator().manual_seed(0))


class Tagger(nn.Module):
    """Tags each word of a sentence."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(30, 12)
        self.sentence = nn.LSTM(12, 10, 2, batch_first=True, bidirectional=True)
        self.tags = nn.Linear(20, 5)

    def forward(self, words):
        return self.tags(self.sentence(self.words(words))[0])


def vision_transformer():
    return models.VisionTransformer(32, 16, 2, 4, 24, 40, num_classes=5)


def densenet():
    return models.DenseNet(32, (2, 1), 64, bn_size=2, num_classes=5)


NETWORKS = {
    "vision transformer": (vision_transformer, IMAGES),
    "densenet": (densenet, IMAGES),
    "tagger": (Tagger, WORDS),
}


def build(kind, **options):
    torch.manual_seed(0)
    make, x = NETWORKS[kind]
    return make_variable(make().eval(), x, **options), x


@pytest.fixture(scope="module", params=NETWORKS)
def net(request):
    return build(request.param)


def test_most_of_it_varies_and_fewer_parameters_are_left(net):
    model, _ = net
    assert single_control(model).steps == 32
    assert count_parameters(model, 8) < 0.8 * count_parameters(model)


def test_it_goes_to_onnx(net, tmp_path):
    model, x = net
    assert export_onnx(model, 11, tmp_path / "net.onnx", x) < 1e-5


def test_torch_exports_it_at_a_width_and_cut(net):
    model, x = net
    with torch.no_grad(), at_width(model, 11):
        expected = model(x)
        held = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(held(x), expected)
    cut = torch.export.export(extract(model, 11), (x,)).module()
    torch.testing.assert_close(cut(x), expected)


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
def test_it_compiles_to_at_most_three_graphs_over_all_widths(kind):
    model, x = build(kind, verify=False)
    graphs = []

    def count(module, _):
        graphs.append(module)
        return module.forward

    torch.compiler.reset()
    fast = torch.compile(model, backend=count)
    with torch.no_grad():
        for position in (32, 7, 17, 31):
            with at_width(model, position):
                torch.testing.assert_close(fast(x), model(x))
    # Torch leaves recurrent layers out, and compiles what comes before and behind by itself.
    pieces = 2 if kind == "tagger" else 1
    assert len(graphs) <= 3 * pieces


def test_products_are_those_of_the_cut(net):
    model, x = net
    for position in (7, 32):
        assert count_macs(model, position, x) == count_macs(extract(model, position), None, x)
    assert count_macs(model, 7, x) < 0.75 * count_macs(model, 32, x)


def test_statistics_are_measured_anew_at_a_width():
    model, x = build("densenet")
    with torch.no_grad():
        before = extract(model, 9)(x)
        recalibrate(model, [x], 9)
        with at_width(model, 9):
            found = model(x)
        torch.testing.assert_close(found, extract(model, 9)(x))
    assert (found - before).abs().max() > 1e-3


def gradients(kind, rows):
    model, x = build(kind, verify=False)
    model = nn.parallel.DistributedDataParallel(model) if rows.step else model
    widths = torch.tensor([32, 9, 9, 20])
    output = forward_at_widths(model, x[rows], widths[rows])
    output.square().flatten(1).mean(1).sum().div(len(x[rows])).backward()
    return [parameter.grad for parameter in model.parameters()]


def one_of_two(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    found = {kind: gradients(kind, slice(rank, None, 2)) for kind in NETWORKS}
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    os._exit(0)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_two_processes_find_the_gradients_of_one(tmp_path):
    torch.multiprocessing.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    halves = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for kind in NETWORKS:
        for first, second, whole in zip(
            halves[0][kind], halves[1][kind], gradients(kind, slice(None)), strict=True
        ):
            torch.testing.assert_close(first, second)
            torch.testing.assert_close(first, whole, rtol=1e-4, atol=1e-6)
