import functools
import io
import itertools
import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.train.datasets import FromFile, Mapped, X, Y, loader
from vsnn_lab.data._torchvision import datasets, transforms
from vsnn_lab.data.batches import FreshBatches
from vsnn_lab.train.identification import Identity
from vsnn_lab.train.unidentified import find_unidentified


class Property(Mapped):
    scale = property(lambda self: float(os.environ["SCALE"]))

    def __getitem__(self, row):
        return X[row] * self.scale, Y[row]


class Lazy(Mapped):
    @functools.cached_property
    def rows(self):
        return np.load("rows.npy")

    def __getitem__(self, row):
        return self.rows[row], Y[row]


class Reader:
    def __init__(self, path):
        self.rows = Path(path).read_bytes()


class Descriptor:
    def __get__(self, owner, kind=None):
        return json.load(io.StringIO("1"))


class Described(Mapped):
    scale = Descriptor()

    def __getitem__(self, row):
        return X[row] * self.scale, Y[row]


class Dynamic(Mapped):
    def __getattr__(self, name):
        return np.fromfile(name)

    def __getitem__(self, row):
        return self.elsewhere[row], Y[row]


class ByName(Mapped):
    def __getitem__(self, row):
        return getattr(self, "re" + "ad")(row), Y[row]

    def read(self, row):
        return open(str(row))


class Restored(Mapped):
    def __setstate__(self, state):
        self.rows = np.load("rows.npy")


class Importing(Mapped):
    def __getitem__(self, row):
        import pickle

        return pickle.loads(b""), Y[row]


class Photos(datasets.ImageFolder):
    pass


# As a class of an extension that a person has compiled.
Compiled = type("Compiled", (Mapped,), {"__getitem__": io.FileIO.read, "__module__": "mine"})


class FreshFromFile(FreshBatches):
    pass


class PatchedConv(nn.Conv1d):
    def _conv_forward(self, *_):
        return torch.load("x.pt")


def hooked():
    module = nn.Identity()
    module.register_forward_pre_hook(lambda module, inputs: torch.load("x.pt"))
    return module


def read_anew(path):
    return Image.open(path)


OUTSIDE = {
    "FromFile.__getitem__ uses torch.load": lambda: loader(FromFile("x.pt")),
    "uses os.environ": lambda: loader(Property(None)),
    "Lazy.rows uses np.load": lambda: loader(Lazy(None)),
    "Reader.__init__ uses Path": lambda: loader(Mapped(lambda row: Reader(row).rows)),
    "Descriptor.__get__ uses json.load": lambda: loader(Described(None)),
    "Dynamic.__getattr__ uses np.fromfile": lambda: loader(Dynamic(None)),
    "ByName.read uses open": lambda: loader(ByName(None)),
    "Restored.__setstate__ uses np.load": lambda: loader(Restored(torch.sin)),
    "Importing.__getitem__ imports pickle": lambda: loader(Importing(None)),
    "Compiled.__getitem__ (_io.FileIO.read)": lambda: loader(Compiled(None)),
    "read_anew uses Image.open": lambda: loader(Mapped(read_anew)),
    "Mapped.function (numpy.load)": lambda: loader(Mapped(np.load)),
    "Mapped.function (_io.BytesIO)": lambda: loader(Mapped(io.BytesIO(b"x"))),
    "Mapped.function (pathlib.": lambda: loader(Mapped(Path("x"))),
    "Mapped.function (itertools.count)": lambda: loader(Mapped(itertools.count())),
    "Mapped.function has hooks": lambda: loader(Mapped(hooked())),
    "PatchedConv._conv_forward uses torch.load": lambda: loader(Mapped(PatchedConv(1, 1, 1))),
    "uses random.random": lambda: loader(Mapped(lambda x: x * random.random())),
    "uses __import__": lambda: loader(Mapped(lambda x: x * __import__("time").time())),
    "<lambda> uses eval": lambda: loader(worker_init_fn=lambda _: eval("x")),
    "DataLoader.sampler (builtins.list_iterator)": lambda: loader(sampler=iter([1, 2])),
    "data (builtins.generator)": lambda: [(x for x in X)],
    "data (torch.Tensor)": lambda: [(X.to_sparse(), Y)],
    "<lambda> uses np.memmap": lambda: FreshFromFile(lambda _: np.memmap("x"), steps=2),
}


@pytest.mark.parametrize("reason", OUTSIDE)
def test_data_that_reach_further_are_not_identified_and_it_is_said_where(reason):
    found = Identity.find(OUTSIDE[reason]())
    assert any(reason in each for each in found.unknown), found.unknown
    assert found.description != Identity.find(OUTSIDE[reason]()).description


def test_images_in_folders_that_were_rewritten_are_trained_on_anew(tmp_path):
    for shade in (0, 255):
        (tmp_path / "a").mkdir(exist_ok=True)
        Image.new("RGB", (2, 2), (shade,) * 3).save(tmp_path / "a" / "0.png")
        for kind in (datasets.ImageFolder, Photos):
            photos = kind(str(tmp_path), transform=transforms.ToTensor())
            (reason,) = find_unidentified(loader(photos))
            assert "torchvision.datasets" in reason or "Photos" in reason
