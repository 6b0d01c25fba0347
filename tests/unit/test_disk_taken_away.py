"""Storing files while somebody works on the folder: what is removed is made anew, what is in the way is said."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

import pytest

from openmsi_core import FolderError, Reject, RetryLater
from openmsi_core.testing.files import data_file
from openmsi_plugins.disk import Disk, staging
from openmsi_plugins.disk import sink as sink_module
from openmsi_plugins.disk import tree as tree_module
from openmsi_plugins.disk.names import Rules, original
from openmsi_plugins.disk.staging import Staging
from openmsi_plugins.disk.tree import Place
from tests.disk_fakes import opened, tree
from tests.unit.test_disk_failures import mounted


@pytest.fixture(autouse=True, params=["relative", "by path"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Everything holds on platforms that open files relative to a folder, and on those that cannot."""
    if request.param == "by path":
        monkeypatch.setattr(tree_module, "RELATIVE", False)
    return str(request.param)


def store(sink: Disk, path: str, data: bytes) -> None:
    """As a worker does: until it is stored, at once."""
    for _ in range(4):
        try:
            sink.write(data_file(data, path))
            sink.flush()
        except RetryLater as error:
            if error.seconds:
                raise
        else:
            return
    raise AssertionError(f"{path} was never stored")


@pytest.mark.parametrize("when", ["between files", "between write and flush"])
@pytest.mark.parametrize("what", ["hidden folder", "own folder", "root removed", "root moved"])
def test_what_is_taken_away_under_it_is_made_anew(tmp_path: Path, what: str, when: str) -> None:
    root = tmp_path / "root"

    def take_away() -> None:
        if what == "hidden folder":
            shutil.rmtree(root / ".openmsi")
        elif what == "own folder":
            shutil.rmtree(next((root / ".openmsi").glob("store-*")))
        elif what == "root removed":
            shutil.rmtree(root)
            root.mkdir()
        else:
            root.rename(tmp_path / "moved")
            root.mkdir()

    with opened(root) as sink:
        store(sink, "a/before", b"before")
        if when == "between files":
            take_away()
        else:
            sink.write(data_file(b"after", "a/after"))
            take_away()
            with pytest.raises(RetryLater, match="was moved or removed meanwhile"):
                sink.flush()
        store(sink, "a/after", b"after")
        store(sink, "b", b"b" * 2_000_000)
    survives = {} if what.startswith("root") else {"a/before": b"before"}
    assert tree(root) == survives | {"a/after": b"after", "b": b"b" * 2_000_000}
    assert list((root / ".openmsi").glob("store-*")) == []


def test_a_root_that_is_gone_is_waited_for_and_never_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "root"
    with opened(root) as sink:
        shutil.rmtree(root)
        for number in range(5):
            with pytest.raises(RetryLater, match="taken away") as caught:
                store(sink, f"a/{number}", b"x")
            assert caught.value.seconds > 0
        assert not root.exists()
        assert [each.levelname for each in caplog.records] == ["WARNING"]
        root.mkdir()
        store(sink, "a/0", b"x")
    assert tree(root) == {"a/0": b"x"}
    assert caplog.records[-1].message.endswith("can be written again")


def test_another_file_system_at_the_root_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    with opened(root) as sink:
        shutil.rmtree(root)
        root.mkdir()
        monkeypatch.setattr(sink, "_identity", (sink._identity[0] + 1, sink._identity[1]))
        with pytest.raises(RetryLater, match="another file system stands"):
            store(sink, "a", b"x")
    assert tree(root) == {}


def test_a_root_that_cannot_be_taken_hold_of_again_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "root") as sink:
        shutil.rmtree(tmp_path / "root/.openmsi")
        with monkeypatch.context() as patch:
            patch.setattr(Staging, "open", _refused)
            with pytest.raises(RetryLater, match="taken away"):
                store(sink, "a", b"x")
        store(sink, "a", b"x")
    assert tree(tmp_path / "root") == {"a": b"x"}


def _refused(_: object) -> None:
    raise FolderError("not now")


@pytest.mark.parametrize("between", [False, True])
def test_a_file_where_a_folder_should_be_and_the_reverse_are_letters_and_the_others_are_stored(
    tmp_path: Path, between: bool
) -> None:
    with opened(tmp_path) as sink:
        for path in ("a/file", "b"):
            if between:
                sink.write(data_file(b"x", path))
                shutil.rmtree(tmp_path / "a", ignore_errors=True)
            if path == "b":
                (tmp_path / "b").mkdir()
            else:
                (tmp_path / "a").write_bytes(b"mine")
            with pytest.raises(Reject, match=r"cannot be stored: a (file|folder) stands where"):
                store(sink, path, b"x")
        store(sink, "c", b"c")
    assert tree(tmp_path) == {"a": b"mine", "c": b"c"} if not between else {"c": b"c"}.items() <= tree(tmp_path).items()


def test_a_link_planted_between_the_look_and_the_rename_is_replaced_and_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"theirs")
    real = Staging.publish

    def planted(own: Staging, name: str, place: Place, final: str) -> None:
        (tmp_path / "root/a" / final).symlink_to(outside / "file")
        real(own, name, place, final)

    with opened(tmp_path / "root") as sink:
        monkeypatch.setattr(Staging, "publish", planted)
        store(sink, "a/file", b"ours")
    assert (outside / "file").read_bytes() == b"theirs"
    assert (tmp_path / "root/a/file").read_bytes() == b"ours"
    assert not (tmp_path / "root/a/file").is_symlink()


def test_a_folder_turned_into_a_link_just_before_the_rename_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, both_ways: str
) -> None:
    if both_ways == "by path":
        pytest.skip("such platforms cannot tell")
    outside = tmp_path / "outside"
    outside.mkdir()
    real = Staging.publish

    def planted(own: Staging, name: str, place: Place, final: str) -> None:
        (tmp_path / "root/a").rename(tmp_path / "aside")
        (tmp_path / "root/a").symlink_to(outside)
        real(own, name, place, final)

    with opened(tmp_path / "root") as sink, monkeypatch.context() as patch:
        patch.setattr(Staging, "publish", planted)
        store(sink, "a/file", b"ours")
    assert list(outside.iterdir()) == []
    assert (tmp_path / "aside/file").read_bytes() == b"ours"  # the folder that was meant, wherever it is now


def test_a_path_of_4096_bytes_below_a_root_is_stored(tmp_path: Path, both_ways: str) -> None:
    path = "/".join(["d" * 239] * 17 + ["f" * 16])
    assert len(path) == 4096
    with opened(tmp_path) as sink:
        if both_ways == "by path":
            with pytest.raises(Reject, match="too long"):
                store(sink, path, b"deep")
        else:
            store(sink, path, b"deep")
            assert sink.write(data_file(b"deep", path)).unchanged
            found = [(len(names), name) for _, _, names, _ in os.fwalk(tmp_path) for name in names if name[0] == "f"]
            assert found == [(1, "f" * 16)]
        store(sink, "next", b"next")
        assert (tmp_path / "next").read_bytes() == b"next"


@pytest.mark.parametrize("call", ["mkdir", "replace"])
def test_a_folder_without_the_right_to_write_fails_its_own_files_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real = getattr(os, call)

    def denied(path: object, *arguments: object, **named: object) -> object:
        told = os.fsdecode(arguments[0] if call == "replace" and arguments else path)  # type: ignore[arg-type]
        if "denied" in told:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, *arguments, **named)

    with opened(tmp_path) as sink:
        monkeypatch.setattr(os, call, denied)
        with pytest.raises(PermissionError, match=str(tmp_path / "denied")):
            store(sink, "denied/denied", b"x")
        store(sink, "fine", b"fine")
    assert tree(tmp_path)["fine"] == b"fine"
    assert "denied/denied" not in tree(tmp_path)


def test_a_file_that_is_larger_than_the_file_system_allows_is_a_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_: object) -> int:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    with opened(tmp_path) as sink:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", too_large)
            with pytest.raises(Reject, match="larger than a file may be there"):
                store(sink, "a", b"x")
        store(sink, "b", b"x")
    assert tree(tmp_path) == {"b": b"x"}


def test_names_that_windows_rules_make_too_long_are_cut_into_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = Rules(windows=True)
    monkeypatch.setattr(sink_module, "rules_of", lambda *_, **__: windows)
    paths = [f"{':' * 200}{number}/{'?' * 255}" for number in range(3)] + [f"{':' * 200}0/{'?' * 254}"]
    with opened(tmp_path) as sink:
        for path in paths:
            store(sink, path, path.encode())
            assert sink.write(data_file(path.encode(), path)).unchanged
    found = {"/".join(original(Path(name).parts, windows)): data for name, data in tree(tmp_path).items()}
    assert found == {path: path.encode() for path in paths}


def test_of_two_long_names_that_differ_both_are_kept(tmp_path: Path) -> None:
    name = "n" * 255
    with opened(tmp_path, on_conflict="keep-both") as sink:
        for data in (b"1", b"2"):
            store(sink, name, data)
    assert sorted(tree(tmp_path).values()) == [b"1", b"2"]


def touch(folder: Path, count: int) -> None:
    for number in range(count):
        (folder / f"{number}").touch()


def test_a_disk_without_inodes_waits_and_goes_on(tmp_path: Path) -> None:
    for disk in mounted(tmp_path / "small", "-t", "tmpfs", "-o", "nr_inodes=40", "tmpfs"):
        with opened(disk) as sink:
            ballast = disk / "ballast"
            ballast.mkdir()
            with pytest.raises(OSError, match="No space left"):
                touch(ballast, 100)
            with pytest.raises(RetryLater, match="No space left"):
                store(sink, "a/b", b"x")
            shutil.rmtree(ballast)
            store(sink, "a/b", b"x")
        assert tree(disk) == {"a/b": b"x"}


def test_trouble_is_said_once_and_so_is_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with opened(tmp_path) as sink:
        with monkeypatch.context() as patch:
            patch.setattr(staging.Staging, "add", full)
            for number in range(20):
                with pytest.raises(RetryLater):
                    sink.write(data_file(b"x", f"{number}"))
        for number in range(20):
            sink.write(data_file(b"x", f"{number}"))
            sink.flush()
    said = [each.message for each in caplog.records if each.levelname == "WARNING"]
    assert len(said) == 2
    assert "No space left on device; files wait" in said[0]
    assert said[1] == f"{tmp_path} can be written again"
    assert all(stat.S_ISREG((tmp_path / f"{number}").stat().st_mode) for number in range(20))
