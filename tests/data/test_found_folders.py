import os
import re
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from vsnn_lab.data import load_folder


def put(path, shade=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (2, 2), shade).save(path, **options)


def shades(path, split=None):
    """Tell images apart by their grey values."""
    images = load_folder(path, 2, grey=True, split=split).images
    return images[:, 0, 0, 0].mul(255).round().int().tolist()


@pytest.fixture
def pets(tmp_path):
    """Two classes of three shades each: 0, 1, 2 and 10, 11, 12."""
    for number in range(3):
        put(tmp_path / "pets" / "cat" / f"{number}.png", number)
        put(tmp_path / "pets" / "dog" / "puppies" / f"{number}.png", 10 + number)
    return tmp_path / "pets"


ALL = [0, 1, 2, 10, 11, 12]


@pytest.mark.parametrize(
    ("where", "target"),
    [
        ("cat/self", "."),
        ("cat/above", ".."),
        ("dog/puppies/far", "../../.."),
        ("again", "."),
        ("parent", ".."),
        ("cat/self", "../cat"),
        ("dog/pups", "puppies"),
        ("dog/a", "puppies"),
    ],
)
@pytest.mark.parametrize("absolute", [False, True])
def test_links_that_lead_back_bring_no_image_twice(pets, where, target, absolute):
    link = pets / where
    link.symlink_to((link.parent / target).resolve() if absolute else target)
    assert shades(pets) == ALL
    assert load_folder(pets, 2).class_names == ("cat", "dog")
    assert sorted(shades(pets, "train") + shades(pets, "test")) == ALL


def test_many_links_that_lead_back_take_no_time(pets):
    for number in range(12):
        (pets / "cat" / f"up{number}").symlink_to("..")
        (pets / "dog" / "puppies" / f"self{number}").symlink_to(".")
    assert shades(pets) == ALL


def test_a_link_to_what_is_there_moves_no_image_to_the_other_split(pets):
    for number in range(3, 20):
        put(pets / "dog" / "puppies" / f"{number}.png", 10 + number)
    before = shades(pets, "test")
    (pets / "dog" / "a").symlink_to("puppies")
    assert shades(pets, "test") == before


def test_links_to_other_folders_are_followed(pets, tmp_path):
    put(tmp_path / "elsewhere" / "4.png", 4)
    (pets / "cat" / "more").symlink_to(tmp_path / "elsewhere")
    (pets / "twin").symlink_to("cat")
    images = load_folder(pets, 2)
    assert images.class_names == ("cat", "dog", "twin")
    assert images.labels.tolist() == [0] * 4 + [1] * 3 + [2] * 4
    assert shades(pets) == [0, 1, 2, 4, 10, 11, 12, 0, 1, 2, 4]


@pytest.mark.parametrize(
    "hidden",
    [
        "cat/.ipynb_checkpoints/0-checkpoint.png",
        ".ipynb_checkpoints/0-checkpoint.png",
        "dog/puppies/.thumbnails/deep/0.png",
        "cat/.hidden.png",
        ".loose.png",
        "__MACOSX/cat/0.png",
        "cat/__MACOSX/0.png",
        "cat/@eaDir/0.png/thumbnail.png",
    ],
)
def test_hidden_files_and_what_systems_add_are_no_images(pets, hidden):
    put(pets / hidden, 200)
    assert shades(pets) == ALL
    assert load_folder(pets, 2).class_names == ("cat", "dog")


def test_what_macos_writes_beside_each_image_is_not_read(pets):
    for beside in ("._cat", "cat/._0.png", "dog/puppies/._1.png", "cat/.DS_Store"):
        (pets / beside).write_bytes(b"\0\5\x16\7AppleDouble")
    assert shades(pets) == ALL


def test_a_folder_that_is_hidden_itself_is_read(tmp_path):
    put(tmp_path / ".cache" / "photos" / "0.png", 7)
    assert shades(tmp_path / ".cache" / "photos") == [7]


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"\xff\xfe.png", "ñandú 鳥.png".encode()])
def test_names_that_are_no_text_are_split_like_others(pets, name):
    os.rename(pets / "cat" / "1.png", os.fsencode(pets / "cat") + b"/" + name)
    train, test = shades(pets, "train"), shades(pets, "test")
    assert sorted(train + test) == ALL
    assert [len(train), len(test)] == [4, 2]


def test_a_class_whose_name_is_no_text_has_a_name_that_can_be_printed(pets):
    os.rename(pets / "cat", os.fsencode(pets) + b"/caf\xe9")
    assert load_folder(pets, 2).class_names == ("caf\N{REPLACEMENT CHARACTER}", "dog")


def test_images_of_other_formats_are_counted_by_their_endings(pets):
    for name in ("cat/3.gif", "cat/4.GIF", "dog/x/5.jfif", "cat/6.heic", "loose.avif"):
        (pets / name).parent.mkdir(exist_ok=True)
        (pets / name).touch()
    for name in ("notes.txt", "cat/labels.csv", "cat/Thumbs.db", "cat/.7.gif", "cat/README"):
        (pets / name).touch()
    said = (
        f"{pets} has images of other formats, which are left out: 1 .avif, 2 .gif, 1 .heic, "
        "1 .jfif; an image ends in .jpg, .jpeg, .png"
    )
    with pytest.warns(UserWarning, match=re.escape(said)) as caught:
        assert len(load_folder(pets, 2)) == 6
    assert caught[0].filename == __file__


def test_a_class_of_other_formats_alone_is_an_error_that_says_so(pets):
    (pets / "bird").mkdir()
    (pets / "bird" / "0.gif").touch()
    with pytest.raises(FileNotFoundError, match=r"got none in bird of .*pets \(1 \.gif left out\)"):
        load_folder(pets, 2)


@pytest.mark.parametrize("unreadable", ["cat", "dog/puppies"])
def test_a_folder_that_may_not_be_read_is_not_passed_over(pets, monkeypatch, unreadable):
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path) == str(pets / unreadable):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match=f"pets/{unreadable}"):
        load_folder(pets, 2)


def png(bits: int, channels: int, values: list[list[int]], transparent: list[int]) -> bytes:
    """Write a PNG of few bits or many by hand, as Pillow cannot."""

    def chunk(kind: bytes, held: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + held))
        return struct.pack(">I", len(held)) + kind + held + check

    width, height = len(values[0]) // channels, len(values)
    header = struct.pack(">IIBBBBB", width, height, bits, 0 if channels == 1 else 2, 0, 0, 0)
    rows = b""
    for row in values:
        text = "".join(f"{value:0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        rows += b"\0" + int(text, 2).to_bytes(len(text) // 8, "big")
    transparency = struct.pack(f">{channels}H", *transparent)
    parts = (b"IHDR", header), (b"tRNS", transparency), (b"IDAT", zlib.compress(rows))
    body = b"".join(chunk(*part) for part in (*parts, (b"IEND", b"")))
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("grey", [False, True])
def test_a_transparent_grey_value_is_white_and_every_other_is_what_it_was(tmp_path, bits, grey):
    top = 2**bits - 1
    values = np.random.default_rng(bits).integers(0, top + 1, (4, 4))
    transparent = int(values[1, 2])
    values[0, 0] = transparent ^ 1  # the nearest other value
    (tmp_path / "a.png").write_bytes(png(bits, 1, values.tolist(), [transparent]))
    # Of 16 bits the first 8.
    shown = values >> 8 if bits == 16 else values * (255 // top)
    expected = torch.from_numpy(np.where(values == transparent, 255, shown)) / 255
    found = load_folder(tmp_path, 4, grey=grey).images[0]
    for channel in found:
        torch.testing.assert_close(channel, expected.float(), rtol=0, atol=1e-6)


def test_a_transparent_colour_of_eight_bits_is_white(tmp_path):
    pixels = [[200, 0, 0, 201, 0, 0], [0, 0, 0, 200, 0, 0]]
    (tmp_path / "a.png").write_bytes(png(8, 3, pixels, [200, 0, 0]))
    red = load_folder(tmp_path, 2).images[0, 0].mul(255).round().int()
    assert red.tolist() == [[255, 201], [0, 255]]


def test_a_transparent_colour_of_sixteen_bits_is_refused(tmp_path):
    pixels = [[40_000, 0, 0, 64 * 256, 0, 0]] * 2
    (tmp_path / "a.png").write_bytes(png(16, 3, pixels, [40_000, 0, 0]))
    rule = r"a\.png cannot be read as an image \(16 bits a colour with a transparent one; save 8"
    with pytest.raises(OSError, match=rule):
        load_folder(tmp_path, 2)
