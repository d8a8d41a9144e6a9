import json
import os
import zlib

import pytest
import torch

from vsnn_lab.data import TextSet, austen, data_root, load_text, text


@pytest.fixture(scope="module")
def novels():
    return austen.read_austen(data_root())


@pytest.fixture(scope="module")
def prose():
    pytest.importorskip("tokenizers", reason="the extra text is not installed")
    return load_text(vocabulary=300)


@pytest.fixture
def letters(tmp_path):
    """A text whose every line says which one it is."""
    path = tmp_path / "letters.txt"
    path.write_text("".join(f"line {number} é\n" for number in range(2000)), encoding="utf-8")
    return path


def counted(blocks):
    """A text of numbers in order, so that a window tells where it begins."""
    starts = torch.tensor([0, *map(len, blocks)]).cumsum(0)
    return [torch.arange(start, start + len(block)) for start, block in zip(starts, blocks)]  # noqa: B905


def numbers(sizes, split="train"):
    blocks = counted([range(size) for size in sizes])
    return TextSet("numbers", None, {split: blocks}, torch.ones(sum(sizes)))


def test_novels_are_six_and_begin_with_their_titles(novels):
    titles = {text.split("\n", 1)[0] for text in novels}
    assert len(novels) == 6
    assert {"PRIDE AND PREJUDICE", "EMMA", "PERSUASION"} <= {title.upper() for title in titles}
    assert sum(map(len, novels)) == 4_025_028
    assert "It is a truth universally acknowledged, that a single man in possession" in "".join(
        novels
    )


def record(*lines, kind=16, version=2):
    """Serialize lines as R does: numbers of 4 bytes, the most significant first."""

    def number(value):
        return value.to_bytes(4, signed=True)

    data = b"X\n" + number(version) + number(0x30602) + number(0x20300)
    if version == 3:
        data += number(5) + b"UTF-8"
    data += number(kind) + number(len(lines))
    for line in lines:
        content = line.encode()
        data += number(0x40009) + number(len(content)) + content
    return number(len(data)) + zlib.compress(data)


@pytest.mark.parametrize("version", [2, 3])
def test_records_of_r_become_texts(version, tmp_path):
    path = tmp_path / "a.rdb"
    path.write_bytes(record("one", "", "zwei é", version=version) + record("three"))
    assert austen.read_lazy_load(path) == ["one\n\nzwei é\n", "three\n"]


@pytest.mark.parametrize(
    "content",
    [
        b"junk",
        record("a" * 99)[:-9],
        record("a", kind=13),
        b"\0\0\0\1" + record("a")[4:],
        b"\0\0\0\2" + zlib.compress(b"X\n"),
        b"\0\0\0\4" + zlib.compress(b"RDX3"),
    ],
)
def test_a_file_that_is_no_text_of_r_is_refused_by_name(content, tmp_path):
    path = tmp_path / "a.rdb"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.rdb cannot be read as texts of R"):
        austen.read_lazy_load(path)


def test_every_part_of_the_prose_is_in_one_split_and_all_of_it_in_some(prose, novels):
    parts = {
        split: [prose.decode(block) for block in blocks] for split, blocks in prose.blocks.items()
    }
    whole = "".join(novels)
    assert sum(len(part) for blocks in parts.values() for part in blocks) == len(whole)
    assert all(block in whole for blocks in parts.values() for block in blocks[::9])
    shares = {split: sum(map(len, blocks)) / len(whole) for split, blocks in parts.items()}
    assert abs(shares["test"] - 0.05) < 0.01
    assert abs(shares["validation"] - 0.05) < 0.01


def test_bytes_of_tokens_are_those_of_the_text(prose):
    for blocks in prose.blocks.values():
        for block in blocks[:3]:
            assert int(prose.token_bytes[block].sum()) == len(prose.decode(block).encode())
    assert prose.vocabulary == 300 == len(prose.token_bytes)


def test_a_text_is_encoded_and_decoded_byte_for_byte(prose):
    for said in ("Emma", "  two spaces\n\n", "naïve 🚀 \x00 \t"):
        tokens = prose.encode(said)
        assert tokens.shape[0] == 1
        assert prose.decode(tokens[0]) == said
    with pytest.raises(TypeError, match="text must be a string, got 3"):
        prose.encode(3)


def test_a_tokenizer_is_trained_once_and_made_again_where_it_is_damaged(letters, tmp_path):
    pytest.importorskip("tokenizers", reason="the extra text is not installed")
    first = load_text(letters, vocabulary=300, root=tmp_path)
    (kept,) = (tmp_path / "tokenizers").iterdir()
    json.loads(kept.read_text(encoding="utf-8"))
    written = kept.stat().st_mtime_ns
    again = load_text(letters, vocabulary=300, root=tmp_path)
    assert kept.stat().st_mtime_ns == written
    kept.write_text("{")
    mended = load_text(letters, vocabulary=300, root=tmp_path)
    for other in (again, mended):
        for split in text.TEXT_SPLITS:
            assert all(map(torch.equal, first.blocks[split], other.blocks[split]))
    assert json.loads(kept.read_text(encoding="utf-8"))


def test_the_tokenizer_knows_nothing_of_what_it_is_tested_on(letters, tmp_path):
    pytest.importorskip("tokenizers", reason="the extra text is not installed")
    first = load_text(letters, vocabulary=300, root=tmp_path)
    said = letters.read_text(encoding="utf-8")
    tested = first.decode(first.blocks["test"][0])
    letters.write_text(said.replace(tested, tested.replace("line", "word")), encoding="utf-8")
    other = load_text(letters, vocabulary=300, root=tmp_path)
    assert "word" in other.decode(other.blocks["test"][0])
    assert first.tokenizer.to_str() == other.tokenizer.to_str()


def test_a_folder_is_read_in_the_order_of_names(letters, tmp_path):
    pytest.importorskip("tokenizers", reason="the extra text is not installed")
    folder = tmp_path / "books"
    (folder / "deep").mkdir(parents=True)
    said = letters.read_text(encoding="utf-8")
    (folder / "a.txt").write_text(said, encoding="utf-8")
    (folder / "deep" / "b.md").write_text("the end of it\n", encoding="utf-8")
    (folder / "c.bin").write_bytes(b"\xff")
    found = load_text(folder, vocabulary=300, root=tmp_path)
    alone = load_text(letters, vocabulary=300, root=tmp_path)
    tokens = [
        sum(map(len, [b for part in each.blocks.values() for b in part])) for each in (found, alone)
    ]
    assert tokens[0] > tokens[1]


def test_windows_lie_within_blocks_and_targets_are_the_tokens_after():
    found = numbers([10, 3, 9], "test")
    inputs, targets = found.windows("test", 4)
    assert inputs.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [13, 14, 15, 16], [17, 18, 19, 20]]
    assert torch.equal(targets, inputs + 1)
    inputs, _ = found.windows("test", 4, limit=2)
    assert inputs[:, 0].tolist() == [0, 17]


def test_batches_begin_anywhere_in_blocks_and_never_cross_their_ends():
    found = numbers([10, 3, 9])
    starts = set()
    for inputs, targets in found.batches(4, batch_size=16, steps=20):
        assert inputs.shape == (16, 4)
        assert torch.equal(targets, inputs + 1)
        assert torch.equal(inputs.diff(), torch.ones_like(inputs.diff()))
        starts |= {*inputs[:, 0].tolist()}
    assert starts == {*range(6), *range(13, 18)}


def test_batches_are_those_of_their_seed_and_epoch(global_state_kept):
    found = numbers([100])
    one, other = (found.batches(4, 3, 5, seed=1) for _ in range(2))
    first = [x.tolist() for x, _ in one]
    assert [x.tolist() for x, _ in other] == first
    assert [x.tolist() for x, _ in other] != first
    other.set_epoch(0)
    assert [x.tolist() for x, _ in other] == first
    assert [x.tolist() for x, _ in found.batches(4, 3, 5, seed=2)] != first


def test_what_cannot_be_loaded_is_refused(letters, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"source must be austen, a text file, or a folder"):
        load_text(tmp_path / "nothing.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"folder of \.txt and \.md files"):
        load_text(tmp_path / "empty")
    letters.write_text("few words")
    with pytest.raises(ValueError, match="source must hold at least 10240 characters, got 9"):
        load_text(letters)
    letters.write_bytes(b"\xff" * 20_000)
    with pytest.raises(ValueError, match=r"source must be UTF-8, got .*letters\.txt"):
        load_text(letters)
    with pytest.raises(ValueError, match="vocabulary must be at least 257, got 256"):
        load_text(letters, vocabulary=256)
    with pytest.raises(ValueError, match="length must be below the 10 tokens of the longest block"):
        numbers([10, 3]).windows("train", 10)
    with pytest.raises(ValueError, match="length must be below the 10 tokens"):
        numbers([10, 3]).batches(10)
    with pytest.raises(ValueError, match=r"split must be .*train"):
        numbers([10]).windows("training", 2)


def test_a_missing_package_is_named_with_what_brings_it(letters, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"pip install vsnn-lab\[text\] brings it"):
        load_text(letters, root=tmp_path)


def test_a_folder_that_cannot_be_written_costs_no_text(letters, tmp_path):
    pytest.importorskip("tokenizers", reason="the extra text is not installed")
    (tmp_path / "tokenizers").touch()
    assert load_text(letters, vocabulary=300, root=tmp_path).vocabulary == 300
    assert os.path.isfile(tmp_path / "tokenizers")
