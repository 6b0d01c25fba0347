"""The sealer over a key exchange: three answers, no wait, no hang; every row of what a receiver gets."""

from __future__ import annotations

import logging
import threading
import time

import msgpack
import pytest

from openmsi_core.crypto import blobs
from openmsi_core.crypto.certificates import Rights
from openmsi_core.crypto.cipher import Cipher
from openmsi_core.crypto.keyring import KeyringFile
from openmsi_core.crypto.sealed import (
    OpeningReader,
    PatientSealer,
    SealingSink,
    SealingStore,
    WatchedSource,
    opened_record,
)
from openmsi_core.errors import CipherDown, NotDelivered
from openmsi_core.model import Outgoing, Position, Record
from openmsi_core.ports import Never, NotYet, Opened
from tests.crypto_fakes import ANYTHING, Keys, make_node
from tests.kafka.processes import wait_for

SECRET = bytes(range(32))
SEALED = blobs.seal(b"k1", SECRET, b"data", blobs.VALUE)


def cipher(keys: Keys, seals=("t",), rights=ANYTHING, **more) -> Cipher:
    return Cipher(keys, seals, lambda: rights, **more)


def turned(keys: Keys, **more) -> Cipher:
    """One whose usher has come round once; its thread does not run."""
    one = cipher(keys, **more)
    one._turn()
    return one


def with_key() -> Keys:
    keys = Keys()
    keys.here["t", b"k1"] = SECRET
    return keys


def test_what_one_seals_another_opens_once_its_key_came() -> None:
    sender, receiver = Keys(), Keys()
    sealing, opening = turned(sender), turned(receiver)
    key, value = sealing.seal_key("t.x", b"key"), sealing.seal_value("t", b"value")
    index = sender.ours["t"].index
    assert opening.open_value("t", value) == NotYet(index)
    receiver.here["t", index] = sender.ours["t"].secret
    assert opening.open_value("t", value) == Opened(b"value")
    assert opening.open_key("t", key) == Opened(b"key")
    assert sealing.open_value("t.dlq", value) == Opened(b"value")  # its own


TAMPERED = SEALED[:-1] + bytes([SEALED[-1] ^ 1])
SALTED = SEALED.replace(blobs.parsed(SEALED).salt, bytes(16))
NEVER = {
    "tampered cipher text": (TAMPERED, "does not open with its key"),
    "tampered salt": (SALTED, "does not open with its key"),
    "a key sealed as a value": (blobs.seal(b"k1", SECRET, b"data", blobs.KEY), "a key as a value"),
    "truncated": (SEALED[:-9], "cut off or damaged"),
    "not msgpack": (b"\x01\xc1", "cut off or damaged"),
    "not three items": (b"\x01" + msgpack.packb([1, 2]), "three parts"),
    "an index of another kind": (b"\x01" + msgpack.packb([None, bytes(16), bytes(30)]), "key index is neither"),
    "plain": (b"OMSI plain", "it is plain, not sealed, and this topic is encrypted"),
}


@pytest.mark.parametrize("what", NEVER)
def test_what_can_never_be_opened_says_so_at_once(what) -> None:
    data, why = NEVER[what]
    answer = turned(with_key()).open_value("t", data)
    assert isinstance(answer, Never)
    assert why in answer.reason


def test_the_key_of_another_root_topic_is_no_key_and_one_of_the_same_root_is() -> None:
    one = turned(with_key())
    assert one.open_value("t.other", SEALED) == Opened(b"data")  # moved or replayed: told by sequence and file id
    assert isinstance(one.open_value("u", SEALED), NotYet)


def test_plain_records_are_taken_only_while_a_topic_is_migrated() -> None:
    one = turned(with_key(), accept_plain=True)
    assert one.open_value("t", b"OMSI plain") == Opened(b"OMSI plain")
    assert one.open_value("t", SEALED) == Opened(b"data")
    assert isinstance(one.open_value("t", b"\x01broken"), Never)


def test_a_key_that_was_replaced_by_another_of_its_index_opens_too() -> None:
    keys = with_key()
    one = turned(keys)
    assert one.open_value("t", SEALED) == Opened(b"data")
    keys.here["t", b"k1"] = bytes(32)
    assert one.open_value("t", SEALED) == Opened(b"data")
    assert one.open_value("t", blobs.seal(b"k1", bytes(32), b"new", blobs.VALUE)) == Opened(b"new")


def test_two_producers_with_the_same_short_index_are_told_apart_by_trying() -> None:
    keys = Keys()
    keys.here["t", 5] = SECRET
    one = turned(keys)
    of_another = blobs.seal(5, bytes(32), b"other", blobs.VALUE)
    assert one.open_value("t", of_another) == NotYet(b"#5")  # numbers are not unique: its key may still come
    keys.here["t", 5] = bytes(32)
    assert one.open_value("t", of_another) == Opened(b"other")


def test_a_thousand_unknown_key_indices_cost_less_than_a_millisecond_each() -> None:
    one = turned(Keys())
    made = [blobs.seal(b"%d" % number, SECRET, b"x", blobs.VALUE) for number in range(1000)]
    began = time.perf_counter()
    assert all(isinstance(one.open_value("t", each), NotYet) for each in made)
    assert time.perf_counter() - began < 1


def test_missing_keys_are_asked_for_each_second_and_forgotten_when_nobody_wants_them_any_more() -> None:
    keys, clock = Keys(), [0.0]
    one = cipher(keys, clock=lambda: clock[0])
    one.open_value("t", SEALED)
    for clock[0] in (1.0, 1.5, 2.0):
        one._turn()
    assert keys.asked == [("t", b"k1")] * 2
    clock[0] = 200.0
    one._turn()
    assert keys.forgotten == [("t", b"k1")]
    clock[0] = 201.5
    one._turn()
    assert len(keys.asked) == 2


def test_what_is_wanted_is_bounded() -> None:
    one = turned(Keys())
    for number in range(10_100):
        one._want(("t", number))
    assert len(one._wanted) == 10_000


def test_after_half_a_minute_without_a_key_it_is_said_what_that_may_be(caplog) -> None:
    keys, clock = Keys(), [0.0]
    rights = Rights(1e9, ("key-encrypt",), ("xrd",), bytes(32))
    one = cipher(keys, rights=rights, clock=lambda: clock[0], wall=lambda: 0.0)
    one.open_value("t", SEALED)
    for clock[0] in (10.0, 29.0, 31.5, 33.0):
        one.open_value("t", SEALED)
        one._turn()
    said = [each.message for each in caplog.records if "no key came" in each.message]
    assert len(said) == 1
    assert "t: no key came for 32 s" in said[0]
    assert "the topics xrd, the usages key-encrypt, until 2001-09-09" in said[0]


def test_nothing_is_sealed_before_its_key_is_stored_and_the_old_key_goes_on_until_the_new_one_is() -> None:
    keys = Keys()
    keys.is_stored = False
    one = cipher(keys)
    one._turn()
    with pytest.raises(CipherDown, match="no key for t"):
        one.seal_value("t", b"x")
    keys.is_stored = True
    one._turn()
    first = blobs.parsed(one.seal_value("t", b"x")).index
    keys.rotate()
    keys.is_stored = False
    one._turn()
    assert blobs.parsed(one.seal_value("t", b"x")).index == first
    keys.is_stored = True
    one._turn()
    assert blobs.parsed(one.seal_value("t", b"x")).index != first


def test_a_store_that_fails_is_tried_again() -> None:
    keys, clock = Keys(), [0.0]
    one = cipher(keys, clock=lambda: clock[0])
    keys.store_failure = "No space left on device"
    for clock[0] in (0.0, 0.5, 1.2):
        one._turn()
    assert keys.again == 2


def test_the_start_waits_for_the_key_and_gives_up_with_the_reason() -> None:
    keys = Keys()
    keys.is_stored = False
    with cipher(keys) as one:
        keys.store_failure = "OSError: No space left on device"
        with pytest.raises(CipherDown, match=r"could not be stored within 0\.3 s.*No space left"):
            one.wait_ready(threading.Event(), 0.3)
        keys.is_stored = True
        one.wait_ready(threading.Event(), 5)
        assert one.open_value("t", one.seal_value("t", b"x")) == Opened(b"x")


def test_a_dead_or_silent_exchange_ends_everything_within_seconds() -> None:
    keys = Keys()
    one = turned(keys)
    one.raise_if_down()
    keys.silence = 21
    with pytest.raises(CipherDown, match="no sign of life for 21 s"):
        one.raise_if_down()
    keys.silence, keys.failure = 0, "the library's thread has ended"
    for call in (one.raise_if_down, lambda: one.open_value("t", SEALED)):
        with pytest.raises(CipherDown, match="thread has ended"):
            call()


@pytest.mark.parametrize("error", [CipherDown("it hangs"), RuntimeError("a bug")])
def test_an_usher_that_fails_tells_whoever_seals(error, caplog) -> None:
    keys = Keys()
    with cipher(keys) as one:
        one.wait_ready(threading.Event(), 5)

        def fails(_: str) -> None:
            raise error

        keys.prime = fails  # type: ignore[method-assign]
        wait_for(lambda: bool(one._down), 5)
        with pytest.raises(CipherDown, match=str(error)):
            one.seal_value("t", b"x")


def test_a_chain_that_expires_while_we_run_ends_it_and_is_told_a_month_before(caplog) -> None:
    clock, wall = [0.0], [0.0]
    rights = Rights(40 * 86400.0, None, None, bytes(32))
    one = cipher(Keys(), rights=rights, clock=lambda: clock[0], wall=lambda: wall[0])
    for day in (0, 11, 41):
        clock[0] = wall[0] = day * 86400.0
        one._turn()
    assert "expires 1970-02-10" in caplog.text
    with pytest.raises(CipherDown, match="our chain has expired"):
        one.seal_value("t", b"x")


def test_keys_that_came_are_kept_in_a_file_that_only_the_node_opens(tmp_path, caplog) -> None:
    node, keys = make_node(tmp_path), Keys()
    one = cipher(keys, seals=(), keyring=KeyringFile(node))
    one.open_value("t", SEALED)
    keys.here["t", b"k1"] = SECRET
    one._turn()
    assert SECRET not in node.keyring.read_bytes()
    assert node.keyring.stat().st_mode & 0o077 == 0
    with cipher(Keys(), seals=(), keyring=KeyringFile(node)) as restarted:
        assert restarted.open_value("t", SEALED) == Opened(b"data")
    node.keyring.write_bytes(b"damaged" * 20)
    assert KeyringFile(node).load() == {}
    assert "cannot be used" in caplog.text


def test_a_keyring_is_bounded_and_a_full_disk_does_it_no_harm(tmp_path, monkeypatch, caplog) -> None:
    ring = KeyringFile(make_node(tmp_path))
    monkeypatch.setattr("openmsi_core.crypto.keyring.MOST_KEYS", 3)
    for number in range(5):
        ring.add("t", number, SECRET)
    assert list(KeyringFile(make_node(tmp_path / "x")).load()) == []
    assert [index for _, index in ring.load()] == [2, 3, 4]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("openmsi_core.crypto.keyring.replace_secret", full)
    ring.add("t", 9, SECRET)
    assert "could not be kept" in caplog.text


class Sink:
    def __init__(self) -> None:
        self.got: list[tuple[int, bytes, bytes]] = []

    def partitions(self) -> int:
        return 3

    def produce(self, partition, key, value, delivered) -> None:
        self.got.append((partition, key, value))

    def serve(self, timeout: float) -> int:
        return 1

    def pending(self) -> int:
        return len(self.got)


def test_a_sink_seals_keys_and_values_and_notices_a_dead_cipher() -> None:
    keys, plain = Keys(), Sink()
    one = turned(keys)
    sink = SealingSink(plain, one, "t")
    sink.produce(2, b"path", b"content", lambda *_: None)
    assert (sink.partitions(), sink.pending(), sink.serve(0)) == (3, 1, 1)
    (partition, key, value) = plain.got[0]
    assert partition == 2
    assert b"path" not in key + value
    assert (one.open_key("t", key), one.open_value("t", value)) == (Opened(b"path"), Opened(b"content"))
    keys.failure = "gone"
    with pytest.raises(CipherDown):
        sink.serve(0)


class Store:
    def __init__(self) -> None:
        self.got: list[Outgoing] = []
        self.refuse = False

    def write(self, outgoing, commits, *, size=0) -> None:
        self.got = list(outgoing)
        assert [each.topic for each in outgoing] == [each.topic for each in self.got]  # it may be gone through twice
        if self.refuse:
            error = NotDelivered("too large")
            error.outgoing = self.got[0]
            raise error


def test_a_store_seals_chooses_partitions_as_if_it_did_not_and_names_what_was_refused_as_it_was() -> None:
    one, plain = turned(Keys(), seals=("t", "out")), Store()
    store = SealingStore(plain, one, {"out": 7, "t.dlq": 1})
    records = [
        Outgoing("out", b"a/b", b"result"),
        Outgoing("t.dlq", None, b"letter"),
        Outgoing("t.r", b"k", b"a receipt that tells"),
    ]
    store.write(records, ())
    import zlib

    assert [each.partition for each in plain.got] == [zlib.crc32(b"a/b") % 7, -1, -1]
    assert [one.open_value(each.topic, each.value) for each in plain.got] == [Opened(each.value) for each in records]
    assert plain.got[1].key is None
    assert all(each.value not in sealed.value for each, sealed in zip(records, plain.got, strict=True))
    plain.refuse = True
    with pytest.raises(NotDelivered) as caught:
        store.write(records, ())
    assert caught.value.outgoing == records[0]


class Source:
    def poll(self, timeout: float):
        return None

    def partitions(self) -> int:
        return 2

    def positions(self):
        return {0: 5}

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False


def test_a_source_ends_when_its_cipher_does() -> None:
    keys = Keys()
    source = WatchedSource(Source(), turned(keys))
    source.pause()
    source.resume()
    assert (source.poll(0), source.partitions(), source.positions()) == (None, 2, {0: 5})
    keys.failure = "gone"
    with pytest.raises(CipherDown):
        source.poll(0)


def test_a_person_waits_for_a_key_once() -> None:
    keys = Keys()
    patient = PatientSealer(turned(keys), 0.2)
    began = time.monotonic()
    assert isinstance(patient.open_value("t", SEALED), NotYet)
    waited = time.monotonic() - began
    assert isinstance(patient.open_value("t", SEALED), NotYet)
    assert waited >= 0.2
    assert time.monotonic() - began < waited + 0.1
    later = PatientSealer(turned(keys), 10)
    threading.Timer(0.1, lambda: keys.here.update({("t", b"k1"): SECRET})).start()
    assert later.open_value("t", SEALED) == Opened(b"data")
    assert blobs.parsed(later.seal_value("t", b"x"))
    assert blobs.parsed(later.seal_key("t", b"x"))


class Reader:
    def __init__(self, *records: Record) -> None:
        self.records = records

    def ends(self):
        return {0: (0, 2)}

    def since(self, timestamp_ms: int):
        return {0: 1}

    def between(self, ranges):
        yield from self.records
        yield None


def test_a_reader_opens_what_opens_and_leaves_the_rest() -> None:
    keys = with_key()
    place = Position("t.dlq", 0, 0)
    sealed = Record(place, 0, blobs.seal(b"k1", SECRET, b"key", blobs.KEY), SEALED)
    reader = OpeningReader(Reader(sealed, Record(place, 0, None, b"plain")), PatientSealer(turned(keys), 0))
    found = list(reader.between(reader.ends()))
    assert (found[0].key, found[0].value) == (b"key", b"data")
    assert (found[1].key, found[1].value, found[2], reader.since(0)) == (None, b"plain", None, {0: 1})
    tombstone = opened_record(Record(place, 0, None, None), PatientSealer(turned(keys), 0))
    assert tombstone.value is None


def test_logs_have_no_secret(caplog) -> None:
    caplog.set_level(logging.DEBUG)
    keys = with_key()
    one = turned(keys)
    one.open_value("t", SEALED)
    one.seal_value("t", b"x")
    one.open_value("t", TAMPERED)
    for secret in (SECRET, keys.ours["t"].secret):
        assert secret.hex() not in caplog.text
        assert repr(secret) not in caplog.text


def test_a_run_that_should_end_waits_for_keys_and_not_for_ever(tmp_path) -> None:
    """Sealed records whose key comes in time are done; without a key the run ends, and they stay for the next one."""
    from dataclasses import replace

    from openmsi_core.receiving.pace import Pace
    from tests.fakes import Log, values_of
    from tests.rig import Rig

    def ran(folder, comes: bool) -> Rig:
        folder.mkdir()
        keys, log = Keys(), Log()
        for value in values_of("a.txt", b"content"):
            log.put(blobs.seal(b"k1", SECRET, value, blobs.VALUE))
        pace = replace(Pace(longest=0.05, housekeeping=0.0, stop_wait=0.5), keys=0.5)
        rig = Rig(folder, log, lambda file: "done", sealer=turned(keys), pace=pace)
        rig.intake.now_ms = lambda: time.monotonic_ns() // 1_000_000
        polls = [0]

        def before() -> None:
            polls[0] += 1
            if comes and polls[0] == 10:
                keys.here["t", b"k1"] = SECRET

        rig.source.before_poll = before
        rig.run()
        return rig

    assert len(ran(tmp_path / "1", comes=True).results()) == 1
    began = time.monotonic()
    left = ran(tmp_path / "2", comes=False)
    assert 0.5 <= time.monotonic() - began < 30
    assert (left.results(), left.letters()) == ([], [])
    assert all(each.offset == 0 for each in left.log.commits.values())
