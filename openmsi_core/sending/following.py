"""Following: receipts from their topic into the receipt book, in small stretches, from where the last one ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from openmsi_core.errors import OpenmsiError
from openmsi_core.ports import RecordReader
from openmsi_core.sending.receiptbook import Lost, ReceiptBook
from openmsi_core.sending.receipts import Receipt, receipt_in

PAUSE = 2.0
_LONGEST_PAUSE = 60.0
_BATCH = 5000
_FAR = 1 << 62
_LOOK_SECONDS = 60.0
_PRUNE_SECONDS = 600.0

_log = logging.getLogger(__name__)


def read_on(
    reader: RecordReader, book: ReceiptBook, topic_id: str = "", stop: Callable[[], bool] = lambda: False
) -> int:
    """Take the receipts from where reading ended last to the present end; how many records were none.

    ``stop`` ends it after the record in hand; what was taken by then stays. Raises BrokerError, FolderError.
    """
    ranges, ends = stretches(reader, book.places(topic_id))
    batch: list[tuple[Receipt, int]] = []
    reached: dict[int, int] = {}
    foreign = 0
    for record in reader.between(ranges):
        if record is not None:
            receipt = receipt_in(record)
            if receipt is None:
                foreign += 1
            else:
                batch.append((receipt, record.timestamp_ms))
            reached[record.position.partition] = record.position.offset + 1
        if len(batch) >= _BATCH:
            book.take(batch, reached)
            batch.clear()
        if stop():
            break
    else:
        reached = {number: max(reached.get(number, 0), high) for number, high in ends.items()}
    book.take(batch, reached)
    return foreign


def stretches(
    reader: RecordReader, places: Mapping[int, int]
) -> tuple[Mapping[int, tuple[int, int]], Mapping[int, int]]:
    """What to read after ``places``, and where the partitions end at least. Raises BrokerError.

    The ranges have no end of their own: a reader stops at the present one, which it hears of with the records. What
    it is told before may be too low: the embedded broker forgets all but the first record of the last batch.
    """
    ranges, ends = {}, {}
    for number, (low, high) in reader.ends().items():
        begin = max(places.get(number, low), low)
        ranges[number] = (begin if begin <= high else low, _FAR)  # beyond the end: it is another log than before
        ends[number] = high
    return ranges, ends


@dataclass(frozen=True, slots=True)
class Beyond:
    """How a receipts topic is reached: a reader that connects when it is entered, the topic's id, and what holds back.

    ``stuck`` answers a sentence about a transaction that nobody ends, "" when there is none. All raise BrokerError and
    TopicError.
    """

    reader: Callable[[], AbstractContextManager[RecordReader]]
    topic_id: Callable[[], str]
    stuck: Callable[[], str]


class Following:
    """Follows the receipts for the ledger at ``file`` until ``stop`` is set, in a thread of its own (`run`).

    ``lost`` is given the versions that did not arrive whole, again at every look until the ledger has other ones. What
    goes wrong is said once and tried again: sending does not wait for it.
    """

    def __init__(self, file: Path, beyond: Beyond, lost: Callable[[list[Lost]], None], stop: Event) -> None:
        self._file = file
        self._beyond = beyond
        self._lost = lost
        self._stop = stop
        self._said = ""
        self._looked = self._pruned = time.monotonic()

    def run(self) -> None:
        """Follow; ends within seconds of ``stop``. What it raises is a mistake of ours."""
        pause = PAUSE
        while not self._stop.is_set():
            try:
                with self._beyond.reader() as reader, ReceiptBook(self._file) as book:
                    topic_id = self._beyond.topic_id()
                    pause = PAUSE
                    while not self._stop.is_set():
                        self.look(reader, book, topic_id)
                        self._stop.wait(PAUSE)
            except OpenmsiError as error:
                self._say(f"receipts cannot be read, whether files arrived is not known: {error}")
            self._stop.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def once(self) -> None:
        """One look, for a watch that ends by itself; what goes wrong is said."""
        try:
            with self._beyond.reader() as reader, ReceiptBook(self._file) as book:
                self.look(reader, book, self._beyond.topic_id())
        except OpenmsiError as error:
            self._say(f"receipts cannot be read, what did not arrive whole is not sent again now: {error}")

    def look(self, reader: RecordReader, book: ReceiptBook, topic_id: str) -> None:
        """Read on to the present end, and hand over what did not arrive whole."""
        foreign = read_on(reader, book, topic_id, self._stop.is_set)
        if foreign:
            _log.warning("%d records among the receipts are none", foreign)
        lost = book.incomplete()
        if lost:
            self._lost(lost)
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            self._say(self._beyond.stuck())
        if now - self._pruned >= _PRUNE_SECONDS:
            self._pruned = now
            book.prune()

    def _say(self, text: str) -> None:
        if text and text != self._said:
            _log.warning("%s", text)
        self._said = text
