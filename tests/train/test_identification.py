import functools
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import (
    ConcatDataset,
    Dataset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

from tests.small import network
from tests.train.datasets import FromFile, Mapped, X, Y, loader
from vsnn_lab import MLP, Width, fit
from vsnn_lab.data._torchvision import torchvision
from vsnn_lab.data.batches import FreshBatches, TensorBatches
from vsnn_lab.train.identification import Identity


def run(data, folder):
    settings = {"epochs": 2, "validation": None, "progress": False}
    return fit(network(), data, F.mse_loss, checkpoint=folder, **settings)


class Slotted(Dataset):
    """A data set has a dict of its own, too, so that only a part of it is in slots."""

    __slots__ = ("inputs",)

    def __init__(self, inputs):
        self.inputs = inputs

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, row):
        return self.inputs[row], Y[row]


class Loaded(Dataset):
    """Read from a file once, when it is made."""

    def __init__(self, path):
        self.inputs = torch.load(path, weights_only=True)

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, row):
        return self.inputs[row], Y[row]

    def reload(self, path):
        self.__init__(path)


class Scaled(list):
    """A list whose items are not what it gives."""

    def __init__(self, items, scale):
        super().__init__(items)
        self.scale = scale

    def __iter__(self):
        return ((x * self.scale, y) for x, y in super().__iter__())


class Moving:
    """Batches that begin where they stand, and move on as they are read."""

    def __init__(self, start):
        self.position = start

    def __len__(self):
        return 2

    def __iter__(self):
        for _ in range(2):
            self.position += 1
            yield X * self.position, Y


class Noise(Dataset):
    def __init__(self, generator):
        self.generator = generator

    def __len__(self):
        return len(X)

    def __getitem__(self, row):
        return X[row] * self.generator.random(), Y[row]


class Mixed(Noise):
    def __getitem__(self, row):
        return X[row] * self.generator[0], Y[row]


class Noisy(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scales = [scale]

    def forward(self, x):
        return x + self.scales[0] * torch.randn_like(x)


def constant_buffer(number):
    module = nn.Identity()
    module.register_buffer("mean", torch.full((2,), float(number)), persistent=False)
    return module


def drawn_by(network):
    return lambda generator: (X * torch.rand(1, generator=generator), network(X).detach())


def plus(number):
    rows = [number, {"scale": 2}]
    return lambda x: x + rows[0] * rows[1]["scale"]


def linear(number):
    with torch.random.fork_rng():
        torch.manual_seed(number)
        return MLP(4, (Width(3),), 2)


# How data are made of a number, each of its own data.
ORDINARY = {
    "tensors": lambda number: (X + number, Y),
    "list of batches": lambda number: [(X + number, Y)],
    "tensor batches": lambda number: TensorBatches(X + number, Y),
    "fresh batches": lambda number: FreshBatches(drawn_by(linear(number)), steps=2),
    "loader": lambda number: loader(TensorDataset(X + number, Y)),
    "shuffling loader": lambda number: loader(TensorDataset(X + number, Y), shuffle=True),
    "seeded loader": lambda number: loader(
        shuffle=True, generator=torch.Generator().manual_seed(number)
    ),
    "loader of a list": lambda number: loader([(x + number, y) for x, y in zip(X, Y, strict=True)]),
    "two data sets": lambda number: loader(
        ConcatDataset([TensorDataset(X, Y), TensorDataset(X + number, Y)])
    ),
    "subset": lambda number: loader(sampler=SubsetRandomSampler([0, number])),
    "weights": lambda number: loader(sampler=WeightedRandomSampler([1.0, float(number)], 16)),
    "collate": lambda number: loader(
        collate_fn=lambda rows: default_collate([(x * number, y) for x, y in rows])
    ),
    "slots": lambda number: loader(Slotted(X + number)),
    "a constant": lambda number: loader(Mapped(functools.partial(torch.mul, other=number))),
    "a list in a closure": lambda number: loader(Mapped(plus(number))),
    "a cached function": lambda number: loader(Mapped(functools.cache(lambda x: x * number))),
    "a module's list": lambda number: loader(Mapped(Noisy(number))),
    "a buffer": lambda number: loader(Mapped(constant_buffer(number))),
    "torchvision": lambda number: loader(
        Mapped(
            torchvision.transforms.RandomApply(
                [torchvision.transforms.Lambda(lambda x: x * number)]
            )
        )
    ),
    "numpy's generator": lambda number: loader(Noise(np.random.default_rng(number))),
    "python's generator": lambda number: loader(Noise(random.Random(number))),
    "numbers in objects": lambda number: loader(Mixed(np.array([number, "a"], object))),
    "a list of a class": lambda number: Scaled([(X, Y)], number),
    "a position": Moving,
}


@pytest.mark.parametrize("kind", ORDINARY)
def test_data_in_memory_are_told_apart_and_found_again(kind):
    make = ORDINARY[kind]
    one, same, other = (Identity.find(make(number)) for number in (2, 2, 3))
    assert one.unknown == same.unknown == other.unknown == ()
    assert one.description == same.description != other.description
    json.dumps(one.description)


IN_A_PROCESS = """
import json
from tests.train.test_identification import ORDINARY
from vsnn_lab.train.identification import Identity

print(json.dumps({kind: Identity.find(make(2)).description for kind, make in ORDINARY.items()}))
"""


def test_data_are_described_the_same_in_every_process():
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IN_A_PROCESS],
        env=os.environ | {"PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    here = {kind: Identity.find(make(2)).description for kind, make in ORDINARY.items()}
    assert json.loads(found.stdout) == json.loads(json.dumps(here))


@pytest.mark.parametrize("kind", ["tensors", "list of batches", "fresh batches", "slots", "loader"])
def test_a_run_is_resumed_on_the_same_data_and_on_no_other(tmp_path, kind):
    make = ORDINARY[kind]
    assert [run(make(number), tmp_path).resumed_at for number in (2, 3, 2)] == [0, 0, 2]


def test_data_that_were_read_from_a_file_when_they_were_made_are_known_by_their_values(tmp_path):
    def load(number):
        torch.save(X + number, tmp_path / "x.pt")
        return Identity.find(loader(Loaded(tmp_path / "x.pt")))

    one, same, other = load(1), load(1), load(2)
    assert one.unknown == ()
    assert one.description == same.description != other.description


def test_a_memory_mapped_array_is_known_by_what_is_in_the_file(tmp_path):
    def mapped(number):
        np.save(tmp_path / "x.npy", X.numpy() + number)
        return Identity.find(loader(list(np.load(tmp_path / "x.npy", mmap_mode="r"))))

    one, same, other = mapped(1), mapped(1), mapped(2)
    assert one.description == same.description != other.description


def test_data_that_moved_while_they_were_read_are_the_same_and_moved_otherwise_are_not(tmp_path):
    data = Moving(0)
    run(data, tmp_path)
    assert data.position == 4
    assert run(data, tmp_path).resumed_at == 2
    assert run(Moving(0), tmp_path).resumed_at == 2
    data.position = 2
    assert run(data, tmp_path).resumed_at == 0


def test_a_rewritten_file_is_trained_on_anew_with_one_warning(tmp_path):
    said = (
        r"data cannot be identified, so that training starts anew and the same call will not "
        r"resume it: FromFile.__getitem__ uses torch\.load; give tensors in memory, or give the "
        r"data set an attribute data_fingerprint, a string that changes with what it gives"
    )
    folders = set()
    for shift in (0, 5):
        torch.save(X + shift, tmp_path / "x.pt")
        with pytest.warns(UserWarning, match=said) as caught:
            history = run(loader(FromFile(str(tmp_path / "x.pt"))), tmp_path / "runs")
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert history.resumed_at == 0
        folders.add(history.folder)
    assert len(folders) == 2


@pytest.mark.filterwarnings("ignore:data cannot be identified")
def test_an_interruption_promises_no_more_than_is_true(tmp_path, capfd):
    torch.save(X, tmp_path / "x.pt")

    def interrupted(output, target):
        raise KeyboardInterrupt("Ctrl-C")

    for data, promised in ((loader(FromFile(str(tmp_path / "x.pt"))), False), (loader(), True)):
        with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
            fit(network(), data, interrupted, validation=None, checkpoint=tmp_path / "runs")
        said = "".join(capfd.readouterr())
        assert "stopped; 0 of 10 epochs are in" in said
        assert ("the same call goes on from there" in said) == promised


def test_without_a_checkpoint_nobody_asks_what_the_data_are(tmp_path):
    torch.save(X, tmp_path / "x.pt")
    assert len(run(loader(FromFile(tmp_path / "x.pt")), None).epochs) == 2


def test_a_data_set_that_says_what_it_is_is_taken_at_its_word(tmp_path):
    class Versioned(FromFile):
        @property
        def data_fingerprint(self):
            return str(os.stat(self.path).st_size)

    torch.save(X, tmp_path / "x.pt")
    found = [run(loader(Versioned(tmp_path / "x.pt")), tmp_path).resumed_at for _ in range(2)]
    torch.save(torch.cat((X, X)), tmp_path / "x.pt")
    found.append(run(loader(Versioned(tmp_path / "x.pt")), tmp_path).resumed_at)
    assert found == [0, 2, 0]


def find_in_one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    # No port is used, since the processes have met.
    os.environ |= {"LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    os.environ["ACCELERATE_USE_CPU"] = "true"
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    found = Identity.find(loader(FromFile("x.pt"))).description
    Path(folder, str(rank)).write_text(found)
    torch.distributed.barrier()
    os._exit(0)  # as in test_parallel.py


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_all_processes_of_a_launch_train_unknown_data_into_one_folder(tmp_path):
    torch.multiprocessing.spawn(find_in_one_of_two, (str(tmp_path),), nprocs=2)
    assert (tmp_path / "0").read_text() == (tmp_path / "1").read_text() != ""
