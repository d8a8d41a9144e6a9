"""Widths under several processes and under reduced precision."""

import itertools
import os

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import nn

from vsnn_lab import MLP, Width, at_width, extract, fit, forward_at_widths
from vsnn_lab.widths import width_controls

BATCH = 8


def network() -> MLP:
    torch.manual_seed(0)
    width = Width(6)
    return MLP(4, (width, width), 3).double()


def with_two_knobs() -> MLP:
    torch.manual_seed(0)
    return MLP(4, (Width(6), Width(8)), 3).double()


def data() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(BATCH, 4, generator=generator, dtype=torch.float64)
    y = torch.randn(BATCH, 3, generator=generator, dtype=torch.float64)
    return x, y, torch.tensor([1, 1, 2, 3, 4, 6, 6, 6])


def gradients(model: nn.Module, rows: slice) -> list[torch.Tensor]:
    x, y, widths = (part[rows] for part in data())
    several = dict(zip(width_controls(model), (widths, 9 - widths), strict=False))
    drawn = several if len(several) > 1 else widths
    nn.functional.mse_loss(forward_at_widths(model, x, drawn), y).backward()
    return [parameter.grad for parameter in model.parameters()]


def one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    # Both ways to compute: masked by default for a batch this small, then by dense slices.
    for smallest_run in (64, 0):
        import vsnn_lab.networks.forward

        vsnn_lab.networks.forward._SMALLEST_RUN = smallest_run
        for build in (network, with_two_knobs):
            model = nn.parallel.DistributedDataParallel(build())
            name = f"{folder}/{build.__name__}-{smallest_run}-{rank}.pt"
            torch.save(gradients(model, slice(rank, None, 2)), name)
    torch.distributed.barrier()
    # Not through the interpreter's end: there, a thread of gloo that wants the interpreter once
    # more aborts the process, one time in hundreds.
    os._exit(0)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_two_processes_have_the_gradients_of_one_on_the_joined_batch(tmp_path):
    torch.multiprocessing.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    for build in (network, with_two_knobs):
        expected = gradients(build(), slice(None))
        for smallest_run, rank in itertools.product((64, 0), (0, 1)):
            file = tmp_path / f"{build.__name__}-{smallest_run}-{rank}.pt"
            found = torch.load(file, weights_only=True)
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_all_ways_to_compute_a_width_agree_under_autocast():
    net = network().float()
    x = data()[0].float()
    with torch.autocast("cpu", torch.bfloat16):
        for position in (1, 4, 6):
            with at_width(net, position):
                sliced = net(x)
            with at_width(net, torch.full((BATCH,), position)):
                masked = net(x)
            assert sliced.dtype == masked.dtype == torch.bfloat16
            torch.testing.assert_close(sliced, extract(net, position)(x))
            torch.testing.assert_close(masked, sliced, rtol=2e-2, atol=2e-2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_widths_on_the_cpu_steer_a_network_on_a_gpu():
    net = network()
    x, _, widths = data()
    expected = forward_at_widths(net, x, widths)
    net.cuda()
    found = forward_at_widths(net, x.cuda(), widths)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_network_trained_on_a_gpu_is_back_where_it_was():
    net = network().float()
    x, y, _ = data()
    fit(
        net,
        (x.float(), y.float()),
        nn.functional.mse_loss,
        epochs=1,
        validation=None,
        progress=False,
    )
    assert {parameter.device.type for parameter in net.parameters()} == {"cpu"}
