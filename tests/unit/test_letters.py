"""Dead letters and the way back, with a fake log: reading them, putting files together again, retrying."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from threading import Event

import pytest

from openmsi_core.crypto.plain import Plain
from openmsi_core.errors import BrokerUnreachable, NotWhole, Reject
from openmsi_core.files import wire
from openmsi_core.files.assembly import Assembler
from openmsi_core.files.opened import Span
from openmsi_core.files.spool import Spool
from openmsi_core.model import FileVersion, Outcome, PluginFacts, Position, Record, RelativePath, Stored, What
from openmsi_core.receiving.again import InOrder, Retry, look_for_newer, record_of, whole_of
from openmsi_core.receiving.attempts import RetryPolicy
from openmsi_core.receiving.envelopes import dumps, letter
from openmsi_core.receiving.jobs import Ended, RunFacts
from openmsi_core.receiving.letters import Letter, Letters, Resolution, read_letter, resolved
from openmsi_core.receiving.outcomes import records_of
from openmsi_core.receiving.survey import Newest, Survey
from openmsi_core.receiving.workers import Workers
from tests.fakes import Call, Log, LogReader, LogStore, values_of

RUN = RunFacts("g", "t", PluginFacts("fake", "extractor", "fakes", "1"), output_topic="out")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ID = bytes(range(16))
BIG = b"ab" * wire.MIN_CHUNK


def text_of(*offsets: int, path: str = "a/b.txt", file_id: bytes = ID, what: What = What.REJECTED) -> bytes:
    span = Span()
    for offset in offsets:
        span.add(Position("t", 0, offset))
    version = FileVersion(file_id, RelativePath.from_key(os.fsencode(path)), 3, wire.MIN_CHUNK, 0)
    outcome = Outcome(what, reason="no", error="Reject", traceback="Traceback ...")
    return dumps(letter(Ended(outcome, (), span, version, file_id), RUN, NOW))


def at(offset: int, value: bytes | None, partition: int = 0) -> Record:
    return Record(Position("t.dlq", partition, offset), 0, None, value)


def letter_at(offset: int, value: bytes) -> Letter:
    found = read_letter(at(offset, value))
    assert isinstance(found, Letter)
    return found


def resolution(letter_id: str) -> bytes:
    return dumps({"what": "resolved", "letter": letter_id})


def test_a_letter_is_read_as_it_was_written() -> None:
    found = letter_at(7, text_of(3, 4))
    assert (found.id, found.what, found.run, found.topic, found.reason) == ("0-7", "rejected", "g", "t", "no")
    assert found.positions == {0: (3, 4, 2)}
    assert (found.file_id, str(found.path)) == (ID, "a/b.txt")
    assert "traceback" not in found.told["why"]
    whole = read_letter(at(7, text_of(3, 4)), whole=True)
    assert isinstance(whole, Letter)
    assert whole.told["why"]["traceback"] == "Traceback ..."


def test_a_path_that_is_not_utf8_comes_back_byte_for_byte() -> None:
    found = letter_at(0, text_of(0, path=os.fsdecode(b"caf\xe9/x")))
    assert found.path is not None
    assert found.path.key == b"caf\xe9/x"


FOREIGN = [
    None,
    b"",
    b"\xff\xfe",
    b"[" * 100_000,
    b"[1]",
    b"{}",
    b"1" * 5000,
    b'{"what":"resolved"}',
    b'{"what":"resolved","letter":7}',
    b'{"what":"resolved","letter":"0-1 "}',
    text_of(0).replace(b'"first":0', b'"first":-1'),
    text_of(0).replace(b'"first":0', b'"first":true'),
    text_of(0).replace(b'"first":0', b'"first":9'),
    text_of(0).replace(b'"first":0', b'"first":1e3'),
    text_of(0).replace(b'{"0":', b'{"-1":'),
    text_of(0).replace(ID.hex().encode(), b"zz"),
    text_of(0).replace(b'"run":"g"', b'"run":{}'),
    text_of(0).replace(b'"why":{', b'"why":3,"x":{'),
]


@pytest.mark.parametrize("value", FOREIGN)
def test_what_is_no_letter_is_counted_and_harms_nobody(value) -> None:
    records = [at(0, text_of(0)), at(1, value), at(2, text_of(1))]
    letters = Letters.of(records, {0: (0, 3)})
    assert letters.foreign == 1
    assert [each.id for each in letters] == ["0-0", "0-2"]


def test_a_path_that_leaves_its_root_is_no_path_of_a_letter() -> None:
    found = letter_at(0, text_of(3).replace(b"a/b.txt", b"../b.tx"))
    assert found.path is None
    assert found.subject == "t[0]@3"


def test_resolved_letters_are_hidden_and_kept_only_when_asked_for() -> None:
    records = [at(0, text_of(0)), at(1, text_of(1)), at(2, resolution("0-0")), at(3, resolution("0-0"))]
    assert [each.id for each in Letters.of(records, {0: (0, 4)})] == ["0-1"]
    everything = Letters.of(records, {0: (0, 4)}, keeps_resolved=True)
    assert [(each.id, each.resolved is not None) for each in everything] == [("0-0", True), ("0-1", False)]


def test_a_resolution_may_be_read_before_its_letter_from_another_partition() -> None:
    letters = Letters.of([at(0, resolution("1-0")), at(0, text_of(0), 1)], {0: (0, 1), 1: (0, 1)})
    assert list(letters) == []


def test_resolutions_of_letters_that_will_never_come_are_not_remembered() -> None:
    letters = Letters({0: (5, 1000)})
    for offset in range(5, 500):
        letters.take(at(offset, resolution(f"0-{offset % 5}")))
        letters.take(at(offset, resolution(f"3-{offset}")))
        letters.take(at(offset, resolution(f"0-{5000 + offset}")))
    assert letters._early == {}


def test_the_record_that_resolves_a_letter_names_it_in_its_key_and_is_read_as_one() -> None:
    found = letter_at(17, text_of(0))
    version = FileVersion(ID, RelativePath.parse("a/b.txt"), 3, wire.MIN_CHUNK, 0)
    out = resolved(found, version, Outcome(What.DONE), RUN, NOW)
    assert (out.topic, out.key) == ("t.dlq", b"0-17")
    assert read_letter(at(18, out.value)) == Resolution("0-17", json.loads(out.value))
    assert json.loads(out.value)["outcome"] == "done"


# ---- putting files together again


class Rig:
    """A log with one large file between others, and its letter."""

    def __init__(self, tmp_path, does=lambda file: {"size": file.size}, **more) -> None:
        self.stack = ExitStack()
        self.spool = self.stack.enter_context(Spool(tmp_path / "spool"))
        self.log = more.get("log") or Log()
        self.big = values_of("a/b.txt", BIG, file_id=ID)
        if "log" not in more:
            other = values_of("other", BIG)
            self.log.put(b"garbage", *(value for pair in zip(other, self.big, strict=True) for value in pair))
        self.offsets = [at for at, value in enumerate(self.log.partitions[0]) if value in self.big]
        self.letter = letter_at(0, text_of(*self.offsets))
        self.reader = LogReader(self.log, lows=more.get("lows"))
        self.store = LogStore(self.log, more.get("failing", 0))
        self.call = Call(does, flush=more.get("flush"))
        self.workers = self.stack.enter_context(Workers([self.call], RUN, RetryPolicy((0.0,), 0.0)))
        self.newest = more.get("newest") or Newest()
        self.stopping = Event()

    def whole(self):
        return whole_of(self.letter, self.reader, Assembler(self.spool), Plain())

    def retry(self) -> Outcome | None:
        with self.stack:
            retry = Retry(RUN, self.workers, self.store, self.newest, stopping=self.stopping, now=lambda: NOW)
            return retry.retry(self.letter, self.whole())

    def look(self) -> Newest:
        survey = Survey(Assembler(self.spool, wanted=lambda _: False), Plain(), lambda _: True)
        return look_for_newer([self.letter], self.reader, survey, self.stopping.is_set)


def test_a_file_is_put_together_from_its_positions_alone(tmp_path) -> None:
    rig = Rig(tmp_path)
    with rig.stack:
        assert rig.whole().content.read() == BIG
    assert {each.offset for each in rig.reader.read} == set(range(rig.offsets[0], rig.offsets[-1] + 1))


def test_offsets_that_retention_removed_are_named(tmp_path) -> None:
    rig = Rig(tmp_path, lows={0: 3})
    with rig.stack, pytest.raises(NotWhole, match=r"retention removed t\[0\]@2 to 2\. Send") as caught:
        rig.whole()
    assert caught.value.exit_code == 4


def test_a_topic_made_anew_is_told_from_a_file_that_lacks_records(tmp_path) -> None:
    rig = Rig(tmp_path)
    rig.log.partitions[0] = [b"other"] * 9
    with rig.stack, pytest.raises(NotWhole, match="deleted and made anew"):
        rig.whole()
    rig = Rig(tmp_path)
    rig.log.partitions[0][rig.offsets[1]] = b"lost"
    with rig.stack, pytest.raises(NotWhole, match=r"only 1 of its records"):
        rig.whole()
    rig.letter = replace(rig.letter, positions={5: (0, 0, 1)})
    with pytest.raises(NotWhole, match="which has 1 partitions"):
        rig.whole()


def test_an_incomplete_file_may_have_become_whole_since(tmp_path) -> None:
    rig = Rig(tmp_path)
    rig.letter = letter_at(0, text_of(rig.offsets[0], what=What.INCOMPLETE))
    with rig.stack:
        assert rig.whole().content.read() == BIG
    assert len(rig.offsets) > 1


def test_a_letter_about_a_record_gives_the_record_and_no_file(tmp_path) -> None:
    span = Span()
    span.add(Position("t", 0, 0))
    rig = Rig(tmp_path)
    value = dumps(letter(Ended(Outcome(What.BAD_RECORD, reason="no"), (), span), RUN, NOW))
    rig.letter = letter_at(0, value)
    with rig.stack, pytest.raises(NotWhole, match="belongs to no file"):
        rig.whole()
    assert record_of(rig.letter, rig.reader).value == b"garbage"
    with pytest.raises(NotWhole, match="retention removed"):
        record_of(rig.letter, LogReader(rig.log, lows={0: 1}))


# ---- retrying


def test_what_ends_well_is_published_in_one_write_and_resolves_the_letter(tmp_path) -> None:
    rig = Rig(tmp_path)
    outcome = rig.retry()
    assert outcome is not None
    assert outcome.what is What.DONE
    assert rig.store.checkpoints == 1
    assert rig.log.commits == {}
    assert [each.topic for each in rig.log.published] == ["out", "t.receipts", "t.dlq"]
    assert isinstance(read_letter(at(1, rig.log.published[2].value)), Resolution)
    assert rig.call.closed == 1


def test_what_fails_again_publishes_nothing(tmp_path) -> None:
    calls = []

    def fails(file) -> None:
        calls.append(file.path)
        raise ValueError("still broken")

    rig = Rig(tmp_path, fails)
    outcome = rig.retry()
    assert outcome is not None
    assert (outcome.what, outcome.reason) == (What.FAILED, "still broken")
    assert len(calls) == 2, "the policy allows one more try"
    assert rig.log.published == []


def test_a_file_of_a_sink_counts_only_after_its_flush(tmp_path) -> None:
    def full() -> None:
        raise OSError("disk full")

    rig = Rig(tmp_path, lambda file: Stored("there"), flush=full)
    outcome = rig.retry()
    assert outcome is not None
    assert outcome.what is What.FAILED
    assert rig.log.published == []


def test_a_broker_that_goes_away_while_publishing_is_told_and_nothing_is_taken_as_written(tmp_path) -> None:
    rig = Rig(tmp_path, failing=1)
    with pytest.raises(BrokerUnreachable):
        rig.retry()
    assert rig.log.published == []


def test_a_stop_ends_a_retry_whose_plugin_does_not_answer(tmp_path) -> None:
    released = Event()

    def hangs(file) -> dict:
        rig.stopping.set()
        released.wait(20)
        return {}

    rig = Rig(tmp_path, hangs)
    with rig.stack:
        retry = Retry(RUN, rig.workers, rig.store, rig.newest, stopping=rig.stopping)
        assert retry.retry(rig.letter, rig.whole()) is None
        released.set()
    assert rig.log.published == []


def test_letters_go_one_by_one_and_one_that_cannot_be_whole_holds_nobody_up(tmp_path) -> None:
    rig = Rig(tmp_path)
    gone = replace(rig.letter, id="0-5", file_id=b"x" * 16)
    with rig.stack:
        retry = Retry(RUN, rig.workers, rig.store, rig.newest)
        fates = list(
            retry.each([gone, rig.letter], lambda each: whole_of(each, rig.reader, Assembler(rig.spool), Plain()))
        )
    assert [(fate.letter.id, fate.is_resolved) for fate in fates] == [("0-5", False), ("0-0", True)]
    assert "made anew" in fates[0].reason


def rejects(file) -> None:
    raise Reject("never to be called")


def test_a_version_with_a_later_whole_one_ends_as_superseded_without_its_plugin(tmp_path) -> None:
    rig = Rig(tmp_path, rejects)
    rig.log.put(*values_of("a/b.txt", BIG))
    rig.newest = rig.look()
    outcome = rig.retry()
    assert outcome is not None
    assert outcome.what is What.SUPERSEDED
    receipt, letter_ = rig.log.published
    assert json.loads(receipt.value)["outcome"] == json.loads(letter_.value)["outcome"] == "superseded"
    assert receipt.key == b"a/b.txt\0g\0" + ID.hex().encode(), "it must not replace the receipt of the newer one"


@pytest.mark.parametrize("later", ["half", "aborted", "another path", "earlier"])
def test_only_a_later_whole_version_of_the_path_supersedes(tmp_path, later) -> None:
    rig = Rig(tmp_path)
    values = values_of("a/b.txt", BIG)
    if later == "half":
        rig.log.put(*values[:-1])
    elif later == "aborted":
        chunk = wire.decode(values[0])
        abort = replace(chunk, sequence=1, offset=len(chunk.payload), payload=b"", version=None, abort=True)
        rig.log.put(values[0], wire.encode(abort))
    elif later == "another path":
        rig.log.put(*values_of("a/c.txt", BIG))
    else:
        log = Log()
        log.put(*values, *rig.log.partitions[0])
        rig.stack.close()
        rig = Rig(tmp_path, log=log)
    rig.newest = rig.look()
    assert not rig.newest.is_superseded(RelativePath.parse("a/b.txt"), 0, rig.offsets[0])
    outcome = rig.retry()
    assert outcome is not None
    assert outcome.what is What.DONE


def test_without_transactions_a_letter_is_resolved_only_after_everything_before_it() -> None:
    log = Log()
    store = LogStore(log)
    version = FileVersion(ID, RelativePath.parse("a"), 3, wire.MIN_CHUNK, 0)
    outgoing = list(records_of(Ended(Outcome(What.DONE), (), Span("t", {0: (0, 0, 1)}), version, ID), RUN, NOW))
    InOrder(store).write([*outgoing, *outgoing], ())
    assert store.checkpoints == 2
    failing = LogStore(Log(), failing=1)
    with pytest.raises(BrokerUnreachable):
        InOrder(failing).write([*outgoing, *outgoing], ())
    assert failing.log.published == []
