"""librdkafka's errors as ours: what happened, where, what to do.

Wrong passwords, wrong certificates and wrong protocols reach nobody but `error_cb`: librdkafka tries again for ever
and fills standard error. `ClientWatch` takes both over.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException

from openmsi_core.errors import (
    BrokerError,
    BrokerRefused,
    BrokerUnreachable,
    NotDelivered,
    OpenmsiError,
    RightMissing,
    SettingsError,
    TopicError,
)
from openmsi_core.kafka.config import ClientSettings, bootstrap, suggestion

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Client = TypeVar("Client")

CONNECT_SECONDS = 15.0
_QUIET_SECONDS = 30.0
_PATIENCE_SECONDS = 30.0
_FORGET_SECONDS = 25.0  # librdkafka tries again after 10 s at the latest, so what is silent for longer has passed
_HANG_UPS = 3
_DENIED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "the topic {what}: READ for a run, WRITE for a sender",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "the group {what}: READ",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "the transactional id {what}: WRITE on the prefix openmsi-",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "the cluster: WRITE on a topic to send, CREATE to make topics",
}
_REFUSED = {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._SSL}
_UNKNOWN_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
_NO_ANSWER = {
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TRANSPORT,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
    KafkaError._MSG_TIMED_OUT,
    KafkaError._WAIT_COORD,
}
_PROTOCOL_HINTS = re.compile(r"connecting to a (SSL listener|PLAINTEXT broker)|SSL handshake failed", re.IGNORECASE)
_NAME_TAKEN = re.compile(r"static consumer fenced|instance id is still used", re.IGNORECASE)


def guarded(call: Callable[[], Answer]) -> Answer:
    """``call()``, a poll or flush, with everything that it raises as a KafkaException.

    After a fatal error confluent-kafka 2.16 raises from there an object that is no exception, which only a bare
    ``except`` sees and which would end the process past every ``except`` of ours; when delivery callbacks are due in
    the same call, CPython makes a SystemError of it, with the KafkaException as its cause.
    """
    try:
        return call()
    except:  # noqa: E722 - see above; what has nothing to do with Kafka is raised again
        found: object = sys.exc_info()[1]
    try:
        raise _as_kafka(found)
    finally:
        del found  # else it and this frame hold one another, and with them a client


def _as_kafka(found: Any) -> BaseException:
    if isinstance(found, KafkaError):
        return KafkaException(found)
    cause: Any = found.__cause__ if isinstance(found, SystemError) else None
    if isinstance(cause, KafkaException):
        return cause
    if isinstance(cause, KafkaError):
        return KafkaException(cause)
    if isinstance(found, SystemError) and "without setting an exception" in str(found):  # seen when it was fenced
        return KafkaException(KafkaError(KafkaError._FATAL, "the client failed and did not say why", True))
    return found if isinstance(found, BaseException) else TypeError(f"Kafka's client raised {found!r}")


def translated(error: KafkaError, options: Mapping[str, str], what: str = "") -> OpenmsiError:
    """Our error for librdkafka's; ``what`` is the topic or group that it concerns."""
    code, address = error.code(), bootstrap(options)
    if code in _DENIED:
        return RightMissing(
            f"the broker {address} denies {_user(options)} a right on {_DENIED[code].format(what=what or '?')}. "
            "Ask its administrator for that right."
        )
    if code in _REFUSED or _PROTOCOL_HINTS.search(error.str()) or _NAME_TAKEN.search(error.str()):
        return _refusal(error, options)
    if code in _UNKNOWN_TOPIC:
        return TopicError(
            f"the topic {what} does not exist on {address}. Create it with "
            f"`openmsi topics create {what} --partitions 4`, or correct the name."
        )
    if code in {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE}:
        return NotDelivered(
            f"a record is too large for the topic {what} on {address} ({_short(error.str())}). Raise the topic's "
            "max.message.bytes, or send smaller records."
        )
    if code in _NO_ANSWER:
        return unreachable(options, error.str())
    return BrokerError(f"the broker {address} answered {error.name()} for {what or 'a request'}: {error.str()}")


def unreachable(options: Mapping[str, str], reason: str = "") -> BrokerUnreachable:
    """Nobody answers."""
    detail = f" ({_short(reason)})" if reason else ""
    return BrokerUnreachable(
        f"no broker answers at {bootstrap(options)}{detail}. Check the address, the network, and that it is running."
    )


def _refusal(error: KafkaError, options: Mapping[str, str]) -> BrokerRefused:
    text, address = error.str(), bootstrap(options)
    if _NAME_TAKEN.search(text):
        return BrokerRefused(
            "another process has our group.instance.id, and only one may have it: give each process its own under "
            "[kafka] or -X. With group.protocol=consumer that of a process that was killed is free again after its "
            "session timeout."
        )
    if error.code() in {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED} or "SASL" in text:
        return BrokerRefused(
            f"the broker {address} refuses {_user(options)}: {_short(text)}. Check sasl.username, sasl.password and "
            "sasl.mechanism under [kafka]."
        )
    if "certificate verify failed" in text or "unable to get" in text:
        return BrokerRefused(
            f"the certificate of the broker {address} is not signed by an authority that we trust: {_short(text)}. "
            "Set ssl.ca.location under [kafka] to the file of the right one."
        )
    return _mismatch(options, _short(text))


def _mismatch(options: Mapping[str, str], reason: str) -> BrokerRefused:
    return BrokerRefused(
        f"the broker {bootstrap(options)} does not speak what we speak: {reason}. Check security.protocol under "
        "[kafka]: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."
    )


def _user(options: Mapping[str, str]) -> str:
    user = options.get("sasl.username")
    return f"the user {user!r}" if user else "us"


def _short(text: str) -> str:
    """librdkafka's text without the broker's internal name, thread and timing around it."""
    text = re.sub(r"^\S+/(bootstrap|\d+): ", "", text)
    text = re.sub(r"\((after \d+ms in state|install ca-certificates)[^)]*\)", "", text)
    return " ".join(text.split()).rstrip(". ")[:300]


class _ToOurLog(logging.Handler):
    """librdkafka's own log lines: at DEBUG, because what matters of them comes through `error_cb`.

    All but one: a listener that hangs up on our first words, which only the log tells, speaks another protocol.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hang_ups = 0

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        log.debug("librdkafka: %s", text)
        if "Disconnected" in text:
            self.hang_ups += 1


class ClientWatch:
    """Listens to one client: gives it `error_cb` and a logger, remembers why the broker refuses us.

    Before the first answer a refusal counts at once. Later it must have lasted for 30 s: a broker that is restarted
    may refuse a connection or two, and a run that worked must not end for that.
    """

    def __init__(
        self, options: Mapping[str, str], what: str = "", *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.connected = False
        self._options = options
        self._what = what
        self._clock = clock
        self._final: OpenmsiError | None = None
        self._refusal: OpenmsiError | None = None
        self._refused_first = self._refused_last = 0.0
        self._heard = _ToOurLog()
        self._last = ""
        self._said = -_QUIET_SECONDS

    def configured(self, config: ClientSettings) -> dict[str, object]:
        """``config`` with our listeners."""
        logger = logging.Logger("librdkafka")
        logger.addHandler(self._heard)
        return {**config, "error_cb": self.on_error, "logger": logger}

    def on_error(self, error: KafkaError) -> None:
        """Called by librdkafka, in the thread that polls the client."""
        ours, now = translated(error, self._options, self._what), self._clock()
        if error.fatal():
            told = BrokerError(f"the Kafka client cannot go on: {error.str()}. Start again.")
            self._final = self._final or (ours if isinstance(ours, BrokerRefused) else told)
        elif isinstance(ours, RightMissing):
            self._final = ours
        elif error.code() in _REFUSED:
            if self._refusal is None or now - self._refused_last > _FORGET_SECONDS:
                self._refused_first = now
            self._refusal, self._refused_last = ours, now
        if error.code() != KafkaError._ALL_BROKERS_DOWN or not self._last:
            self._last = _short(error.str())
        if self.connected and now - self._said > _QUIET_SECONDS:  # it repeats itself while a broker is away
            self._said = now
            log.warning("%s", ours)

    def raise_if_refused(self) -> None:
        """Raises BrokerRefused, RightMissing or BrokerError when the broker will not have us."""
        if self._final is not None:
            raise self._final
        if self._refusal is None:
            return
        if self.connected:
            if self._clock() - self._refused_last > _FORGET_SECONDS:
                self._refusal = None
                return
            if self._refused_last - self._refused_first < _PATIENCE_SECONDS:
                return
        raise self._refusal

    def raise_if_hung_up(self) -> None:
        """Raises BrokerRefused when a listener took several connections and closed each of them at once."""
        if self._heard.hang_ups >= _HANG_UPS:
            raise _mismatch(self._options, "it hangs up before it answers")

    def silence(self, reason: str) -> BrokerError:
        """What to raise when no answer came in time."""
        return unreachable(self._options, self._last or reason)

    @property
    def last(self) -> str:
        """What the client complained of last."""
        return self._last


def made(cls: Callable[[dict[str, object]], Client], config: dict[str, object]) -> Client:
    """A new client. Raises SettingsError when librdkafka does not know an option or refuses its value."""
    try:
        return cls(config)
    except KafkaException as error:
        raise SettingsError(_wrong_option(error.args[0].str())) from error


def _wrong_option(text: str) -> str:
    """What is wrong with the options, with a suggestion for a misspelt one."""
    unknown = re.search(r'No such configuration property: "([^"]+)"', text)
    if unknown is not None:
        name = unknown.group(1)
        return f"there is no Kafka option {name}{suggestion(name) or '.'} Correct it under [kafka] or -X."
    said = re.sub(r"^Failed to create (producer|consumer|admin client): ", "", " ".join(text.split()))
    if said.count('"') % 2:  # librdkafka's own text lost one to confluent-kafka
        said += '"'
    return f"a Kafka option is wrong: {said.rstrip('.')}. Correct it under [kafka] or -X."


def metadata(client: object, watch: ClientWatch, topic: str | None, seconds: float) -> Any:
    """The cluster's metadata, asked for until it comes. Raises BrokerError within ``seconds``; refusals sooner."""
    ends, patience = time.monotonic() + seconds, 1.0
    asked: Any = client
    while True:
        wait = max(0.1, min(patience, ends - time.monotonic()))
        try:
            answer = asked.list_topics(topic, timeout=wait) if topic else asked.list_topics(timeout=wait)
        except KafkaException as error:
            failure = error.args[0]
        else:
            failure = answer.topics[topic].error if topic else None
            if failure is None or not _passes(failure):
                watch.connected = True
                return answer
        asked.poll(0.1)  # serves error_cb and the log, which alone know about refusals
        watch.raise_if_refused()
        watch.raise_if_hung_up()
        if time.monotonic() >= ends:
            raise watch.silence(failure.str())
        patience = min(8.0, patience * 2)  # a broker far away may need more than a second


def _passes(error: KafkaError) -> bool:
    """True for what a topic is while its leader is chosen."""
    return error.code() in {KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION}
