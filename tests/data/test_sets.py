import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vsnn_lab import data
from vsnn_lab.data import __main__ as command_line
from vsnn_lab.data import _torchvision, load
from vsnn_lab.data.image_set import split_rows

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "data" / "README.md"


def read_idx(path):
    """Read an IDX file by its published layout: magic number, big-endian sizes, bytes."""
    content = path.read_bytes()
    dims = content[3]
    shape = struct.unpack(f">{dims}I", content[4 : 4 + 4 * dims])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dims).reshape(shape)


def run_cli(*arguments, **options):
    command = [sys.executable, "-W", "error::RuntimeWarning", "-m", "vsnn_lab.data", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")]
)
@pytest.mark.parametrize(("split", "stem"), [("train", "train"), ("test", "t10k")])
def test_mnist_sets_hold_the_bytes_of_the_raw_files_scaled_to_one(name, folder, split, stem):
    images = load(name, split)
    raw = data.data_root() / folder / "raw"
    pixels = read_idx(raw / f"{stem}-images-idx3-ubyte")
    labels = read_idx(raw / f"{stem}-labels-idx1-ubyte")
    assert images.images.shape == (len(pixels), 1, 28, 28)
    assert images.images.dtype == torch.float32
    assert images.labels.dtype == torch.int64
    np.testing.assert_array_equal(images.labels.numpy(), labels)
    some = slice(None, None, 97)
    np.testing.assert_allclose(images.images[some, 0].numpy(), pixels[some] / 255.0, rtol=1e-6)
    assert (images.images.min(), images.images.max()) == (0, 1)
    assert images.name == name
    assert len(images) == len(labels)
    assert len(images.class_names) == 10


def test_mnist_label_counts_are_the_published_ones():
    # Class sizes of the MNIST training set as published with it.
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert torch.bincount(load("mnist").labels).tolist() == counts


def test_fashion_mnist_is_balanced_and_names_its_classes():
    images = load("fashion-mnist", "test")
    assert torch.bincount(images.labels).tolist() == [1000] * 10
    assert images.class_names[0] == "T-shirt/top"
    assert images.class_names[9] == "Ankle boot"
    assert images.class_names == tuple(_torchvision.datasets.FashionMNIST.classes)


def test_digits_splits_are_disjoint_complete_and_balanced():
    from sklearn.datasets import load_digits

    train, test = load("digits", "train"), load("digits", "test")
    rows = [tuple(row) for part in (train, test) for row in part.images.flatten(1).mul(16).tolist()]
    expected = [tuple(row) for row in load_digits().data.tolist()]
    assert sorted(rows) == sorted(expected)
    assert (len(train), len(test)) == (1437, 360)
    shares = torch.bincount(test.labels) / torch.bincount(torch.cat([train.labels, test.labels]))
    assert (shares - 0.2).abs().max() < 0.005


def test_digits_split_never_changes():
    digest = hashlib.sha256(load("digits", "test").labels.numpy().tobytes()).hexdigest()
    assert digest[:16] == "4493b2052e7b4258"


def test_faces_are_the_hundred_of_scikit_image_that_show_a_face():
    from skimage.data import lfw_subset

    train, test = load("faces", "train"), load("faces", "test")
    assert train.images.shape == (80, 1, 25, 25)
    assert test.images.shape == (20, 1, 25, 25)
    assert train.images.dtype == torch.float32
    assert (train.images.min(), train.images.max()) == (0, 1)
    images = torch.cat([train.images, test.images]).flatten(1)
    expected = lfw_subset()[:100].reshape(100, -1).astype(np.float32)
    assert sorted(map(tuple, images.tolist())) == sorted(map(tuple, expected.tolist()))
    assert train.labels.tolist() == [0] * 80
    assert train.class_names == ("face",)


def test_the_rows_that_are_left_out_of_the_faces_resemble_no_face():
    from skimage.data import lfw_subset

    rows = lfw_subset().reshape(200, -1)
    mean_face = rows[:50].mean(0)
    likeness = np.array([np.corrcoef(mean_face, row)[0, 1] for row in rows])
    assert np.median(likeness[50:100]) > likeness[100:].max()


def test_faces_split_never_changes():
    tested = load("faces", "test").images.mul(255).round().to(torch.uint8)
    assert hashlib.sha256(tested.numpy().tobytes()).hexdigest()[:16] == "805b98b87614ada0"


def test_faces_without_scikit_image_name_the_command_that_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    rule = r"load\('faces'\) needs skimage\.data.*pip install vsnn-lab\[lab\] brings it"
    with pytest.raises(ImportError, match=rule):
        load("faces")


def test_faces_that_cannot_be_had_say_so(monkeypatch):
    import skimage.data

    def offline():
        raise ConnectionError("no internet connection")

    monkeypatch.setattr(skimage.data, "lfw_subset", offline)
    with pytest.raises(data.fetch.DataUnavailable, match=r"faces; .*lfw_subset\.npy: no internet"):
        load("faces")


def test_rows_are_split_by_key_whatever_the_order():
    keys = [f"image {number}" for number in range(50)]
    tested = {keys[row] for row in split_rows("test", keys)}
    assert len(tested) == 10
    assert sorted(split_rows("train", keys) + split_rows("test", keys)) == list(range(50))
    turned = keys[::-1] + keys
    assert {turned[row] for row in split_rows("test", turned)} == tested
    assert len(split_rows("test", turned)) == 20


def test_unknown_name_or_split_lists_the_known_ones():
    names = "'digits', 'emoji', 'faces', 'fashion-mnist', 'mnist'"
    rule = f"name must be one of {names}, got 'minst'"
    with pytest.raises(ValueError, match=re.escape(rule)):
        load("minst")
    with pytest.raises(ValueError, match=r"split must be one of 'train', 'test', got 'valid'"):
        load("digits", "valid")


def test_load_reads_the_root_it_is_given(tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for path in (data.data_root() / "FashionMNIST" / "raw").glob("*-ubyte"):
        shutil.copy(path, raw)
    assert len(load("fashion-mnist", "test", root=str(tmp_path))) == 10_000


def test_data_root_is_the_variable_or_the_checkout_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VSNN_LAB_DATA", raising=False)
    assert data.data_root() == ROOT / "data"
    monkeypatch.setenv("VSNN_LAB_DATA", "elsewhere")
    assert data.data_root() == tmp_path / "elsewhere"


def test_data_root_of_an_installed_package_is_a_cache_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("VSNN_LAB_DATA", raising=False)
    installed = tmp_path / "site-packages" / "vsnn_lab" / "data" / "sets.py"
    monkeypatch.setattr(data.sets, "__file__", str(installed))
    assert data.data_root().name == "vsnn_lab"
    assert tmp_path not in data.data_root().parents


def test_readme_lists_size_and_hash_of_every_file():
    text = README.read_text()
    for pinned_set in data.fetch.SETS.values():
        for file in pinned_set.files:
            row = f"| `{pinned_set.folder}/raw` | `{file.name}` | {file.size:,} | `{file.sha256}` |"
            assert row in text


def test_global_random_state_is_left_alone():
    torch.manual_seed(7)
    np.random.seed(7)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    load("digits")
    load("mnist", "test")
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()


def test_command_line_says_where_each_set_is(tmp_path):
    names = ("mnist", "digits", "faces", "emoji", "austen")
    result = run_cli(*names, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    root = data.data_root()
    assert lines == [
        f"mnist: {root}/MNIST/raw, 60000 + 10000 images, sha256 verified",
        "digits: inside scikit-learn, 1437 + 360 images",
        "faces: inside scikit-image, 80 + 20 images",
        f"emoji: {root}/NotoEmoji/raw, 3138 + 778 images, sha256 verified",
        f"austen: {root}/Austen/raw, 6 novels of 4025028 characters, sha256 verified",
    ]
    assert result.stderr == ""


def test_command_line_refuses_an_unknown_set_and_lists_the_known(capsys):
    with pytest.raises(SystemExit, match="2"):
        command_line.main(["minst"])
    message = capsys.readouterr().err
    assert "minst" in message
    assert all(name in message for name in data.NAMES)


def test_command_line_reports_what_it_cannot_get_without_a_traceback(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data.fetch, "default_sources", lambda pinned_set: [])
    assert command_line.main(["mnist", "--root", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: could not get mnist")


def test_command_line_names_a_missing_package_without_a_traceback(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    assert command_line.main(["faces"]) == 1
    assert capsys.readouterr().err.startswith("error: load('faces') needs skimage.data")


def test_command_line_names_a_folder_that_it_cannot_write(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert command_line.main(["mnist", "--root", str(tmp_path / "file")]) == 1
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_command_line_shows_a_damaged_file_on_one_line(tmp_path, monkeypatch, capsys):
    damaged = tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"x")
    monkeypatch.setattr(data.fetch, "default_sources", lambda pinned_set: [])
    command_line.main(["mnist", "--root", str(tmp_path)])
    assert capsys.readouterr().err.startswith(f"warning: {damaged} is damaged")


def test_torchvision_is_helped_only_where_its_operators_are_missing(monkeypatch):
    declared = list(_torchvision._libraries)

    def broken(name):
        raise RuntimeError("another fault")

    monkeypatch.setattr(_torchvision.importlib, "import_module", broken)
    with pytest.raises(RuntimeError, match="another fault"):
        _torchvision._import_torchvision()
    monkeypatch.setattr(_torchvision.importlib, "import_module", lambda name: "loaded")
    assert _torchvision._import_torchvision() == "loaded"
    assert _torchvision._libraries == declared
