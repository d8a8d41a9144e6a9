"""What kill -9, Ctrl-C, a full disk and a read-only folder leave behind: whole files, clear words.

`test_resume`, `test_checkpoints` and `test_fetch` hold the single moments of a crash; here they are
chosen at random, by the clock, and come from the system.
"""

import contextlib
import errno
import functools
import gzip
import hashlib
import http.server
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
import torch.nn.functional as F

from tests.data.test_fetch import CONTENT, TINY, raw_files, temporary
from tests.small import network
from tests.train.test_resume import EPOCHS, STEPS, Interrupting, rows, run, weights
from vsnn_lab import load_weights, save_weights
from vsnn_lab._basics import checkpoints
from vsnn_lab.data import sources
from vsnn_lab.data.fetch import ensure
from vsnn_lab.data.sources import Source

posix = pytest.mark.skipif(os.name != "posix", reason="signals, limits and rights are POSIX")
ROOT = Path(__file__).resolve().parents[1]

# Loads everything once and forks, so that a kill costs no import of torch.
FORKING = """
import os, random, signal, sys, time
from tests import test_kills

job = getattr(test_kills, sys.argv[1])
longest, most = float(sys.argv[2]), int(sys.argv[3])
chance = random.Random(0)
for number in range(most + 1):
    child = os.fork()
    if not child:
        try:
            job(*sys.argv[4:])
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    if number < most:
        time.sleep(chance.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(status, flush=True)
    test_kills.check_after_kill(*sys.argv[4:])
    if status != -signal.SIGKILL:
        sys.exit(status)
"""


def killed_again_and_again(job, *arguments, longest: float, most: int) -> int:
    """Run a job of this module until it ends, killing it at random; return the number of kills.

    Args:
        job: A function of strings.
        arguments: What it is called with.
        longest: Seconds until the latest kill.
        most: So many kills, then it is left alone.
    """
    command = [sys.executable, "-W", "ignore", "-c", FORKING, job.__name__, str(longest), str(most)]
    command += map(str, arguments)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *kills, last = map(int, done.stdout.split())
    assert set(kills) <= {-signal.SIGKILL}
    assert last == 0
    return len(kills)


def check_after_kill(what: str, root: str, *_) -> None:
    """See that what lies in the final place is whole."""
    if what == "training":
        for path in Path(root).glob("*/*.safetensors"):
            checkpoints.read(path)
    else:
        for name, content in raw_files(Path(root)).items():
            assert content == CONTENT[name], name


def slow_loss(output, target):
    """Take some milliseconds, so that kills hit training as well as writing."""
    time.sleep(0.02)
    return F.mse_loss(output, target)


def train(_, folder: str) -> None:
    run(network(), folder, loss=slow_loss)


@posix
@pytest.mark.slow
def test_training_killed_at_random_moments_ends_bit_for_bit_as_if_it_had_not_been(tmp_path):
    kills = killed_again_and_again(train, "training", tmp_path, longest=0.4, most=30)
    assert kills >= 3
    whole, resumed = network(), network()
    expected = run(whole)
    history = run(resumed, tmp_path, loss=slow_loss)
    assert history.resumed_at == EPOCHS
    assert weights(resumed) == weights(whole)
    assert rows(history) == rows(expected)
    assert history.best_epoch == expected.best_epoch
    (folder,) = tmp_path.iterdir()
    assert sorted(os.listdir(folder)) == ["best.safetensors", "last.safetensors"]


# --- Fetching -------------------------------------------------------------------------------------


@pytest.fixture
def dripping():
    """Serve the files packed, a few bytes at a time, or stall in the middle of the second file.

    Yields the address, an event that ends the stalling, and one that tells of it.
    """
    flowing, stalled = threading.Event(), threading.Event()

    class Dripping(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            packed = PACKED[self.path.strip("/")]
            self.send_response(200)
            self.send_header("Content-Length", str(len(packed)))
            self.end_headers()
            half = len(packed) // 2
            # A client that was killed no longer listens.
            with contextlib.suppress(OSError):
                for start in range(0, len(packed), 8):
                    if "two" in self.path and start > half:
                        stalled.set()
                        flowing.wait(60)
                    self.wfile.write(packed[start : start + 8])
                    time.sleep(0.03)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dripping) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", flowing, stalled
        flowing.set()
        server.shutdown()
        thread.join()


PACKED = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in CONTENT.items()}
MD5 = {name: hashlib.md5(packed).hexdigest() for name, packed in PACKED.items()}


def mirror(url: str) -> Source:
    return Source("mirror", functools.partial(sources.from_mirror, url, MD5))


def fetch_tiny(_, root: str, url: str) -> None:
    ensure(TINY, Path(root), [mirror(url)])


@posix
@pytest.mark.slow
def test_fetching_killed_at_random_moments_never_takes_a_half_file_for_whole(tmp_path, dripping):
    url, flowing, _ = dripping
    flowing.set()
    kills = killed_again_and_again(fetch_tiny, "fetching", tmp_path, url, longest=0.2, most=20)
    assert kills >= 3
    assert raw_files(tmp_path) == CONTENT
    assert temporary(tmp_path) == []


@posix
@pytest.mark.slow
def test_fetching_killed_while_a_mirror_stalls_leaves_nothing_and_is_made_up_for(
    tmp_path, dripping
):
    url, flowing, stalled = dripping
    code = f"from tests import test_kills; test_kills.fetch_tiny('', {str(tmp_path)!r}, {url!r})"
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], cwd=ROOT) as child:
        reached = stalled.wait(120)
        child.send_signal(signal.SIGKILL)
    assert reached
    assert raw_files(tmp_path) == {}
    (folder,) = temporary(tmp_path)
    assert (folder / "one-ubyte").read_bytes() == CONTENT["one-ubyte"]
    assert not (folder / "two-ubyte").exists()
    flowing.set()
    ensure(TINY, tmp_path, [mirror(url)])
    assert raw_files(tmp_path) == CONTENT
    assert temporary(tmp_path) == []


def test_a_mirror_that_stalls_is_given_up_and_the_next_source_is_asked(
    tmp_path, dripping, monkeypatch
):
    monkeypatch.setattr(sources, "_MIRROR_TIMEOUT", 0.3)
    asked = []

    def deliver(wanted, folder):
        asked.extend(file.name for file in wanted)
        for file in wanted:
            (folder / file.name).write_bytes(CONTENT[file.name])

    ensure(TINY, tmp_path, [mirror(dripping[0]), Source("next", deliver)])
    assert asked == ["two-ubyte"]
    assert raw_files(tmp_path) == CONTENT


# --- Ctrl-C ---------------------------------------------------------------------------------------

INTERRUPTED = """
import sys
from tests import test_kills
from tests.train.test_resume import network, run


def loss(output, target):
    print("training", flush=True)
    return test_kills.slow_loss(output, target)


run(network(), sys.argv[1], loss=loss, progress=True)
"""


@posix
@pytest.mark.slow
def test_ctrl_c_in_training_says_what_is_kept_exits_with_an_error_and_the_run_goes_on(tmp_path):
    def start():
        command = [sys.executable, "-W", "ignore", "-c", INTERRUPTED, str(tmp_path)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=ROOT, **pipes)

    with start() as child:
        # Two epochs of STEPS batches and two validations each, and a batch.
        for _ in range(2 * (STEPS + 2) + 1):
            assert child.stdout.readline() == "training\n"
        child.send_signal(signal.SIGINT)
        out, errors = child.communicate(timeout=60)
    assert child.returncode != 0
    told = re.search(r"stopped; (\d) of 4 epochs are in (.*), and the same call goes", out + errors)
    assert told, out + errors
    assert int(told[1]) >= 2
    folder = Path(told[2])
    assert sorted(os.listdir(folder)) == ["best.safetensors", "last.safetensors"]
    with start() as child:
        out, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    assert f"{told[1]} of 4 epochs are already in {folder}" in out + errors
    whole = network()
    run(whole)
    best, _ = checkpoints.read(folder / "best.safetensors")
    assert {name: value.tolist() for name, value in best.items()} == weights(whole)


# --- A full disk ----------------------------------------------------------------------------------


@contextlib.contextmanager
def files_of_at_most(size: int):
    """Let the system refuse to make files longer than this many bytes, as a full disk does."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@contextlib.contextmanager
def disk_filled_up(folder: Path, left: int):
    """Fill the disk but for some bytes."""
    filler = folder / "filler"
    room = os.statvfs(folder)
    with filler.open("wb") as out:
        out.write(bytes(room.f_bavail * room.f_frsize - left))
    try:
        yield
    finally:
        filler.unlink()


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of 256 KiB, which takes root's rights."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    if done.returncode:
        pytest.skip(f"no rights to mount a small disk: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def check_training_on_a_full_disk(folder: Path, full, reason: str) -> None:
    whole, broken, loss = network(), network(), Interrupting(2 * STEPS + 1)
    run(whole)
    with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
        run(broken, folder, loss=loss)
    last = next(folder.glob("*/last.safetensors"))
    kept = {path.name: path.read_bytes() for path in last.parent.iterdir()}
    before = weights(broken)
    with full, pytest.raises(OSError, match=rf"{last.parent.name}/\w+\.safetensors.*{reason}"):
        run(broken, folder, loss=loss)
    assert weights(broken) == before
    assert last.read_bytes() == kept["last.safetensors"]
    assert sorted(os.listdir(last.parent)) == ["best.safetensors", "last.safetensors"]
    assert run(broken, folder, loss=loss).resumed_at == 2
    assert weights(broken) == weights(whole)


# Bytes: less than either file of a run, and between the two.
@posix
@pytest.mark.parametrize("size", [1000, 3000])
def test_training_that_meets_a_limit_of_file_size_keeps_the_checkpoint_and_goes_on_later(
    tmp_path, size
):
    check_training_on_a_full_disk(tmp_path, files_of_at_most(size), "File too large")


@posix
@pytest.mark.parametrize("left", [0, 4096])
def test_training_on_a_full_disk_keeps_the_checkpoint_and_goes_on_when_there_is_room(
    small_disk, left
):
    (small_disk / "runs").mkdir()
    full = disk_filled_up(small_disk, left)
    check_training_on_a_full_disk(small_disk / "runs", full, "No space left on device")


@posix
def test_weights_that_do_not_fit_on_the_disk_leave_the_old_file(small_disk):
    old, other = network(), network()
    path = save_weights(old, small_disk / "net.safetensors")
    with (
        disk_filled_up(small_disk, 0),
        pytest.raises(OSError, match=r"net\.safetensors.*No space left on device"),
    ):
        save_weights(network(seed=5), path)
    load_weights(other, path)
    assert weights(other) == weights(old)
    assert os.listdir(small_disk) == ["net.safetensors"]


@posix
def test_a_flush_that_finds_the_disk_full_names_the_file(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*net\.safetensors'") as caught:
        save_weights(network(), tmp_path / "net.safetensors")
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == []


@posix
def test_fetching_that_meets_a_limit_of_file_size_names_the_folder_and_leaves_nothing(
    tmp_path, dripping
):
    url, flowing, _ = dripping
    flowing.set()
    with files_of_at_most(2000), pytest.raises(OSError, match=r"File too large.*Tiny/raw"):
        ensure(TINY, tmp_path, [mirror(url)])
    assert raw_files(tmp_path) == {}
    assert temporary(tmp_path) == []
    ensure(TINY, tmp_path, [mirror(url)])
    assert raw_files(tmp_path) == CONTENT


# --- A folder that cannot be written --------------------------------------------------------------

NOBODY = 65534  # the user without rights, on every system


@contextlib.contextmanager
def without_rights(folder: Path, files: int = 0o444):
    """Make a folder and what is in it read-only, and give up root's right to write anyway."""
    inside = [folder, *folder.rglob("*")]
    rights = {path: stat.S_IMODE(path.stat().st_mode) for path in inside}
    for path in inside:
        path.chmod(0o555 if path.is_dir() else files)
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if mine == 0:
            os.seteuid(mine)
        for path, before in rights.items():
            path.chmod(before)


@pytest.fixture
def public_folder():
    """A folder that every user may enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "runs").mkdir()
        yield folder / "runs"


@posix
def test_a_read_only_checkpoint_folder_is_named_before_training(public_folder):
    calls = []
    run(network(), epochs=1)  # what is imported on first use may be unreadable for others
    with without_rights(public_folder), pytest.raises(PermissionError, match="runs"):
        run(network(), public_folder, loss=lambda *_: calls.append(1))
    assert not calls
    assert os.listdir(public_folder) == []


@posix
def test_a_finished_run_in_a_read_only_folder_is_found(public_folder):
    whole, found = network(), network()
    run(whole, public_folder)
    with without_rights(public_folder):
        assert run(found, public_folder).resumed_at == EPOCHS
    assert weights(found) == weights(whole)


@posix
def test_a_run_that_can_no_longer_write_names_the_folder_and_keeps_what_was_there(public_folder):
    whole, broken, loss = network(), network(), Interrupting(2 * STEPS + 1)
    run(whole)
    with pytest.raises(KeyboardInterrupt, match="Ctrl-C"):
        run(broken, public_folder, loss=loss)
    (folder,) = public_folder.iterdir()
    before = weights(broken)
    with without_rights(public_folder), pytest.raises(PermissionError, match=folder.name):
        run(broken, public_folder, loss=loss)
    assert weights(broken) == before
    assert run(broken, public_folder, loss=loss).resumed_at == 2
    assert weights(broken) == weights(whole)


@posix
def test_a_file_that_may_not_be_read_is_named(public_folder):
    path = save_weights(network(), public_folder / "net.safetensors")
    with without_rights(public_folder, files=0):
        model = network()
        with pytest.raises(PermissionError, match=r"net\.safetensors"):
            load_weights(model, path)
