"""Head plugins: called as soon as the beginning of a file is there, published when the file is verified."""

from __future__ import annotations

import hashlib
import itertools
import random
import threading
from dataclasses import replace

import pytest

from openmsi_core.errors import PluginError, Reject, RetryLater
from openmsi_core.files import wire
from openmsi_core.files.assembly import Limits
from openmsi_core.files.chunking import abort_of
from openmsi_core.model import PluginFacts, Result
from openmsi_core.plugins.loader import build
from openmsi_core.receiving.pace import Room
from tests.fakes import Call, Handled, Log, values_of
from tests.kafka.processes import wait_for
from tests.plugin_fakes import extractor, install
from tests.rig import RUN, Rig

HEAD = 40_000
CHUNK = wire.MIN_CHUNK
FACTS = PluginFacts("fake", "extractor", "fakes", "1", head=HEAD)
HEADS = replace(RUN, plugin=FACTS)
EARLY = replace(RUN, plugin=replace(FACTS, early=True))
BIG = random.Random(1).randbytes(10 * CHUNK)


class Seen:
    """What the plugin saw; and, if it was asked before its file was whole, how much of it was there."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, bool, str]] = []

    def __call__(self, file):
        data = file.read_bytes()
        self.calls.append((file.name, len(data), file.complete, file.sha256))
        return {"sha256": hashlib.sha256(data).hexdigest(), "size": file.size}


def rig_of(tmp_path, log, does, run=HEADS, **more) -> Rig:
    rig = Rig(tmp_path, log, does, run=run, **more)
    rig.intake.assembler._head = HEAD
    return rig


def published_before(rig: Rig, at: int) -> None:
    """Called before each poll: hold record ``at`` back until something is published."""

    def is_published() -> bool:
        rig.stream._collect(0.1)
        rig.stream._checkpoint()
        return bool(rig.log.published)

    if rig.source._positions.get(0) == at:
        wait_for(is_published, 10)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def waiting_for(rig: Rig, seen: Seen, count: int, at: int):
    """Hold record ``at`` back until the plugin was called ``count`` times."""

    def before_poll() -> None:
        if rig.source._positions[0] == at:
            wait_for(lambda: len(seen.calls) >= count, 10)

    rig.source.before_poll = before_poll


def test_the_plugin_is_called_before_the_file_is_whole_and_its_result_has_the_digest(tmp_path) -> None:
    log, seen = Log(), Seen()
    log.put(*values_of("a/big", BIG))
    rig = rig_of(tmp_path, log, seen)
    waiting_for(rig, seen, 1, at=9)
    assert rig.run() == 0
    assert seen.calls == [("big", HEAD, False, "")]
    (result,) = rig.results()
    assert result["metadata"] == {"sha256": digest(BIG[:HEAD]), "size": len(BIG)}
    assert result["file"]["sha256"] == digest(BIG)
    assert "verified" not in result["file"]
    (receipt,) = rig.receipts()
    assert (receipt["outcome"], receipt["sha256"]) == ("done", digest(BIG))
    assert log.commits[0].offset == 10


def test_nothing_is_published_before_the_file_is_verified(tmp_path) -> None:
    log, seen = Log(), Seen()
    log.put(*values_of("big", BIG)[:9])
    rig = rig_of(tmp_path, log, seen)
    assert rig.run() == 1
    assert len(seen.calls) == 1
    assert log.published == []
    assert log.commits[0].offset == 0


def test_the_next_start_begins_the_file_anew_and_publishes_once(tmp_path) -> None:
    log, seen = Log(), Seen()
    values = values_of("big", BIG)
    log.put(*values[:9])
    rig_of(tmp_path, log, seen).run()
    log.put(values[9])
    rig = rig_of(tmp_path, log, seen)
    assert rig.run() == 0
    assert [call[0] for call in seen.calls] == ["big", "big"]
    assert len(rig.results()) == 1


@pytest.mark.parametrize("size", [0, 1, HEAD - 1, HEAD])
def test_a_file_that_is_no_longer_than_the_head_is_complete(tmp_path, size) -> None:
    log, seen = Log(), Seen()
    log.put(*values_of("small", BIG[:size]))
    rig = rig_of(tmp_path, log, seen)
    assert rig.run() == 0
    assert seen.calls == [("small", size, True, digest(BIG[:size]))]
    assert rig.results()[0]["file"]["sha256"] == digest(BIG[:size])


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("in_memory", [1, 10**9])
def test_what_the_plugin_sees_does_not_depend_on_how_the_file_came(tmp_path, seed, in_memory) -> None:
    chance = random.Random(seed)
    log, seen = Log(), Seen()
    values = values_of("big", BIG, chunk=chance.choice([CHUNK, 3 * CHUNK, 10 * CHUNK]))
    values += chance.choices(values, k=chance.randrange(4))
    chance.shuffle(values)
    log.put(*values)
    rig = rig_of(tmp_path, log, seen, limits=Limits(in_memory_file=in_memory))
    assert rig.run() == 0
    assert seen.calls == [("big", HEAD, False, "")]
    assert rig.results()[0]["file"]["sha256"] == digest(BIG)


def broken(values: list[bytes]) -> list[bytes]:
    """The same file with another byte in the middle of the last record but one: its digest is wrong."""
    chunk = wire.decode(values[-2], 1 << 40)
    payload = bytes([chunk.payload[0] ^ 1]) + chunk.payload[1:]
    return [*values[:-2], wire.encode(replace(chunk, payload=payload)), values[-1]]


@pytest.mark.parametrize("run", [HEADS, EARLY])
def test_of_a_file_that_turns_out_broken_nothing_counts_but_what_was_early(tmp_path, run) -> None:
    log, seen = Log(), Seen()
    log.put(*broken(values_of("big", BIG)))
    rig = rig_of(tmp_path, log, seen, run=run)
    if run is EARLY:  # that the plugin was called is not enough: its answer must be there before the file breaks
        rig.source.before_poll = lambda: published_before(rig, at=8)
    else:
        waiting_for(rig, seen, 1, at=8)
    assert rig.run() == 0
    (letter,) = rig.letters()
    assert letter["what"] == "digest-mismatch"
    assert [receipt["outcome"] for receipt in rig.receipts()] == ["digest-mismatch"]
    assert len(rig.results()) == (run is EARLY)
    assert rig.stream._heads._known == {}


def test_nothing_is_held_of_files_that_ended_otherwise(tmp_path) -> None:
    log, seen, left = Log(), Seen(), []
    for number in range(5):
        log.put(*broken(values_of(f"big-{number}", BIG)))
    rig = rig_of(tmp_path, log, seen)

    def before_poll() -> None:
        at = rig.source._positions[0]
        if at % 10 == 8:
            wait_for(lambda: len(seen.calls) > at // 10, 10)
        if at == 50 and not len(rig.stream._dispatch):
            left.append((len(rig.stream._heads._known), rig.stream._heads.bytes))

    rig.source.before_poll = before_poll
    assert rig.run() == 0
    assert set(left) == {(0, 0)}
    assert rig.results() == []


def test_a_beginning_that_is_with_its_plugin_when_the_file_breaks_counts_for_nothing(tmp_path) -> None:
    log, seen, go, polls = Log(), Seen(), threading.Event(), itertools.count()

    def slow(file):
        assert go.wait(10)
        return seen(file)

    log.put(*broken(values_of("big", BIG)), *values_of("big", b"the next version"))
    rig = rig_of(tmp_path, log, slow)
    rig.source.before_poll = lambda: go.set() if next(polls) > 15 else None
    assert rig.run() == 0
    assert [result["file"]["size"] for result in rig.results()] == [16]
    assert [letter["what"] for letter in rig.letters()] == ["digest-mismatch"]


def test_a_file_that_its_sender_gives_up_has_no_result(tmp_path) -> None:
    log, seen = Log(), Seen()
    values = values_of("big", BIG)
    first = wire.decode(values[0], 1 << 40)
    abort = abort_of(first.file_id, 5, 5 * CHUNK)
    log.put(*values[:5], wire.encode(abort), *values_of("next", b"1"))
    rig = rig_of(tmp_path, log, seen)
    waiting_for(rig, seen, 1, at=5)
    assert rig.run() == 0
    assert [result["file"]["path"] for result in rig.results()] == ["next"]
    assert {receipt["path"]: receipt["outcome"] for receipt in rig.receipts()} == {"big": "aborted", "next": "done"}


def test_a_beginning_that_is_refused_is_a_letter_once_the_file_is_verified(tmp_path) -> None:
    calls = []

    def refuse(file):
        calls.append(file.name)
        raise Reject("no xrdMeasurement element")

    log = Log()
    values = values_of("big", BIG)
    log.put(*values[:9])
    first = rig_of(tmp_path, log, refuse)
    first.run()
    assert first.letters() == []
    log.put(values[9])
    rig = rig_of(tmp_path, log, refuse)
    assert rig.run() == 0
    (letter,) = rig.letters()
    assert (letter["what"], letter["file"]["sha256"], letter["positions"]["0"]["records"]) == (
        "rejected",
        digest(BIG),
        10,
    )


def test_a_beginning_that_fails_is_tried_again_and_its_file_waits(tmp_path) -> None:
    seen, errors = Seen(), [ZeroDivisionError(), RetryLater(0.1)]

    def fails(file):
        if errors:
            raise errors.pop()
        return seen(file)

    log = Log()
    log.put(*values_of("big", BIG))
    rig = rig_of(tmp_path, log, fails)
    assert rig.run() == 0
    assert seen.calls == [("big", HEAD, False, "")]
    assert len(rig.results()) == 1


def test_an_early_plugin_publishes_at_once_and_says_that_it_is_not_verified(tmp_path) -> None:
    log, seen = Log(), Seen()
    values = values_of("big", BIG)
    log.put(*values[:9])
    rig = rig_of(tmp_path, log, seen, run=EARLY)
    assert rig.run() == 1
    (result,) = rig.results()
    assert (result["file"]["verified"], result["file"]["sha256"]) == (False, "")
    assert rig.receipts() == []
    assert log.commits[0].offset == 0, "an early result ends nothing"


def test_the_receipt_of_an_early_plugin_comes_with_the_whole_file_and_no_second_result(tmp_path) -> None:
    log, seen = Log(), Seen()
    log.put(*values_of("big", BIG))
    rig = rig_of(tmp_path, log, seen, run=EARLY)
    rig.source.before_poll = lambda: published_before(rig, at=9)
    rig.run()
    assert [result["file"]["verified"] for result in rig.results()] == [False]
    assert [(each["outcome"], each["sha256"]) for each in rig.receipts()] == [("done", digest(BIG))]
    assert rig.counts.by_outcome == {"early": 1, "done": 1}


def test_what_is_held_is_bounded_and_made_again_when_the_file_is_whole(tmp_path) -> None:
    calls = []

    def much(file):
        calls.append(file.name)
        return {"much": "x" * 300_000}

    log = Log()
    files = [values_of(f"big-{number}", BIG) for number in range(8)]
    for at in range(10):
        log.put(*(values[at] for values in files))
    room = Room(memory=4_000_000, disk=10**9)  # so three of them may be held
    rig = rig_of(tmp_path, log, much, room=room)
    held = []

    def is_answered() -> bool:
        rig.stream._collect(0.1)
        held.append(rig.stream._heads.bytes)
        return not len(rig.stream._dispatch)

    def before_poll() -> None:
        if rig.source._positions.get(0) == 72:  # all but the last record of each have come
            wait_for(is_answered, 20)

    rig.source.before_poll = before_poll
    assert rig.run() == 0
    assert len(rig.results()) == 8
    assert 0 < max(held) <= 1_000_000
    assert len(calls) > 8, "some were made again"
    assert (rig.stream._heads.bytes, rig.stream._heads._known) == (0, {})


def test_results_that_wait_on_disk_have_the_digest_too(tmp_path) -> None:
    log = Log()
    log.put(*values_of("big", BIG))

    class Calls(Call):
        def handle(self, file):
            return Handled(tuple(Result({"n": number, "x": "y" * 900_000}) for number in range(12)))

    rig = rig_of(tmp_path, log, None, run=replace(HEADS, workdir=tmp_path), call=Calls)
    assert rig.run() == 0
    assert {result["file"]["sha256"] for result in rig.results()} == {digest(BIG)}
    assert len(rig.results()) == 12
    assert list(tmp_path.glob("results-*")) == []


def test_when_the_partition_goes_what_is_held_goes_with_it(tmp_path) -> None:
    log, seen = Log(), Seen()
    log.put(*values_of("big", BIG)[:9])
    rig = rig_of(tmp_path, log, seen)
    with rig.stack:
        rig.stream.run(rig.source, rig.store, until_caught_up=True)
        assert rig.stream._heads._known == {}
        assert rig.stream._heads.bytes == 0


def test_a_plugin_that_is_busy_with_a_beginning_is_waited_for_when_the_file_is_whole(tmp_path) -> None:
    log, seen, go = Log(), Seen(), threading.Event()

    def slow(file):
        assert go.wait(10)
        return seen(file)

    log.put(*values_of("big", BIG), *values_of("big", b"second version"))
    rig = rig_of(tmp_path, log, slow)
    polls = itertools.count()
    rig.source.before_poll = lambda: go.set() if next(polls) > 12 else None
    assert rig.run() == 0
    assert [result["file"]["size"] for result in rig.results()] == [len(BIG), len(b"second version")]


def test_a_file_that_is_whole_before_its_early_plugin_answers_has_one_verified_result(tmp_path) -> None:
    log, seen, go, polls = Log(), Seen(), threading.Event(), itertools.count()

    def slow(file):
        assert go.wait(10)
        return seen(file)

    log.put(*values_of("big", BIG))
    rig = rig_of(tmp_path, log, slow, run=EARLY)
    rig.source.before_poll = lambda: go.set() if next(polls) > 12 else None
    assert rig.run() == 0
    assert [result["file"]["sha256"] for result in rig.results()] == [digest(BIG)]
    assert seen.calls == [("big", HEAD, False, "")]


BAD = {
    "a number of bytes up to 8,388,608": "    head = 100_000_000\n",
    "a number of bytes": "    head = '64K'\n",
    "early without a head": "    early = True\n",
}


@pytest.mark.parametrize("text", sorted(BAD))
def test_a_head_that_cannot_be_is_refused_before_anything_runs(tmp_path, monkeypatch, text) -> None:
    name = f"bad-head-{len(text)}"
    source = (
        f"from openmsi_core import Extractor\nclass Good(Extractor):\n{BAD[text]}    def extract(self, file): ...\n"
    )
    extractor(tmp_path, name, name, source)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PluginError, match=text):
        build(name, {})


def test_a_sink_cannot_have_a_head(tmp_path, monkeypatch) -> None:
    source = "from openmsi_core import Sink\nclass Heads(Sink):\n    head = 1\n    def write(self, file): ...\n"
    install(tmp_path, "head-sink", {"openmsi.sinks": {"head-sink": "head_sink:Heads"}}, {"head_sink.py": source})
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PluginError, match="a sink stores whole files"):
        build("head-sink", {})
