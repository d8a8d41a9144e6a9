import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from vsnn_lab.data import load_folder, squares
from vsnn_lab.data.folders import evenly_spaced

COLOURS = {"red": [1, 0, 0], "blue": [0, 0, 1]}


def put(path, colour="red", size=(8, 8), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)


@pytest.fixture
def photos(tmp_path):
    """Two classes of 10 and 5 flat images, in class/name.png."""
    for colour, count in (("blue", 5), ("red", 10)):
        for number in range(count):
            put(tmp_path / "photos" / colour / f"{number}.png", colour)
    return tmp_path / "photos"


def test_folders_are_classes_in_the_order_of_their_names(photos):
    images = load_folder(photos, 8)
    assert images.images.shape == (15, 3, 8, 8)
    assert images.images.dtype == torch.float32
    assert images.labels.tolist() == [0] * 5 + [1] * 10
    assert images.labels.dtype == torch.int64
    assert (images.name, images.class_names) == ("photos", ("blue", "red"))
    for label, colour in enumerate(images.class_names):
        pixels = images.images[images.labels == label].permute(0, 2, 3, 1)
        assert (pixels == torch.tensor(COLOURS[colour])).all()


def test_pixels_of_an_image_of_that_size_are_its_own(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    expected = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    torch.testing.assert_close(load_folder(tmp_path, 8).images[0], expected)


@pytest.mark.parametrize(("width", "height"), [(32, 8), (8, 32)])
def test_the_middle_square_is_taken(tmp_path, width, height):
    pixels = np.zeros((height, width, 3), np.uint8)
    top, left = (height - 8) // 2, (width - 8) // 2
    pixels[top : top + 8, left : left + 8] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert (load_folder(tmp_path, 4).images == 1).all()


def test_resizing_keeps_the_mean_and_does_not_alias(tmp_path):
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 200
    Image.fromarray(stripes).save(tmp_path / "a.png")
    inner = load_folder(tmp_path, 8, grey=True).images[0, 0, :, 1:-1]
    assert (inner - 100 / 255).abs().max() < 0.02


def test_grey_is_one_channel_of_luma(photos):
    images = load_folder(photos, 8, grey=True)
    assert images.images.shape == (15, 1, 8, 8)
    # ITU-R 601: 0.114 blue, 0.299 red.
    assert images.images[0].unique().item() == pytest.approx(0.114, abs=1 / 255)
    assert images.images[-1].unique().item() == pytest.approx(0.299, abs=1 / 255)


def save_palette(path):
    image = Image.new("P", (8, 8), 0)
    image.putpalette([10, 20, 30, 255, 0, 0])
    image.save(path, transparency=0)


@pytest.mark.parametrize(
    "save",
    [
        lambda path: Image.new("RGBA", (8, 8), (10, 20, 30, 0)).save(path),
        lambda path: Image.new("LA", (8, 8), (10, 0)).save(path),
        save_palette,
        lambda path: Image.fromarray(np.full((8, 8), 65535, np.uint16)).save(path),
        lambda path: Image.new("1", (8, 8), 1).save(path),
    ],
    ids=["rgba", "grey-alpha", "palette", "16 bits", "1 bit"],
)
def test_transparent_is_white_and_full_scale_is_one(tmp_path, save):
    save(tmp_path / "a.png")
    assert (load_folder(tmp_path, 8).images == 1).all()


def test_sixteen_bits_are_scaled_not_cut(tmp_path):
    for name in ("a.png", "b.pgm", "c.tif"):
        Image.fromarray(np.full((8, 8), 32768, np.uint16)).save(tmp_path / name)
    assert (load_folder(tmp_path, 8).images == 128 / 255).all()


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_grey_values_without_a_range_are_refused(tmp_path, kind):
    Image.fromarray(np.full((8, 8), 1, kind)).save(tmp_path / "a.tif")
    with pytest.raises(OSError, match=r"a\.tif cannot be read .*mode [IF] have no known range"):
        load_folder(tmp_path, 8)


def test_the_turn_that_a_camera_noted_is_applied(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    shown = load_folder(tmp_path, 8, grey=True).images[0, 0]
    assert (shown[:4] == 0).all()
    assert (shown[4:] == 1).all()


def test_images_without_folders_are_one_class(tmp_path, monkeypatch):
    put(tmp_path / "b.png", "blue")
    put(tmp_path / "a.jpg", "red")
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".thumbnails").mkdir()
    monkeypatch.chdir(tmp_path)
    images = load_folder(".", 8)
    assert len(images) == 2
    assert images.labels.tolist() == [0, 0]
    assert images.class_names == (tmp_path.name,)
    assert images.images[1, :, 0, 0].tolist() == COLOURS["blue"]


def names_of(path, split):
    """Tell the images of a split apart by their grey values."""
    return load_folder(path, 2, grey=True, split=split).images[:, 0, 0, 0].mul(255).int().tolist()


@pytest.fixture
def shades(tmp_path):
    for number in range(30):
        put(tmp_path / "photos" / "ab"[number % 2] / f"{number}.png", (number,) * 3, (2, 2))
    return tmp_path / "photos"


def test_splits_are_disjoint_complete_and_a_fifth_of_each_class(shades):
    train, test = names_of(shades, "train"), names_of(shades, "test")
    assert sorted(train + test) == list(range(30))
    assert sorted(number % 2 for number in test) == [0] * 3 + [1] * 3
    assert len(load_folder(shades, 2)) == 30


def test_split_depends_on_names_only(shades, tmp_path):
    before = names_of(shades, "test")
    for number in range(10):
        put(shades / "c" / f"{number}.png", (100 + number,) * 3, (2, 2))
    assert [number for number in names_of(shades, "test") if number < 100] == before
    shades.rename(tmp_path / "elsewhere")
    assert [number for number in names_of(tmp_path / "elsewhere", "test") if number < 100] == before


def test_limit_keeps_so_many_spread_over_the_classes(photos):
    assert load_folder(photos, 8, limit=3).labels.tolist() == [0, 1, 1]
    assert len(load_folder(photos, 8, limit=100)) == 15


@pytest.mark.parametrize(("count", "limit"), [(1, 1), (7, 3), (7, 7), (7, 8), (1000, 999)])
def test_spread_rows_are_distinct_ascending_and_start_with_the_first(count, limit):
    rows = evenly_spaced(range(count), limit)
    assert len(rows) == len(set(rows)) == min(count, limit)
    assert rows == sorted(rows)
    assert rows[0] == 0
    assert rows[-1] < count
    gaps = {right - left for left, right in itertools.pairwise(rows)}
    assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"path": 3}, TypeError, "path must be a string or a path, got 3"),
        ({"size": 0}, ValueError, "size must be at least 1, got 0"),
        ({"size": 8.0}, TypeError, r"size must be an integer .*got 8\.0"),
        ({"grey": "L"}, TypeError, "grey must be True or False, got 'L'"),
        ({"split": "valid"}, ValueError, "split must be one of 'train', 'test', got 'valid'"),
        ({"limit": 0}, ValueError, "limit must be at least 1, got 0"),
    ],
)
def test_a_bad_argument_is_named(photos, change, error, message):
    with pytest.raises(error, match=message):
        load_folder(**{"path": photos, **change})


def test_a_folder_that_is_not_there_or_no_folder_is_named(tmp_path):
    rule = r"path must name a folder of images, got .*absent, which does not exist"
    with pytest.raises(FileNotFoundError, match=rule):
        load_folder(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match=r"got .*file, which is a file"):
        load_folder(tmp_path / "file")


def test_a_folder_without_images_says_what_an_image_is(tmp_path):
    rule = r"path must hold images .* without any; an image ends in \.jpg, \.jpeg, \.png"
    with pytest.raises(FileNotFoundError, match=rule):
        load_folder(tmp_path)
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "a.gif").touch()
    with pytest.raises(FileNotFoundError, match=rule):
        load_folder(tmp_path)


def test_a_class_without_images_is_named(photos):
    (photos / "green").mkdir()
    with pytest.raises(FileNotFoundError, match=r"in each class folder, got none in green of "):
        load_folder(photos)


def test_images_beside_class_folders_are_not_passed_over(photos):
    put(photos / "loose.png")
    put(photos / "more.png")
    with pytest.raises(ValueError, match=r"got .* with loose\.png and 1 more beside class folders"):
        load_folder(photos)


def test_a_split_without_images_says_how_many_it_takes(tmp_path):
    put(tmp_path / "a.png")
    rule = r"split='test' must hold an image, got none of 1 in .*; a class needs 3 images"
    with pytest.raises(ValueError, match=rule):
        load_folder(tmp_path, split="test")
    for name in "bc":
        put(tmp_path / f"{name}.png")
    assert len(load_folder(tmp_path, split="test")) == 1


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_damaged_image_is_named(photos, ending):
    damaged = photos / "red" / f"broken.{ending}"
    put(damaged, size=(64, 64))
    damaged.write_bytes(damaged.read_bytes()[:-40])
    rule = rf"broken\.{ending} cannot be read as an image \(.*\); replace or remove it"
    with pytest.raises(OSError, match=rule):
        load_folder(photos)
    damaged.write_text("no image at all")
    with pytest.raises(OSError, match=rule):
        load_folder(photos)


def test_images_beyond_the_memory_for_them_are_refused_unless_chosen(photos, monkeypatch):
    monkeypatch.setattr(squares, "_MAX_BYTES", 10 * 3 * 8 * 8 * 4)
    rule = (
        r"images must take at most 0\.0 GB as float32, got 0\.0 GB, shape \(15, 3, 8, 8\); "
        r"choose a smaller size or limit=10, or limit=15 for all of them"
    )
    with pytest.raises(ValueError, match=rule):
        load_folder(photos, 8)
    assert len(load_folder(photos, 8, limit=10)) == 10
    assert len(load_folder(photos, 8, limit=15)) == 15
    assert len(load_folder(photos, 8, grey=True)) == 15


def test_memory_is_counted_before_it_is_taken(tmp_path):
    put(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"got 1200\.0 GB, shape \(1, 3, 316228, 316228\)"):
        load_folder(tmp_path, 316_228)


def test_reading_a_folder_leaves_global_random_state_alone(photos, global_state_kept):
    load_folder(photos, 8, split="train")
