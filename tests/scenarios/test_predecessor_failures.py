"""What OpenMSIStream 1.8.8 fails at when it sends (the numbers of the design's page), and ours must not.

Number 25 (nobody can tell whether a file has arrived) is with the tests of receipts.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from openmsi_core.files.assembly import Assembler
from openmsi_core.files.events import Whole
from openmsi_core.files.spool import Spool
from openmsi_core.files.wire import decode
from openmsi_core.kafka.embedded import embedded
from openmsi_core.model import Position, Record
from openmsi_core.sending.ledger import NoJournal
from openmsi_core.sending.manner import Manner
from openmsi_core.sending.sender import Sender
from tests.faults.sent import Sent, sent
from tests.kafka.oracle import digests
from tests.kafka.processes import Command
from tests.sending_fakes import FakeSink, seen, tampering

CHUNK = 16 * 1024
BIG = os.urandom(5 * CHUNK + 7)


def _once(tmp_path: Path, sink: FakeSink, *, exclude: tuple[str, ...] = ()) -> int:
    from openmsi_core.sending.goals import OnePass
    from openmsi_core.sending.ledger import Ledger, ledger_file
    from openmsi_core.sending.rules import Rules
    from openmsi_core.sending.watching import Watch

    root = tmp_path / "in"
    with Ledger(ledger_file(tmp_path / "state", root, "t"), root=root, topic="t") as ledger:
        rules = Rules(settle=0.06, interval=0.02, exclude=exclude)
        watch = Watch(ledger, sink, OnePass(60_000_000), rules, threading.Event(), manner=Manner(CHUNK))
        return watch.run().sent


def _found(sink: FakeSink) -> Sent:
    return sent([(key, value) for _, key, value in sink.records])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def _whole(tmp_path: Path, sink: FakeSink) -> list[bytes]:
    """The files that a receiver completes from these records, in order."""
    found = []
    with Spool(tmp_path / "spool") as spool:
        assembler = Assembler(spool)
        for offset, (_, key, value) in enumerate(sink.records):
            event = assembler.take(Record(Position("t", 0, offset), 0, key, value), decode(value))
            if isinstance(event, Whole):
                found.append(event.content.read())
    return found


def _interrupted(root: Path, sink: FakeSink) -> None:
    """A sender that dies in the middle of ``big``."""
    sender = Sender(sink, NoJournal(), lambda report: None, Manner(CHUNK))
    sender.start()
    sender.offer(seen(root / "big", root))
    for _ in range(3):
        sender.step(0.0)
    for flight in sender._lanes:
        flight.source.close()


@pytest.mark.parametrize(("number", "later"), [(2, BIG + b"grown"), (3, BIG[: 2 * CHUNK])])
def test_2_and_3_a_file_that_grew_or_shrank_while_its_first_version_is_incomplete_arrives_as_it_is(
    tmp_path: Path, root: Path, number: int, later: bytes
) -> None:
    sink = FakeSink(count=1)
    (root / "big").write_bytes(BIG)
    _interrupted(root, sink)
    (root / "big").write_bytes(later)
    assert _once(tmp_path, sink) == 1
    assert _whole(tmp_path, sink) == [later], number


def test_4_a_file_that_is_modified_while_it_is_sent_is_sent_anew(tmp_path: Path, root: Path) -> None:
    sink, reports = FakeSink(), []
    file = root / "big"
    file.write_bytes(BIG)
    sender = Sender(
        sink, NoJournal(), reports.append, Manner(CHUNK), opener=tampering(2, lambda: file.write_bytes(BIG[::-1]))
    )
    sender.start()
    sender.offer(seen(file, root))
    for _ in range(20):
        sender.step(0.0)
    assert _once(tmp_path, sink) == 1
    assert list(_found(sink).whole.values()) == [[digests(root)[b"big"]]]


def test_5_a_file_that_is_created_empty_and_filled_later_is_sent_both_times(tmp_path: Path, root: Path) -> None:
    sink = FakeSink()
    (root / "f").write_bytes(b"")
    assert _once(tmp_path, sink) == 1
    (root / "f").write_bytes(b"filled")
    assert _once(tmp_path, sink) == 1
    assert len(_found(sink).whole[b"f"]) == 2


def test_6_files_that_wait_at_a_crash_are_sent_at_the_next_start(tmp_path: Path, root: Path) -> None:
    for number in range(50):
        (root / f"f{number}").write_bytes(b"%d" % number)
    late = FakeSink(is_late=True)
    stopped = threading.Event()
    from openmsi_core.sending.goals import Forever
    from openmsi_core.sending.ledger import Ledger, ledger_file
    from openmsi_core.sending.rules import Rules
    from openmsi_core.sending.watching import Watch

    with Ledger(ledger_file(tmp_path / "state", root, "t"), root=root, topic="t") as ledger:
        watch = Watch(ledger, late, Forever(), Rules(settle=0.06, interval=0.02), stopped, manner=Manner(CHUNK))
        thread = threading.Timer(0.5, stopped.set)
        thread.start()
        watch.run()
        thread.join()
    assert late.records == []
    sink = FakeSink()
    assert _once(tmp_path, sink) == 50
    assert {path: each[-1] for path, each in _found(sink).whole.items()} == digests(root)


def test_7_what_was_changed_or_added_while_the_program_was_down_is_sent(tmp_path: Path, root: Path) -> None:
    sink = FakeSink()
    (root / "changed").write_bytes(b"1")
    _once(tmp_path, sink)
    (root / "changed").write_bytes(b"22")
    (root / "added").write_bytes(b"3")
    assert _once(tmp_path, sink) == 2
    assert {path: each[-1] for path, each in _found(sink).whole.items()} == digests(root)


def test_8_names_that_contain_log_are_files_like_others(tmp_path: Path, root: Path) -> None:
    for name in ("catalog.csv", "analog.dat", "run.log", ".hidden", "LOGS"):
        (root / name).write_bytes(b"x")
    sink = FakeSink()
    _once(tmp_path, sink)
    assert set(_found(sink).whole) == {b"catalog.csv", b"analog.dat", b"run.log", b".hidden", b"LOGS"}


def test_18_no_name_stops_anything(tmp_path: Path, root: Path) -> None:
    names = {
        b"quote'\"",
        b"new\nline",
        b"comma,;",
        b"%s{0}",
        b"caf\xe9",
        b"[x](y)",
        b"\xf0\x9f\x98\x80",
        b"back\\slash",
    }
    for name in names:
        (root / os.fsdecode(name)).write_bytes(name)
    sink = FakeSink()
    assert _once(tmp_path, sink) == len(names)
    assert set(_found(sink).whole) == names
    assert _once(tmp_path, sink) == 0


def test_22_sending_is_not_bound_to_a_pause_for_each_file(tmp_path: Path, root: Path) -> None:
    for number in range(2_000):
        (root / f"f{number}").write_bytes(b"%d" % number)
    begun = time.process_time()
    assert _once(tmp_path, FakeSink()) == 2_000
    assert 2_000 / (time.process_time() - begun) > 200, "ten times the predecessor's 20 a second, in time of a core"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_9_and_17_a_state_folder_elsewhere_and_a_broker_that_is_down_and_a_stop(
    tmp_path: Path, root: Path, number: int
) -> None:
    (root / "f").write_bytes(b"x")
    with embedded() as broker:
        address = broker.address
        from openmsi_core.kafka import admin

        admin.create_family(admin.connected({"bootstrap.servers": address}), "t", 1, 1)
        arguments = ("watch", str(root), "--topic", "t", "--broker", address, "--settle", "50ms")
        with Command(tmp_path / "elsewhere", *arguments) as watch:
            watch.until(lambda: "sent f" in watch.output)
            assert watch.end(number) == (130 if number == signal.SIGINT else 0)
    with Command(tmp_path / "down", *arguments, state=tmp_path / "elsewhere" / "state") as watch:
        watch.until(lambda: "waiting for the broker" in watch.output)
        assert watch.end(number) == (130 if number == signal.SIGINT else 0)
        assert "Traceback" not in watch.output
