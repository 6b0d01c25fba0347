"""Interleavings that were thought of to break what a run promises; docs/attacks.md lists them."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from openmsi_core.errors import Reject, RetryLater
from openmsi_core.files import wire
from openmsi_core.model import Claim, Commit, Result
from openmsi_core.receiving import results
from openmsi_core.receiving.pace import Pace
from openmsi_core.receiving.unfinished import encode
from tests.fakes import Call, Log, values_of
from tests.rig import RUN, Rig


def size(file):
    return {"size": file.size}


def lose(rig: Rig) -> None:
    """Partition 0 goes without notice and is ours again before the poll returns."""
    rig.stream.lost([0])
    rig.source.assign([0])


def paths(rig: Rig) -> list[str]:
    return [result["file"]["path"] for result in rig.results()]


@pytest.mark.parametrize("tell", ["lost", "revoked"])
def test_a_partition_that_comes_back_in_the_same_poll_while_its_file_is_with_a_worker_gives_one_result(
    tmp_path, tell
) -> None:
    log, inside, go_on, calls = Log(), threading.Event(), threading.Event(), []
    log.put(*values_of("a", b"1"), *values_of("a", b"22"))

    def slow(file):
        calls.append(file.size)
        if len(calls) == 1:
            inside.set()
            assert go_on.wait(10)
        return size(file)

    rig = Rig(tmp_path, log, slow, pace=Pace(longest=0.05, revoke_wait=0.05, stop_wait=0.5))

    def leave_and_come_back():
        if inside.is_set() and not go_on.is_set():
            getattr(rig.stream, tell)([0])
            rig.source.assign([0])
            go_on.set()

    rig.source.before_poll = leave_and_come_back
    assert rig.run() == 0
    assert [result["metadata"]["size"] for result in rig.results()] == [1, 2]
    assert calls[0] == 1
    assert calls[-2:] == [1, 2]  # what the worker did for the old assignment counts for nobody


def test_a_file_that_waits_for_something_outside_through_many_rebalances_gives_one_result(tmp_path) -> None:
    log, calls = Log(), []
    log.put(*values_of("a", b"1"), *values_of("b", b"2"))

    def later(file):
        calls.append(file.name)
        if file.name == "a" and calls.count("a") < 6:
            raise RetryLater(0.1)
        return size(file)

    rig = Rig(tmp_path, log, later, pace=Pace(longest=0.05, quiet=0.01))
    rebalances = []

    def rebalance():
        if calls.count("a") > len(rebalances) and len(rebalances) < 5:
            rebalances.append(1)
            lose(rig)

    rig.source.before_poll = rebalance
    assert rig.run() == 0
    assert sorted(paths(rig)) == ["a", "b"]
    assert log.commits[0].offset == 2


def test_large_results_of_a_partition_that_was_taken_away_leave_nothing_on_disk(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(results, "IN_MEMORY_BYTES", 1000)
    log, inside, go_on, work = Log(), threading.Event(), threading.Event(), tmp_path / "work"
    log.put(*values_of("a", b"1"))
    work.mkdir()

    class Many(Call):
        def handle(self, file):
            handled = super().handle(file)
            handled.results = tuple(Result({"text": "x" * 500}) for _ in range(10))
            return handled

    def slow(_):
        if not inside.is_set():
            inside.set()
            assert go_on.wait(10)

    rig = Rig(tmp_path, log, slow, call=Many, run=replace(RUN, workdir=work))

    def leave():
        if inside.is_set() and not go_on.is_set():
            lose(rig)
            go_on.set()

    rig.source.before_poll = leave
    assert rig.run() == 0
    assert len(rig.results()) == 10
    assert list(work.iterdir()) == []


def test_one_bad_file_that_comes_again_with_every_rebalance_does_not_open_the_breaker(tmp_path) -> None:
    log, calls = Log(), []
    log.put(*values_of("bad", b"1"))

    def reject(_):
        calls.append(1)
        raise Reject("no")

    rig = Rig(tmp_path, log, reject, pace=Pace(longest=0.05, quiet=0.01, breaker=3, breaker_patience=0.2))
    rebalances = []

    def rebalance():
        if len(rig.stream._outcomes) and len(rebalances) < 8:  # it failed, and its letter is withheld
            rebalances.append(1)
            lose(rig)

    rig.source.before_poll = rebalance
    assert rig.run() == 0
    assert (len(rebalances), len(calls)) == (8, 9)
    assert [letter["what"] for letter in rig.letters()] == ["rejected"]


def test_files_that_come_where_a_broker_lost_the_tail_of_its_log_are_dealt_with(tmp_path) -> None:
    log, big = Log(), values_of("big", b"x" * (2 * wire.MIN_CHUNK))
    log.put(big[0], *(value for number in range(6) for value in values_of(f"f{number}", b"1")))
    assert Rig(tmp_path / "1", log, size).run() == 1  # "big" is open, so the commit says that all below 7 is finished
    assert log.commits[0].offset == 0
    del log.partitions[0][3:]
    rig = Rig(tmp_path / "2", log, size)
    new = [value for number in range(3) for value in values_of(f"new{number}", b"1")]
    rig.source.before_poll = lambda: log.put(*[new.pop(0) for _ in new[:1]])
    rig.run()
    assert paths(rig)[-3:] == ["new0", "new1", "new2"]
    assert rig.letters() == []


@pytest.mark.parametrize("below", [3, 1 << 40, 1 << 62])
def test_metadata_that_promise_more_than_the_log_has_hide_no_file_to_come(tmp_path, below) -> None:
    log = Log()
    log.put(*values_of("a", b"1"), *values_of("b", b"1"))
    log.commits[0] = Commit(0, 1, encode("", below, []))
    rig = Rig(tmp_path, log, size)
    new = values_of("c", b"1")
    rig.source.before_poll = lambda: log.put(*[new.pop(0) for _ in new[:1]])
    rig.run()
    assert paths(rig) == ["c"]


def test_a_claim_of_a_partition_that_is_ours_already_takes_nothing_twice(tmp_path) -> None:
    log = Log()
    log.put(*values_of("a", b"1"), *values_of("b", b"1"))
    rig = Rig(tmp_path, log, size, pace=Pace(longest=60, quiet=0.2))
    again = []

    def place_again():  # as after an offset that the broker refused
        if len(rig.stream._outcomes) == 2 and not again:
            again.append(1)
            rig.source._positions |= rig.stream.assigned([Claim(0, None, "", 0, 2, is_refused=True)])

    rig.source.before_poll = place_again
    assert rig.run() == 0
    assert again == [1]
    assert paths(rig) == ["a", "b"]
