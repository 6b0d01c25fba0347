"""From the user's librdkafka options to the settings of each client: pure functions, nothing is connected.

There are three profiles (upload, checkpoint, consumer) and two small ones (admin, groupless reader). The user's
own values win; only those that would break one of the five promises are refused, each with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from openmsi_core.errors import SettingsError

Options = Mapping[str, str]
"""What the user wrote under ``[kafka]`` or with ``-X``: any librdkafka option, as text."""

ClientSettings = dict[str, str | int | bool]
"""What one client is built with."""

CHUNK_MARGIN = 64 * 1024
"""A record is its chunk and at most this: header, metadata, key, and what encryption adds."""

TRANSACTION_TIMEOUT_MS = 15_000
LARGE_TRANSACTION_TIMEOUT_MS = 60_000
OUTCOME_TIMEOUT_MS = 60_000

_ALIASES = {
    "metadata.broker.list": "bootstrap.servers",
    "request.required.acks": "acks",
    "auto.commit.enable": "enable.auto.commit",
    "delivery.timeout.ms": "message.timeout.ms",
    "compression.codec": "compression.type",
    "queue.buffering.max.ms": "linger.ms",
    "max.partition.fetch.bytes": "fetch.message.max.bytes",
    "message.send.max.retries": "retries",
    "max.in.flight": "max.in.flight.requests.per.connection",
    "sasl.mechanism": "sasl.mechanisms",
}

_ONCE = "with another value a record could be lost or written twice (promises P1 and P3)"
_COMMITS = "openmsi commits only what is durable; a commit by the client would skip unfinished files"
_REFUSED = {
    "acks": f"it is always all: {_ONCE}",
    "enable.idempotence": f"it is always true: {_ONCE}",
    "enable.gapless.guarantee": f"openmsi decides it: {_ONCE}",
    "delivery.report.only.error": "openmsi counts the acknowledgement of every record",
    "transactional.id": "it is unique for each process, so that two runs on one host do not fence each other",
    "enable.auto.commit": f"it is always false: {_COMMITS}",
    "enable.auto.offset.store": f"it is always false: {_COMMITS}",
    "isolation.level": "it is always read_committed: an aborted transaction must never be seen",
    "auto.offset.reset": "it is always error: where reading begins is decided on assignment (--from)",
    "group.id": "the group is the name of the run (--group)",
    "enabled_events": "openmsi listens to the client's errors itself",
    "log.queue": "openmsi reads the client's log itself",
    "opaque": "it is code, not text",
    "interceptors": "it is code, not text",
    "default_topic_conf": "it is code, not text",
}

_SERVER_SIDE = ("partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms")

_KNOWN = (
    "bootstrap.servers", "client.id", "client.rack", "debug", "log_level", "security.protocol",
    "sasl.mechanisms", "sasl.mechanism", "sasl.username", "sasl.password", "sasl.kerberos.service.name",
    "sasl.kerberos.principal", "sasl.kerberos.keytab", "sasl.oauthbearer.method", "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret", "sasl.oauthbearer.scope", "sasl.oauthbearer.token.endpoint.url",
    "ssl.ca.location", "ssl.ca.pem", "ssl.certificate.location", "ssl.certificate.pem", "ssl.key.location",
    "ssl.key.password", "ssl.key.pem", "ssl.keystore.location", "ssl.keystore.password", "ssl.crl.location",
    "ssl.cipher.suites", "ssl.endpoint.identification.algorithm", "enable.ssl.certificate.verification",
    "message.max.bytes", "receive.message.max.bytes", "socket.timeout.ms", "socket.keepalive.enable",
    "socket.connection.setup.timeout.ms", "socket.send.buffer.bytes", "socket.receive.buffer.bytes",
    "broker.address.family", "broker.address.ttl", "reconnect.backoff.ms", "reconnect.backoff.max.ms",
    "connections.max.idle.ms", "topic.metadata.refresh.interval.ms", "metadata.max.age.ms",
    "statistics.interval.ms", "allow.auto.create.topics", "group.protocol", "group.remote.assignor",
    "partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms", "max.poll.interval.ms",
    "queued.min.messages", "queued.max.messages.kbytes", "fetch.wait.max.ms", "fetch.max.bytes",
    "fetch.min.bytes", "fetch.message.max.bytes", "max.partition.fetch.bytes", "check.crcs", "linger.ms",
    "batch.size", "batch.num.messages", "compression.type", "compression.level", "queue.buffering.max.messages",
    "queue.buffering.max.kbytes", "message.timeout.ms", "delivery.timeout.ms", "request.timeout.ms",
    "transaction.timeout.ms", "retries", "retry.backoff.ms", "partitioner",
)  # fmt: skip


_NO_NEW_TOPICS: ClientSettings = {"allow.auto.create.topics": False}
"""A topic misspelt is an error, also where the broker would create it just for being asked about it."""


def checked(options: Options) -> dict[str, str]:
    """The options under their main names, when none of them breaks a promise.

    Raises SettingsError: an option that is refused, given twice under two names, or no broker at all.
    """
    named: dict[str, str] = {}
    for written, value in options.items():
        name = _ALIASES.get(written, written)
        if name in named:
            raise SettingsError(f"Kafka option {written} is another name of {name}, which is set too: keep one")
        reason = refusal(name)
        if reason is not None:
            raise SettingsError(f"Kafka option {written} cannot be set: {reason}. Remove it")
        named[name] = str(value)
    if not named.get("bootstrap.servers", "").strip():
        raise SettingsError(
            "no Kafka broker is named: give --broker HOST:PORT, set OPENMSI_BROKER, or write bootstrap.servers under "
            "[kafka] in openmsi.toml"
        )
    return named


def refusal(name: str) -> str | None:
    """Why a Kafka option cannot be set; None when it can."""
    return "it is code, not text" if name.endswith("_cb") else _REFUSED.get(_ALIASES.get(name, name))


def bootstrap(options: Options) -> str:
    """The addresses of the brokers, as the user wrote them; "?" when there are none."""
    return options.get("bootstrap.servers") or options.get("metadata.broker.list") or "?"


def suggestion(name: str) -> str:
    """A hint for an option that librdkafka does not know; empty when nothing looks like it.

    >>> suggestion("batchsize")
    ': did you mean batch.size?'
    """
    close = get_close_matches(name.replace("_", "."), _KNOWN, n=1, cutoff=0.7)
    return f": did you mean {close[0]}?" if close else ""


def upload_producer(options: Options, *, chunk: int) -> ClientSettings:
    """For file records with up to ``chunk`` bytes of payload; the broker may be away for days.

    Raises SettingsError.
    """
    user = checked(options)
    least = chunk + CHUNK_MARGIN
    _at_least(user, "message.max.bytes", least, f"a record with a chunk of {chunk:,} bytes needs {least:,}")
    return _merged(
        {
            "linger.ms": 5,
            "batch.size": 1_000_000,
            "queue.buffering.max.kbytes": 32_768,
            "message.timeout.ms": 0,
            "compression.type": "none",
            "message.max.bytes": max(1_000_000, least),
        },
        user,
        {"enable.idempotence": True, "acks": "all", **_NO_NEW_TOPICS},
    )


def outcome_producer(options: Options, *, is_alone: bool = False) -> ClientSettings:
    """For results, receipts and dead letters without transactions; what is not acknowledged in 60 s fails.

    ``is_alone``: each record is a batch of its own. Raises SettingsError.
    """
    user = checked(options)
    user.pop("message.timeout.ms", None)  # the user's value is about sending files, which may wait for days
    return _merged(
        _outcome_defaults(),
        user,
        {"enable.idempotence": True, "acks": "all", "message.timeout.ms": OUTCOME_TIMEOUT_MS, **_batches(is_alone)},
    )


def checkpoint_producer(
    options: Options, transactional_id: str, *, is_large: bool = False, is_alone: bool = False
) -> ClientSettings:
    """For results, receipts, dead letters and offsets in one transaction. Raises SettingsError.

    ``is_large``: for one with more results than the usual timeout is made for; ``is_alone``: each record is a batch of
    its own.
    """
    user = checked(options)
    if is_large:
        user["transaction.timeout.ms"] = str(int(longest_transaction(options) * 1000))
    user.pop("message.timeout.ms", None)  # above transaction.timeout.ms it is refused at creation
    return _merged(
        _outcome_defaults() | {"transaction.timeout.ms": TRANSACTION_TIMEOUT_MS},
        user,
        {"enable.idempotence": True, "acks": "all", "transactional.id": transactional_id, **_batches(is_alone)},
    )


def longest_transaction(options: Options) -> float:
    """Seconds after which the broker gives up a transaction of a member with these options, however large it is."""
    user = {"transaction.timeout.ms": "0"} | checked(options)
    return max(LARGE_TRANSACTION_TIMEOUT_MS, _number(user, "transaction.timeout.ms")) / 1000


def consumer(options: Options, group: str) -> ClientSettings:
    """For the member of a group that commits by itself and decides on assignment where to begin.

    Raises SettingsError.
    """
    user = checked(options)
    defaults: ClientSettings = _reading_defaults() | {
        "max.poll.interval.ms": 900_000,
        "topic.metadata.refresh.interval.ms": 30_000,  # the default is 5 min, for which new partitions wait
    }
    if user.get("group.protocol", "classic").lower() == "consumer":
        for name in _SERVER_SIDE:
            if name in user:
                raise SettingsError(
                    f"Kafka option {name} cannot be set with group.protocol=consumer: the broker decides it"
                )
    else:
        defaults |= {"partition.assignment.strategy": "cooperative-sticky", "session.timeout.ms": 10_000}
        if "session.timeout.ms" in user and "heartbeat.interval.ms" not in user:
            user["heartbeat.interval.ms"] = str(min(3000, max(1, _number(user, "session.timeout.ms") // 3)))
    return _merged(defaults, user, _reading_fixed() | {"group.id": group})


def is_cooperative(settings: ClientSettings) -> bool:
    """True when partitions come and go one by one; False when a rebalance takes all of them away first."""
    strategy = str(settings.get("partition.assignment.strategy", "cooperative"))
    return strategy.startswith("cooperative")


def reader(options: Options) -> ClientSettings:
    """For looking at a topic: assigns partitions, joins no group and commits nothing. Raises SettingsError."""
    user = checked(options)
    for name in (*_SERVER_SIDE, "group.protocol", "group.remote.assignor"):
        user.pop(name, None)  # the reader joins no group; group.id below only satisfies the client
    return _merged(_reading_defaults(), user, _reading_fixed() | {"group.id": "openmsi-reader"})


def admin(options: Options) -> ClientSettings:
    """For creating topics and asking for their settings. Raises SettingsError."""
    return {**checked(options), **_NO_NEW_TOPICS}


def _batches(is_alone: bool) -> ClientSettings:
    return {"batch.num.messages": 1} if is_alone else {}


def _outcome_defaults() -> ClientSettings:
    return {
        "linger.ms": 5,
        "batch.size": 1_000_000,
        "queue.buffering.max.kbytes": 32_768,
        "compression.type": "none",
        "message.max.bytes": 1_000_000,
        "topic.metadata.propagation.max.ms": 5_000,  # by default a missing topic is told after 30 s, too late for 15 s
        **_NO_NEW_TOPICS,
    }


def _reading_defaults() -> ClientSettings:
    return {
        "fetch.max.bytes": 16 * 1024 * 1024,
        "queued.max.messages.kbytes": 16_384,
        "fetch.wait.max.ms": 100,
        # librdkafka rests a whole second when its queue is full, which is what a 16 MiB queue always is: measured on
        # a 2 GB file, 36 s became 4.7 s
        "fetch.queue.backoff.ms": 20,
    }


def _reading_fixed() -> ClientSettings:
    return {
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
    }


def _merged(defaults: ClientSettings, user: Mapping[str, str], fixed: ClientSettings) -> ClientSettings:
    return {**defaults, **user, **fixed}


def _at_least(user: Mapping[str, str], name: str, least: int, why: str) -> None:
    if name in user and _number(user, name) < least:
        raise SettingsError(f"Kafka option {name}={user[name]} is too small: {why}")


def _number(user: Mapping[str, str], name: str) -> int:
    try:
        return int(user[name])
    except ValueError:
        raise SettingsError(f"Kafka option {name} must be a whole number, not {user[name]!r}") from None
