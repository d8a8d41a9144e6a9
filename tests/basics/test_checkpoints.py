import json
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vsnn_lab._basics import checkpoints

DTYPES = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
]


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        assert found[name].shape == value.shape, name
        assert found[name].tolist() == value.tolist(), name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_file_gives_back_tensors_of_every_dtype_and_shape(tmp_path, dtype):
    matrix = torch.tensor([[0, 1, 2], [3, 4, 5]]).to(dtype)
    tensors = {
        "matrix": matrix,
        "0-d": matrix[1, 2],
        "empty": matrix[:0],
        "not contiguous": matrix.T,
        "strided": matrix[:, ::2],
        "expanded": matrix[:1].expand(4, 3),
        "shared": matrix,
    }
    path = checkpoints.write(tmp_path / "a" / "b.safetensors", tensors, {})
    assert_same(checkpoints.read(path)[0], tensors)


def test_not_a_number_and_infinities_come_back_bit_by_bit(tmp_path):
    bits = torch.tensor([0x7FC00001, 0x7F800000, -0x80000000, 1], dtype=torch.int32)
    path = checkpoints.write(tmp_path / "a", {"x": bits.view(torch.float32)}, {})
    assert checkpoints.read(path)[0]["x"].view(torch.int32).tolist() == bits.tolist()


def test_tied_weights_load_back_into_a_network(tmp_path):
    net, other = (nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)) for _ in range(2))
    net[1].weight = net[0].weight
    path = checkpoints.write(tmp_path / "net", net.state_dict(), {})
    other.load_state_dict(checkpoints.read(path)[0])
    x = torch.randn(2, 3)
    assert torch.equal(
        other(x), (x @ net[0].weight.T + net[0].bias) @ net[0].weight.T + net[1].bias
    )


def test_the_header_comes_back_with_and_without_the_tensors(tmp_path):
    header = {"epochs": [{"epoch": 1, "loss": 0.1 + 0.2}], "name": "ü", "none": None, "yes": True}
    path = checkpoints.write(str(tmp_path / "a"), {"x": torch.ones(2)}, header)
    assert checkpoints.read_header(str(path)) == header
    assert checkpoints.read(str(path))[1] == header


def test_what_was_read_does_not_change_when_the_file_is_written_again(tmp_path):
    path = checkpoints.write(tmp_path / "a", {"x": torch.zeros(1000)}, {})
    before, _ = checkpoints.read(path)
    checkpoints.write(path, {"x": torch.ones(1000)}, {})
    assert not before["x"].any()
    assert checkpoints.read(path)[0]["x"].all()


def crash(*_args, **_kwargs):
    raise KeyboardInterrupt("crash")


def half_written(_tensors, name, **_):
    with open(name, "wb") as file:
        file.write(b"half")
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("place", "failure", "error"),
    [
        ("vsnn_lab._basics.checkpoints.save_file", half_written, "No space left"),
        ("vsnn_lab._basics.checkpoints.save_file", crash, "crash"),
        ("os.fsync", crash, "crash"),
        ("os.replace", crash, "crash"),
    ],
)
def test_a_crash_while_writing_leaves_the_old_file_whole_and_nothing_else(
    tmp_path, monkeypatch, place, failure, error
):
    path = checkpoints.write(tmp_path / "a", {"x": torch.arange(3)}, {"old": True})
    with monkeypatch.context() as patch:
        patch.setattr(place, failure)
        with pytest.raises((OSError, KeyboardInterrupt), match=error):
            checkpoints.write(path, {"x": torch.zeros(9)}, {"old": False})
    tensors, header = checkpoints.read(path)
    assert tensors["x"].tolist() == [0, 1, 2]
    assert header == {"old": True}
    assert os.listdir(tmp_path) == ["a"]


def test_a_header_that_json_cannot_hold_leaves_the_old_file_whole(tmp_path):
    path = checkpoints.write(tmp_path / "a", {}, {"old": True})
    with pytest.raises(TypeError, match="not JSON serializable"):
        checkpoints.write(path, {}, {"old": object()})
    assert checkpoints.read_header(path) == {"old": True}
    assert os.listdir(tmp_path) == ["a"]


def test_a_dtype_without_a_place_in_the_format_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"cannot write .*a: safetensors has no dtype.*complex128"):
        checkpoints.write(tmp_path / "a", {"x": torch.zeros(2, dtype=torch.complex128)}, {})
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        checkpoints.write(tmp_path / "file" / "a", {}, {})


def truncated(whole: bytes) -> bytes:
    return whole[:-5]


def with_a_flipped_bit(whole: bytes) -> bytes:
    return whole[:-1] + bytes([whole[-1] ^ 1])


@pytest.mark.parametrize(
    "damage", [truncated, with_a_flipped_bit, lambda _: b"", lambda whole: whole[:20]]
)
def test_a_damaged_file_is_refused_by_name(tmp_path, damage):
    path = checkpoints.write(tmp_path / "last.safetensors", {"x": torch.ones(9)}, {"epochs": 3})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"last\.safetensors is damaged or no .*, or delete it to"):
        checkpoints.read(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"vsnn_lab": "{not json"}])
@pytest.mark.parametrize("read", [checkpoints.read, checkpoints.read_header])
def test_a_safetensors_file_of_another_program_is_refused(tmp_path, metadata, read):
    save_file({"x": torch.ones(2)}, tmp_path / "a", metadata=metadata)
    with pytest.raises(ValueError, match="a is damaged or no file of this package"):
        read(tmp_path / "a")


@pytest.mark.parametrize("read", [checkpoints.read, checkpoints.read_header])
def test_a_missing_file_is_told_apart_from_a_damaged_one(tmp_path, read):
    with pytest.raises(FileNotFoundError, match=r"no such checkpoint: .*a"):
        read(tmp_path / "a")


class Bomb:
    def __reduce__(self):
        return os.mkdir, (Bomb.folder,)


@pytest.mark.parametrize(
    "save", [lambda bomb, path: path.write_bytes(pickle.dumps(bomb)), torch.save]
)
@pytest.mark.parametrize("read", [checkpoints.read, checkpoints.read_header])
def test_nothing_in_a_file_is_ever_run(tmp_path, save, read):
    Bomb.folder = str(tmp_path / "exploded")
    save(Bomb(), tmp_path / "a")
    with pytest.raises(ValueError, match="a is damaged or no file of this package"):
        read(tmp_path / "a")
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(os.name != "posix", reason="rights are POSIX")
@pytest.mark.parametrize(("umask", "rights"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_the_file_has_the_rights_that_the_umask_grants(tmp_path, umask, rights):
    before = os.umask(umask)
    try:
        path = checkpoints.write(tmp_path / "a", {"x": torch.ones(2)}, {})
        checkpoints.write(path, {"x": torch.ones(3)}, {})
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == rights


def test_a_digest_changes_with_one_bit_a_name_a_shape_or_a_dtype():
    x = torch.arange(6, dtype=torch.float32)
    flipped = x.clone()
    flipped.view(torch.int32)[3] ^= 1
    variants = [
        {"x": x},
        {"x": flipped},
        {"y": x},
        {"x": x.view(2, 3)},
        {"x": x.view(torch.int32)},
        {"x": x.view(torch.bfloat16)},
        {"x": x, "y": x},
        {"x": x[:5]},
        {"x": x[:0]},
        {"x": x[0]},
        {"x": x[:1]},
        {},
    ]
    assert len({checkpoints.digest(variant) for variant in variants}) == len(variants)


def test_a_digest_sees_values_and_not_memory_or_order():
    x = torch.arange(6.0).view(2, 3)
    same = [
        {"a": x, "b": x},
        {"b": x.clone(), "a": x},
        {"a": x.T.contiguous().T, "b": nn.Parameter(x)},
    ]
    assert len({checkpoints.digest(variant) for variant in same}) == 1
    assert checkpoints.digest([x, x + 1]) != checkpoints.digest([x + 1, x])


def test_weights_have_the_same_digest_in_memory_and_from_a_file(tmp_path):
    state = {"b.weight": torch.ones(3), "a.count": torch.tensor(2), "a.weight": torch.ones(2, 2)}
    path = checkpoints.write(tmp_path / "a", state, {})
    assert checkpoints.digest(checkpoints.read(path)[0]) == checkpoints.digest(state)


def test_the_header_can_be_read_by_safetensors_and_json_alone(tmp_path):
    path = checkpoints.write(tmp_path / "a", {"x": torch.ones(2)}, {"epochs": 3})
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert json.loads(header["__metadata__"]["vsnn_lab"]) == {"epochs": 3}
    assert header["x"]["shape"] == [2]
