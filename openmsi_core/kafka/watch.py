"""What a Kafka client says beside its answers: errors and log lines, kept away from stderr and understood.

Only the client's error callback knows a wrong password or a wrong certificate, and only its log knows a plain
client on a TLS port; librdkafka itself goes on trying for ever. So every client of ours is built by `build` with
a `ClientWatch`, and is asked for metadata by `connect` before anything else happens.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, TopicMetadata

from openmsi_core.errors import BrokerError, BrokerUnreachable, OpenmsiError, SettingsError
from openmsi_core.kafka import config, errors
from openmsi_core.kafka.errors import Where

CONNECT_SECONDS = 15.0
_PATIENCE_SECONDS = 30.0
_QUIET_SECONDS = 30.0
_FORGET_SECONDS = 20.0
_CLOSINGS = 4

_log = logging.getLogger(__name__)
_Client = TypeVar("_Client", Producer, Consumer, AdminClient)


class ClientWatch:
    """Ear of one client: remembers refusals, warns at most every 30 s, and hides the rest at DEBUG.

    It is the client's ``logger`` and its ``error_cb``; both are called from inside the client's own poll.
    """

    def __init__(self, options: config.Options, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.broker = config.bootstrap(options)
        self.protocol = options.get("security.protocol", "PLAINTEXT")
        self._clock = clock
        self._refusal: KafkaError | None = None
        self._refused_since = 0.0
        self._refused_last = 0.0
        self._warned = -_QUIET_SECONDS
        self.closings = 0
        self.last_error = "no answer"
        self.connected = False

    def settings(self) -> dict[str, object]:
        """What the client is built with beside its profile."""
        return {"error_cb": self.error, "logger": self}

    def error(self, error: KafkaError) -> None:
        """Take an error that belongs to no single call."""
        now = self._clock()
        if errors.is_refusal(error):
            if self._refusal is None or now - self._refused_last > _FORGET_SECONDS:
                self._refused_since = now
            self._refusal, self._refused_last = error, now
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self.last_error = error.str()
        if self.connected and now - self._warned >= _QUIET_SECONDS:
            self._warned = now
            _log.warning("Kafka at %s: %s; openmsi goes on trying", self.broker, self.last_error)

    def log(self, level: int, text: str, *arguments: object) -> None:
        """Take a line of the client's log."""
        line = text % arguments if arguments else text
        if "closed by peer" in line or "receive 0 after POLLIN" in line:
            self.closings += 1
        _log.debug("librdkafka (%s): %s", logging.getLevelName(level), line)

    def raise_if_refused(self) -> None:
        """Raise BrokerRefused when the broker does not want us: at once before the first answer, later after 30 s."""
        refusal = self._refusal
        if refusal is None:
            return
        now = self._clock()
        if self.connected:
            if now - self._refused_last > _FORGET_SECONDS:
                self._refusal = None
                return
            if now - self._refused_since < _PATIENCE_SECONDS:
                return
        raise errors.refused(refusal, self.broker)


def build(kind: type[_Client], settings: config.ClientSettings, watch: ClientWatch) -> _Client:
    """A client with these settings that tells ``watch`` what it has to say. Raises SettingsError."""
    try:
        return kind({**settings, **watch.settings()})
    except KafkaException as error:
        raise SettingsError(_what_is_wrong(errors.kafka_error(error).str())) from error


def connect(client: Producer | Consumer | AdminClient, watch: ClientWatch, timeout: float = CONNECT_SECONDS) -> None:
    """Wait until a broker answers. Raises BrokerUnreachable, BrokerRefused (well before the deadline)."""
    ask_metadata(client, watch, "", timeout)


def topic_metadata(
    client: Producer | Consumer | AdminClient, watch: ClientWatch, topic: str, timeout: float = CONNECT_SECONDS
) -> TopicMetadata:
    """What the broker says of one topic. Raises BrokerUnreachable, BrokerRefused, RightMissing, TopicError."""
    found = ask_metadata(client, watch, topic, timeout)
    if found is None:
        raise errors.missing_topic(topic, watch.broker)
    return found


def ask_metadata(
    client: Producer | Consumer | AdminClient, watch: ClientWatch, topic: str, timeout: float
) -> TopicMetadata | None:
    """Ask until there is an answer about ``topic`` (or, with "", about anything); None when there is no such topic."""
    deadline, patience = time.monotonic() + timeout, 1.0
    while True:
        left = deadline - time.monotonic()
        try:
            answer = client.list_topics(topic or None, timeout=max(0.1, min(patience, left)))
            found = answer.topics.get(topic)
            if not topic or found is None or found.error is None:
                watch.connected = True
                return found
            failure = found.error
        except KafkaException as error:
            failure = errors.kafka_error(error)
        client.poll(0)  # the callbacks know why
        watch.raise_if_refused()
        if errors.is_missing_topic(failure):
            return None
        _decide(failure, watch, topic, left)
        patience = min(8.0, patience * 2)


def _decide(failure: KafkaError, watch: ClientWatch, topic: str, left: float) -> None:
    """Return to ask again, or raise what the failure means."""
    passing = errors.is_unreachable(failure) or failure.retriable() or failure.code() == KafkaError.LEADER_NOT_AVAILABLE
    if not passing:
        raise errors.translated(failure, Where(watch.broker, topic))
    if watch.closings >= _CLOSINGS:
        raise errors.closed_early(watch.broker, watch.protocol)
    if left <= 0:
        raise BrokerUnreachable(
            f"no Kafka answers at {watch.broker} ({watch.last_error}): is the broker running, is the address right?"
        )
    if errors.is_unreachable(failure):
        time.sleep(0.05)  # list_topics may come back at once; librdkafka itself reconnects after 100 ms


def _what_is_wrong(text: str) -> str:
    said = (
        text.strip().rstrip('"').replace("Failed to create producer: ", "").replace("Failed to create consumer: ", "")
    )
    marker = "No such configuration property: "
    if marker in said:
        name = said.split(marker)[1].strip('"')
        return f"Kafka option {name} does not exist{config.suggestion(name)}"
    return f"a Kafka option is wrong: {said}"


def wait_answering(bootstrap: str, timeout: float) -> None:
    """Wait until the broker at ``bootstrap`` answers a plain client. Raises BrokerUnreachable."""
    deadline = time.monotonic() + timeout
    while True:
        options = {"bootstrap.servers": bootstrap}
        watch = ClientWatch(options)
        client = build(AdminClient, config.admin(options), watch)
        try:
            connect(client, watch, min(5.0, timeout))
        except BrokerError:
            if time.monotonic() > deadline:
                raise
        else:
            return


def raised_in(error: KafkaException, watch: ClientWatch, where: Where) -> OpenmsiError:
    """Our error for what a call of a client raised; a refusal that only the callbacks know comes first."""
    try:
        watch.raise_if_refused()
    except BrokerError as known:
        return known
    return errors.translated(error, where)
