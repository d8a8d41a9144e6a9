"""Files written whole by several threads and machines at once."""

import os
import socket
import subprocess
import sys

import pytest

from vsnn_lab._basics.files import atomic_write


def test_two_writers_of_one_process_do_not_meet_and_the_last_one_stays(tmp_path):
    path = tmp_path / "a"
    with atomic_write(path) as last:
        last.write_text("begun first")
        with atomic_write(path) as first:
            first.write_text("ended first")
        assert path.read_text() == "ended first"
    assert path.read_text() == "begun first"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(os.name != "posix", reason="elsewhere nobody can ask for a process")
def test_a_half_file_is_cleared_on_the_machine_that_left_it_and_on_no_other(tmp_path, monkeypatch):
    here, ended = socket.gethostname(), subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    def leave_half(host):
        monkeypatch.setattr(socket, "gethostname", lambda: host)
        with atomic_write(tmp_path / "a") as part:
            part.touch()
        half = part.with_name(f"{part.name.rpartition('-')[0]}-{ended.pid}")
        half.touch()
        return half

    elsewhere, own = leave_half(f"{here}2"), leave_half(here)
    assert elsewhere.name != own.name
    with atomic_write(tmp_path / "a") as part:
        part.touch()
    assert sorted(os.listdir(tmp_path)) == sorted(["a", elsewhere.name])


def test_files_whose_names_begin_alike_keep_their_half_files(tmp_path):
    with atomic_write(tmp_path / "a-b") as part:
        part.write_text("whole")
        with atomic_write(tmp_path / "a") as other:
            other.touch()
    assert (tmp_path / "a-b").read_text() == "whole"
