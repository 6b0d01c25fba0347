"""A watch with hints: quick where the file system tells, and as right where it lies, is silent or tells too much."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from openmsi_core.sending.agenda import Agenda
from openmsi_core.sending.goals import Forever
from openmsi_core.sending.hints import FolderHints, Hint, Hints, NoHints
from openmsi_core.sending.ledger import Ledger, ledger_file
from openmsi_core.sending.manner import Manner
from openmsi_core.sending.mounts import kind_of, network_kind
from openmsi_core.sending.reports import Report
from openmsi_core.sending.rules import Rules
from openmsi_core.sending.scanner import Scanner
from openmsi_core.sending.settling import TICK_NS, Settling
from openmsi_core.sending.watching import Watch
from tests.sending_fakes import FakeSink, arrived

SELDOM = Rules(settle=0.3, interval=3600.0)  # what is sent after the first scan was hinted at, or due


class Lying(NoHints):
    """Hints that a test makes up."""

    def __init__(self) -> None:
        self.waiting: list[Hint] = []
        self.is_lossy = False

    def take(self, most: int) -> list[Hint]:
        taken, self.waiting = self.waiting[:most], self.waiting[most:]
        return taken

    def were_lost(self) -> bool:
        was, self.is_lossy = self.is_lossy, False
        return was


@contextmanager
def _watching(tmp_path: Path, sink: FakeSink, hints: Hints, rules: Rules = SELDOM) -> Iterator[list[Report]]:
    root, stop, failures = tmp_path / "in", threading.Event(), []
    reports: list[Report] = []

    def run() -> None:
        try:
            with Ledger(ledger_file(tmp_path / "state", root, "t"), root=root, topic="t") as ledger:
                Watch(
                    ledger, sink, Forever(), rules, stop, manner=Manner(16 * 1024), report=reports.append, hints=hints
                ).run()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield reports
    finally:
        stop.set()
        thread.join(10)
        assert not failures


def _until(condition: Callable[[], bool], seconds: float = 10.0) -> float:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() < begun + seconds, "it never came to that"
        time.sleep(0.005)  # between two looks at a condition of another thread
    return time.monotonic() - begun


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "first").write_bytes(b"1")
    return tmp_path / "in"


def test_what_comes_and_changes_is_sent_after_its_settle_time_without_a_scan(tmp_path: Path, root: Path) -> None:
    sink = FakeSink()
    with _watching(tmp_path, sink, FolderHints(root)) as reports:
        _until(lambda: len(reports) == 1)
        (root / "sub" / "deep").mkdir(parents=True)
        (root / "sub" / "deep" / "new").write_bytes(b"new")
        (root / "first").write_bytes(b"changed")
        _until(lambda: len(reports) == 3)
    assert arrived(sink).whole == {"first": [b"1", b"changed"], "sub/deep/new": [b"new"]}


def test_a_file_that_is_renamed_into_place_needs_not_settle(tmp_path: Path, root: Path) -> None:
    sink = FakeSink()
    rules = Rules(settle=60.0, interval=3600.0, exclude=("*.part",))
    begun = threading.Event()

    class Begun(FolderHints):
        def take(self, most: int) -> list[Hint]:
            begun.set()
            return super().take(most)

    with _watching(tmp_path, sink, Begun(root), rules) as reports:
        assert begun.wait(10)
        for number in range(3):
            (root / "scan.part").write_bytes(b"whole")
            (root / "scan.part").rename(root / f"scan{number}.dat")
        _until(lambda: len(reports) == 3, 20.0)
    assert arrived(sink).whole == {f"scan{number}.dat": [b"whole"] for number in range(3)}


def test_folders_that_are_moved_in_around_and_out_are_followed(tmp_path: Path, root: Path) -> None:
    sink, outside = FakeSink(), tmp_path / "outside" / "run7"
    (outside / "a" / "b").mkdir(parents=True)
    (outside / "a" / "b" / "x").write_bytes(b"x")
    with _watching(tmp_path, sink, FolderHints(root), Rules(settle=0.3, interval=0.5)) as reports:
        _until(lambda: len(reports) == 1)
        outside.rename(root / "run7")
        _until(lambda: len(reports) == 2)
        (root / "run7").rename(root / "run8")
        _until(lambda: len(reports) == 3)
        (root / "run8").rename(outside)
        (outside / "a" / "b" / "y").write_bytes(b"not ours")
        (root / "last").write_bytes(b"l")
        _until(lambda: len(reports) == 4)
    assert arrived(sink).whole == {"first": [b"1"], "run7/a/b/x": [b"x"], "run8/a/b/x": [b"x"], "last": [b"l"]}


def test_hints_that_are_wrong_lead_to_nothing(tmp_path: Path, root: Path) -> None:
    sink, hints = FakeSink(), Lying()
    (tmp_path / "secret").write_bytes(b"s")
    (root / "door").symlink_to(tmp_path)
    (root / ".openmsi").mkdir()
    (root / ".openmsi" / "spool").write_bytes(b"ours")
    with _watching(tmp_path, sink, hints) as reports:
        _until(lambda: len(reports) == 1)
        for place in ("gone", "door/secret", ".openmsi/spool", "../secret", "door", ""):
            hints.waiting.append(Hint(f"{root}/{place}", is_moved=True))
        hints.waiting.append(Hint(f"{root}-other/x", is_moved=True))
        (root / "good").write_bytes(b"g")
        os.utime(root / "good", ns=(10**18, 10**18))
        hints.waiting.append(Hint(f"{root}/good", is_moved=True))
        _until(lambda: len(reports) == 2)
    assert set(arrived(sink).whole) == {"first", "good"}


def test_after_lost_hints_the_whole_folder_is_looked_through(tmp_path: Path, root: Path) -> None:
    sink, hints = FakeSink(), Lying()
    with _watching(tmp_path, sink, hints) as reports:
        _until(lambda: len(reports) == 1)
        (root / "unheard").write_bytes(b"u")
        hints.is_lossy = True
        _until(lambda: len(reports) == 2)


def test_without_any_hint_the_next_scan_finds_what_came(tmp_path: Path, root: Path) -> None:
    sink = FakeSink()
    with _watching(tmp_path, sink, NoHints(), Rules(settle=0.1, interval=0.3)) as reports:
        _until(lambda: len(reports) == 1)
        (root / "unheard").write_bytes(b"u")
        _until(lambda: len(reports) == 2)


def test_more_hints_than_are_held_are_told_as_lost(tmp_path: Path) -> None:
    hints = FolderHints(tmp_path, held=2)
    for place in ("a", "b", "a", "c"):
        hints.told(place, is_moved=place == "a")
    assert hints.were_lost()
    assert not hints.were_lost()
    assert hints.take(1) == [Hint("a", is_moved=True)]
    assert hints.take(9) == [Hint("b", is_moved=False)]
    assert hints.take(9) == []


def test_what_watchdog_says_of_an_overflow_is_heard_and_not_printed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hints = FolderHints(tmp_path)
    with hints:
        logging.getLogger("watchdog.observers.inotify_c").warning("Inotify queue overflowed; events were lost")
        assert hints.were_lost()
    assert caplog.records == []
    assert not [each for each in threading.enumerate() if "watchdog" in type(each).__module__]


def test_a_system_that_gives_no_events_is_said_and_the_folder_is_watched_all_the_same(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from watchdog.observers.api import BaseObserver

    def refuse(*_: object) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(BaseObserver, "start", refuse)
    sink = FakeSink()
    with _watching(tmp_path, sink, FolderHints(root), Rules(settle=0.1, interval=0.2)) as reports:
        _until(lambda: len(reports) == 1)
    assert "the folder is looked through at intervals only" in caplog.text


def test_a_look_at_one_place_finds_what_a_scan_finds_there(tmp_path: Path) -> None:
    for name in ("a", "sub/b", "sub/deep/c.tmp", "sub/deep/d"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "loop").symlink_to(".")
    scanner = Scanner(tmp_path, lambda place, reason: None, exclude=("*.tmp",))
    everything = {seen.key: seen for seen in scanner.scan()}
    assert set(everything) == {b"a", b"sub/b", b"sub/deep/d", b"link"}
    for key, seen in everything.items():
        assert list(scanner.look(scanner.place_of(key))) == [seen]
    assert {seen.key for seen in scanner.look(str(tmp_path / "sub"))} == {b"sub/b", b"sub/deep/d"}
    for place in ("loop/a", "loop", "nothing", "sub/deep/c.tmp", "sub/../a"):
        assert list(scanner.look(f"{tmp_path}/{place}")) == []


def test_a_moved_file_is_ready_when_its_last_tick_is_over() -> None:
    settling, second = Settling(10**10), 10**9
    wall = 5 * second + 7
    assert settling.look(b"a", 1, wall - TICK_NS, 0, wall, is_moved=True)
    assert not settling.look(b"b", 1, wall - TICK_NS + 1, 0, wall, is_moved=True)
    assert settling.look(b"c", 1, 2 * second, 0, wall, is_moved=True)
    assert not settling.look(b"d", 1, 4 * second, 0, wall, is_moved=True), "whole seconds may count in pairs"
    assert settling.look(b"d", 1, 4 * second, 0, wall + second, is_moved=True)
    assert settling.due_ns(b"b") == TICK_NS
    assert settling.due_ns(b"nobody") is None


def test_a_file_with_whole_seconds_waits_until_no_change_could_hide_in_them() -> None:
    settling, second = Settling(TICK_NS, trusts_age=True), 10**9
    assert not settling.look(b"a", 1, 4 * second, 0, 4 * second + TICK_NS)
    assert not settling.look(b"a", 1, 4 * second, TICK_NS, 6 * second - 1)
    assert settling.look(b"a", 1, 4 * second, 2 * TICK_NS, 6 * second)


def test_the_agenda_names_each_path_once_when_it_is_first_due() -> None:
    agenda = Agenda(capacity=3)
    for key, due in ((b"b", 20), (b"a", 10), (b"b", 5), (b"c", 30), (b"too many", 1)):
        agenda.put(key, due)
    agenda.put(b"a", 15)
    assert agenda.next_ns == 5
    assert agenda.due(25, 1) == [b"b"]
    assert agenda.due(25, 9) == [b"a"]
    assert agenda.due(25, 9) == []
    agenda.put(b"b", 26)
    assert agenda.due(99, 9) == [b"b", b"c"]
    assert agenda.next_ns > 10**18


MOUNTS = r"""22 1 8:1 / / rw - ext4 /dev/sda rw
30 22 0:40 / /mnt/lab\040data rw,relatime shared:1 - nfs4 nas:/lab rw
31 22 0:41 / /mnt/fuse rw - fuse bindfs rw
32 22 0:42 / /mnt/usb rw - fuseblk /dev/sdb1 rw
33 22 0:43 / /mnt/share rw - cifs //nas/x rw
34 33 0:44 / /mnt/share/local rw - xfs /dev/sdc rw
35 22 0:45 / /mnt/over rw - ext4 /dev/sdd rw
36 22 0:46 / /mnt/over rw - nfs nas:/o rw
nonsense
"""


@pytest.mark.parametrize(
    ("folder", "kind", "is_network"),
    [
        ("/home/x", "ext4", False), ("/mnt/lab data/run", "nfs4", True), ("/mnt/lab", "ext4", False),
        ("/mnt/fuse", "fuse", True), ("/mnt/usb/x", "fuseblk", False), ("/mnt/share/a/b", "cifs", True),
        ("/mnt/share/local/b", "xfs", False), ("/mnt/over/x", "nfs", True),
    ],
)  # fmt: skip
def test_network_mounts_are_found_in_the_systems_list(tmp_path: Path, folder: str, kind: str, is_network: bool) -> None:
    assert kind_of(Path(folder), MOUNTS) == kind
    (tmp_path / "mountinfo").write_text(MOUNTS)
    assert network_kind(Path(folder), tmp_path / "mountinfo") == (kind if is_network else "")


def test_a_system_without_such_a_list_has_no_network_mounts_that_we_know_of(tmp_path: Path) -> None:
    assert network_kind(tmp_path, tmp_path / "nothing") == ""


def test_a_file_that_is_written_for_an_hour_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "in"
    root.mkdir()
    from openmsi_core.sending.rules import Clocks

    now = [0]
    with Ledger(ledger_file(tmp_path / "state", root, "t"), root=root, topic="t") as ledger:
        watch = Watch(
            ledger, FakeSink(), Forever(), Rules(settle=3.0), threading.Event(),
            clocks=Clocks(steady_ns=lambda: now[0]), report=lambda report: None,
        )  # fmt: skip
        watch.sender.start()
        for minute in range(121):
            (root / "growing.log").write_bytes(b"line\n" * (minute + 1))
            now[0] = minute * 60 * 10**9
            watch._look(watch._scanner.scan())
            watch._scan = None
            watch._look(watch._scanner.look("/nowhere"))  # the end of the scan
    assert caplog.text.count("has been written to for an hour without standing still for 3 s") == 1


def test_folders_that_are_made_quickly_bring_no_warnings_of_watchdog(tmp_path: Path) -> None:
    with FolderHints(tmp_path) as hints:  # a warning is an error here, and would end a thread of watchdog
        for number in range(300):
            (tmp_path / f"d{number}" / "sub" / "deep").mkdir(parents=True)
            (tmp_path / f"d{number}" / "sub" / "deep" / "f").write_bytes(b"")
        places: set[str] = set()

        def heard() -> bool:
            places.update(hint.place for hint in hints.take(10_000))
            return str(tmp_path / "d299") in places

        _until(heard)
