"""What a run does at its limits: large results, records that are refused, a broker that stays away, cut logs."""

from __future__ import annotations

import itertools
import json
import threading
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from openmsi_core.errors import BrokerUnreachable, NotDelivered, RightMissing
from openmsi_core.files import wire
from openmsi_core.model import Claim, Commit, Result
from openmsi_core.receiving import outcomes, results
from openmsi_core.receiving.pace import Pace
from tests.fakes import Call, Handled, Log, LogStore, values_of
from tests.rig import RUN, Rig

BIG = b"ab" * wire.MIN_CHUNK


class Many(Call):
    """Makes results one by one, as a processor does."""

    def handle(self, file):
        return Handled(self._call(file))


class Refusing(LogStore):
    """A store whose broker refuses what is too long for ``topic``."""

    def __init__(self, log, topic, limit) -> None:
        super().__init__(log)
        self.topic, self.limit = topic, limit

    def write(self, outgoing, commits, *, size=0):
        outgoing = list(outgoing)
        for each in outgoing:
            if each.topic == self.topic and len(each.value) > self.limit:
                error = NotDelivered("a record is too large")
                error.outgoing = each
                raise error
        super().write(outgoing, commits)


def test_large_results_wait_on_disk_and_all_of_them_are_published_in_order(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(results, "IN_MEMORY_BYTES", 10_000)
    log = Log()
    log.put(*values_of("a", b"1"))

    def make(file):
        for number in range(3000):
            yield Result(number)
        assert list(tmp_path.glob("results-*"))

    rig = Rig(tmp_path, log, make, call=Many, run=replace(RUN, workdir=tmp_path))
    rig.run()
    assert [each["metadata"] for each in rig.results()] == list(range(3000))
    assert rig.counts.results == 3000
    assert list(tmp_path.glob("results-*")) == []


def test_a_processor_that_fails_in_the_middle_of_many_results_publishes_none_and_leaves_no_file(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(results, "IN_MEMORY_BYTES", 1000)
    log = Log()
    log.put(*values_of("a", b"1"))

    def make(file):
        for number in range(500):
            yield Result(number)
        raise ValueError("in the middle")

    rig = Rig(tmp_path, log, make, call=Many, run=replace(RUN, workdir=tmp_path))
    rig.run()
    assert rig.results() == []
    assert [letter["what"] for letter in rig.letters()] == ["failed"]
    assert list(tmp_path.glob("results-*")) == []


def test_more_results_than_a_file_may_have_are_a_dead_letter_after_one_try(tmp_path) -> None:
    log = Log()
    log.put(*values_of("a", b"1"))
    calls = []

    def make(file):
        calls.append(1)
        while True:  # nothing but the limit ends it
            yield Result("x" * 100)

    rig = Rig(tmp_path, log, make, call=Many, run=replace(RUN, workdir=tmp_path, max_results=50_000))
    rig.run()
    assert [letter["what"] for letter in rig.letters()] == ["too-many-results"]
    assert len(calls) == 1


def test_results_above_a_checkpoints_size_are_written_in_several(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(outcomes, "CHECKPOINT_BYTES", 2000)
    log = Log()
    for number in range(8):
        log.put(*values_of(f"f{number}", b"1"))
    rig = Rig(tmp_path, log, lambda file: "x" * 800, pace=Pace(longest=5.0, quiet=0.3))
    rig.run()
    assert len(rig.results()) == 8
    assert rig.store.checkpoints >= 4


def test_a_result_that_the_broker_refuses_is_its_files_dead_letter_and_the_others_are_written(tmp_path) -> None:
    log = Log()
    for name in ("a", "large", "z"):
        log.put(*values_of(name, b"1"))
    rig = Rig(tmp_path, log, lambda file: "x" * (5000 if file.name == "large" else 5))
    rig.store = Refusing(log, "out", 3000)
    rig.run()
    assert sorted(each["file"]["path"] for each in rig.results()) == ["a", "z"]
    (letter,) = rig.letters()
    assert (letter["file"]["path"], letter["what"], letter["why"]["class"]) == ("large", "failed", "NotDelivered")
    assert {each["path"]: each["outcome"] for each in rig.receipts()} == {"a": "done", "large": "failed", "z": "done"}
    assert log.commits[0].offset == 3


def test_a_letter_that_the_broker_refuses_is_cut_and_one_refused_again_ends_the_run(tmp_path) -> None:
    log = Log()
    log.put(*values_of("a", b"1"))

    def fail(file):
        raise ValueError("y" * 3900)

    rig = Rig(tmp_path / "1", log, fail)
    rig.store = Refusing(log, "t.dlq", 3000)
    rig.run()
    assert len(rig.letters()) == 1
    log.commits.clear()
    rig = Rig(tmp_path / "2", log, fail)
    rig.store = Refusing(log, "t.dlq", 10)
    with pytest.raises(NotDelivered):
        rig.run()
    assert 0 not in log.commits or log.commits[0].offset == 0


def test_a_run_that_should_end_gives_up_when_the_broker_stays_away(tmp_path) -> None:
    log = Log()
    log.put(*values_of("a", b"1"))
    rig = Rig(tmp_path, log, lambda file: 1, failing=10_000, pace=Pace(longest=0.01, silence=0.5, stop_wait=0.1))
    with pytest.raises(BrokerUnreachable, match="the end is not reached"):
        rig.run()


def test_a_checkpoint_that_fails_again_and_again_rests_longer_each_time(tmp_path) -> None:
    log = Log()
    log.put(*values_of("a", b"1"))
    rig = Rig(tmp_path, log, lambda file: 1, pace=Pace(longest=0.05, stop_wait=0.1))
    tries = []

    def away(outgoing, commits, size):
        tries.append(time.monotonic())
        if len(tries) == 5:
            rig.stream.stopping.set()
        raise BrokerUnreachable("away")

    rig.store.write = away
    rig.run()
    rests = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert rests[1] > rests[0] * 1.5
    assert rests[2] > rests[1] * 1.5


def test_what_a_worker_has_not_begun_is_given_back_when_its_partition_goes(tmp_path) -> None:
    log = Log(1)
    for number in range(50):
        log.put(*values_of(f"f{number}", b"1"))
    busy = threading.Event()

    def slow(file):
        busy.set()
        time.sleep(0.2)  # a plugin that takes its time
        return 1

    rig = Rig(tmp_path, log, slow, pace=Pace(longest=0.05, revoke_wait=5.0, stop_wait=0.5))

    def rebalance():
        if busy.is_set() and rig.source._positions.get(0) == 50:
            rig.source.before_poll = lambda: None
            began = time.monotonic()
            rig.source.revoke([0])
            assert time.monotonic() - began < 3
            assert 1 <= len(rig.results()) < 30
            rig.stream.stopping.set()

    rig.source.before_poll = rebalance
    rig.run()


def test_records_whose_first_one_lies_before_the_commit_are_no_file_and_no_letter(tmp_path) -> None:
    log = Log()
    first, *rest = values_of("big", BIG * 2)
    log.put(first, *rest, *values_of("a", b"1"))
    log.commits[0] = Commit(0, 1, "")
    rig = Rig(tmp_path, log, lambda file: 1)
    polls = []

    def later():
        polls.append(1)
        if len(polls) == len(rest) + 2:
            rig.now += timedelta(seconds=30)

    rig.source.before_poll = later
    rig.run()
    assert [each["file"]["path"] for each in rig.results()] == ["a"]
    assert rig.letters() == []
    assert rig.counts.by_outcome["headless"] == 1
    assert log.commits[0].offset == len(log.partitions[0])


def test_what_was_cut_off_is_one_letter_and_each_headless_file_one_more(tmp_path) -> None:
    log = Log()
    _, *rest = values_of("big", BIG * 2)
    log.put(b"gone", b"gone", *rest, *values_of("a", b"1"))
    rig = Rig(tmp_path, log, lambda file: 1)
    log.commits[0] = Commit(0, 0, "")
    rig.source._positions = dict(rig.stream.assigned([Claim(0, 0, "", 2, len(log.partitions[0]))]))
    polls = []

    def later():
        polls.append(1)
        if len(polls) == len(rest) + 2:
            rig.now += timedelta(seconds=30)

    rig.source.before_poll = later
    rig.run()
    letters = sorted(rig.letters(), key=lambda letter: letter["positions"]["0"]["first"])
    assert [letter["what"] for letter in letters] == ["beginning-lost", "beginning-lost"]
    assert letters[0]["positions"] == {"0": {"first": 0, "last": 1, "records": 0}}
    assert letters[1]["file"]["id"] == rest[0][8:24].hex()
    assert [each["file"]["path"] for each in rig.results()] == ["a"]
    assert log.commits[0].offset == len(log.partitions[0])


def test_a_right_that_is_missing_is_not_tried_for_ever(tmp_path) -> None:
    log = Log()
    log.put(*values_of("a", b"1"))
    rig = Rig(tmp_path, log, lambda file: json.loads("1"))

    def denied(outgoing, commits, size):
        raise RightMissing("the broker denies us WRITE")

    rig.store.write = denied
    with pytest.raises(RightMissing):
        rig.run()


def test_a_run_that_should_end_waits_for_the_partitions_that_a_killed_member_has_still(tmp_path) -> None:
    log = Log(2)
    log.put(*values_of("a", b"1"))
    log.put(*values_of("b", b"1"), partition=1)
    rig = Rig(tmp_path, log, lambda file: 1, pace=Pace(longest=0.02, sharing=0.5))
    rig.source.assign([0])
    began = time.monotonic()

    def later():
        if time.monotonic() - began > 0.2 and 1 not in rig.source.positions():
            rig.source.assign([1])

    rig.source.before_poll = later
    assert rig.run() == 0
    assert sorted(each["file"]["path"] for each in rig.results()) == ["a", "b"]


def test_a_run_that_should_end_does_not_wait_for_ever_for_partitions_that_others_have(tmp_path) -> None:
    log = Log(2)
    log.put(*values_of("a", b"1"))
    rig = Rig(tmp_path, log, lambda file: 1, pace=Pace(longest=0.02, sharing=0.3))
    rig.source.assign([0])
    assert rig.run() == 0
    assert len(rig.results()) == 1
