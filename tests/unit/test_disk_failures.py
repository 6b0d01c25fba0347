"""Storing files on a disk that fails: nothing half under a final name, and everything once it works again."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from openmsi_core import DataFile, FolderError, RetryLater
from openmsi_core.files.content import OnDisk
from openmsi_core.testing.files import data_file
from openmsi_plugins.disk import Disk, staging
from openmsi_plugins.disk import tree as tree_module
from tests.disk_fakes import opened, tree

OLD = {"a/1": b"old", "same": b"same"}
NEW = {"a/1": b"new", "a/2": b"x" * 5000, "b/c/3": os.urandom(2_000_000), "4": b"", "5": b"5", "same": b"same"}
CALLS = ["open", "write", "utime", "chmod", "replace", "fsync", "mkdir", "stat", "dup"]


class Failing:
    """A call of the system that fails once, the ``nth`` time."""

    def __init__(self, call: Callable[..., Any], nth: int, number: int) -> None:
        self.call, self.left, self.number, self.failed = call, nth, number, False

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            self.failed = True
            raise OSError(self.number, os.strerror(self.number))
        return self.call(*arguments, **named)


def files() -> list[DataFile]:
    return [data_file(data, path) for path, data in NEW.items()]


def store_all(sink: Disk) -> None:
    for file in files():
        sink.write(file)
    sink.flush()


def outcome_of(sink: Disk) -> str:
    try:
        store_all(sink)
    except RetryLater as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("relative", "number"), [(True, errno.EIO), (False, errno.ENOSPC)], ids=["relative EIO", "by path ENOSPC"]
)
@pytest.mark.parametrize("call", CALLS)
def test_any_call_may_fail_at_any_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, relative: bool, number: int
) -> None:
    monkeypatch.setattr(tree_module, "RELATIVE", relative)
    for nth in range(1, 200):
        folder = tmp_path / f"{nth}"
        with opened(folder) as sink:
            for path, data in OLD.items():
                sink.write(data_file(data, path))
            sink.flush()
            failing = Failing(getattr(os, call), nth, number)
            with monkeypatch.context() as patch:
                patch.setattr(os, call, failing)
                told = outcome_of(sink)
            assert ("cannot be written now" in told) == failing.failed
            seen = tree(folder)
            assert all(data in {NEW[path], OLD.get(path)} for path, data in seen.items())
            store_all(sink)
            assert tree(folder) == NEW
        assert [path.name for path in (folder / ".openmsi").iterdir()] == ["starting"]
        if not failing.failed:
            return
    raise AssertionError("it never came to an end")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_when_the_sync_fails_no_file_of_the_group_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fails(_: object, count: int) -> bool:
        raise OSError(number, os.strerror(number))

    with opened(tmp_path) as sink:
        with monkeypatch.context() as patch:
            patch.setattr(staging.Durability, "everything", fails)
            with pytest.raises(RetryLater) as caught:
                store_all(sink)
        assert caught.value.seconds > 0
        assert tree(tmp_path) == {}
        store_all(sink)
    assert tree(tmp_path) == NEW


def test_after_a_failed_sync_a_spooled_file_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel drops what it could not write, and the next sync of that file succeeds without it."""
    data = os.urandom(2_000_000)

    def spooled(name: str) -> DataFile:
        (tmp_path / name).write_bytes(data)
        file = data_file(tmp_path / name, name)
        return DataFile(file.version, file.position, file.received, OnDisk(tmp_path / name, ours=True))

    with opened(tmp_path / "root") as sink:
        sink.write(spooled("before"))
        sink.flush()
        assert (tmp_path / "root/before").samefile(tmp_path / "before")
        file = spooled("after")
        sink.write(file)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", Failing(os.fsync, 1, errno.EIO))
            with pytest.raises(RetryLater):
                sink.flush()
        with (tmp_path / "after").open("r+b") as lost:
            lost.write(bytes(4096))
        with pytest.raises(RetryLater, match="the disk lost bytes of a spooled file"):
            sink.write(file)
        (tmp_path / "after").write_bytes(data)
        sink.write(file)
        sink.flush()
        assert not (tmp_path / "root/after").samefile(tmp_path / "after")
    assert tree(tmp_path / "root") == {"before": data, "after": data}


def test_a_large_group_is_synced_at_once_and_a_small_one_file_by_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(descriptor) or real(descriptor))
    with opened(tmp_path) as sink:
        for number in range(100):
            sink.write(data_file(b"%d" % number, f"{number}"))
        sink.flush()
        assert len(synced) == 1  # their folder
        sink.write(data_file(b"one", "one"))
        sink.flush()
    assert len(synced) == 3  # the file and its folder


def test_without_syncfs_each_file_and_each_new_folder_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(staging, "_find_syncfs", lambda: None)
    with opened(tmp_path) as sink:
        for number in range(10):
            sink.write(data_file(b"%d" % number, f"a/b/{number}"))
        sink.flush()
        folders = [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a/b")]
        assert sorted(path for path in synced if "store-" not in path) == folders
        assert len([path for path in synced if "store-" in path]) == 10
        synced.clear()
        sink.write(data_file(b"next", "a/b/next"))
        sink.flush()
        assert [path for path in synced if "store-" not in path] == folders[2:]
        synced.clear()
        shutil.rmtree(tmp_path / "a/b")
        sink.write(data_file(b"anew", "a/b/anew"))
        sink.flush()
        assert sorted(path for path in synced if "store-" not in path) == folders[1:]


def test_an_error_of_no_known_kind_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as sink:
        monkeypatch.setattr(os, "mkdir", Failing(os.mkdir, 1, errno.EACCES))
        with pytest.raises(PermissionError, match=str(tmp_path / "a/b")):
            sink.write(data_file(b"abc", "a/b"))


def mounted(target: Path, *arguments: str) -> Iterator[Path]:
    target.mkdir()
    command = ["mount", *arguments, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    yield target
    subprocess.run(["umount", str(target)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    yield from mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=1m", "tmpfs")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A file system that cannot be written."""
    yield from mounted(tmp_path / "read-only", "-t", "tmpfs", "-o", "ro", "tmpfs")


@pytest.mark.parametrize("size", [700_000, 2_000_000])
def test_a_full_disk_waits_and_goes_on_when_there_is_room(small_disk: Path, size: int) -> None:
    blocker = small_disk / "blocker"
    blocker.write_bytes(b"x" * 600_000)
    with opened(small_disk) as sink:
        sink.write(data_file(b"small", "small"))
        with pytest.raises(RetryLater, match="No space left on device"):
            sink.write(data_file(b"y" * size, "a/large"))
        sink.flush()
        assert tree(small_disk) == {"small": b"small", "blocker": blocker.read_bytes()}
        blocker.unlink()
        if size < 1_000_000:
            sink.write(data_file(b"y" * size, "a/large"))
            sink.flush()
            assert tree(small_disk) == {"small": b"small", "a/large": b"y" * size}


def test_a_folder_that_cannot_be_written_is_one_clear_error(read_only: Path) -> None:
    for folder in (read_only, read_only / "new"):
        with pytest.raises(FolderError, match=r"files cannot be stored in .*Read-only file system"), opened(folder):
            pass
