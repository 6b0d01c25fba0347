"""Storing files on disk: what stands where after a flush, and what never does."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from openmsi_core import FolderError, Reject
from openmsi_core.files.content import OnDisk
from openmsi_core.files.datafile import DataFile
from openmsi_core.testing.files import data_file
from openmsi_plugins.disk import tree as tree_module
from openmsi_plugins.disk.tree import Place
from tests.disk_fakes import opened, tree

LARGE = os.urandom(3_000_000)


@pytest.fixture(autouse=True, params=["relative", "by path"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Everything holds on platforms that open files relative to a folder, and on those that cannot."""
    if request.param == "by path":
        monkeypatch.setattr(tree_module, "RELATIVE", False)
    return str(request.param)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_files_stand_in_the_senders_tree_with_their_time_of_change(tmp_path: Path) -> None:
    with opened(tmp_path) as sink:
        stored = sink.write(data_file(b"abc", "run 7/a b/scan.xrdml", mtime_ns=1_600_000_000_123_456_789))
        sink.write(data_file(b"", "empty"))
        sink.write(data_file(LARGE, "large.bin", mtime_ns=5))
        sink.flush()
    assert tree(tmp_path) == {"run 7/a b/scan.xrdml": b"abc", "empty": b"", "large.bin": LARGE}
    assert stored.location == str(tmp_path / "run 7/a b/scan.xrdml")
    assert not stored.unchanged
    assert (tmp_path / "run 7/a b/scan.xrdml").stat().st_mtime_ns == 1_600_000_000_123_456_789
    assert (tmp_path / "large.bin").stat().st_mtime_ns == 5


def test_nothing_has_its_final_name_before_the_flush(tmp_path: Path) -> None:
    with opened(tmp_path) as sink:
        sink.write(data_file(b"abc", "a/b"))
        sink.write(data_file(LARGE, "large"))
        assert tree(tmp_path) == {}
    assert tree(tmp_path) == {}


def test_a_sink_that_was_closed_leaves_nothing_hidden(tmp_path: Path) -> None:
    with opened(tmp_path) as sink:
        sink.write(data_file(b"abc", "a"))
    assert [path.name for path in (tmp_path / ".openmsi").iterdir()] == ["starting"]


def test_a_spooled_file_is_not_written_again(tmp_path: Path) -> None:
    with opened(tmp_path) as sink:
        spooled = sink.spool_folder() / "spooled"
        spooled.write_bytes(LARGE)
        inode = spooled.stat().st_ino
        shape = data_file(LARGE, "large")
        file = DataFile(shape.version, shape.position, shape.received, OnDisk(spooled, ours=True))
        sink.write(file)
        file.release()
        sink.flush()
        assert (tmp_path / "large").stat().st_ino == inode
        assert not spooled.exists()
    assert tree(tmp_path) == {"large": LARGE}


def test_files_have_the_rights_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with opened(tmp_path) as sink:
            sink.write(data_file(b"abc", "small"))
            sink.write(data_file(LARGE, "large"))
            sink.flush()
    finally:
        os.umask(before)
    for name in ("small", "large"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o640


def test_the_same_file_again_is_left_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as sink:
        sink.write(data_file(b"abc", "a"))
        assert sink.write(data_file(b"abc", "a")).unchanged
        sink.flush()
        inode = (tmp_path / "a").stat().st_ino
        assert sink.write(data_file(b"abc", "a")).unchanged
        sink.flush()
    assert (tmp_path / "a").stat().st_ino == inode


def test_a_newer_version_replaces_the_older(tmp_path: Path) -> None:
    with opened(tmp_path) as sink:
        for data in (b"one", b"two", b"longer"):
            assert not sink.write(data_file(data, "a")).unchanged
            sink.flush()
            assert tree(tmp_path) == {"a": data}


def test_of_versions_in_one_group_the_last_wins(tmp_path: Path) -> None:
    with opened(tmp_path) as sink:
        sink.write(data_file(b"on disk", "a"))
        sink.flush()
        assert not sink.write(data_file(b"between", "a")).unchanged
        assert not sink.write(data_file(b"on disk", "a")).unchanged
        sink.flush()
        assert tree(tmp_path) == {"a": b"on disk"}
        sink.write(data_file(b"one", "a"))
        sink.write(data_file(b"two", "a"))
        sink.flush()
    assert tree(tmp_path) == {"a": b"two"}


@pytest.mark.parametrize("flushed", [True, False])
def test_refuse_keeps_the_first_and_rejects_the_other(tmp_path: Path, flushed: bool) -> None:
    with opened(tmp_path, on_conflict="refuse") as sink:
        sink.write(data_file(b"one", "a"))
        if flushed:
            sink.flush()
        with pytest.raises(Reject, match="a is there already with other content, and on-conflict is 'refuse'"):
            sink.write(data_file(b"two", "a"))
        assert sink.write(data_file(b"one", "a")).unchanged
        sink.flush()
    assert tree(tmp_path) == {"a": b"one"}


@pytest.mark.parametrize("flushed", [True, False])
def test_keep_both_gives_the_other_a_name_that_it_gets_again(tmp_path: Path, flushed: bool) -> None:
    other = f"a.{digest(b'two')[:8]}.txt"
    with opened(tmp_path, on_conflict="keep-both") as sink:
        sink.write(data_file(b"one", "a.txt"))
        if flushed:
            sink.flush()
        assert sink.write(data_file(b"two", "a.txt")).location == str(tmp_path / other)
        assert sink.write(data_file(b"two", "a.txt")).unchanged
        sink.flush()
        assert sink.write(data_file(b"two", "a.txt")).unchanged
        assert sink.write(data_file(b"one", "a.txt")).unchanged
        sink.flush()
    assert tree(tmp_path) == {"a.txt": b"one", other: b"two"}


def test_names_of_every_kind_are_stored_as_the_same_bytes(tmp_path: Path) -> None:
    names = ["a b'\"c", "line\nbreak", "é€", "caf\udce9", "a:b\\c", "CON", "-rf", "*"]
    with opened(tmp_path) as sink:
        for name in names:
            location = sink.write(data_file(name.encode("utf-8", "surrogateescape"), name)).location
            location.encode("utf-8")
        sink.flush()
    stored = {os.fsencode(path.name): path for path in tmp_path.iterdir() if path.name != ".openmsi"}
    assert set(stored) == {name.encode("utf-8", "surrogateescape") for name in names}
    for name, path in stored.items():
        assert path.read_bytes() == name


def test_a_file_cannot_get_into_the_hidden_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(tmp_path) as sink, caplog.at_level(logging.INFO):
        location = sink.write(data_file(b"abc", ".openmsi/spool")).location
        sink.write(data_file(b"abc", "below/.openmsi"))
        sink.flush()
    assert location == str(tmp_path / "%2Eopenmsi/spool")
    assert (tmp_path / "below/.openmsi").read_bytes() == b"abc"
    assert ".openmsi/spool is stored as" in caplog.text


@pytest.mark.parametrize("flushed", [True, False])
@pytest.mark.parametrize(("first", "second"), [("a", "a/b"), ("a/b", "a"), ("a/b", "a/b/c/d")])
def test_a_file_where_a_folder_should_be_is_rejected(tmp_path: Path, first: str, second: str, flushed: bool) -> None:
    with opened(tmp_path) as sink:
        sink.write(data_file(b"first", first))
        if flushed:
            sink.flush()
        with pytest.raises(Reject, match=r"cannot be stored: a (file|folder) stands where"):
            sink.write(data_file(b"second", second))
        sink.flush()
    assert tree(tmp_path) == {first: b"first"}


def test_a_symbolic_link_on_the_way_is_not_followed(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (root / "link").symlink_to(outside)
    (root / "file").symlink_to(outside / "file")
    (root / "dangling").symlink_to(outside / "nothing")
    with opened(root) as sink:
        for path in ("link/a", "link/deep/a", "file", "dangling"):
            with pytest.raises(Reject, match="cannot be stored: a "):
                sink.write(data_file(b"abc", path))
        sink.flush()
    assert list(outside.iterdir()) == []


def test_a_link_planted_between_write_and_flush_is_not_followed(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    with opened(root) as sink:
        sink.write(data_file(b"abc", "folder/a"))
        (root / "folder").rmdir()
        (root / "folder").symlink_to(outside)
        with pytest.raises(Reject, match="symbolic link"):
            sink.flush()
        sink.flush()
    assert list(outside.iterdir()) == []


def test_the_hidden_folder_may_not_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root/.openmsi").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FolderError, match="symbolic link"), opened(tmp_path / "root"):
        pass


def test_a_folder_that_is_moved_or_removed_meanwhile_is_made_again(tmp_path: Path) -> None:
    with opened(tmp_path) as sink:
        sink.write(data_file(b"one", "2026/a"))
        sink.flush()
        (tmp_path / "2026").rename(tmp_path / "old")
        sink.write(data_file(b"two", "2026/b"))
        (tmp_path / "2026").rmdir()
        sink.flush()
    assert tree(tmp_path) == {"old/a": b"one", "2026/b": b"two"}


def test_other_things_than_files_are_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with opened(tmp_path) as sink:
        for name in ("pipe", "folder"):
            with pytest.raises(Reject, match="cannot be stored"):
                sink.write(data_file(b"abc", name))


def test_more_folders_than_are_held_open(tmp_path: Path, both_ways: str) -> None:
    with opened(tmp_path) as sink:
        for number in range(100):
            sink.write(data_file(b"%d" % number, f"{number}/{number}/file"))
        sink.flush()
        if both_ways == "relative":
            held = [path.resolve() for path in Path("/proc/self/fd").iterdir() if path.is_dir()]
            assert len([path for path in held if path.is_relative_to(tmp_path)]) < 50
    assert len(tree(tmp_path)) == 100


def test_the_folder_is_made_with_its_parents_and_tilde_is_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with opened(Path("~/deep/er")) as sink:
        sink.write(data_file(b"abc", "a"))
        sink.flush()
    assert (tmp_path / "deep/er/a").read_bytes() == b"abc"


@pytest.mark.parametrize("below", ["", "/deeper"])
def test_a_file_in_place_of_the_folder_is_one_clear_error(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    text = r"files cannot be stored in .*file.*Choose another folder \(--folder\)"
    with pytest.raises(FolderError, match=text), opened(tmp_path / f"file{below}"):
        pass


LEFT = """
import sys, time
from pathlib import Path
from openmsi_core.testing.files import data_file
from openmsi_plugins.disk import Disk
sink = Disk(Disk.Options(folder=Path(sys.argv[1])))
sink.open()
sink.write(data_file(b"abc", "left"))
print("ready", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_holds_is_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LEFT, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        with opened(tmp_path) as sink, opened(tmp_path) as second:
            assert len(list((tmp_path / ".openmsi").glob("store-*"))) == 3
            sink.write(data_file(b"one", "a"))
            second.write(data_file(b"two", "b"))
            second.flush()
            sink.flush()
        process.kill()
        process.wait()
        assert len(list((tmp_path / ".openmsi").glob("store-*"))) == 1
        with opened(tmp_path):
            assert len(list((tmp_path / ".openmsi").glob("store-*"))) == 1
    assert list((tmp_path / ".openmsi").glob("store-*")) == []
    assert tree(tmp_path) == {"a": b"one", "b": b"two"}


@pytest.fixture
def case_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder as Windows and macOS have it: a name is found under any spelling."""
    exact = Place.status

    def status(place: Place, name: str) -> os.stat_result | None:
        for other in place.names():
            if other.casefold() == name.casefold():
                return exact(place, other)
        return None

    monkeypatch.setattr(Place, "status", status)


@pytest.mark.usefixtures("case_does_not_count")
@pytest.mark.parametrize("flushed", [True, False])
def test_a_twin_that_differs_in_case_only_overwrites_nothing(tmp_path: Path, flushed: bool) -> None:
    with opened(tmp_path) as sink:
        for number, path in enumerate(["Run/Scan.txt", "Run/scan.txt", "run/Scan.txt", "Run/SCAN.txt"]):
            sink.write(data_file(b"%d" % number, path))
            if flushed:
                sink.flush()
        assert sink.write(data_file(b"1", "Run/scan.txt")).unchanged
        sink.flush()
    found = tree(tmp_path)
    assert sorted(found.values()) == [b"0", b"1", b"2", b"3"]
    assert found["Run/Scan.txt"] == b"0"
    assert found["Run/%73%63%61%6E.%74%78%74"] == b"1"
    assert len({name.casefold() for name in found}) == 4
