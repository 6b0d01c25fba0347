"""Several readers: the same files arrive as with one, and nobody touches what a thread works on."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from openmsi_core.sending.ledger import Ledger
from openmsi_core.sending.manner import Manner
from openmsi_core.sending.outlet import Budget
from openmsi_core.sending.readers import Readers
from openmsi_core.sending.reading import open_file
from openmsi_core.sending.reports import Ending, Report
from openmsi_core.sending.sender import Sender
from tests.sending_fakes import FakeSink, arrived, seen

CHUNK = 16 * 1024


def test_answers_come_in_the_order_of_what_was_asked() -> None:
    with Readers(3) as readers:
        for count in (0, 1, 2, 3, 7, 64):
            assert readers.each(lambda number: number * 2, range(count)) == [number * 2 for number in range(count)]
    assert readers.each(lambda number: number, [1, 2]) == [1, 2], "without its threads"


def test_they_work_at_the_same_time() -> None:
    together = threading.Barrier(3)
    with Readers(3) as readers:
        assert sorted(readers.each(lambda _: together.wait(10), [1, 2, 3])) == [0, 1, 2]


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_whatever_becomes_of_each_file_is_the_same_with_any_number_of_readers(tmp_path: Path, threads: int) -> None:
    contents = {f"f{number}": os.urandom(number * 700) for number in range(150)}
    root = tmp_path / "in"
    root.mkdir()
    for name, content in contents.items():
        (root / name).write_bytes(content)
    reports: list[Report] = []

    def opened(file: str) -> BinaryIO:
        if file.endswith("7"):
            raise PermissionError(13, "Permission denied")
        time.sleep(0.0001)  # so that threads take turns
        return open_file(file)

    sink = FakeSink()
    with Readers(threads) as readers, Ledger(tmp_path / "l.sqlite", root=root, topic="t") as ledger:
        budget = Budget(bytes=20 * CHUNK, records=40)
        sender = Sender(sink, ledger, reports.append, Manner(CHUNK), opener=opened, readers=readers, budget=budget)
        sender.start()
        for name in contents:
            sender.offer(seen(root / name, root))
        (root / "f30").write_bytes(b"changed since")
        (root / "f31").unlink()
        while not sender.is_idle:
            sender.step(0.0)
            assert sink.queued_bytes() <= 22 * CHUNK
            assert sink.pending() <= 40
    endings = {report.seen.relative.text: report.ending for report in reports}
    unreadable = {name for name in contents if name.endswith("7")}
    assert {name for name, ending in endings.items() if ending is Ending.UNREADABLE} == unreadable
    assert endings["f30"] is Ending.CHANGED
    assert endings["f31"] is Ending.VANISHED
    wanted = {name: [content] for name, content in contents.items() if name not in {*unreadable, "f30", "f31"}}
    assert arrived(sink).whole == wanted


def test_memory_stays_bounded_and_nothing_is_lost_while_the_broker_is_away(tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    for number in range(300):
        (root / f"f{number}").write_bytes(os.urandom(CHUNK * (1 + number % 3)))
    sink, reports = FakeSink(is_late=True), list[Report]()
    with Readers(2) as readers, Ledger(tmp_path / "l.sqlite", root=root, topic="t") as ledger:
        sender = Sender(
            sink, ledger, reports.append, Manner(CHUNK), readers=readers, budget=Budget(bytes=10 * CHUNK, records=100)
        )
        sender.start()
        for number in range(300):
            sender.offer(seen(root / f"f{number}", root))
        for _ in range(2_000):
            sender.step(0.0)
            assert sink.queued_bytes() <= 12 * CHUNK
        assert len(sender._flights) < 20, "no more files are open than their records may wait"
        sink.is_late = False
        while not sender.is_idle:
            sender.step(0.0)
    assert len(reports) == 300
    assert {report.ending for report in reports} == {Ending.SENT}
    assert len(arrived(sink).whole) == 300
