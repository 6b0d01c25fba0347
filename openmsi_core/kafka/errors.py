"""librdkafka's errors as ours: what happened, where, what to do.

Wrong passwords, wrong certificates and wrong protocols reach nobody but `error_cb`: librdkafka tries again for ever
and fills standard error. `ClientWatch` takes both over.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException

from openmsi_core.errors import (
    BrokerError,
    BrokerRefused,
    BrokerUnreachable,
    OpenmsiError,
    RightMissing,
    SettingsError,
    TopicError,
)
from openmsi_core.kafka.config import ClientSettings, bootstrap, suggestion

log = logging.getLogger(__name__)

CONNECT_SECONDS = 15.0

_DENIED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "the topic {what}: READ for a run, WRITE for a sender",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "the group {what}: READ",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "the transactional id {what}: WRITE on the prefix openmsi-",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "the cluster: IDEMPOTENT_WRITE, or CREATE for new topics",
}
_REFUSED = {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._SSL}
_UNKNOWN_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
_PROTOCOL_HINTS = re.compile(
    r"connecting to a SSL listener|SSL handshake failed|connecting to a PLAINTEXT broker", re.IGNORECASE
)


def translated(error: KafkaError, options: Mapping[str, str], what: str = "") -> OpenmsiError:
    """Our error for librdkafka's; ``what`` is the topic or group that it concerns."""
    code, address = error.code(), bootstrap(options)
    if code in _DENIED:
        return RightMissing(
            f"the broker {address} denies {_user(options)} a right on {_DENIED[code].format(what=what or '?')}. "
            "Ask its administrator for that right."
        )
    if code in _REFUSED or _PROTOCOL_HINTS.search(error.str()):
        return _refusal(error, options)
    if code in _UNKNOWN_TOPIC:
        return TopicError(
            f"the topic {what} does not exist on {address}. Create it with "
            f"`openmsi topics create {what} --partitions 4`, or correct the name."
        )
    if code in {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._TIMED_OUT}:
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
    """librdkafka's text without the thread and timing around it."""
    text = re.sub(r"\(after \d+ms in state [^)]*\)", "", text.split(": ", 1)[-1] if text.startswith("sasl") else text)
    return " ".join(text.split()).rstrip(". ")[:300]


class _ToOurLog(logging.Handler):
    """librdkafka's own log lines: at DEBUG, because what matters of them comes through `error_cb`.

    All but one: a broker that hangs up on our very first question, which only the log tells, expects TLS.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hang_up = ""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        log.debug("librdkafka: %s", text)
        if "Disconnected" in text and "APIVERSION_QUERY" in text:
            self.hang_up = text


class ClientWatch:
    """Listens to one client: gives it `error_cb` and a logger, remembers why the broker refuses us."""

    def __init__(self, options: Mapping[str, str], what: str = "") -> None:
        self._options = options
        self._what = what
        self._refusal: OpenmsiError | None = None
        self.is_connected = False  # until then whoever connects says what went wrong
        self._heard = _ToOurLog()
        self._last = ""
        self._said = 0.0

    def configured(self, config: ClientSettings) -> dict[str, object]:
        """``config`` with our listeners."""
        logger = logging.Logger("librdkafka")
        logger.addHandler(self._heard)
        return {**config, "error_cb": self.on_error, "logger": logger}

    def on_error(self, error: KafkaError) -> None:
        """Called by librdkafka, in the thread that polls the client."""
        ours = translated(error, self._options, self._what)
        if isinstance(ours, BrokerRefused | RightMissing):
            self._refusal = ours
        self._last = _short(error.str())
        if error.fatal():
            self._refusal = self._refusal or BrokerError(f"the client cannot go on: {error.str()}")
        if (
            self.is_connected and time.monotonic() - self._said > 30
        ):  # it repeats itself several times a second while a broker is away
            self._said = time.monotonic()
            log.warning("%s", ours)

    def raise_if_refused(self) -> None:
        """Raises BrokerRefused, RightMissing or BrokerError when the broker will not have us."""
        if self._refusal is not None:
            raise self._refusal

    def silence(self, reason: str) -> BrokerError:
        """What to raise when no answer came in time."""
        if self._heard.hang_up:
            return _mismatch(self._options, "it hangs up before it answers")
        return unreachable(self._options, self._last or reason)

    @property
    def last(self) -> str:
        """What the client complained of last."""
        return self._last


Client = TypeVar("Client")


def made(cls: Callable[[dict[str, object]], Client], config: dict[str, object]) -> Client:
    """A new client. Raises SettingsError when librdkafka does not know an option or refuses its value."""
    try:
        return cls(config)
    except KafkaException as error:
        text = error.args[0].str()
        raise SettingsError(f"[kafka] {text.rstrip('.')}{_nearest(text)} Correct it in openmsi.toml or -X.") from error


def metadata(client: object, watch: ClientWatch, topic: str | None, seconds: float) -> Any:
    """The cluster's metadata, asked for until it comes. Raises BrokerError within ``seconds``; refusals sooner."""
    ends = time.monotonic() + seconds
    asked: Any = client
    while True:
        try:
            answer = asked.list_topics(topic, timeout=1.0) if topic else asked.list_topics(timeout=1.0)
        except KafkaException as error:
            asked.poll(0.1)  # serves error_cb, which alone knows about refusals
            watch.raise_if_refused()
            if time.monotonic() >= ends:
                raise watch.silence(error.args[0].str()) from error
        else:
            watch.is_connected = True
            return answer


def _nearest(text: str) -> str:
    """A suggestion for a misspelt option."""
    found = re.search(r'property: "([^"]+)"', text)
    return suggestion(found.group(1)) if found else ""
