import hashlib
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch.nn.functional import interpolate, pad

from vsnn_lab._basics import checkpoints
from vsnn_lab.data import data_root, emoji, fetch, load

HEIGHT = 109  # pixels per em of the font's only bitmaps


@pytest.fixture(scope="module")
def sets():
    return {split: load("emoji", split) for split in ("train", "test")}


@pytest.fixture(scope="module")
def font(sets):
    return data_root() / "NotoEmoji" / "raw" / "NotoColorEmoji.ttf"


@pytest.fixture(scope="module")
def glyphs(font):
    return dict(emoji.read_glyphs(font))


@pytest.fixture(scope="module")
def stored(sets):
    """Pixels by the characters they show, from the file that the first load leaves."""
    tensors, header = checkpoints.read(data_root() / "NotoEmoji" / "emoji-32.safetensors")
    return dict(zip(header["codes"], tensors["pixels"], strict=True))


def drawn(character, font):
    """Let Pillow, through FreeType, draw a character over white, cut to its bounds."""
    page = Image.new("RGBA", (200, 200), "white")
    face = ImageFont.truetype(font, HEIGHT, layout_engine=ImageFont.Layout.BASIC)
    ImageDraw.Draw(page).text((20, 20), character, font=face, embedded_color=True)
    return bounded(page)


def bounded(image):
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return np.asarray(white.crop(ImageOps.invert(white.convert("L")).getbbox()).convert("RGB"))


def test_emoji_have_colour_one_class_and_values_in_the_unit_interval(sets):
    for split, size in {"train": 3138, "test": 778}.items():
        images = sets[split]
        assert images.images.shape == (size, 3, 32, 32)
        assert images.images.dtype == torch.float32
        assert images.images.max() == 1
        assert 0 <= images.images.min() < 0.05
        assert images.labels.dtype == torch.int64
        assert images.labels.unique().tolist() == [0]
        assert (images.name, images.class_names) == ("emoji", ("emoji",))
        red, green, blue = images.images.unbind(1)
        assert (red - green).abs().mean() > 0.05
        assert (green - blue).abs().mean() > 0.05


def test_no_emoji_is_in_both_splits_or_twice_in_one(sets):
    seen = [image.numpy().tobytes() for part in sets.values() for image in part.images]
    assert len(set(seen)) == len(seen) == 3916


def test_emoji_have_white_corners_so_that_transparency_is_white(sets):
    corners = sets["train"].images[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners > 0.99).float().mean() > 0.95


@pytest.mark.parametrize("character", ["😀", "❤", "🚀", "🐧", "🍉"])
def test_glyph_is_the_one_that_pillow_draws(character, font, glyphs):
    ours, expected = bounded(glyphs[character]), drawn(character, font)
    assert ours.shape == expected.shape
    assert np.abs(ours.astype(int) - expected).max() <= 1  # the rounding of one blend


@pytest.mark.parametrize("character", ["😀", "🚀", "🍉"])
def test_small_emoji_is_the_drawn_one_made_smaller_by_torch(character, font, glyphs, stored):
    left, top = margins_of(glyphs[character])
    picture = torch.tensor(drawn(character, font)).permute(2, 0, 1).to(torch.float32)
    height, width = picture.shape[1:]
    # A glyph is 136 wide and 128 high: 4 rows above and below make a square.
    margins = (left, 136 - left - width, top + 4, 136 - top - 4 - height)
    large = pad(picture[None], margins, value=255)
    # Pillow makes rows narrow first, in bytes, then columns.
    for size in ((136, 32), (32, 32)):
        large = interpolate(large, size=size, mode="bicubic", antialias=True).clamp(0, 255).round()
    assert (large[0] - stored[character]).abs().max() <= 1


def margins_of(glyph):
    white = Image.new("RGBA", glyph.size, "white")
    white.alpha_composite(glyph)
    return ImageOps.invert(white.convert("L")).getbbox()[:2]


def test_kept_pixels_are_those_that_are_decoded_now(glyphs, stored, monkeypatch):
    """A change of the decoder has to raise its recipe, or everybody keeps the old pixels."""
    some = dict(list(glyphs.items())[::40])
    monkeypatch.setattr(emoji, "read_glyphs", lambda font: iter(some.items()))
    for pixels, code in zip(*emoji.decode("the font"), strict=True):
        assert code not in stored or torch.equal(pixels, stored[code]), code


def test_variants_of_an_emoji_are_in_one_split(sets, stored):
    tested = {image.mul(255).round().to(torch.uint8) for image in sets["test"].images}
    tested = {image.numpy().tobytes() for image in tested}
    tones = [chr(code) for code in range(0x1F3FB, 0x1F400)]
    for base in ("👋", "🙏", "🧗", "👮"):
        variants = [base, *(base + tone for tone in tones)]
        sides = {stored[code].numpy().tobytes() in tested for code in variants}
        assert len(sides) == 1, base
    sides = {
        stored[person + tone + "\u200d🔬"].numpy().tobytes() in tested
        for person in "👨👩"
        for tone in ("", *tones)
        if person + tone + "\u200d🔬" in stored
    }
    assert len(sides) == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("👋🏽", "👋", True),
        ("👩🏿\u200d🔬", "👨\u200d🔬", True),
        ("🧗🏼\u200d♀\ufe0f", "🧗", True),
        ("🇩🇪", "🇫🇷", False),
        ("👋", "🙏", False),
    ],
)
def test_skin_tone_and_gender_make_variants_and_nothing_else_does(one, other, same):
    assert (emoji.base_emoji(one) == emoji.base_emoji(other)) == same


def test_emoji_split_never_changes(sets, stored):
    tested = {row.mul(255).round().to(torch.uint8).numpy().tobytes() for row in sets["test"].images}
    codes = sorted(code for code, pixels in stored.items() if pixels.numpy().tobytes() in tested)
    assert hashlib.sha256("\n".join(codes).encode()).hexdigest()[:16] == "97a6b7d2051ad2ad"


def test_glyphs_are_laid_over_white_in_the_middle_of_a_square_without_repeats(monkeypatch):
    half_red = Image.new("RGBA", (64, 32), (255, 0, 0, 128))
    found = [("a", half_red), ("b", half_red), ("c", Image.new("RGBA", (32, 32), "blue"))]
    monkeypatch.setattr(emoji, "read_glyphs", lambda font: iter(found))
    pixels, codes = emoji.decode("a font")
    assert codes == ["a", "c"]
    assert pixels.shape == (2, 3, 32, 32)
    assert pixels[0, :, 16, 16].tolist() == [255, 127, 127]
    assert pixels[0, :, [0, 5, 26, 31]].eq(255).all()  # 64x32 fills rows 8..23 of 32
    assert pixels[1, :, 0, 0].tolist() == [0, 0, 255]


@pytest.fixture
def decoded(monkeypatch):
    """Stand in ten flat images for the font; list the calls of the decoder."""
    calls = []
    pixels = torch.arange(10, dtype=torch.uint8)[:, None, None, None].expand(10, 3, 32, 32).clone()

    def decode(font):
        calls.append(font)
        return pixels, list("abcdefghij")

    monkeypatch.setattr(emoji, "decode", decode)
    monkeypatch.setattr(fetch, "ensure", lambda pinned_set, root: root / "raw")
    return calls


def values(images):
    return sorted(images.images[:, 0, 0, 0].mul(255).round().int().tolist())


def test_font_is_decoded_once_and_the_pixels_kept(tmp_path, decoded):
    first = load("emoji", "train", tmp_path), load("emoji", "test", tmp_path)
    assert decoded == [tmp_path / "raw" / "NotoColorEmoji.ttf"]
    assert sorted(values(first[0]) + values(first[1])) == list(range(10))
    assert [len(part) for part in first] == [8, 2]


def test_damaged_or_outdated_pixels_are_decoded_again(tmp_path, decoded, monkeypatch):
    load("emoji", "train", tmp_path)
    kept = tmp_path / "NotoEmoji" / "emoji-32.safetensors"
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    for damage in (content, content[:-100], b""):
        kept.write_bytes(damage)
        assert len(load("emoji", "train", tmp_path)) == 8
    assert len(decoded) == 4
    monkeypatch.setattr(emoji, "_RECIPE", 2)
    load("emoji", "train", tmp_path)
    load("emoji", "train", tmp_path)
    assert len(decoded) == 5


def test_folder_that_cannot_be_written_costs_only_the_decoding(tmp_path, decoded, monkeypatch):
    def refuse(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr(checkpoints, "write", refuse)
    assert len(load("emoji", "test", tmp_path)) == 2
    assert len(load("emoji", "test", tmp_path)) == 2
    assert len(decoded) == 2


def test_emoji_without_font_tools_name_the_command_that_brings_them(font, monkeypatch):
    monkeypatch.setitem(sys.modules, "fontTools.ttLib", None)
    rule = r"load\('emoji'\) needs fontTools\.ttLib.*pip install vsnn-lab\[lab\] brings it"
    with pytest.raises(ImportError, match=rule):
        emoji.decode(font)


def test_emoji_without_a_source_list_what_was_tried(tmp_path, monkeypatch):
    def fail(wanted, folder):
        raise OSError("no route")

    monkeypatch.setattr(fetch, "default_sources", lambda _: [fetch.Source("mirror A", fail)])
    with pytest.raises(fetch.DataUnavailable, match=r"emoji; tried\n  mirror A: OSError: no route"):
        load("emoji", root=tmp_path)


def test_emoji_of_another_font_are_refused(tmp_path, monkeypatch):
    raw = tmp_path / "NotoEmoji" / "raw"
    raw.mkdir(parents=True)
    (raw / "NotoColorEmoji.ttf").write_bytes(b"of another release")
    monkeypatch.setattr(fetch, "default_sources", lambda _: [])
    with (
        pytest.warns(fetch.DamagedFileWarning, match=r"NotoColorEmoji\.ttf is damaged"),
        pytest.raises(fetch.DataUnavailable, match=r"put NotoColorEmoji\.ttf"),
    ):
        load("emoji", root=tmp_path)
