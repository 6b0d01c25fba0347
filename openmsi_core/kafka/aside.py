"""Records beside the data: heartbeats and logs. They never block, hold up or end what they tell about."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from openmsi_core.kafka import config
from openmsi_core.kafka.errors import ClientWatch, guarded, made
from openmsi_core.kafka.producer import end

_log = logging.getLogger(__name__)

_LAST_SECONDS = 1.0  # a broker that answers needs a hundredth of that
_KILOBYTES = 4096


class Aside:
    """Publishes to topics from any thread and forgets what does not get through. ``dropped`` counts that.

    Entering makes a client and does not connect; leaving waits for up to 1 s. Raises SettingsError when it is entered.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        self.dropped = 0
        self._options = options
        self._watch = ClientWatch(options)
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self._is_said = False

    def __enter__(self) -> Self:
        settings = config.outcome_producer(self._options) | {"queue.buffering.max.kbytes": _KILOBYTES}
        self._producer = made(Producer, self._watch.configured(settings))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            guarded(lambda: producer.flush(_LAST_SECONDS))
        except KafkaException as failed:
            _log.debug("heartbeats and logs: %s", failed.args[0])
        if len(producer):
            _log.debug("%d heartbeats and log lines did not get through", len(producer))
        end(producer)

    def publish(self, topic: str, key: bytes, value: bytes) -> None:
        """Queue one record. Returns at once and never raises."""
        with self._lock:
            if self._producer is None:
                return
            try:
                self._producer.produce(topic, value, key, on_delivery=self._delivered)
                guarded(lambda: self._producer.poll(0) if self._producer else 0)
            except (BufferError, KafkaException) as error:
                self._drop(str(error))

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._drop(f"{message.topic()}: {error.str()}")

    def _drop(self, why: str) -> None:
        self.dropped += 1
        if not self._is_said:  # once: whoever reads that topic sees the gap, and the data go on
            self._is_said = True
            _log.warning("a heartbeat or log line did not get through, the work goes on: %s", why)
