"""The scanner on real folders: nothing is followed out, nothing is left out in silence."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmsi_core.model import MAX_PART_BYTES, RelativePath
from openmsi_core.sending.complaints import Complaints
from openmsi_core.sending.scanner import Scanner
from openmsi_core.sending.seen import facts_of

HOSTILE = [
    b"with space.txt",
    b"new\nline",
    b"quote'\"`$(rm)",
    "e\u0301\u20ac.dat".encode(),
    b"not utf-8 \xe9\xff",
    b"back\\slash",
    b"a:b",
    b"CON",
    b"-rf",
    b"%s{}",
    b"\x01\x1b[2J",
    b"x" * 255,
    b"...",
]


def _keys(root: Path, **patterns: tuple[str, ...]) -> set[bytes]:
    return {seen.key for seen in Scanner(root, _unexpected, **patterns).scan()}


def _unexpected(place: str, reason: str) -> None:
    raise AssertionError(f"{place}: {reason}")


@pytest.mark.parametrize("name", HOSTILE)
def test_every_name_that_the_file_system_allows_is_seen_as_it_is(tmp_path: Path, name: bytes) -> None:
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    file = folder / os.fsdecode(name)
    file.write_bytes(b"123")
    (seen,) = Scanner(tmp_path, _unexpected).scan()
    assert seen.key == name + b"/" + name
    assert seen.relative.key == seen.key
    assert seen.file == str(file)
    assert seen.facts == facts_of(file.stat())


def test_folders_of_any_depth_are_walked_without_recursion(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(300):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "f").write_bytes(b"")
    assert _keys(tmp_path) == {b"d/" * 300 + b"f"}


def test_a_path_too_long_for_the_wire_is_said_and_counted(tmp_path: Path) -> None:
    before = Path.cwd()
    try:
        os.chdir(tmp_path)
        for _ in range(17):
            Path("n" * 250).mkdir()
            os.chdir("n" * 250)
        Path("f").write_bytes(b"")
    finally:
        os.chdir(before)
    said: list[tuple[str, str]] = []
    scanner = Scanner(tmp_path, lambda place, reason: said.append((place, reason)))
    assert list(scanner.scan()) == []
    assert scanner.left_out == 1
    assert len(said) == 1


def test_a_name_that_cannot_be_sent_is_said_and_counted(tmp_path: Path) -> None:
    class Entry:  # what Windows may answer: half of a surrogate pair
        name = "half \ud800"
        path = "/x/half"

    said: list[str] = []
    scanner = Scanner(tmp_path, lambda place, reason: said.append(reason))
    assert scanner._key(Entry(), b"a/") is None  # type: ignore[arg-type]
    assert scanner.left_out == 1
    assert "UTF-8" in said[0]


@given(
    st.lists(
        st.binary(min_size=1, max_size=400).filter(lambda b: b"/" not in b and b"\0" not in b), min_size=1, max_size=12
    )
)
def test_the_scanner_refuses_exactly_the_names_that_a_relative_path_refuses(parts: list[bytes]) -> None:
    names = [os.fsdecode(part) for part in parts]
    if any(name in {".", ".."} for name in names):
        return  # scandir never answers these

    class Entry:
        name = names[-1]
        path = "/x"

    prefix = b"".join(part + b"/" for part in parts[:-1])
    if any(len(part) > MAX_PART_BYTES for part in parts[:-1]):
        return  # such a folder was refused before
    key = Scanner(Path("/x"), lambda place, reason: None)._key(Entry(), prefix)  # type: ignore[arg-type]
    try:
        expected: bytes | None = RelativePath(tuple(names)).key
    except ValueError:
        expected = None
    assert key == expected


def test_links_to_folders_are_not_followed_so_loops_end(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "f").write_bytes(b"")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self").symlink_to("self")
    said: list[str] = []
    assert {seen.key for seen in Scanner(tmp_path, lambda place, reason: said.append(place)).scan()} == {b"a/f"}
    assert said == [str(tmp_path / "self")]


def test_a_link_to_a_file_inside_is_sent_under_its_own_path(tmp_path: Path) -> None:
    (tmp_path / "run7.dat").write_bytes(b"7")
    (tmp_path / "latest.dat").symlink_to("run7.dat")
    seen = {each.key: each for each in Scanner(tmp_path, _unexpected).scan()}
    assert set(seen) == {b"run7.dat", b"latest.dat"}
    assert seen[b"latest.dat"].file == str(tmp_path / "run7.dat")
    assert seen[b"latest.dat"].facts == seen[b"run7.dat"].facts


def test_a_link_that_leads_outside_is_left_out_and_said(tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    (tmp_path / "in-secret").write_bytes(b"s")  # a sibling whose name begins like the root's
    (root / "link").symlink_to(tmp_path / "in-secret")
    (root / "passwd").symlink_to("/etc/passwd")
    said: list[str] = []
    scanner = Scanner(root, lambda place, reason: said.append(reason))
    assert list(scanner.scan()) == []
    assert scanner.left_out == 2
    assert all("leads out of the folder" in reason for reason in said)


def test_a_root_that_is_a_link_itself_is_scanned(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "f").write_bytes(b"")
    (tmp_path / "real" / "l").symlink_to("f")
    (tmp_path / "root").symlink_to("real", target_is_directory=True)
    assert _keys(tmp_path / "root") == {b"f", b"l"}


def test_pipes_and_dangling_links_are_not_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nothing")
    assert _keys(tmp_path) == set()


def test_our_own_folders_are_never_sent(tmp_path: Path) -> None:
    (tmp_path / "sub" / ".openmsi").mkdir(parents=True)
    (tmp_path / "sub" / ".openmsi" / "spool").write_bytes(b"")
    (tmp_path / "sub" / "f").write_bytes(b"")
    assert _keys(tmp_path) == {b"sub/f"}


def test_patterns_choose_files(tmp_path: Path) -> None:
    for name in ("a.dat", "a.tmp", "LOGS/x.dat", "sub/catalog.csv", "sub/analog.dat"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert _keys(tmp_path, exclude=("*.tmp", "LOGS/**")) == {b"a.dat", b"sub/catalog.csv", b"sub/analog.dat"}
    assert _keys(tmp_path, include=("*.dat",), exclude=("LOGS/**",)) == {b"a.dat", b"sub/analog.dat"}


class _Denied:
    """Makes os.scandir refuse one folder, as the kernel does for anybody but root."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.is_denied = True
        self.real = os.scandir

    def __call__(self, path: str) -> object:
        if self.is_denied and path == self.folder:
            raise PermissionError(13, "Permission denied", path)
        return self.real(path)


def test_an_unreadable_folder_is_said_once_and_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "f").write_bytes(b"")
    denied = _Denied(tmp_path / "secret")
    monkeypatch.setattr(os, "scandir", denied)
    complaints = Complaints()
    scanner = Scanner(tmp_path, complaints)
    for _ in range(3):
        assert list(scanner.scan()) == []
        assert scanner.left_out == 1
        complaints.end_scan()
    assert len(caplog.records) == 1
    assert "Permission denied" in caplog.text
    denied.is_denied = False
    assert {seen.key for seen in scanner.scan()} == {b"secret/f"}
    complaints.end_scan()
    denied.is_denied = True
    list(scanner.scan())
    assert len(caplog.records) == 2


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir(mode=0o000)
    scanner = Scanner(tmp_path, lambda place, reason: None)
    assert list(scanner.scan()) == []
    assert scanner.left_out == 1


def test_a_root_that_is_gone_is_left_out_and_nothing_is_raised(tmp_path: Path) -> None:
    said: list[str] = []
    scanner = Scanner(tmp_path / "mount", lambda place, reason: said.append(reason))
    assert list(scanner.scan()) == []
    assert said == ["No such file or directory"]


def test_times_that_no_clock_should_show_are_kept_within_bounds(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"")
    os.utime(file, ns=(-(10**18), -(10**18)))
    (seen,) = Scanner(tmp_path, _unexpected).scan()
    assert seen.facts.mtime_ns == file.stat().st_mtime_ns < 0
