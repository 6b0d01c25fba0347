"""Saving one file where a person asked for it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from openmsi_core.errors import FolderError, UsageError
from openmsi_core.files.content import InMemory
from openmsi_core.files.saving import save
from openmsi_core.model import RelativePath

PATH = RelativePath.parse("run 7/scan.raw")


def test_a_file_goes_into_a_folder_under_its_name_or_to_the_place_that_is_named(tmp_path) -> None:
    assert save(InMemory([b"ab", b"c"]), tmp_path, PATH, mtime_ns=1_700_000_000 * 10**9) == tmp_path / "scan.raw"
    assert (tmp_path / "scan.raw").read_bytes() == b"abc"
    assert (tmp_path / "scan.raw").stat().st_mtime == 1_700_000_000
    assert save(b"", tmp_path / "other", PATH).read_bytes() == b""
    assert sorted(os.listdir(tmp_path)) == ["other", "scan.raw"]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_is_there_is_replaced_only_by_force(tmp_path, monkeypatch, links) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    if not links:
        monkeypatch.setattr(os, "link", no_links)
    place = save(b"old", tmp_path / "file", PATH)
    with pytest.raises(UsageError, match=r"is there already\. Give --force"):
        save(b"new", place, PATH)
    assert place.read_bytes() == b"old"
    assert save(b"new", place, PATH, force=True).read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path, monkeypatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FolderError, match=r"cannot be written: No space left.*--to"):
        save(b"x", tmp_path / "file", PATH)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_missing_is_told(tmp_path) -> None:
    with pytest.raises(FolderError, match="there is no folder"):
        save(b"x", tmp_path / "missing" / "file", PATH)


def test_a_folder_in_the_way_is_told(tmp_path) -> None:
    (tmp_path / "scan.raw").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        save(b"x", tmp_path, PATH)


def test_a_time_of_change_that_no_file_system_has_is_said_and_the_bytes_are_kept(tmp_path, caplog) -> None:
    place = save(b"x", tmp_path / "file", PATH, mtime_ns=1 << 110)
    assert place.read_bytes() == b"x"
    assert "cannot be set" in caplog.text


def test_the_name_alone_is_taken_from_the_path(tmp_path) -> None:
    assert save(b"x", tmp_path, RelativePath.parse("a/b/..c")) == Path(tmp_path / "..c")
