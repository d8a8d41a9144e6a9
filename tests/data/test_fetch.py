import errno
import functools
import hashlib
import lzma
import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from vsnn_lab.data.archives import PinnedFile
from vsnn_lab.data.fetch import DamagedFileWarning, DataUnavailable, ensure
from vsnn_lab.data.sources import PinnedSet, Source, SourceError

CONTENT = {"one-ubyte": b"first" * 1000, "two-ubyte": b"second" * 1000}
TINY = PinnedSet(
    "tiny",
    "Tiny",
    tuple(PinnedFile(k, len(v), hashlib.sha256(v).hexdigest()) for k, v in CONTENT.items()),
)


def deliver(wanted, folder, content=CONTENT):
    for file in wanted:
        if file.name in content:
            (folder / file.name).write_bytes(content[file.name])


def source(label="copies", **changes):
    return Source(label, functools.partial(deliver, content={**CONTENT, **changes}))


def failing(label, error):
    def fail(wanted, folder):
        deliver(wanted, folder, {"one-ubyte": b"half"})
        raise error

    return Source(label, fail)


def raw_files(root):
    raw = root / "Tiny" / "raw"
    return {path.name: path.read_bytes() for path in raw.iterdir()} if raw.is_dir() else {}


def temporary(root):
    return [path for path in (root / "Tiny").glob(".fetch-*") if path.is_dir()]


def test_missing_files_are_fetched_to_where_torchvision_looks(tmp_path):
    assert ensure(TINY, tmp_path, [source()]) == tmp_path / "Tiny" / "raw"
    assert raw_files(tmp_path) == CONTENT
    assert temporary(tmp_path) == []


def test_intact_files_ask_no_source(tmp_path):
    ensure(TINY, tmp_path, [source()])
    ensure(TINY, tmp_path, [failing("never asked", AssertionError("asked"))])


def test_damaged_file_is_named_and_fetched_again(tmp_path):
    raw = ensure(TINY, tmp_path, [source()])
    flipped = bytes([CONTENT["two-ubyte"][0] ^ 1]) + CONTENT["two-ubyte"][1:]
    (raw / "two-ubyte").write_bytes(flipped)
    asked = []

    def record(wanted, folder):
        asked.extend(file.name for file in wanted)
        deliver(wanted, folder)

    with pytest.warns(DamagedFileWarning, match="two-ubyte is damaged") as caught:
        ensure(TINY, tmp_path, [Source("records", record)])
    assert len(caught) == 1
    assert asked == ["two-ubyte"]
    assert raw_files(tmp_path) == CONTENT


def test_cut_off_file_counts_as_damaged(tmp_path):
    raw = ensure(TINY, tmp_path, [source()])
    (raw / "one-ubyte").write_bytes(CONTENT["one-ubyte"][:-1])
    with pytest.warns(DamagedFileWarning, match="one-ubyte is damaged"):
        ensure(TINY, tmp_path, [source()])
    assert raw_files(tmp_path) == CONTENT


def test_one_error_lists_every_source_its_reason_and_what_to_do(tmp_path):
    sources = [
        failing("mirror A", ConnectionError("no route")),
        failing("package B", SourceError("npm is not installed")),
        source("forger C", **{"one-ubyte": b"forged", "two-ubyte": b"forged"}),
        Source("empty D", lambda wanted, folder: None),
        failing("damaged E", lzma.LZMAError("Corrupt input data")),
    ]
    with pytest.raises(DataUnavailable, match="could not get tiny") as caught:
        ensure(TINY, tmp_path, sources)
    lines = str(caught.value).splitlines()
    assert lines[1:6] == [
        "  mirror A: ConnectionError: no route",
        "  package B: npm is not installed",
        "  forger C: one-ubyte: not the pinned sha256",
        "  empty D: one-ubyte: not delivered",
        "  damaged E: LZMAError: Corrupt input data",
    ]
    raw = tmp_path / "Tiny" / "raw"
    assert f"python -m vsnn_lab.data tiny --root {tmp_path}`" in lines[6]
    assert f"put one-ubyte, two-ubyte (uncompressed) in {raw}" in lines[6]
    assert raw_files(tmp_path) == {}
    assert temporary(tmp_path) == []


def test_sources_complete_each_other(tmp_path):
    ensure(TINY, tmp_path, [source("half", **{"two-ubyte": b"wrong"}), source()])
    assert raw_files(tmp_path) == CONTENT


def test_what_arrived_before_a_source_failed_is_kept(tmp_path):
    def breaks(wanted, folder):
        deliver(wanted, folder, {"one-ubyte": CONTENT["one-ubyte"]})
        raise SourceError("line went dead")

    with pytest.raises(DataUnavailable, match=r"put two-ubyte \(uncompressed\)"):
        ensure(TINY, tmp_path, [Source("breaks", breaks)])
    assert raw_files(tmp_path) == {"one-ubyte": CONTENT["one-ubyte"]}


def test_interrupt_leaves_neither_half_files_nor_folders(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        ensure(TINY, tmp_path, [failing("interrupted", KeyboardInterrupt())])
    assert raw_files(tmp_path) == {}
    assert temporary(tmp_path) == []


CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_fetch import TINY, Source, deliver, ensure

def slow(wanted, folder):
    (folder / wanted[0].name).write_bytes(b"half")
    print("writing", flush=True)
    time.sleep({pause})
    deliver(wanted, folder)

ensure(TINY, Path({root!r}), [Source("slow", slow)])
"""


def start_fetch(root, pause):
    code = CHILD.format(tests=str(Path(__file__).parent), root=str(root), pause=pause)
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_kill_while_writing_leaves_no_file_and_the_next_fetch_clears_up(tmp_path):
    with start_fetch(tmp_path, pause=60) as child:
        assert child.stdout.readline() == "writing\n"
        child.send_signal(signal.SIGKILL)
    assert raw_files(tmp_path) == {}
    assert len(temporary(tmp_path)) == 1
    ensure(TINY, tmp_path, [source()])
    assert raw_files(tmp_path) == CONTENT
    assert temporary(tmp_path) == []


def test_second_fetch_waits_for_the_first_and_downloads_nothing(tmp_path):
    with start_fetch(tmp_path, pause=1.5) as child:
        assert child.stdout.readline() == "writing\n"
        ensure(TINY, tmp_path, [failing("not needed", AssertionError("asked"))])
        assert raw_files(tmp_path) == CONTENT
        assert child.wait(timeout=30) == 0


def test_full_disk_is_an_oserror_that_names_the_folder(tmp_path):
    full = failing("full", OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(OSError, match=r"No space left on device.*Tiny/raw") as caught:
        ensure(TINY, tmp_path, [full, source()])
    assert caught.value.errno == errno.ENOSPC
    assert raw_files(tmp_path) == {}


def test_too_little_room_is_said_before_anything_is_fetched(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"less than 250 MB free.*Tiny/raw"):
        ensure(TINY, tmp_path, [failing("never asked", AssertionError("asked"))])


def test_unwritable_folder_is_an_oserror_that_names_it(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write data files .*file/Tiny/raw"):
        ensure(TINY, tmp_path / "file", [source()])


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder_is_a_permission_error_unless_all_is_there(tmp_path):
    raw = ensure(TINY, tmp_path, [source()])
    (raw / "one-ubyte").unlink()
    for folder in (raw, raw.parent):
        folder.chmod(0o555)
    with pytest.raises(PermissionError, match="Tiny/raw"):
        ensure(TINY, tmp_path, [source()])


def test_relative_root_means_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ensure(TINY, Path("data"), [source()]) == tmp_path / "data" / "Tiny" / "raw"


def test_fetch_leaves_global_random_state_and_warnings_alone(tmp_path):
    before = torch.get_rng_state()
    filters = list(warnings.filters)
    ensure(TINY, tmp_path, [source()])
    assert torch.equal(torch.get_rng_state(), before)
    assert warnings.filters == filters
