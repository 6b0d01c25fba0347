"""From settings to receipts: the topic ``T.receipts``, whoever follows it, and what holds it back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from threading import Event

from openmsi_core.kafka.admin import connected
from openmsi_core.kafka.config import bootstrap
from openmsi_core.kafka.errors import CONNECT_SECONDS
from openmsi_core.kafka.heldback import HeldBack, held_back
from openmsi_core.kafka.reading import TopicReader
from openmsi_core.sending.again import Again
from openmsi_core.sending.following import Beyond, Following
from openmsi_core.sending.ledger import Ledger
from openmsi_core.sending.ledgers import ABOUT, About, Presence
from openmsi_core.sending.receiptbook import ReceiptBook
from openmsi_core.settings import WatchSettings
from openmsi_core.wiring.connecting import PATIENT_SECONDS

_FAREWELL = 5.0  # seconds: a look that waits for a broker is left to end by itself


def beyond(kafka: Mapping[str, str], topic: str, seconds: float = CONNECT_SECONDS) -> Beyond:
    """How the receipts of a data topic are reached; connecting takes up to ``seconds``."""
    name = f"{topic}.receipts"
    return Beyond(
        reader=partial(TopicReader, kafka, name, connect=seconds),
        topic_id=lambda: connected(kafka, seconds).topic_id(name),
        stuck=partial(stuck, kafka, name, seconds),
    )


def stuck(kafka: Mapping[str, str], name: str, seconds: float) -> str:
    """A sentence for each transaction on the topic ``name`` that nobody ends; "" when there is none. BrokerError."""
    address, now = bootstrap(kafka), time.time()
    return " ".join(_told(held, address) for held in held_back(kafka, name, seconds) if held.is_stuck(now))


def _told(held: HeldBack, address: str) -> str:
    return (
        f"{held.topic}[{held.partition}] has a transaction that has been open since {_instant(held.since_ms)} and that "
        f"nobody ends: {held.high - held.stable:,} offsets from {held.stable} on cannot be read, and what they say of "
        f"files is not known. An administrator ends it: {held.advice(address)}"
    )


class Beside:
    """What a watch does beside sending: it says what it is about and that it is there, and follows the receipts.

    Calling it, again and again in the watch's thread, says that it is there, and sends again what did not arrive whole.
    """

    def __init__(self, ledger: Ledger, kafka: Mapping[str, str], settings: WatchSettings) -> None:
        self._ledger = ledger
        self._settings = settings
        self._beyond = beyond(kafka, settings.topic, PATIENT_SECONDS)
        self._again = Again(ledger)
        self._presence = Presence(ledger)

    def __call__(self) -> None:
        """A moment of the watch's thread."""
        self._presence()
        self._again()

    @contextmanager
    def introduced(self) -> Iterator[None]:
        """Open the ledger, say in it what it is about, and at the end that the watch is gone. Raises FolderError."""
        ledger, given = self._ledger, self._settings
        about = About(ledger.file, ledger.root, given.topic, given.include, given.exclude, given.runs)
        with ledger:
            ledger.set_fact(ABOUT, about.as_text())
            with ReceiptBook(ledger.file):  # an index over millions of rows is made before anything is sent
                pass
            self._presence()
            try:
                yield
            finally:
                self._presence.end()

    @contextmanager
    def following(self, stop: Event, *, are_sealed: bool = False) -> Iterator[None]:
        """Follow the receipts in a thread; a watch that ends by itself looks at them once, before it begins.

        Sealed ones are not opened here, and nothing is followed.
        """
        if are_sealed:
            yield
            return
        following = Following(self._ledger.file, self._beyond, self._again.lost, stop)
        if self._settings.once:
            following.once()
            yield
            return
        thread = threading.Thread(target=following.run, name="openmsi-receipts", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(_FAREWELL)


def _instant(milliseconds: int | None) -> str:
    at = datetime.fromtimestamp((milliseconds or 0) / 1000, UTC)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
