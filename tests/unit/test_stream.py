"""The poll loop with a fake source, a fake store and real worker threads."""

from __future__ import annotations

import random
import threading
import time
import zlib
from datetime import timedelta

import pytest

from openmsi_core.errors import BreakerOpen, BrokerUnreachable, Reject, RetryLater, RightMissing
from openmsi_core.files import wire
from openmsi_core.files.chunking import abort_of
from openmsi_core.model import Stored
from openmsi_core.ports import NotYet, Opened
from openmsi_core.receiving.pace import Pace, Room
from openmsi_core.receiving.workers import Workers
from tests.fakes import Call, Log, values_of
from tests.rig import QUICK, RUN, Rig

BIG = b"ab" * wire.MIN_CHUNK


def size(file):
    return {"size": file.size}


def test_whole_files_reach_the_plugin_and_their_results_carry_the_envelope(tmp_path) -> None:
    log = Log(2)
    log.put(*values_of("a/one.txt", b"hello"))
    log.put(*values_of("two.bin", BIG), partition=1)
    rig = Rig(tmp_path, log, size)
    assert rig.run() == 0
    by_path = {result["file"]["path"]: result for result in rig.results()}
    assert by_path["a/one.txt"]["metadata"] == {"size": 5}
    assert by_path["two.bin"]["metadata"] == {"size": len(BIG)}
    assert by_path["two.bin"]["file"]["partition"] == 1
    assert by_path["a/one.txt"]["plugin"]["name"] == "fake"
    assert {commit.partition: commit.offset for commit in log.commits.values()} == {0: 1, 1: 2}
    assert {receipt["outcome"] for receipt in rig.receipts()} == {"done"}
    assert [runner.closed for runner in rig.runners] == [1]


def test_bad_records_become_letters_with_a_copy_and_the_stream_goes_on(tmp_path) -> None:
    log = Log()
    log.put(b"garbage", None, *values_of("x", b"1"), b"OMSI" + bytes(44))
    rig = Rig(tmp_path, log, size)
    assert rig.run() == 0
    assert [letter["what"] for letter in rig.letters()] == ["bad-record"] * 3
    assert rig.letters()[0]["record"]["value_b64"] == "Z2FyYmFnZQ=="
    assert rig.letters()[0]["positions"] == {"0": {"first": 0, "last": 0, "records": 1}}
    assert len(rig.results()) == 1
    assert log.commits[0].offset == 4


def test_a_rejected_file_is_a_letter_with_the_reason_and_is_not_tried_again(tmp_path) -> None:
    calls = []

    def reject(file):
        calls.append(file.name)
        raise Reject("no xrdMeasurement element")

    log = Log()
    log.put(*values_of("x", b"1"))
    rig = Rig(tmp_path, log, reject)
    rig.run()
    (letter,) = rig.letters()
    assert (letter["what"], letter["why"]["message"], letter["tries"]) == ("rejected", "no xrdMeasurement element", 1)
    assert letter["file"]["path"] == "x"
    assert calls == ["x"]
    assert rig.receipts()[0]["outcome"] == "rejected"


@pytest.mark.parametrize("error", [ZeroDivisionError("1/0"), SystemExit(3), MemoryError(), RecursionError()])
def test_a_failing_plugin_is_tried_three_times_and_then_the_next_file_runs(tmp_path, error) -> None:
    calls = []

    def fail(file):
        calls.append(file.name)
        if file.name == "bad":
            raise error
        return {}

    log = Log()
    log.put(*values_of("bad", b"1"), *values_of("good", b"1"))
    rig = Rig(tmp_path, log, fail)
    rig.run()
    assert calls.count("bad") == 3
    (letter,) = rig.letters()
    assert (letter["what"], letter["tries"], letter["why"]["class"]) == ("failed", 3, type(error).__name__)
    assert "fail" in letter["why"]["traceback"]
    assert len(rig.results()) == 1


def test_a_result_that_is_not_json_fails_its_file_only(tmp_path) -> None:
    log = Log()
    log.put(*values_of("bad", b"1"), *values_of("good", b"1"))
    rig = Rig(tmp_path, log, lambda file: {"x": object()} if file.name == "bad" else {})
    rig.run()
    assert [letter["why"]["class"] for letter in rig.letters()] == ["TypeError"]
    assert len(rig.results()) == 1


def test_retry_later_keeps_the_file_and_the_others_go_on(tmp_path) -> None:
    order = []

    def later(file):
        order.append(file.name)
        if file.name == "slow" and order.count("slow") < 4:
            raise RetryLater(0.0)
        return {}

    log = Log()
    log.put(*values_of("slow", b"1"), *values_of("fast", b"1"))
    rig = Rig(tmp_path, log, later)
    assert rig.run() == 0
    assert order.count("slow") == 4
    assert order.index("fast") < 4
    assert rig.letters() == []


def test_waiting_for_something_outside_ends_in_a_letter_and_not_never(tmp_path) -> None:
    def later(_):
        raise RetryLater(0.05, "the server is away")

    log = Log()
    log.put(*values_of("x", b"1"))
    rig = Rig(tmp_path, log, later)
    rig.run()
    assert [(letter["what"], letter["why"]["message"]) for letter in rig.letters()] == [
        ("retries-exhausted", "the server is away")
    ]


def test_versions_of_a_path_keep_their_order_even_when_the_first_is_retried(tmp_path) -> None:
    seen = []

    def first_fails(file):
        seen.append(file.read_bytes())
        if seen == [b"1"]:
            raise ValueError("once")
        return {}

    log = Log()
    log.put(*values_of("x", b"1"), *values_of("x", b"2"), *values_of("x", b"3"))
    Rig(tmp_path, log, first_fails, workers=3).run()
    assert seen == [b"1", b"1", b"2", b"3"]


def test_a_broker_that_is_away_at_a_checkpoint_costs_time_and_no_result(tmp_path) -> None:
    log = Log()
    log.put(*values_of("x", b"1"))
    rig = Rig(tmp_path, log, size, failing=3)
    assert rig.run() == 0
    assert len(rig.results()) == 1


def test_an_open_file_holds_the_commit_and_what_is_beyond_it_is_not_done_twice(tmp_path) -> None:
    log = Log()
    half = values_of("half", BIG)
    log.put(half[0], *values_of("x", b"1"), b"garbage", *values_of("y", b"1"))
    rig = Rig(tmp_path, log, size)
    assert rig.run() == 1
    assert len(rig.results()) == 2
    assert log.commits[0].offset == 0
    log.put(half[1], *values_of("z", b"1"))
    rig = Rig(tmp_path, log, size)
    assert rig.run() == 0
    assert [result["file"]["path"] for result in rig.results()] == ["x", "y", "half", "z"]
    assert len(rig.letters()) == 1
    assert log.commits[0].offset == 6


def test_an_aborted_version_is_forgotten_and_counted(tmp_path) -> None:
    log = Log()
    first = values_of("x", BIG, file_id=b"i" * 16)[0]
    log.put(first, wire.encode(abort_of(b"i" * 16, 1, wire.MIN_CHUNK)), *values_of("x", BIG))
    rig = Rig(tmp_path, log, size)
    assert rig.run() == 0
    assert rig.counts.aborted == 1
    assert len(rig.results()) == 1
    assert log.commits[0].offset == 4


def test_files_that_are_not_wanted_never_reach_the_plugin_and_move_the_commit(tmp_path) -> None:
    log = Log()
    log.put(*values_of("a.tmp", BIG), *values_of("b.txt", b"1"))
    rig = Rig(tmp_path, log, size, wanted=lambda version: version.path.name.endswith(".txt"))
    rig.run()
    assert [result["file"]["path"] for result in rig.results()] == ["b.txt"]
    assert rig.receipts()[0]["path"] == "b.txt"
    assert log.commits[0].offset == 3


def test_files_of_a_plugin_that_flushes_count_only_after_the_flush(tmp_path) -> None:
    log = Log()
    log.put(*[value for n in range(20) for value in values_of(f"f{n}", b"1")])
    stored, flushed = [], []

    def flush():
        flushed.extend(stored[len(flushed) :])

    def store(file):
        stored.append(file.name)
        return Stored(f"/there/{file.name}")

    rig = Rig(tmp_path, log, store, flush=flush)
    rig.run()
    assert flushed == [f"f{n}" for n in range(20)]
    assert [receipt["location"] for receipt in rig.receipts()] == [f"/there/f{n}" for n in range(20)]


def test_a_flush_that_fails_is_repeated_file_by_file_and_only_the_culprit_ends_as_a_letter(tmp_path) -> None:
    log = Log()
    log.put(*[value for n in range(10) for value in values_of(f"f{n}", b"1")])
    group: list[str] = []
    durable: list[str] = []

    def store(file):
        time.sleep(0.002)  # so that the group grows while the first file is written
        group.append(file.name)
        return Stored(file.name)

    def flush():
        names = list(group)
        group.clear()
        if "f5" in names:
            raise OSError(5, "Input/output error")
        durable.extend(names)

    rig = Rig(tmp_path, log, store, flush=flush)
    rig.run()
    assert sorted(durable) == sorted(f"f{n}" for n in range(10) if n != 5)
    assert [(letter["file"]["path"], letter["what"]) for letter in rig.letters()] == [("f5", "failed")]


def test_a_revoked_partition_is_written_first_and_what_is_not_done_is_dropped(tmp_path) -> None:
    log = Log(2)
    log.put(*values_of("a", b"1"))
    log.put(values_of("half", BIG)[0], partition=1)
    rig = Rig(tmp_path, log, size)
    polls = []

    def rebalance():
        polls.append(1)
        if len(polls) == 4:
            rig.source.revoke([0, 1])
            assert log.commits[0].offset == 1
            assert log.commits[1].offset == 0
            assert len(rig.intake.assembler) == 0
            rig.stream.stopping.set()

    rig.source.before_poll = rebalance
    rig.run()
    assert [result["file"]["path"] for result in rig.results()] == ["a"]


def test_an_outcome_of_a_partition_that_was_lost_is_never_committed(tmp_path) -> None:
    log = Log()
    log.put(*values_of("a", b"1"))
    go, done = threading.Event(), threading.Event()

    def wait(_):
        go.wait(10)
        return {}

    rig = Rig(tmp_path, log, wait)
    polls = []

    def lose():
        polls.append(1)
        if len(polls) == 3:
            rig.stream.lost([0])
            go.set()
        if len(polls) == 10:
            rig.stream.stopping.set()
            done.set()

    rig.source.before_poll = lose
    rig.run()
    assert done.is_set()
    assert rig.results() == []
    assert log.commits[0].offset == 0  # where it began, and no further


def test_a_partition_that_comes_back_is_read_again_where_it_was_not_committed(tmp_path) -> None:
    log = Log()
    log.put(*values_of("a", b"1"), *values_of("b", BIG))
    rig = Rig(tmp_path, log, size, pace=Pace(longest=60, quiet=60, stop_wait=0.5))
    lost = []

    def lose_and_get_back():
        if len(rig.stream._outcomes) == 2:
            if lost:
                rig.stream.stopping.set()
                return
            lost.append(1)
            rig.stream.lost([0])
            rig.source.assign([0])

    rig.source.before_poll = lose_and_get_back
    rig.run()
    assert [result["file"]["path"] for result in rig.results()] == ["a", "b"]
    assert log.commits[0].offset == 3


def test_a_member_that_gets_no_partition_has_caught_up_after_a_while(tmp_path) -> None:
    rig = Rig(tmp_path, Log(), size, pace=Pace(sharing=0.05))
    rig.source.before_poll = lambda: rig.stream.assigned([])
    rig.stream.assigned([])
    rig.source.poll = lambda timeout: time.sleep(0.01)  # no partition, no record
    assert rig.run() == 0


def test_when_the_workers_are_behind_no_more_records_are_taken_and_memory_stays_bounded(tmp_path) -> None:
    log = Log()
    log.put(*[value for n in range(60) for value in values_of(f"f{n}", b"x" * 10_000)])
    seen = []

    def slow(file):
        time.sleep(0.003)  # slower than the loop, so that the room fills
        seen.append(rig.stream._dispatch.memory)
        return {}

    room = Room(memory=50_000)
    rig = Rig(tmp_path, log, slow, room=room, pace=Pace(longest=0.02, stall_before_pause=0.01))
    rig.run()
    assert len(rig.results()) == 60
    assert max(seen) <= 60_000
    assert rig.source.paused == rig.source.resumed


def test_a_stall_pauses_the_source_once_and_resumes_it(tmp_path) -> None:
    log = Log()
    log.put(*[value for n in range(3) for value in values_of(f"f{n}", b"x" * 10_000)])
    gate = threading.Event()
    rig = Rig(
        tmp_path,
        log,
        lambda file: gate.wait(10) and {},
        room=Room(memory=5_000),
        pace=Pace(longest=0.02, stall_before_pause=0.0),
    )
    rig.source.before_poll = lambda: gate.set() if rig.source.paused else None
    rig.run()
    assert len(rig.results()) == 3
    assert rig.source.resumed >= 1
    assert rig.source.paused - rig.source.resumed in {0, 1}  # it may have come to its end while it was paused


def test_an_incomplete_file_is_given_up_a_day_after_the_end_was_reached_and_not_before(tmp_path) -> None:
    log = Log()
    log.put(values_of("half", BIG)[0])
    rig = Rig(tmp_path, log, size)
    polls = []

    def a_day_later():
        polls.append(1)
        if len(polls) == 10:
            assert rig.letters() == []
            rig.now += timedelta(hours=25)

    rig.source.before_poll = a_day_later
    rig.stream.stopping.is_set = lambda: len(polls) > 40  # type: ignore[method-assign]
    with rig.stack:
        rig.stream.run(rig.source, rig.store)
    (letter,) = rig.letters()
    assert (letter["what"], letter["file"]["path"]) == ("incomplete", "half")
    assert log.commits[0].offset == 1


class KeyComesLater:
    """A Sealer whose key for some records arrives after a while; the fake behind the parked state."""

    def __init__(self, has_come) -> None:
        self.has_come = has_come

    def seal_key(self, topic, data):
        return data

    def seal_value(self, topic, data):
        return b"sealed" + data

    def open_key(self, topic, data):
        return Opened(data)

    def open_value(self, topic, data):
        if not data.startswith(b"sealed"):
            return Opened(data)
        return Opened(data.removeprefix(b"sealed")) if self.has_come() else NotYet(b"k1")


def test_records_without_their_key_are_parked_hold_the_commit_and_are_opened_in_order(tmp_path) -> None:
    log = Log()
    sealed = [b"sealed" + value for value in values_of("secret", BIG)]
    log.put(*values_of("a", b"1"), *sealed, *values_of("b", b"1"))
    commits: list[int] = []
    rig = Rig(tmp_path, log, size, sealer=KeyComesLater(lambda: commits.count(1) > 5))
    rig.source.before_poll = lambda: commits.append(log.commits[0].offset) if log.commits else None
    rig.stream.stopping.is_set = lambda: len(rig.results()) == 3  # type: ignore[method-assign]
    with rig.stack:
        rig.stream.run(rig.source, rig.store)
    assert [result["file"]["path"] for result in rig.results()] == ["a", "b", "secret"]
    assert max(commits) == 1
    assert log.commits[0].offset == 4
    assert (len(rig.intake.parked), rig.intake.parked.bytes) == (0, 0)


class KeyOfTheFirst(KeyComesLater):
    """Only what was sealed with the first key waits for it; the key is known from the second run on."""


def halves_sealed_with_two_keys(log: Log, *, ends_with_abort: bool = False) -> None:
    first, *rest = values_of("secret", BIG)
    if ends_with_abort:
        rest = [wire.encode(abort_of(wire.decode(first).file_id, 1, wire.MIN_CHUNK))]
    log.put(b"sealed" + first, *values_of("a", b"1"), *rest, *values_of("b", b"1"))


def run_until(rig, enough) -> None:
    rig.stream.stopping.is_set = enough  # type: ignore[method-assign]
    with rig.stack:
        rig.stream.run(rig.source, rig.store)


def test_a_file_whose_first_record_waits_for_its_key_is_whole_after_a_restart_too(tmp_path) -> None:
    log = Log()
    first, *middle, last = values_of("secret", BIG * 2)
    log.put(b"sealed" + first, *middle, *values_of("a", b"1"))
    before = Rig(tmp_path / "1", log, size, sealer=KeyOfTheFirst(lambda: True))
    run_until(before, lambda: len(before.results()) == 1)
    assert log.commits[0].offset == 0
    log.put(last)
    polls = []
    after = Rig(tmp_path / "2", log, size, sealer=KeyOfTheFirst(lambda: len(polls) > 50))
    after.source.before_poll = lambda: polls.append(1)
    run_until(after, lambda: len(after.results()) == 2 or len(polls) > 5000)
    assert [result["file"]["path"] for result in after.results()] == ["a", "secret"]
    assert len(after.intake.parked) == 0


def test_a_file_whose_first_record_waits_for_its_key_is_not_given_up_as_headless(tmp_path) -> None:
    log = Log()
    halves_sealed_with_two_keys(log)
    polls = []
    rig = Rig(tmp_path, log, size, sealer=KeyOfTheFirst(lambda: len(polls) > 50))

    def before_poll() -> None:
        polls.append(1)
        if len(polls) == 20:
            rig.now += timedelta(seconds=60)

    rig.source.before_poll = before_poll
    run_until(rig, lambda: len(rig.results()) == 3 or len(polls) > 5000)
    assert sorted(result["file"]["path"] for result in rig.results()) == ["a", "b", "secret"]


def test_an_abort_of_a_file_whose_first_record_waits_for_its_key_is_not_forgotten(tmp_path) -> None:
    log = Log()
    halves_sealed_with_two_keys(log, ends_with_abort=True)
    polls = []
    rig = Rig(tmp_path, log, size, sealer=KeyOfTheFirst(lambda: len(polls) > 50))
    rig.source.before_poll = lambda: polls.append(1)
    run_until(rig, lambda: (log.commits[0].offset if log.commits else 0) == len(log.partitions[0]) or len(polls) > 5000)
    assert (rig.counts.aborted, log.commits[0].offset) == (1, len(log.partitions[0]))


def test_a_plugin_that_cannot_be_opened_ends_the_run_before_the_first_poll(tmp_path) -> None:
    closed = []

    class Broken(Call):
        def open(self):
            raise OSError("no such folder")

    good = Call(size)
    good.close = lambda: closed.append(1)  # type: ignore[method-assign]
    with pytest.raises(OSError, match="no such folder"), Workers([good, Broken(size)], RUN, QUICK):
        raise AssertionError("entered")
    assert closed == [1]


def test_twenty_dead_letters_in_a_row_stop_the_run_and_leave_them_uncommitted(tmp_path) -> None:
    def reject(file):
        if file.name != "good":
            raise Reject("new firmware")
        return {}

    log = Log()
    log.put(*values_of("good", b"1"), *[value for n in range(100) for value in values_of(f"f{n}", b"1")])
    with pytest.raises(BreakerOpen, match=r"(?s)files in a row .*new firmware"):
        Rig(tmp_path, log, reject).run()
    assert log.values("t.dlq") == []
    assert log.commits[0].offset == 1


def test_nineteen_dead_letters_in_a_row_are_only_letters(tmp_path) -> None:
    def reject(file):
        raise Reject("not mine")

    log = Log()
    log.put(*[value for n in range(19) for value in values_of(f"f{n}", b"1")])
    rig = Rig(tmp_path, log, reject)
    assert rig.run() == 0
    assert len(rig.letters()) == 19
    assert log.commits[0].offset == 19


def test_bad_records_never_open_the_breaker(tmp_path) -> None:
    log = Log()
    log.put(*[b"garbage %d" % n for n in range(50)], *values_of("good", b"1"))
    rig = Rig(tmp_path, log, size)
    assert rig.run() == 0
    assert len(rig.letters()) == 50


def test_a_withheld_letter_is_written_when_patience_ends(tmp_path) -> None:
    def reject(file):
        raise Reject("not mine")

    log = Log()
    log.put(*values_of("x", b"1"))
    rig = Rig(tmp_path, log, reject, pace=Pace(longest=0.01, breaker_patience=0.1))
    rig.stream.stopping.is_set = lambda: bool(rig.letters())  # type: ignore[method-assign]
    with rig.stack:
        rig.stream.run(rig.source, rig.store)
    assert len(rig.letters()) == 1


def test_a_result_that_does_not_fit_a_record_is_a_letter_and_the_next_file_runs(tmp_path) -> None:
    log = Log()
    log.put(*values_of("big", b"1"), *values_of("good", b"1"))
    rig = Rig(tmp_path, log, lambda file: {"x": "y" * 2_000_000} if file.name == "big" else {})
    rig.run()
    assert [(letter["file"]["path"], letter["what"]) for letter in rig.letters()] == [("big", "rejected")]
    assert "2,000," in rig.letters()[0]["why"]["message"]
    assert len(rig.results()) == 1


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise AttributeError("no text")


@pytest.mark.parametrize(
    "error",
    [Unspeakable(), ValueError("x" * 3_000_000), Reject("y" * 3_000_000)],
    ids=["no text", "long", "long reject"],
)
def test_a_failure_that_says_nothing_or_too_much_is_a_letter_that_fits_and_the_next_file_runs(tmp_path, error) -> None:
    def fail(file):
        if file.name == "bad":
            raise error
        return {}

    log = Log()
    log.put(*values_of("bad", b"1"), *values_of("good", b"1"))
    rig = Rig(tmp_path, log, fail)
    assert rig.run() == 0
    assert len(rig.letters()) == len(rig.results()) == 1
    assert max(len(each.value) for each in log.published) <= 64 * 1024


@pytest.mark.parametrize("seconds", ["5", float("nan"), -1])
def test_a_retry_that_asks_for_nonsense_is_a_failure_of_the_plugin(tmp_path, seconds) -> None:
    def later(file):
        if file.name == "bad":
            raise RetryLater(seconds if seconds != "5" else "five", "busy")
        return {}

    log = Log()
    log.put(*values_of("bad", b"1"), *values_of("good", b"1"))
    rig = Rig(tmp_path, log, later)
    assert rig.run() == 0
    assert [letter["what"] for letter in rig.letters()] == ["failed"]


def test_what_a_library_leaves_beside_a_borrowed_file_harms_nobody(tmp_path) -> None:
    def leave(file):
        (file.local_path().parent / "file.idx").write_text("an index")
        return {}

    log = Log()
    log.put(*values_of("a", b"1"), *values_of("b", b"1"))
    rig = Rig(tmp_path, log, leave)
    assert rig.run() == 0
    assert len(rig.results()) == 2


def test_a_file_that_ends_well_while_the_breaker_stops_the_run_changes_nothing(tmp_path) -> None:
    gate = threading.Event()

    def call(file):
        if file.name == "good":
            gate.wait(10)
            return {}
        raise Reject("new firmware")

    log = Log()
    bad = [f"f{n}" for n in range(200) if zlib.crc32(b"f%d" % n) % 2 != zlib.crc32(b"good") % 2][:3]
    log.put(*values_of("good", b"1"), *[value for name in bad for value in values_of(name, b"1")])
    pace = Pace(longest=0.05, housekeeping=0.0, stop_wait=2.0, breaker=3)
    rig = Rig(tmp_path, log, call, workers=2, pace=pace)
    settle = rig.stream._settle

    def settling(seconds, partitions):
        gate.set()
        settle(seconds, partitions)

    rig.stream._settle = settling
    with pytest.raises(BreakerOpen):
        rig.run()
    assert rig.letters() == []
    assert log.commits[0].offset == 1


def test_a_right_that_is_missing_at_a_checkpoint_ends_the_run(tmp_path) -> None:
    log = Log()
    log.put(*values_of("a", b"1"))
    rig = Rig(tmp_path, log, size)

    def denied(outgoing, commits, size):
        raise RightMissing("the broker denies us WRITE on t.receipts")

    rig.store.write = denied
    with pytest.raises(RightMissing):
        rig.run()


def test_a_checkpoint_that_fails_is_not_written_again_at_once(tmp_path) -> None:
    log = Log()
    log.put(*values_of("a", b"1"))
    rig = Rig(tmp_path, log, size, pace=Pace(longest=0.2, housekeeping=0.0))
    tries = []

    def away(outgoing, commits, size):
        tries.append(time.monotonic())
        if len(tries) == 3:
            rig.stream.stopping.set()
        raise BrokerUnreachable("away")

    rig.store.write = away
    rig.run()
    assert tries[2] - tries[0] > 0.3


def test_large_bad_records_are_let_go_of_before_the_checkpoint(tmp_path) -> None:
    log = Log()
    log.put(*[b"x" * 1_000_000] * 20)
    rig = Rig(tmp_path, log, size, pace=Pace(longest=60, quiet=60, stop_wait=0.1))
    rig.source.before_poll = lambda: rig.stream.stopping.set() if rig.counts.records == 20 else None
    held = []
    rig.stream._settle = lambda *_: held.append((rig.stream._outcomes.bytes, len(rig.stream._outcomes)))
    rig.run()
    assert [(size // (16 * 1024), count) for size, count in held] == [
        (19, 19)
    ]  # the first was written with where the run began
    assert rig.letters()[0]["record"]["value_bytes"] == 1_000_000


def test_a_worker_that_dies_ends_the_run_and_is_not_waited_for(tmp_path) -> None:
    log = Log()
    log.put(*values_of("a", b"1"))
    rig = Rig(tmp_path, log, size)

    def broken(file, outcome):
        raise RuntimeError("an observer of ours is broken")

    rig.workers._observe = broken
    with pytest.raises(RuntimeError, match="is broken"):
        rig.run()


def test_where_a_run_began_is_committed_before_its_first_file_so_that_from_end_loses_nothing(tmp_path) -> None:
    log = Log()
    log.put(*values_of("old", b"1"))
    half = values_of("precious", BIG)

    def rig_from_end():
        rig = Rig(tmp_path, log, size)
        rig.stream._first_offset = lambda claim: claim.high
        return rig

    rig = rig_from_end()
    rig.source.before_poll = lambda: (
        (log.put(half[0]), rig.stream.stopping.set()) if log.commits and len(log.partitions[0]) == 1 else None
    )
    with rig.stack:
        rig.stream.run(rig.source, rig.store)
    assert (log.commits[0].offset, len(log.partitions[0])) == (1, 2)
    log.put(half[1], *values_of("small", b"2"))
    rig = rig_from_end()
    assert rig.run() == 0
    assert sorted(result["file"]["path"] for result in rig.results()) == ["precious", "small"]


def test_a_sender_whose_clock_is_wrong_by_years_does_not_age_its_files(tmp_path) -> None:
    log = Log()
    values = values_of("slow", BIG)
    rig = Rig(tmp_path, log, size)
    rig.source.timestamp_ms = 1_200_000_000_000
    polls = []

    def slowly():
        polls.append(1)
        if len(polls) == 10:
            rig.now += timedelta(hours=25)
        if len(polls) in {20, 40}:
            log.put(values[len(polls) // 20 - 1])

    rig.source.before_poll = slowly
    rig.stream.stopping.is_set = lambda: bool(rig.results() or rig.letters())  # type: ignore[method-assign]
    with rig.stack:
        rig.stream.run(rig.source, rig.store)
    assert (len(rig.results()), rig.letters()) == (1, [])


def test_a_plugin_is_opened_in_the_thread_that_calls_it(tmp_path) -> None:
    class Threads(Call):
        def open(self) -> None:
            self.thread = threading.current_thread()

    log = Log()
    log.put(*values_of("a", b"1"))
    rig = Rig(tmp_path, log, lambda file: {"same": rig.runners[0].thread is threading.current_thread()}, call=Threads)
    rig.run()
    assert rig.results()[0]["metadata"] == {"same": True}


def test_more_open_files_than_any_commit_can_name_end_as_letters_and_never_as_a_standstill(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("openmsi_core.receiving.watermark.MAX_METADATA", 40)
    chance = random.Random(1)
    log = Log()
    halves = [values_of(f"open{n}", BIG) for n in range(60)]
    for half in halves:
        log.put(half[0], *[value for _ in range(chance.randrange(1, 5)) for value in values_of("between", b"1")])
    log.put(*[value for n in range(300) for value in values_of(f"s{n}", b"1")])
    pace = Pace(longest=0.02, housekeeping=0.0, stop_wait=0.5, stall_before_pause=0.1)
    rig = Rig(tmp_path, log, size, room=Room(files=100), pace=pace)
    rig.run()
    assert sum(result["file"]["path"].startswith("s") for result in rig.results()) == 300
    assert {letter["what"] for letter in rig.letters()} == {"incomplete"}
