"""Choosing files of a topic and running them again, with a fake log."""

from __future__ import annotations

import json
from contextlib import ExitStack
from threading import Event

import pytest
from click.testing import CliRunner

from openmsi_core.cli import openmsi
from openmsi_core.crypto.plain import Plain
from openmsi_core.errors import Reject, UsageError
from openmsi_core.files import wire
from openmsi_core.files.assembly import Assembler
from openmsi_core.files.spool import Spool
from openmsi_core.model import PluginFacts, Position, Record
from openmsi_core.receiving import choosing, replaying
from openmsi_core.receiving.attempts import RetryPolicy
from openmsi_core.receiving.choosing import Where, receipted
from openmsi_core.receiving.intake import Intake
from openmsi_core.receiving.jobs import Counts, RunFacts
from openmsi_core.receiving.pace import Pace, Room
from openmsi_core.receiving.replaying import ChosenSource, WithoutCommits, choose, superseded
from openmsi_core.receiving.stream import Stream
from openmsi_core.receiving.survey import Survey
from openmsi_core.receiving.workers import Workers
from tests.fakes import Call, Log, LogReader, LogStore, values_of
from tests.unit.test_letters import NOW

RUN = RunFacts("g", "t", PluginFacts("fake", "extractor", "fakes", "1"), output_topic="out")
BIG = b"ab" * wire.MIN_CHUNK


class Rig:
    def __init__(self, tmp_path, log: Log, does=lambda file: {"size": file.size}, **more) -> None:
        self.stack = ExitStack()
        self.log = log
        self.spool = self.stack.enter_context(Spool(tmp_path / "spool"))
        self.reader = LogReader(log, began_ms=1000, lows=more.get("lows"))
        self.calls: list[str] = []
        self.does = does
        self.room = more.get("room") or Room()
        self.stopping = Event()

    def choose(self, where: Where, ids=None, **more):
        survey = Survey(
            Assembler(self.spool, wanted=lambda _: False), Plain(), lambda version: where.wants_path(version.path)
        )
        return choose(self.reader, survey, where, ids, is_stopping=self.stopping.is_set, **more)

    def run(self, chosen) -> Counts:
        def called(file):
            self.calls.append(str(file.path))
            return self.does(file)

        counts = Counts()
        store = LogStore(self.log)
        workers = self.stack.enter_context(Workers([Call(called)], RUN, RetryPolicy(delays=())))
        intake = Intake(Assembler(self.spool), Plain(), counts, 1 << 40)
        pace = Pace(longest=0.05, housekeeping=0.0, stall_before_pause=0.05)
        stream = Stream(RUN, intake, workers, first_offset=lambda claim: claim.low, pace=pace, room=self.room)
        source = ChosenSource(self.reader, chosen, Plain(), stream)
        with self.stack:
            assert stream.run(source, WithoutCommits(store), until_caught_up=True) == 0
        assert self.log.commits == {}
        return counts


def paths(found) -> list[str]:
    return [str(each.version.path) for each in found]


@pytest.fixture
def log() -> Log:
    log = Log(2)
    big, other = values_of("a/big.raw", BIG), values_of("b/other.raw", BIG)
    log.put(*(value for pair in zip(big, other, strict=True) for value in pair))
    log.put(*values_of("a/small.txt", b"x"), b"garbage", None)
    log.put(*values_of("a/two.txt", b"x"), partition=1)
    return log


def test_files_are_chosen_by_path_and_only_those_are_run(tmp_path, log) -> None:
    rig = Rig(tmp_path, log)
    chosen = rig.choose(Where(paths=("a/*.raw", "two.txt")))
    assert paths(chosen.running) == ["a/big.raw", "a/two.txt"]
    counts = rig.run(chosen)
    assert sorted(rig.calls) == ["a/big.raw", "a/two.txt"]
    assert counts.files == 2
    results = [json.loads(value) for value in log.values("out")]
    assert sorted(result["file"]["path"] for result in results) == ["a/big.raw", "a/two.txt"]
    assert len(log.values("t.receipts")) == 2


def test_time_is_that_of_the_first_record_and_reading_begins_there(tmp_path, log) -> None:
    rig = Rig(tmp_path, log)
    small = 2 * len(values_of("x", BIG))
    with rig.stack:
        assert paths(rig.choose(Where(after_ms=1001)).running) == ["b/other.raw", "a/small.txt"]
        rig.reader.read.clear()
        late = rig.choose(Where(after_ms=1000 + small))
        assert paths(late.running) == ["a/small.txt"]
        assert min(each.offset for each in rig.reader.read) == small
        assert paths(rig.choose(Where(before_ms=1001)).running) == ["a/big.raw", "a/two.txt"]
        assert rig.choose(Where(after_ms=10**15)).running == []


def test_what_lacks_its_beginning_or_its_end_is_skipped_and_counted(tmp_path) -> None:
    log = Log()
    log.put(*values_of("cut", BIG), *values_of("whole", b"x"), values_of("open", BIG)[0])
    rig = Rig(tmp_path, log, lows={0: 1})
    chosen = rig.choose(Where())
    assert paths(chosen.running) == ["whole"]
    assert (chosen.headless, chosen.unfinished) == (1, 1)
    rig.run(chosen)
    assert rig.calls == ["whole"]


def test_older_versions_end_as_superseded_also_when_the_newer_one_is_not_chosen(tmp_path) -> None:
    log = Log()
    old, new = values_of("p", b"old"), values_of("p", b"new")
    log.put(*old, *values_of("q", b"x"), *new)
    rig = Rig(tmp_path, log)
    ids = {wire.decode(old[0]).file_id}
    with rig.stack:
        assert paths(rig.choose(Where(), ids, force=True).running) == ["p"]
        chosen = rig.choose(Where(), ids)
        assert (paths(chosen.running), paths(chosen.superseded)) == ([], ["p"])
    (receipts,) = superseded(chosen, RUN, NOW)
    assert [json.loads(each.value)["outcome"] for each in receipts] == ["superseded"]
    assert (receipts[0].key or b"").startswith(b"p\0g\0")


def test_a_file_that_fails_in_a_replay_becomes_a_dead_letter(tmp_path, log) -> None:
    def does(file):
        if file.suffix == ".txt":
            raise Reject("not that")
        return {}

    rig = Rig(tmp_path, log, does)
    counts = rig.run(rig.choose(Where()))
    assert (counts.files, counts.letters) == (2, 2)
    assert {json.loads(value)["what"] for value in log.values("t.dlq")} == {"rejected"}


def test_a_replay_goes_on_after_it_had_no_room(tmp_path) -> None:
    log = Log()
    for number in range(20):
        log.put(*values_of(f"{number}", b"x" * 100))
    rig = Rig(tmp_path, log, lambda file: Event().wait(0.02) or {}, room=Room(files=2))
    assert rig.run(rig.choose(Where())).files == 20


def test_more_files_than_memory_should_hold_are_refused(tmp_path, log, monkeypatch) -> None:
    monkeypatch.setattr(replaying, "MAX_FILES", 3)
    rig = Rig(tmp_path, log)
    with rig.stack, pytest.raises(UsageError, match=r"more than 3 files match.*in parts"):
        rig.choose(Where())


def test_a_stop_while_choosing_ends_it(tmp_path, log) -> None:
    rig = Rig(tmp_path, log)
    rig.stopping.set()
    with rig.stack:
        assert rig.choose(Where()).running == []


def receipt(key: bytes, run: str, outcome: str, number: int, version: str = "1.2", path: str = "a/p") -> Record:
    text = {"run": run, "outcome": outcome, "version": version, "id": f"{number:032x}", "path": path}
    return Record(Position("t.receipts", 0, number), 0, key, json.dumps(text).encode())


def test_the_newest_receipt_of_the_run_for_a_path_decides() -> None:
    records = [
        receipt(b"p\0g", "g", "rejected", 1),
        receipt(b"p\0g", "g", "done", 2),
        receipt(b"q\0g", "g", "rejected", 3),
        receipt(b"q\0h", "h", "rejected", 4),
        receipt(b"r\0g", "g", "failed", 5, path="b/r"),
        None,
        Record(Position("t.receipts", 0, 9), 0, b"s", b"[" * 100_000),
        Record(Position("t.receipts", 0, 9), 0, b"s", b'{"run":"g"}'),
    ]
    assert receipted(records, "g", Where(outcomes=("rejected",))) == {(3).to_bytes(16, "big")}
    assert receipted(records, "g", Where(outcomes=("rejected", "failed"))) == {n.to_bytes(16, "big") for n in (3, 5)}
    assert receipted(records, "g", Where(outcomes=("failed",), paths=("a/*",))) == frozenset()
    assert len(receipted(records, "g", Where(versions=("1.*",)))) == 3
    assert receipted(records, "g", Where(versions=("1",))) == frozenset()


def test_more_receipts_than_memory_should_hold_are_refused(monkeypatch) -> None:
    monkeypatch.setattr(choosing, "MAX_FILES", 1)
    records = [receipt(b"%d" % number, "g", "done", number) for number in range(6)]
    with pytest.raises(UsageError, match="more than 5 files"):
        receipted(records, "g", Where(outcomes=("done",)))


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("paht=x", "KEY one of path, after"),
        ("path", "KEY=VALUE"),
        ("path=", "KEY=VALUE"),
        ("after=yesterday", "is not a moment like 2026"),
        ("before=2026-01-31T08:00", "does not say in which time zone"),
        ("outcome=dona", "it is one of aborted, beginning-lost"),
    ],
)
def test_a_condition_that_means_nothing_is_refused_before_anything_is_asked(condition, said) -> None:
    result = CliRunner().invoke(openmsi, ["replay", "file-info", "--topic", "t", "--where", condition])
    assert result.exit_code == 2
    assert said in result.output
