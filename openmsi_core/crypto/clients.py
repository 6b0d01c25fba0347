"""The Kafka clients of the key exchange: KafkaCrypto's own, made so that nothing raises inside of its thread.

Its management thread dies with its lock held when a client raises. Here a failure is noted and what was asked for is
asked for again at the next poll; `Pulse` tells how long ago the thread came round.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_log = logging.getLogger(__name__)

Options = Mapping[str, object]

_PAUSE = 0.2  # s; a client that fails at once must not make its thread spin


@dataclass(slots=True)
class Pulse:
    """When the management thread polled last (our clock), what its clients said last, how many keys were handed out."""

    at: float = field(default_factory=time.monotonic)
    failure: str = ""
    handed_out: int = 0

    def failed(self, error: Exception) -> None:
        """Note a failure; said once until another one comes."""
        text = f"{type(error).__name__}: {error}"
        if text != self.failure:
            _log.warning("the key exchange had a failure and goes on: %s", text)
        self.failure = text


def consumer_settings(options: Options, group: str) -> dict[str, object]:
    """For the exchange's consumer: requests that came while nobody was there must be read."""
    return {
        **options,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": True,
        "topic.metadata.refresh.interval.ms": 2000,
        # it looks up where it stood; on a fresh cluster nobody knows that at first, and it would ask again after 60 s
        "coordinator.query.interval.ms": 1000,
    }


def controller_settings(options: Options, node: str) -> dict[str, object]:
    """For a controller's consumer: it commits by itself, in a group of its name, and finds topics made later.

    Its session is short: one that was killed and started again waits so long until the broker has missed the old one.
    (As a static member it would not wait, and would not be given topics that are new since.)
    """
    return consumer_settings(options, node) | {
        "enable.auto.commit": False,
        "client.id": node,
        "session.timeout.ms": 6_000,
        "heartbeat.interval.ms": 2_000,
    }


def guarded_consumer(kafkacrypto: Any, settings: Mapping[str, object], pulse: Pulse) -> Any:
    """A KafkaConsumer of the library that never raises."""
    consumer = kafkacrypto.KafkaConsumer(**settings)
    guard = _ConsumerGuard(kafkacrypto, consumer, pulse)
    for name in ("poll", "assign_and_seek", "subscribe", "commit", "close", "end_thread"):
        setattr(consumer, name, getattr(guard, name))  # the library takes nothing but its own class
    return consumer


def guarded_producer(kafkacrypto: Any, options: Options, pulse: Pulse) -> Any:
    """A KafkaProducer of the library that never raises."""
    producer = kafkacrypto.KafkaProducer(**{**options, "message.timeout.ms": 30_000})
    guard = _ProducerGuard(producer, pulse)
    for name in ("send", "close"):
        setattr(producer, name, getattr(guard, name))
    return producer


class _ConsumerGuard:
    """What a guarded consumer does instead of raising."""

    def __init__(self, kafkacrypto: Any, consumer: Any, pulse: Pulse) -> None:
        self._consumer = consumer
        self._plain: Any = super(kafkacrypto.KafkaConsumer, consumer)
        self._polls, self._assigns = consumer.poll, consumer.assign_and_seek
        self._subscribes, self._commits = consumer.subscribe, consumer.commit
        self._pulse = pulse
        self._again: Any = None
        self._is_ending = False

    def end_thread(self) -> None:
        """Have the thread that polls end at its next poll: the controller's loop has no end of its own."""
        self._is_ending = True

    def poll(self, timeout_ms: int = 0, max_records: int | None = None) -> Any:
        """Poll; nothing when that fails."""
        self._pulse.at = time.monotonic()
        if self._is_ending:
            raise SystemExit  # which ends a thread without a word
        try:
            if self._again is not None:
                self._assigns(self._again)
                self._again = None
            return self._polls(timeout_ms, max_records)
        except Exception as error:  # noqa: BLE001 - see the module
            self._pulse.failed(error)
            time.sleep(_PAUSE)
            return {}

    def assign_and_seek(self, places: Any) -> None:
        """Assign now, or at the next poll."""
        try:
            self._assigns(places)
            self._again = None
        except Exception as error:  # noqa: BLE001
            self._pulse.failed(error)
            self._again = places

    def subscribe(self, *args: Any, **more: Any) -> None:
        """Subscribe; the controller asks again by itself."""
        try:
            self._subscribes(*args, **more)
        except Exception as error:  # noqa: BLE001
            self._pulse.failed(error)

    def commit(self, offsets: Any = None) -> None:
        """Commit; the next commit says more."""
        try:
            self._commits(offsets)
        except Exception as error:  # noqa: BLE001
            if "_NO_OFFSET" not in str(error):  # nothing was read yet
                self._pulse.failed(error)

    def close(self) -> None:
        """Leave the broker; the library's own close leaves the client's threads behind."""
        self._plain.close()
        for name in ("poll", "assign_and_seek", "subscribe", "commit", "close", "end_thread"):
            delattr(self._consumer, name)  # else they and the client hold one another


class _ProducerGuard:
    """What a guarded producer does instead of raising."""

    def __init__(self, producer: Any, pulse: Pulse) -> None:
        self._producer = producer
        self._sends, self._flushes = producer.send, producer.flush
        self._pulse = pulse

    def send(self, topic: str, *args: Any, **more: Any) -> Any:
        """Queue one message of the exchange; the other side asks again for what is lost."""
        try:
            sent = self._sends(topic, *args, **more)
        except Exception as error:  # noqa: BLE001
            self._pulse.failed(error)
            return None
        self._pulse.handed_out += topic.endswith(".keys")
        return sent

    def close(self) -> None:
        """What is queued goes out within 2 s."""
        try:
            self._flushes(timeout=2)
        except Exception as error:  # noqa: BLE001
            self._pulse.failed(error)
        for name in ("send", "close", "flush"):
            delattr(self._producer, name)
