"""Thousands of damaged files: each is refused by name, or gives back what was written."""

import contextlib
import copy
import gzip
import hashlib
import io
import itertools
import json
import math
import random
import struct
import tarfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.test_sources import debian_package
from tests.small import network
from tests.train.test_resume import STEPS, Interrupting, run
from vsnn_lab import data, load_weights, save_weights
from vsnn_lab._basics import checkpoints
from vsnn_lab.data import emoji, fetch
from vsnn_lab.data.archives import PinnedFile, read_archive, unwrap_package
from vsnn_lab.data.idx import read_idx
from vsnn_lab.data.sources import PinnedSet, Source
from vsnn_lab.train import run_checkpoint

# What a refusal may be; a subclass such as JSONDecodeError is a library's own and tells no remedy.
REFUSALS = {ValueError, OSError, FileNotFoundError, fetch.DataUnavailable}


@dataclass
class Opened:
    """A file as it was written, and the way in which a user opens it.

    Attributes:
        path: The file that is damaged.
        read: Opens it again and returns its content in a form that ``==`` compares.
        named: What a refusal must contain.
        true_content: What may be read from a damaged file, given its bytes; by default what the
            whole file holds. None allows anything.
    """

    path: Path
    read: Callable[[], Any]
    named: str = ""
    true_content: Callable[[bytes], Any] | None = None

    def __post_init__(self):
        self.named = self.named or self.path.name
        if self.true_content is None:
            whole = self.read()
            self.true_content = lambda _: whole


ANYTHING = object()


def damage(whole: bytes, seed: int) -> bytes:
    """Damage a file in one way of eight, at random places; the result differs from the whole."""
    chance = random.Random(seed)
    found = bytearray(whole)
    while found == whole:
        start = chance.randrange(len(whole))
        end = min(len(whole), start + chance.choice([1, 2, 8, 64, 512]))
        match seed % 8:
            case 0:
                del found[start:]
            case 1:
                found[start] ^= 1 << chance.randrange(8)
            case 2:
                for place in chance.sample(range(len(whole)), min(9, len(whole))):
                    found[place] ^= 1 << chance.randrange(8)
            case 3:
                found[start:end] = chance.randbytes(end - start)
            case 4:
                found[start:start] = chance.randbytes(end - start)
            case 5:
                found[start:start] = found[start:end]
            case 6:
                del found[start:end]
            case 7:
                found[start:end] = bytes(end - start)
    return bytes(found)


def check(opened: Opened, content: bytes, label: object) -> bool:
    """Open a file that holds ``content``; return whether it was refused."""
    opened.path.write_bytes(content)
    fault = None
    try:
        got = opened.read()
    except Exception as error:
        fault = error
    if fault is not None:
        refused = type(fault) in REFUSALS and opened.named in str(fault)
        assert refused, f"{label}: {type(fault).__name__}: {fault}"
        return True
    expected = opened.true_content(content)
    assert expected is ANYTHING or got == expected, f"{label}: read other content than was written"
    return False


# --- Checkpoints and weights --------------------------------------------------------------------


def state_of(model: torch.nn.Module) -> dict[str, tuple]:
    return {k: (v.dtype, v.shape, v.numpy().tobytes()) for k, v in model.state_dict().items()}


@contextlib.contextmanager
def unchanged_if_refused(model: torch.nn.Module) -> Iterator[None]:
    before = state_of(model)
    try:
        yield
    except Exception:
        assert state_of(model) == before, "a refused file changed the model"
        raise


def known_settings(monkeypatch) -> None:
    """Spare describing the settings anew for each of a thousand equal calls."""
    monkeypatch.setattr(run_checkpoint, "describe", lambda _: "the same")


def checkpoint(name: str, interrupted: bool, folder: Path, monkeypatch) -> Opened:
    known_settings(monkeypatch)
    loss = Interrupting(2 * STEPS + 1 if interrupted else 0)
    with contextlib.suppress(KeyboardInterrupt):
        run(network(), folder, epochs=3, loss=loss)
    path = next(folder.glob(f"*/{name}.safetensors"))
    kept = {file: file.read_bytes() for file in path.parent.iterdir()}

    def read():
        content = path.read_bytes()
        for file, whole in kept.items():
            file.write_bytes(content if file == path else whole)
        model = network()
        with unchanged_if_refused(model):
            history = run(model, folder, epochs=3, loss=loss)
        assert {file.parent for file in folder.glob("*/*")} == {path.parent}
        told = [{k: v for k, v in row.items() if k != "seconds"} for row in history.epochs]
        return state_of(model), told, history.best_epoch

    opened = Opened(path, read)
    path.write_bytes(kept[path])
    return opened


def finished(name: str) -> Callable[..., Opened]:
    return lambda folder, patch: checkpoint(name, False, folder, patch)


def unfinished(name: str) -> Callable[..., Opened]:
    return lambda folder, patch: checkpoint(name, True, folder, patch)


def weights(folder: Path, _monkeypatch) -> Opened:
    path = save_weights(network(), folder / "net.safetensors")

    def read():
        model = network(seed=4)
        with unchanged_if_refused(model):
            load_weights(model, path)
        return state_of(model)

    return Opened(path, read)


# --- Data sets ----------------------------------------------------------------------------------

SIZES = {"train-images-idx3": (12, 28, 28), "train-labels-idx1": (12,)}
SIZES |= {"t10k-images-idx3": (4, 28, 28), "t10k-labels-idx1": (4,)}


def idx_file(shape: tuple[int, ...]) -> bytes:
    """Write random bytes by the published layout: magic number, big-endian sizes, bytes."""
    head = struct.pack(f">{1 + len(shape)}I", 0x800 + len(shape), *shape)
    return head + random.Random(len(shape)).randbytes(math.prod(shape))


def mnist(stem: str) -> Callable[..., Opened]:
    """Open a small data set with hashes of its own, as MNIST is opened, without a network."""

    def make(folder, monkeypatch):
        raw = folder / "MNIST" / "raw"
        raw.mkdir(parents=True)
        pinned = []
        for name, shape in SIZES.items():
            content = idx_file(shape)
            (raw / f"{name}-ubyte").write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            pinned.append(PinnedFile(f"{name}-ubyte", len(content), digest))
        monkeypatch.setitem(fetch.SETS, "mnist", PinnedSet("mnist", "MNIST", tuple(pinned)))
        monkeypatch.setattr(fetch, "default_sources", lambda _: [])

        def read():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", fetch.DamagedFileWarning)
                images = data.load("mnist", "train", folder)
            return images.images.numpy().tobytes(), images.labels.tolist()

        return Opened(raw / f"{stem}-ubyte", read)

    return make


def idx(dims: int) -> Callable[..., Opened]:
    """Open an IDX file whose hash nobody checked: what is read is what its bytes say."""
    shape = (3, 4, 5)[:dims]

    def by_hand(content):
        sizes = struct.unpack_from(f">{dims}I", content, 4)
        return list(sizes), content[4 + 4 * dims :]

    def make(folder, _monkeypatch):
        path = folder / "some-ubyte"
        path.write_bytes(idx_file(shape))

        def read():
            found = read_idx(path, dims)
            return list(found.shape), found.numpy().tobytes()

        return Opened(path, read, true_content=by_hand)

    return make


def emoji_cache(folder: Path, monkeypatch) -> Opened:
    pixels = torch.arange(6 * 3 * 32 * 32).remainder(251).to(torch.uint8).view(6, 3, 32, 32)
    monkeypatch.setattr(emoji, "decode", lambda font: (pixels, list("abcdef")))
    monkeypatch.setattr(fetch, "ensure", lambda pinned_set, root: root / "raw")

    def read():
        return data.load("emoji", "train", folder).images.numpy().tobytes()

    read()
    return Opened(next(folder.glob("NotoEmoji/*.safetensors")), read)


def font(folder: Path, _monkeypatch) -> Opened:
    """Cut four characters out of the font; what is read is the hash's to guarantee."""
    subset = pytest.importorskip("fontTools.subset")
    options = subset.Options(layout_features=["*"], drop_tables=[])
    whole = data.data_root() / "NotoEmoji" / "raw" / "NotoColorEmoji.ttf"
    if not whole.exists():
        pytest.skip("no emoji font; python -m vsnn_lab.data emoji fetches it")
    subsetter = subset.Subsetter(options)
    subsetter.populate(text="😀👋🏽❤")
    path = folder / "font.ttf"
    with subset.load_font(whole, options) as tables:
        subsetter.subset(tables)
        subset.save_font(tables, path, options)

    def read():
        pixels, codes = emoji.decode(path)
        return pixels.numpy().tobytes(), codes

    assert read()[1] == ["❤", "🏽", "👋", "😀", "👋🏽"]
    return Opened(path, read, true_content=lambda _: ANYTHING)


FILES = {"one-ubyte": b"first" * 100, "two-ubyte": random.Random(0).randbytes(3000)}


def tar(mode: str, packed: bool) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=f"w:{mode}") as archive:
        for name, content in FILES.items():
            content = gzip.compress(content) if packed else content
            member = tarfile.TarInfo(f"./in/{name}{'.gz' * packed}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def archive(mode: str, *, packed: bool = False, debian: bool = False) -> Callable[..., Opened]:
    """Fetch two files out of a damaged archive: they arrive whole, or the source is refused."""
    pinned = [PinnedFile(k, len(v), hashlib.sha256(v).hexdigest()) for k, v in FILES.items()]
    wanted = PinnedSet("packed", "Packed", tuple(pinned))

    def make(folder, _monkeypatch):
        path = folder / "archive"
        content = tar(mode, packed)
        if debian:
            members = {"debian-binary": b"2.0", "control.tar": b"none", "data.tar": content}
            debian_package(path, members)
        else:
            path.write_bytes(content)

        def deliver(files, into):
            inner = path
            if debian:
                inner = into / "data.tar"
                unwrap_package(path, inner)
            read_archive(inner, "in/", files, into)

        attempts = itertools.count()

        def read():
            root = folder / str(next(attempts))
            raw = fetch.ensure(wanted, root, [Source("the archive", deliver)])
            return {file.name: file.read_bytes() for file in raw.iterdir()}

        assert read() == FILES
        return Opened(path, read, named="the archive: ")

    return make


def picture(ending: str) -> Callable[..., Opened]:
    """Open a person's own picture, of which nobody knows how it was: it is read or refused."""

    def make(folder, _monkeypatch):
        path = folder / f"picture.{ending}"
        pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)

        def read():
            return data.load_folder(folder, 8).images.shape

        return Opened(path, read, true_content=lambda _: ANYTHING)

    return make


# Name, how it is written and opened, how many damaged files.
KINDS = {
    "last checkpoint": (finished("last"), 200),
    "last checkpoint of an interrupted run": (unfinished("last"), 120),
    "best checkpoint": (finished("best"), 120),
    "best checkpoint of an interrupted run": (unfinished("best"), 80),
    "weights": (weights, 240),
    "MNIST images": (mnist("train-images-idx3"), 80),
    "MNIST labels": (mnist("train-labels-idx1"), 80),
    "IDX of three dimensions": (idx(3), 200),
    "IDX of one dimension": (idx(1), 200),
    "decoded emoji": (emoji_cache, 80),
    "emoji font": (font, 100),
    "tar.gz": (archive("gz"), 80),
    "tar with gzip inside": (archive("", packed=True), 80),
    "tar.bz2": (archive("bz2"), 80),
    "Debian package with tar.xz": (archive("xz", debian=True), 80),
    "Debian package with tar": (archive("", debian=True), 80),
    "PNG": (picture("png"), 80),
    "JPEG": (picture("jpg"), 80),
}

# --- Folders of runs: their kinds go here, in the same form ---------------------------------------

RUN_KINDS: dict[str, tuple[Callable[..., Opened], int]] = {}

# --------------------------------------------------------------------------------------------------

ALL_KINDS = KINDS | RUN_KINDS


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_damaged_file_is_refused_by_name_or_reads_as_it_was_written(kind, tmp_path, monkeypatch):
    make, count = ALL_KINDS[kind]
    opened = make(tmp_path, monkeypatch)
    whole = opened.path.read_bytes()
    for seed in range(count):
        check(opened, damage(whole, seed), f"{kind}, damage(whole, {seed})")
    assert not check(opened, whole, f"{kind}, whole")


def test_the_damaged_files_are_more_than_a_thousand():
    assert sum(count for _, count in ALL_KINDS.values()) > 1000


@pytest.mark.parametrize("kind", ["last checkpoint", "best checkpoint", "weights", "MNIST images"])
def test_every_damage_to_a_file_with_a_checksum_is_seen(kind, tmp_path, monkeypatch):
    opened = ALL_KINDS[kind][0](tmp_path, monkeypatch)
    whole = opened.path.read_bytes()
    for seed in range(1000, 1040):
        assert check(opened, damage(whole, seed), f"damage(whole, {seed})")


# --- Headers that lie -----------------------------------------------------------------------------

JUNK = [None, True, False, -1, 0, 3, 10**30, -0.5, math.nan, math.inf, "", "x", "-1", "\ud800"]
JUNK += [[], [1], [[]], {}, {"a": 1}, [None] * 3]


def places(tree: Any, around: tuple = ()) -> list[tuple]:
    """List the ways to each value within JSON."""
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree)
    found = []
    for key, value in inside:
        found.append((*around, key))
        if isinstance(value, dict | list):
            found += places(value, (*around, key))
    return found


def lie(tree: Any, seed: int) -> tuple[Any, str]:
    """Replace or remove one value of a header, and say which."""
    chance = random.Random(seed)
    tree = copy.deepcopy(tree)
    place = chance.choice(places(tree))
    inner = tree
    for key in place[:-1]:
        inner = inner[key]
    if chance.random() < 0.2:
        del inner[place[-1]]
        return tree, f"{place} removed"
    inner[place[-1]] = chance.choice(JUNK)
    return tree, f"{place} = {inner[place[-1]]!r}"


def taken_apart(whole: bytes) -> tuple[dict, bytes]:
    """Split a safetensors file by its published layout: a length, JSON, and the tensors' bytes."""
    end = 8 + int.from_bytes(whole[:8], "little")
    return json.loads(whole[8:end]), whole[end:]


def put_together(header: dict, rest: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + rest


def with_header(whole: bytes, text: str) -> bytes:
    """Put another text in place of the package's header, under a right checksum."""
    header, rest = taken_apart(whole)
    of_tensors = header["__metadata__"]["digest"].partition("-")[0]
    sums = f"{of_tensors}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return put_together(header | {"__metadata__": {"vsnn_lab": text, "digest": sums}}, rest)


def is_plausible(place_and_value: str) -> bool:
    """Whether the loss of a validation was replaced by one that can happen."""
    return place_and_value.endswith(("'full') = nan", "'narrow') = nan", "= inf")) and (
        "'full'" in place_and_value or "'narrow'" in place_and_value
    )


LIARS = {
    "last checkpoint": (finished("last"), 160),
    "last checkpoint of an interrupted run": (unfinished("last"), 240),
    "best checkpoint of an interrupted run": (unfinished("best"), 80),
    "weights": (weights, 160),
}


@pytest.mark.parametrize("kind", LIARS)
def test_a_header_that_lies_under_a_right_checksum_is_refused_or_does_no_harm(
    kind, tmp_path, monkeypatch
):
    make, count = LIARS[kind]
    opened = make(tmp_path, monkeypatch)
    whole = opened.path.read_bytes()
    _, header = checkpoints.read(opened.path)
    refused = 0
    for seed in range(count):
        changed, told = lie(header, seed)
        if changed == header or is_plausible(told):
            continue
        content = with_header(whole, json.dumps(changed))
        refused += check(opened, content, f"{kind}, lie(header, {seed}): {told}")
    assert refused


@pytest.mark.parametrize("kind", LIARS)
def test_a_safetensors_header_that_lies_is_refused_or_does_no_harm(kind, tmp_path, monkeypatch):
    opened = LIARS[kind][0](tmp_path, monkeypatch)
    whole = opened.path.read_bytes()
    header, rest = taken_apart(whole)
    dtypes = ["F64", "I32", "BF16", "F8_E4M3", "F8_E8M0", "F4", "F6_E2M3", "C64", "BOOL", "U64"]
    for seed in range(80):
        changed, told = lie(header, seed)
        if seed % 4 == 0:
            name = random.Random(seed).choice([name for name in header if name[0] != "_"])
            changed = header | {name: header[name] | {"dtype": dtypes[seed // 4 % len(dtypes)]}}
            told = f"{name}: {changed[name]}"
        check(opened, put_together(changed, rest), f"{kind}, lie {seed}: {told}")


def at(header: dict, place: tuple, value: Any) -> dict:
    header = copy.deepcopy(header)
    inner = header
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return header


@pytest.mark.parametrize(
    ("name", "place", "value", "reason"),
    [
        ("last", ("epochs",), {}, r"epochs must be a list of finished epochs, got \{\}"),
        ("last", ("epochs",), [], r"epochs must be a list of finished epochs, got \[\]"),
        ("last", ("epochs", 1, "epoch"), -2, "epochs must be numbered from 1, got -2 as number 2"),
        ("last", ("epochs", 0), [1], "epochs must be a list of finished epochs"),
        ("last", ("epochs", 0, "train_loss"), math.nan, "train_loss must be .* got nan in epoch 1"),
        ("last", ("epochs", 0, "full"), "x", "full must be a loss or a time, got 'x' in epoch 1"),
        ("last", ("best_epoch",), 10**30, r"best_epoch must lie in 1\.\.2, got 1000"),
        ("last", ("last_weights",), 3, "last_weights must be a string, got 3"),
        ("last", ("last_weights",), "x", "not those that its header tells"),
        ("last", ("groups", 0, "lr"), math.inf, "those of the optimizer: lr cannot be inf"),
        (
            "last",
            ("groups", 0, "params"),
            [5, 4, 3, 2, 1, 0],
            r"params must be \[0, 1, 2, .* got \[5",
        ),
        ("last", ("groups",), [], r"groups must be the 1 of the optimizer, got \[\]"),
        ("last", ("schedule", "total_steps"), 11, "total_steps must be 10, got 11"),
        ("last", ("schedule",), ["lr"], r"schedule must be the run's: got \['lr'\]"),
        ("last", ("schedule", "last_epoch"), -1, "last_epoch cannot be -1"),
        ("last", ("schedule", "last_epoch"), 10**30, "schedule must end at step 10, got 1000"),
        ("best", ("best_epoch",), 0, r"best_epoch must lie in 1\.\.2, got 0"),
        ("best", ("epochs", 0, "seconds"), 7.5, r"it tells other epochs than last\.safetensors"),
    ],
)
def test_a_checkpoint_that_lies_about_its_run_is_refused_with_the_reason(
    name, place, value, reason, tmp_path, monkeypatch
):
    opened = unfinished(name)(tmp_path, monkeypatch)
    tensors, header = checkpoints.read(opened.path)
    checkpoints.write(opened.path, tensors, at(header, place, value))
    with pytest.raises(ValueError, match=rf"{name}\.safetensors is damaged .*{reason}"):
        opened.read()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": True}, r"format 1, got .*net\.safetensors of format True"),
        ({"format": 10**30}, r"format 1, got .*net\.safetensors of format 1000"),
        ({"class": None}, "its header must tell class, got None"),
        ({"steps": [0]}, r"its header must tell steps, got \[0\]"),
        ({"steps": {"a": 8}}, r"its header must tell steps, got \{'a': 8\}"),
        ({"width": -3}, "its header must tell width, got -3"),
        ({"width": math.nan}, "its header must tell width, got nan"),
    ],
)
def test_weights_that_lie_about_themselves_are_refused_with_the_reason(change, reason, tmp_path):
    path = save_weights(network(), tmp_path / "net.safetensors")
    tensors, header = checkpoints.read(path)
    checkpoints.write(path, tensors, header | change)
    with pytest.raises(ValueError, match=reason):
        load_weights(network(), path)


@pytest.mark.parametrize("missing", ["format", "package", "class", "architecture", "steps"])
def test_weights_that_leave_out_what_they_are_are_refused(missing, tmp_path):
    path = save_weights(network(), tmp_path / "net.safetensors")
    tensors, header = checkpoints.read(path)
    del header[missing]
    checkpoints.write(path, tensors, header)
    told = "epochs" if missing == "format" else missing
    with pytest.raises(ValueError, match=rf"net\.safetensors is damaged .* tell {told}, which is"):
        load_weights(network(), path)


@pytest.mark.parametrize(
    "text", ["[]", "null", "3", '"x"', "[" * 100_000, '{"a": ' + "9" * 5000 + "}", "{", ""]
)
@pytest.mark.parametrize("read", [checkpoints.read, checkpoints.read_header])
def test_a_header_that_is_no_json_object_is_refused(read, text, tmp_path):
    path = checkpoints.write(tmp_path / "a", {"x": torch.ones(2)}, {})
    path.write_bytes(with_header(path.read_bytes(), text))
    with pytest.raises(ValueError, match="a is damaged or no file of this package"):
        read(tmp_path / "a")


def test_what_was_read_stays_when_the_file_is_cut_off(tmp_path):
    path = checkpoints.write(tmp_path / "a", {"x": torch.arange(100_000)}, {})
    tensors, _ = checkpoints.read(path)
    path.write_bytes(b"")
    assert tensors["x"].sum() == 100_000 * 99_999 // 2


def test_a_file_without_a_checksum_of_its_header_is_read(tmp_path):
    path = checkpoints.write(tmp_path / "a", {}, {"epochs": 3})
    header, rest = taken_apart(path.read_bytes())
    header["__metadata__"]["digest"] = checkpoints.digest({})
    path.write_bytes(put_together(header, rest))
    assert checkpoints.read(path) == ({}, {"epochs": 3})


@pytest.mark.parametrize(
    ("change", "tensors"),
    [
        ({"codes": None}, {}),
        ({"codes": {"a": 1}}, {}),
        ({"codes": list("abcde")}, {}),
        ({"codes": [*"abcde", 3]}, {}),
        ({"codes": [*"abcde", "\ud800"]}, {}),
        ({"recipe": True}, {}),
        ({"font": 10**30}, {}),
        ({}, {"pixels": torch.zeros(6, 3, 32, 32)}),
        ({}, {"pixels": torch.zeros(6, 3, 32, 31, dtype=torch.uint8)}),
        ({}, {"pixels": torch.zeros((), dtype=torch.uint8)}),
    ],
)
def test_kept_emoji_that_lie_about_themselves_are_decoded_again(
    change, tensors, tmp_path, monkeypatch
):
    opened = emoji_cache(tmp_path, monkeypatch)
    expected = opened.read()
    whole, header = checkpoints.read(opened.path)
    checkpoints.write(opened.path, whole | tensors, header | change)
    assert opened.read() == expected


def test_kept_emoji_without_pixels_are_decoded_again(tmp_path, monkeypatch):
    opened = emoji_cache(tmp_path, monkeypatch)
    expected = opened.read()
    checkpoints.write(opened.path, {}, checkpoints.read_header(opened.path))
    assert opened.read() == expected


def test_a_checkpoint_of_another_run_is_not_taken_for_this_ones(tmp_path, monkeypatch):
    own = finished("best")(tmp_path / "own", monkeypatch)
    other = finished("best")(tmp_path / "other", monkeypatch)
    own.path.write_bytes(other.path.read_bytes())
    with pytest.raises(ValueError, match=r"best\.safetensors is damaged .* other epochs than last"):
        own.read()


def test_a_checkpoint_without_its_other_half_says_which_is_missing(tmp_path, monkeypatch):
    opened = finished("best")(tmp_path, monkeypatch)
    opened.path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no such checkpoint: .*best\.safetensors"):
        run(network(), tmp_path, epochs=3, loss=Interrupting(0))


def test_a_package_whose_sizes_lead_back_or_beyond_the_end_is_refused(tmp_path):
    for size in (-60, -1, 10**9, 99):
        header = f"{'control.tar':<16}{0:<12}{0:<6}{0:<6}{644:<8}{size:<10}`\n"
        (tmp_path / "package.deb").write_bytes(b"!<arch>\n" + header.encode() + bytes(60))
        with pytest.raises(tarfile.ReadError, match="cut off or damaged at b'control"):
            unwrap_package(tmp_path / "package.deb", tmp_path / "data.tar")


def test_old_pickles_of_torchvision_are_not_read_in_place_of_the_verified_files(
    tmp_path, monkeypatch
):
    opened = mnist("train-images-idx3")(tmp_path, monkeypatch)
    expected = opened.read()
    (tmp_path / "MNIST" / "processed").mkdir()
    for name in ("training.pt", "test.pt"):
        forged = torch.zeros(2, 28, 28, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)
        torch.save(forged, tmp_path / "MNIST" / "processed" / name)
    assert opened.read() == expected
