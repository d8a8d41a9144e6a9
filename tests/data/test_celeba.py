import hashlib
import shutil

import pytest
import torch
from PIL import Image

from vsnn_lab.data import load_celeba
from vsnn_lab.data._torchvision import datasets
from vsnn_lab.data.fetch import DataUnavailable

NAMES = ["5_o_Clock_Shadow", "Male", "Smiling", "Young"]
# Split 0 is train, 1 valid, 2 test; then what the table of attributes says.
ROWS = [
    (0, [-1, 1, 1, -1]),
    (0, [1, 1, -1, -1]),
    (0, [-1, -1, 1, 1]),
    (0, [-1, -1, -1, 1]),
    (1, [-1, -1, 1, 1]),
    (1, [-1, -1, -1, 1]),
    (2, [1, 1, 1, -1]),
    (2, [-1, 1, -1, -1]),
]
FILES = [f"{number:06}.jpg" for number in range(1, len(ROWS) + 1)]


def table(path, head, rows):
    """Write a table as the published ones are: columns aligned by spaces, one after the head."""
    lines = [str(len(rows)), head + " "] if head else []
    lines += [f"{name} " + " ".join(f"{value:>2}" for value in row) for name, row in rows]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Make a folder of the published layout; torchvision's check expects these tables."""
    celeba = tmp_path / "celeba"
    images = celeba / "img_align_celeba"
    images.mkdir(parents=True)
    for number, name in enumerate(FILES):
        picture = Image.new("RGB", (178, 218), "black")
        picture.paste((0, 0, 20 * number + 60), (0, 20, 178, 198))  # the middle square
        picture.save(images / name, quality=95)
    attributes = [(name, values) for name, (_, values) in zip(FILES, ROWS, strict=True)]
    table(celeba / "list_attr_celeba.txt", " ".join(NAMES), attributes)
    table(celeba / "list_bbox_celeba.txt", "image_id x_1 y_1 width height", rows_of(95, 71, 226, 1))
    points = " ".join(f"{part}_{axis}" for part in ("lefteye", "nose") for axis in "xy")
    table(celeba / "list_landmarks_align_celeba.txt", points, rows_of(69, 109, 106, 113))
    table(celeba / "identity_CelebA.txt", "", rows_of(2880))
    parts = [(name, [split]) for name, (split, _) in zip(FILES, ROWS, strict=True)]
    table(celeba / "list_eval_partition.txt", "", parts)
    expected = [
        (source, md5_of(celeba / name) if name.endswith(".txt") else md5, name)
        for source, md5, name in datasets.CelebA.file_list
    ]
    monkeypatch.setattr(datasets.CelebA, "file_list", expected)
    return tmp_path


def rows_of(*values):
    return [(name, values) for name in FILES]


def md5_of(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("split", "rows"), [("train", [0, 1, 2, 3]), ("test", [6, 7])])
def test_images_are_the_middle_squares_of_a_split_with_an_attribute_as_label(root, split, rows):
    images = load_celeba(root, split, size=16)
    assert images.images.shape == (len(rows), 3, 16, 16)
    assert images.images.dtype == torch.float32
    expected = torch.tensor([20 * row + 60 for row in rows]) / 255
    middle = images.images[:, 2]
    # JPEG keeps a flat colour within 2 of 255, and rings at its edge.
    assert (middle[:, 1:-1] - expected[:, None, None]).abs().max() < 0.02
    assert (middle[:, [0, -1]] - expected[:, None, None]).abs().max() < 0.1
    assert images.labels.tolist() == [int(ROWS[row][1][2] == 1) for row in rows]
    assert images.labels.dtype == torch.int64
    assert (images.name, images.class_names) == ("celeba", ("not Smiling", "Smiling"))


def test_any_attribute_may_be_the_label(root):
    images = load_celeba(str(root), "train", size=4, attribute="Male")
    assert images.labels.tolist() == [1, 1, 0, 0]
    assert images.class_names == ("not Male", "Male")


def test_sizes_are_64_unless_said_and_splits_share_no_image(root):
    parts = [load_celeba(root, split) for split in ("train", "valid", "test")]
    assert all(part.images.shape[1:] == (3, 64, 64) for part in parts)
    seen = [image.numpy().tobytes() for part in parts for image in part.images]
    assert len(set(seen)) == len(FILES)


def test_limit_takes_so_many_of_the_split(root):
    some = load_celeba(root, "train", size=4, limit=2)
    every = load_celeba(root, "train", size=4)
    assert torch.equal(some.images, every.images[[0, 2]])
    assert some.labels.tolist() == every.labels[[0, 2]].tolist()


def test_a_missing_folder_says_where_to_get_it_and_how_it_must_look(tmp_path):
    with pytest.raises(DataUnavailable) as caught:
        load_celeba(tmp_path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"could not get celeba; {tmp_path}/celeba must hold"
    assert lines[1] == "  img_align_celeba/ (202,599 .jpg files): missing"
    names = ("list_attr_celeba", "identity_CelebA", "list_bbox_celeba")
    names += ("list_landmarks_align_celeba", "list_eval_partition")
    assert lines[2:7] == [f"  {name}.txt: missing" for name in names]
    assert "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html" in lines[7]


def test_a_changed_table_and_absent_images_are_told_apart(root):
    (root / "celeba" / "identity_CelebA.txt").write_text("changed\n")
    shutil.rmtree(root / "celeba" / "img_align_celeba")
    with pytest.raises(DataUnavailable) as caught:
        load_celeba(root)
    text = str(caught.value)
    assert "identity_CelebA.txt: not the published file (its md5)" in text
    assert "list_attr_celeba.txt: there" in text
    assert "img_align_celeba/ (202,599 .jpg files): missing" in text


def test_a_missing_or_damaged_image_is_named(root):
    image = root / "celeba" / "img_align_celeba" / FILES[1]
    image.write_bytes(image.read_bytes()[:500])
    with pytest.raises(OSError, match=r"000002\.jpg cannot be read as an image"):
        load_celeba(root)
    image.unlink()
    with pytest.raises(OSError, match=r"000002\.jpg cannot be read .*No such file"):
        load_celeba(root)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"root": None}, TypeError, "root must be a string or a path, got None"),
        ({"split": "all"}, ValueError, "split must be one of 'train', 'valid', 'test', got 'all'"),
        ({"size": -1}, ValueError, "size must be at least 1, got -1"),
        ({"limit": 0}, ValueError, "limit must be at least 1, got 0"),
        (
            {"attribute": "smiling"},
            ValueError,
            "attribute must be one of '5_o_Clock_Shadow', 'Male', 'Smiling', 'Young', got 'smil",
        ),
    ],
)
def test_a_bad_argument_is_named(root, change, error, message):
    with pytest.raises(error, match=message):
        load_celeba(**{"root": root, **change})
