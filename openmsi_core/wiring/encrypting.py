"""From settings to what seals and opens. Without a node nothing is changed, and nothing of encryption is imported."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from openmsi_core.crypto import door
from openmsi_core.crypto.plain import Plain
from openmsi_core.errors import CipherError
from openmsi_core.kafka import admin, keytopics
from openmsi_core.ports import OutcomeStore, RecordReader, RecordSink, RecordSource, Sealer
from openmsi_core.settings import CryptoSettings

if TYPE_CHECKING:
    from openmsi_core.crypto.cipher import Cipher
    from openmsi_core.crypto.exchange import Exchange
    from openmsi_core.crypto.nodes import Node

log = logging.getLogger(__name__)

PATIENT_SECONDS = 30.0  # for a key, while a person waits
USUAL_UNREADABLE = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen about encryption. ``node`` is "" where nothing is encrypted; ``nodes`` is where nodes lie."""

    node: str = ""
    nodes: Path = Path()
    keeps_keys: bool = False
    accepts_plain: bool = False
    serve_seconds: float = 60.0
    unreadable_seconds: float | None = None


UNENCRYPTED = Choice()


def chosen(settings: CryptoSettings, node: str | None) -> Choice:
    """The choice of a run or a watch whose ``crypto`` is ``node``; None: nothing is encrypted."""
    return Choice(
        node=node or "",
        nodes=settings.folder,
        keeps_keys=settings.keyring == "file",
        accepts_plain=settings.accept_plain,
        serve_seconds=settings.serve_keys,
        unreadable_seconds=settings.unreadable_after,
    )


@dataclass(frozen=True, slots=True)
class _Facts:
    """Of the topics: the partitions of those that are sealed; seconds that they keep records, and wait for a key."""

    partitions: Mapping[str, int]
    longest: float
    unreadable: float


class Encryption:
    """What one command seals and opens with."""

    def __init__(
        self, cipher: Cipher | None = None, exchange: Exchange | None = None, facts: _Facts | None = None
    ) -> None:
        self._cipher = cipher
        self._exchange = exchange
        self._partitions = facts.partitions if facts else {}
        self._unreadable = facts.unreadable if facts else USUAL_UNREADABLE

    @property
    def patience(self) -> Mapping[str, float]:
        """For a stream: seconds after which a record whose key does not come is given up; and at its end, waits for."""
        return {"unreadable_after": self._unreadable, "keys": PATIENT_SECONDS if self._cipher else 0.0}

    @property
    def sealer(self) -> Sealer:
        """For a run: it never waits."""
        return self._cipher or Plain()

    @property
    def patient(self) -> Sealer:
        """For whoever looks through a topic: it waits for a key."""
        if self._cipher is None:
            return Plain()
        from openmsi_core.crypto.sealed import PatientSealer  # noqa: PLC0415 - see the module

        return PatientSealer(self._cipher, PATIENT_SECONDS)

    def sink(self, sink: RecordSink, topic: str) -> RecordSink:
        """What a sender produces into."""
        if self._cipher is None:
            return sink
        from openmsi_core.crypto.sealed import SealingSink  # noqa: PLC0415

        return SealingSink(sink, self._cipher, topic)

    def store(self, store: OutcomeStore) -> OutcomeStore:
        """Where outcomes go."""
        if self._cipher is None:
            return store
        from openmsi_core.crypto.sealed import SealingStore  # noqa: PLC0415

        return SealingStore(store, self._cipher, self._partitions)

    def source(self, source: RecordSource) -> RecordSource:
        """Where a run's records come from."""
        if self._cipher is None:
            return source
        from openmsi_core.crypto.sealed import WatchedSource  # noqa: PLC0415

        return WatchedSource(source, self._cipher)

    def reader(self, reader: RecordReader) -> RecordReader:
        """Letters, receipts and results, opened."""
        if self._cipher is None:
            return reader
        from openmsi_core.crypto.sealed import OpeningReader, PatientSealer  # noqa: PLC0415

        return OpeningReader(reader, PatientSealer(self._cipher, PATIENT_SECONDS))

    def serve_keys(self, seconds: float, stopping: Event) -> None:
        """Hand out keys for so long; ends early when ``stopping`` is set. Says so. Raises CipherDown."""
        if self._cipher is None or self._exchange is None or not self._partitions or not seconds or stopping.is_set():
            return
        log.info(
            "handing out the keys for %g s: a receiver that is not up in that time needs us to start again", seconds
        )
        ends = time.monotonic() + seconds
        while not stopping.is_set() and time.monotonic() < ends:
            self._cipher.raise_if_down()
            stopping.wait(0.2)
        log.info("keys were handed out %d times", self._exchange.pulse.handed_out)


PLAIN = Encryption()


@contextmanager
def encryption(
    choice: Choice, kafka: Mapping[str, str], seals: Iterable[str], opens: Iterable[str], stopping: Event
) -> Iterator[Encryption]:
    """Encryption for the topics that are sealed and opened, ready to seal; blocks for up to 20 s.

    At the end keys are handed out for a while, unless ``stopping`` is set or something was raised: what was sealed a
    moment ago may be read by somebody who has not asked for its key yet.
    Raises CipherError, one clear message for each thing that is missing; CipherDown, BrokerError.
    """
    if not choice.node:
        yield PLAIN
        return
    with ExitStack() as stack:
        crypt = _opened(stack, choice, kafka, sorted(set(seals)), sorted(set(opens)), stopping=stopping)
        yield crypt
        crypt.serve_keys(choice.serve_seconds, stopping)


def looking(choice: Choice, kafka: Mapping[str, str], topics: Iterable[str]) -> AbstractContextManager[Encryption]:
    """Encryption for somebody who only looks into topics: no key of ours is made, and none is handed out at the end."""
    return encryption(choice, kafka, (), topics, Event())


def _opened(
    stack: ExitStack, choice: Choice, kafka: Mapping[str, str], seals: list[str], opens: list[str], *, stopping: Event
) -> Encryption:
    try:
        from openmsi_core.crypto.cipher import Cipher  # noqa: PLC0415 - see the module
        from openmsi_core.crypto.exchange import KEY_SECONDS, Exchange  # noqa: PLC0415
        from openmsi_core.crypto.keyring import KeyringFile  # noqa: PLC0415
        from openmsi_core.crypto.nodes import config_of, node_at  # noqa: PLC0415
        from openmsi_core.crypto.residence import residing  # noqa: PLC0415
    except ImportError as error:
        raise CipherError(f"encryption needs {error.name}, which is not installed: {door.INSTALL}") from error
    config = config_of(choice.node, choice.nodes)
    node = node_at(config)
    _must_allow(node, _roots(seals), _roots(opens))
    facts = _facts(kafka, seals, opens, choice)
    stack.enter_context(residing(node))
    exchange = Exchange(node, lambda: keytopics.connection(kafka), max(KEY_SECONDS, facts.longest))
    stack.callback(exchange.close)
    exchange.open()
    cipher = Cipher(
        exchange,
        _roots(seals),
        lambda: node_at(config).rights(),
        keyring=KeyringFile(node) if choice.keeps_keys else None,
        accept_plain=choice.accepts_plain,
    )
    stack.enter_context(cipher)
    cipher.wait_ready(stopping)
    return Encryption(cipher, exchange, facts)


def _roots(topics: Iterable[str]) -> list[str]:
    from openmsi_core.crypto.certificates import root_topic  # noqa: PLC0415

    return sorted({root_topic(topic) for topic in topics})


def _must_allow(node: Node, seals: list[str], opens: list[str]) -> None:
    from openmsi_core.crypto.certificates import why_not  # noqa: PLC0415
    from openmsi_core.crypto.provisioning import problems_of  # noqa: PLC0415

    rights = node.rights()
    why = why_not(rights, seals, opens, time.time())
    if why:
        raise CipherError(
            f"the node {node.name} cannot be used for this: {why}. Make one that can: `openmsi crypto add NAME --role "
            f"both --topic {(seals or opens)[0]}` ({node.config})"
        )
    for problem in problems_of(node, rights):
        log.warning("the node %s: %s", node.name, problem)


def _facts(kafka: Mapping[str, str], seals: list[str], opens: list[str], choice: Choice) -> _Facts:
    """What the topics say. Raises CipherError when key topics are missing."""
    asked = admin.connected(kafka)
    there = asked.topics()
    missing = keytopics.missing_key_topics(there, _roots([*seals, *opens]))
    if missing:
        raise CipherError(
            f"the topics {', '.join(missing)} for the exchange of keys are missing, so no key would ever come: "
            f"`openmsi topics create {missing[0].rpartition('.')[0]} --encrypted` makes what is missing."
        )
    sealed = [asked.facts(topic) for topic in seals if topic in there]
    kept = [_retention(each.settings) for each in sealed]
    opened = [_retention(asked.facts(topic).settings) / 2 for topic in opens if topic in there]
    usual = min([USUAL_UNREADABLE, *(half for half in opened if half)])
    unreadable = usual if choice.unreadable_seconds is None else choice.unreadable_seconds
    return _Facts({each.name: len(each.ends) for each in sealed}, max(kept, default=0.0), unreadable)


def _retention(settings: Mapping[str, str]) -> float:
    """Seconds; 0: for ever, or not known."""
    kept = int(settings.get("retention.ms", "-1"))
    return kept / 1000 if kept > 0 else 0.0
