"""The loops of `watch` and `upload` on real folders, with a fake sink."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from openmsi_core.errors import BrokerUnreachable, FolderError, UsageError
from openmsi_core.sending.entries import Entry, State
from openmsi_core.sending.goals import Forever, OnePass
from openmsi_core.sending.ledger import Ledger, ledger_file
from openmsi_core.sending.manner import Manner
from openmsi_core.sending.outlet import Budget, Outlet
from openmsi_core.sending.patience import FIRST_ANSWER, NEXT_ANSWER, Patience
from openmsi_core.sending.reports import Ending, Report, Tally
from openmsi_core.sending.uploading import Upload, gathered
from openmsi_core.sending.watching import Rules, Watch
from tests.sending_fakes import FakeSink, arrived

CHUNK = 16 * 1024
QUICK = Rules(settle=0.06, interval=0.02)
OLD = 10**18


def _put(root: Path, name: str, content: bytes = b"x", mtime_ns: int | None = OLD) -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    if mtime_ns is not None:
        os.utime(file, ns=(mtime_ns, mtime_ns))
    return file


def _once(tmp_path: Path, sink: FakeSink, rules: Rules = QUICK, reports: list[Report] | None = None) -> Tally:
    with Ledger(ledger_file(tmp_path / "state", tmp_path / "in", "t"), root=tmp_path / "in", topic="t") as ledger:
        watch = Watch(
            ledger, sink, OnePass(int(rules.settle * 1e9)), rules, threading.Event(), manner=Manner(CHUNK),
            report=(reports if reports is not None else []).append,
        )  # fmt: skip
        return watch.run()


@contextmanager
def _watching(tmp_path: Path, sink: FakeSink, rules: Rules = QUICK) -> Iterator[list[Report]]:
    stop = threading.Event()
    reports: list[Report] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            file = ledger_file(tmp_path / "state", tmp_path / "in", "t")
            with Ledger(file, root=tmp_path / "in", topic="t") as ledger:
                Watch(ledger, sink, Forever(), rules, stop, manner=Manner(CHUNK), report=reports.append).run()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield reports
    finally:
        stop.set()
        begun = time.monotonic()
        thread.join(10)
        assert time.monotonic() - begun < 8
        assert not failures


def _until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)  # between two looks at a condition of another thread


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def test_once_sends_everything_that_is_there_and_the_second_time_nothing(tmp_path: Path, root: Path) -> None:
    contents = {"a": b"", "sub/b": b"1", "sub/deep/c.bin": os.urandom(5 * CHUNK)}
    for name, content in contents.items():
        _put(root, name, content)
    sink = FakeSink()
    assert _once(tmp_path, sink) == Tally(sent=3, bytes=5 * CHUNK + 1)
    assert arrived(sink).whole == {name: [content] for name, content in contents.items()}
    assert _once(tmp_path, sink) == Tally()
    assert len(arrived(sink).whole) == 3


def test_once_waits_for_a_file_that_was_written_a_moment_ago(tmp_path: Path, root: Path) -> None:
    _put(root, "young", b"y", mtime_ns=None)
    begun = time.monotonic()
    assert _once(tmp_path, FakeSink(), Rules(settle=0.3, interval=0.02)).sent == 1
    assert time.monotonic() - begun >= 0.25


def test_changed_files_are_sent_again_and_unchanged_or_only_touched_ones_are_not(tmp_path: Path, root: Path) -> None:
    changed, touched, _ = _put(root, "changed"), _put(root, "touched"), _put(root, "same")
    sink = FakeSink()
    _once(tmp_path, sink)
    changed.write_bytes(b"other")
    os.utime(changed, ns=(OLD, OLD))  # only the size tells
    os.utime(touched, ns=(OLD + 1, OLD + 1))
    assert _once(tmp_path, sink).sent == 1
    assert arrived(sink).whole == {"changed": [b"x", b"other"], "touched": [b"x"], "same": [b"x"]}


def test_a_ledger_that_is_lost_sends_everything_again(tmp_path: Path, root: Path) -> None:
    _put(root, "a")
    sink = FakeSink()
    _once(tmp_path, sink)
    ledger_file(tmp_path / "state", root, "t").unlink()
    _once(tmp_path, sink)
    assert arrived(sink).whole == {"a": [b"x", b"x"]}


def test_once_counts_what_the_broker_refuses_and_tries_it_again_the_next_time(tmp_path: Path, root: Path) -> None:
    _put(root, "bad")
    _put(root, "good")
    reports: list[Report] = []
    sink = FakeSink(refuses=lambda n, chunk: "too large" if chunk.version and chunk.version.path.name == "bad" else "")
    assert _once(tmp_path, sink, reports=reports) == Tally(sent=1, bytes=1, failed=1)
    assert {each.seen.key: each.reason for each in reports} == {b"good": "", b"bad": "too large"}
    sink.refuses = lambda n, chunk: ""
    assert _once(tmp_path, sink).sent == 1


def test_once_gives_up_a_file_that_changes_each_time_it_is_read(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = _put(root, "growing.log")
    _put(root, "good")
    from openmsi_core.sending import sender
    from openmsi_core.sending.reading import open_file

    def opened(file: str) -> object:
        source = open_file(file)
        if file.endswith("growing.log"):
            log.write_bytes(log.read_bytes() + b"line")
            os.utime(log, ns=(OLD, OLD))
        return source

    monkeypatch.setattr(sender.Sender.__init__, "__kwdefaults__", {"budget": None, "opener": opened})
    assert _once(tmp_path, FakeSink()) == Tally(sent=1, bytes=1, failed=1)


def test_a_folder_that_is_missing_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="there is no folder"):
        _once(tmp_path, FakeSink())


def test_once_ends_when_the_broker_is_away(tmp_path: Path, root: Path) -> None:
    with pytest.raises(BrokerUnreachable):
        _once(tmp_path, FakeSink(is_away=True))


def test_watch_sends_what_is_there_what_comes_and_what_changes(tmp_path: Path, root: Path) -> None:
    _put(root, "there")
    sink = FakeSink()
    with _watching(tmp_path, sink) as reports:
        _until(lambda: len(reports) == 1)
        _put(root, "sub/comes", b"new", mtime_ns=None)
        _until(lambda: len(reports) == 2)
        _put(root, "there", b"changed", mtime_ns=None)
        _until(lambda: len(reports) == 3)
    assert arrived(sink).whole == {"there": [b"x", b"changed"], "sub/comes": [b"new"]}


def test_a_file_is_not_sent_while_it_is_being_written_and_once_when_it_is_done(tmp_path: Path, root: Path) -> None:
    sink = FakeSink()
    with _watching(tmp_path, sink, Rules(settle=0.5, interval=0.02)) as reports:
        for number in range(15):
            with (root / "slow.dat").open("ab") as out:
                out.write(b"%02d" % number)
            time.sleep(0.05)  # the pace of the instrument
            assert reports == []
        _until(lambda: bool(reports))
    assert arrived(sink).whole == {"slow.dat": [b"".join(b"%02d" % number for number in range(15))]}


def test_a_file_created_empty_and_filled_later_is_sent_in_both_versions(tmp_path: Path, root: Path) -> None:
    sink = FakeSink()
    with _watching(tmp_path, sink) as reports:
        _put(root, "f", b"", mtime_ns=None)
        _until(lambda: len(reports) == 1)
        _put(root, "f", b"filled", mtime_ns=None)
        _until(lambda: len(reports) == 2)
    assert arrived(sink).whole == {"f": [b"", b"filled"]}


def test_what_came_and_changed_while_nobody_watched_is_sent_at_the_next_start(tmp_path: Path, root: Path) -> None:
    _put(root, "a")
    sink = FakeSink()
    with _watching(tmp_path, sink) as reports:
        _until(lambda: len(reports) == 1)
    _put(root, "a", b"changed")
    _put(root, "b", b"added")
    with _watching(tmp_path, sink) as reports:
        _until(lambda: len(reports) == 2)
    assert arrived(sink).whole == {"a": [b"x", b"changed"], "b": [b"added"]}


def test_new_only_leaves_what_is_there_until_it_changes_and_misses_nothing_later(
    tmp_path: Path, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rules = Rules(settle=0.06, interval=0.02, new_only=True)
    _put(root, "old")
    _put(root, "old-too")
    sink = FakeSink()
    with _watching(tmp_path, sink, rules) as reports:
        _until(lambda: "2 files are there already" in caplog.text)
        _put(root, "new", b"n", mtime_ns=None)
        _put(root, "old", b"changed", mtime_ns=None)
        _until(lambda: len(reports) == 2)
    _put(root, "while down")
    with _watching(tmp_path, sink, rules) as reports:
        _until(lambda: len(reports) == 1)
    assert set(arrived(sink).whole) == {"new", "old", "while down"}


def test_patterns_decide_what_is_sent(tmp_path: Path, root: Path) -> None:
    for name in ("a.dat", "a.tmp", "LOGS/b.dat", "catalog.csv"):
        _put(root, name)
    sink = FakeSink()
    _once(tmp_path, sink, Rules(settle=0.06, exclude=("*.tmp", "LOGS/**")))
    assert set(arrived(sink).whole) == {"a.dat", "catalog.csv"}


def test_a_broker_that_is_away_is_waited_for_and_said_once(
    tmp_path: Path, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _put(root, "a")
    sink = FakeSink(is_away=True)
    with _watching(tmp_path, sink) as reports:
        _until(lambda: "waiting for the broker" in caplog.text)
        sink.is_away = False
        _until(lambda: len(reports) == 1)
    assert caplog.text.count("waiting for the broker") == 1
    assert arrived(sink).whole == {"a": [b"x"]}


def test_a_refused_file_is_tried_again_later_and_not_at_every_scan(tmp_path: Path, root: Path) -> None:
    _put(root, "bad")
    sink = FakeSink(refuses=lambda number, chunk: "no")
    with _watching(tmp_path, sink) as reports:
        _until(lambda: len(reports) == 1)
        time.sleep(0.3)  # some ten scans, in which it must not be tried
        assert len(reports) == 1
    assert sink._produced == 1


def test_a_stop_leaves_an_unacknowledged_file_for_the_next_start(tmp_path: Path, root: Path) -> None:
    _put(root, "a.bin", b"z" * 3 * CHUNK)
    sink = FakeSink(is_late=True)
    with _watching(tmp_path, sink):
        _until(lambda: sink.pending() == 3)
    sink.flush_in(1)  # one of them is in the topic; its acknowledgement was never seen
    sink._queue.clear()
    sink.is_late = False
    with _watching(tmp_path, sink) as reports:
        _until(lambda: len(reports) == 1)
    found = arrived(sink)
    assert found.whole == {"a.bin": [b"z" * 3 * CHUNK]}
    assert len(found.aborted) == 1
    assert found.unfinished == []


def test_a_million_unsettled_files_would_not_fill_the_queue_of_the_sender(tmp_path: Path, root: Path) -> None:
    for number in range(300):
        _put(root, f"{number}")
    sink = FakeSink(is_late=True)
    with _watching(tmp_path, sink) as reports:
        _until(lambda: sink.pending() == 300)
        sink.is_late = False
        _until(lambda: len(reports) == 300)


def test_forever_tries_again_after_a_while_that_grows() -> None:
    goal, report = Forever(), _report(Ending.REFUSED)
    assert goal.wants(b"k", 0)
    assert not goal.ended(report, 0)
    assert not goal.wants(b"k", 4_999_999_999)
    assert goal.wants(b"k", 5_000_000_000)
    for _ in range(20):
        goal.ended(report, 0)
    assert not goal.wants(b"k", 299_000_000_000)
    assert goal.wants(b"k", 300_000_000_000)
    goal.ended(_report(Ending.SENT), 0)
    assert goal.wants(b"k", 1)
    assert not goal.is_hopeless(b"k", 10**18)


def test_one_pass_gives_up_what_stays_unreadable_or_is_written_without_end() -> None:
    goal = OnePass(0)
    assert goal.wants(b"k", 0)
    assert [goal.ended(_report(Ending.UNREADABLE), 0) for _ in range(3)] == [False, False, True]
    assert goal.wants(b"w", 0)
    assert not goal.is_hopeless(b"w", 59_000_000_000)
    assert goal.is_hopeless(b"w", 60_000_000_000)
    goal.end_scan()
    assert not goal.is_reached()
    for key in (b"k", b"w", b"came later"):
        assert not goal.wants(key, 10**15)
    goal.end_scan()
    assert goal.is_reached()


def _report(ending: Ending) -> Report:
    from openmsi_core.sending.seen import Facts, Seen

    return Report(Seen("/k", b"k", Facts(1, 1, 1, 0)), ending, 1)


def test_patience_is_shorter_with_a_broker_that_never_answered() -> None:
    now = [0.0]
    sink = FakeSink(is_late=True)
    outlet = Outlet(sink, Budget())
    patience = Patience(outlet, clock=lambda: now[0])
    now[0] = 1000.0
    patience.check()  # nothing is owed
    from openmsi_core.files.chunking import abort_of
    from openmsi_core.files.wire import encode

    value = encode(abort_of(b"i" * 16, 1, CHUNK))
    outlet.produce(0, b"k", value, lambda offset, reason: None)
    now[0] += FIRST_ANSWER - 1
    patience.check()
    now[0] += 1
    with pytest.raises(BrokerUnreachable, match="acknowledged nothing for 15 s"):
        patience.check()
    sink.is_late = False
    outlet.serve(0.0)
    patience.check()
    sink.is_late = True
    outlet.produce(0, b"k", value, lambda offset, reason: None)
    now[0] += NEXT_ANSWER - 1
    patience.check()
    now[0] += 2
    with pytest.raises(BrokerUnreachable):
        patience.check()


def test_the_ledgers_half_sent_file_that_is_gone_is_given_up(tmp_path: Path, root: Path) -> None:
    with Ledger(ledger_file(tmp_path / "state", root, "t"), root=root, topic="t") as ledger:
        ledger.put(Entry(b"gone", 5, 1, State.SENDING, id=b"i" * 16, partition=1, chunk=CHUNK))
    sink = FakeSink()
    assert _once(tmp_path, sink) == Tally()
    assert arrived(sink).aborted == [b"i" * 16]
    with Ledger(ledger_file(tmp_path / "state", root, "t"), root=root, topic="t") as ledger:
        assert ledger.counts() == {}


def _upload(sink: FakeSink, *paths: Path) -> tuple[Tally, list[Report], list[str]]:
    reports: list[Report] = []
    complaints: list[str] = []
    files = gathered(paths, lambda place, reason: complaints.append(f"{place}: {reason}"))
    upload = Upload(files, sink, threading.Event(), manner=Manner(CHUNK), report=reports.append)
    return upload.run(), reports, complaints


def test_upload_sends_files_by_name_and_folders_with_paths_relative_to_them(tmp_path: Path) -> None:
    file = _put(tmp_path, "elsewhere/single.dat", b"1")
    _put(tmp_path, "folder/a", b"2", mtime_ns=None)
    _put(tmp_path, "folder/sub/b.bin", b"3" * 3 * CHUNK)
    sink = FakeSink()
    tally, reports, _ = _upload(sink, file, tmp_path / "folder")
    assert tally == Tally(sent=3, bytes=2 + 3 * CHUNK)
    assert set(arrived(sink).whole) == {"single.dat", "a", "sub/b.bin"}
    assert {each.as_json()["state"] for each in reports} == {"sent"}


def test_upload_sends_the_same_file_each_time(tmp_path: Path) -> None:
    file = _put(tmp_path, "f")
    sink = FakeSink()
    _upload(sink, file)
    _upload(sink, file)
    assert arrived(sink).whole == {"f": [b"x", b"x"]}


def test_upload_follows_a_link_that_is_named_and_keeps_its_name(tmp_path: Path) -> None:
    _put(tmp_path, "real.dat", b"r")
    (tmp_path / "link.dat").symlink_to("real.dat")
    sink = FakeSink()
    assert _upload(sink, tmp_path / "link.dat")[0].sent == 1
    assert arrived(sink).whole == {"link.dat": [b"r"]}


@pytest.mark.parametrize("kind", ["missing", "pipe", "twice"])
def test_upload_refuses_paths_before_anything_is_sent(tmp_path: Path, kind: str) -> None:
    good = _put(tmp_path, "good")
    if kind == "pipe":
        os.mkfifo(tmp_path / "pipe")
    if kind == "twice":
        _put(tmp_path, "twice/good")
    bad = tmp_path / "twice" / "good" if kind == "twice" else tmp_path / kind
    with pytest.raises(UsageError, match="nothing was sent"):
        gathered([good, bad], lambda place, reason: None)


def test_upload_waits_for_a_file_from_the_future(tmp_path: Path) -> None:
    file = _put(tmp_path, "future", b"f", mtime_ns=4 * 10**18)
    sink = FakeSink()
    assert _upload(sink, file)[0].sent == 1


def test_upload_counts_and_names_what_it_could_not_send(tmp_path: Path) -> None:
    _put(tmp_path, "in/good")
    _put(tmp_path, "in/bad")
    (tmp_path / "in" / "out").symlink_to("/etc/passwd")
    sink = FakeSink(refuses=lambda n, chunk: "no" if chunk.version and chunk.version.path.name == "bad" else "")
    tally, reports, complaints = _upload(sink, tmp_path / "in")
    assert (tally.sent, tally.failed, len(complaints)) == (1, 1, 1)
    failed = next(each for each in reports if each.ending is not Ending.SENT).as_json()
    assert (failed["path"], failed["state"], failed["reason"]) == ("bad", "failed", "no")


def test_upload_stops_in_time_and_reports_what_it_did_not_send(tmp_path: Path) -> None:
    _put(tmp_path, "in/a")
    sink, stop = FakeSink(is_late=True), threading.Event()
    reports: list[Report] = []
    upload = Upload(gathered([tmp_path / "in"], lambda *_: None), sink, stop, report=reports.append)
    timer = threading.Timer(0.2, stop.set)
    timer.start()
    begun = time.monotonic()
    assert upload.run().failed == 1
    timer.join()
    assert time.monotonic() - begun < 7
    assert [each.ending for each in reports] == [Ending.STOPPED]


def test_one_line_per_file_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    file = _put(tmp_path, "esc\x1b[2J.dat", b"1")
    sink = FakeSink()
    Upload(gathered([file], lambda *_: None), sink, threading.Event()).run()
    (line,) = [each.getMessage() for each in caplog.records]
    assert line.startswith("sent esc\\x1b[2J.dat, 1 bytes, sha256 6b86b273ff34")
