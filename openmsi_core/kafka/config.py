"""From the user's librdkafka options to the configurations of our clients; the profiles of docs/design/delivery.md.

Any option passes through unchanged. The user's value wins over ours, except where it would break a promise: those
are refused with the reason. librdkafka itself says which options exist.
"""

from __future__ import annotations

from collections.abc import Mapping

from openmsi_core.errors import SettingsError

Config = dict[str, str | int | bool]

_OVERHEAD = 64 * 1024  # record batch, key and metadata around one chunk
_REFUSED = {
    "enable.auto.commit": "a file would count as handled before it is",
    "enable.auto.offset.store": "a file would count as handled before it is",
    "auto.offset.reset": "where a run begins is decided by its commit, or by --from",
    "enable.idempotence": "retries would duplicate and reorder records",
    "acks": "a file would count as sent before the brokers have it",
    "request.required.acks": "a file would count as sent before the brokers have it",
    "isolation.level": "results of aborted checkpoints would be seen",
    "transactional.id": "it is unique for each process",
    "group.id": "it belongs to the run: give --group, or group in [run.NAME]",
    "message.timeout.ms": "records would be given up while the broker is away",
    "delivery.timeout.ms": "records would be given up while the broker is away",
}
_CONSUMER_ONLY = (
    "group.", "session.timeout.ms", "heartbeat.interval.ms", "coordinator.", "max.poll.interval.ms", "auto.commit.",
    "queued.", "fetch.", "max.partition.fetch.bytes", "partition.assignment.strategy", "check.crcs", "consume.",
    "offset.", "enable.partition.eof",
)  # fmt: skip
_PRODUCER_ONLY = (
    "transaction.", "queue.buffering.", "linger.ms", "message.send.max.retries", "retries", "batch.", "compression.",
    "sticky.", "dr_", "delivery.report.only.error", "request.timeout.ms", "partitioner", "msg_order_cmp",
    "queuing.strategy", "produce.", "enable.gapless.guarantee",
)  # fmt: skip


def check(options: Mapping[str, str]) -> None:
    """Raises SettingsError for an option that would break a promise, or when no broker is named."""
    for name, reason in _REFUSED.items():
        if name in options:
            raise SettingsError(f"[kafka] {name} cannot be set: {reason}. Remove it from the configuration.")
    if not options.get("bootstrap.servers") and not options.get("metadata.broker.list"):
        raise SettingsError(
            "no broker is named: give --broker HOST:PORT, set OPENMSI_BROKER, or write bootstrap.servers under "
            "[kafka] in openmsi.toml"
        )


def address_of(options: Mapping[str, str]) -> str:
    """The brokers' addresses, for messages."""
    return options.get("bootstrap.servers") or options.get("metadata.broker.list", "?")


def admin(options: Mapping[str, str]) -> Config:
    """For administration: what concerns neither producing nor consuming."""
    return _with({"socket.connection.setup.timeout.ms": 10_000}, _without(options, _CONSUMER_ONLY + _PRODUCER_ONLY))


def upload_producer(options: Mapping[str, str], *, chunk: int) -> Config:
    """For sending files. ``chunk`` is bytes; records wait for ever for a broker that is away."""
    return _producer(options, chunk) | {"message.timeout.ms": 0}


def outcome_producer(options: Mapping[str, str]) -> Config:
    """For a checkpoint that is not a transaction: given up after 60 s, so that the loop goes on and tries again."""
    return _producer(options, 1024 * 1024) | {"message.timeout.ms": 60_000}


def checkpoint_producer(options: Mapping[str, str], transactional_id: str) -> Config:
    """For checkpoints in transactions. ``message.timeout.ms`` may not exceed the transaction's, so it has none."""
    config = _producer(options, 1024 * 1024)
    config.setdefault("transaction.timeout.ms", 15_000)
    return config | {"transactional.id": transactional_id}


def consumer(options: Mapping[str, str], group: str) -> Config:
    """For a run: one member of ``group``."""
    given = _without(options, _PRODUCER_ONLY)
    defaults: Config = {
        "fetch.max.bytes": 16 * 1024 * 1024,
        "queued.max.messages.kbytes": 16 * 1024,
        "fetch.wait.max.ms": 100,
        "max.poll.interval.ms": 900_000,
    }
    if given.get("group.protocol", "classic") == "classic":
        defaults |= {"partition.assignment.strategy": "cooperative-sticky", "session.timeout.ms": 10_000}
    return _with(defaults, given) | {
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
    }


def reader(options: Mapping[str, str]) -> Config:
    """For a look into a topic, without a group."""
    return consumer(_without(options, ("group.",)), "openmsi-peek") | {"enable.partition.eof": True}


def _producer(options: Mapping[str, str], chunk: int) -> Config:
    defaults: Config = {
        "linger.ms": 5,
        "batch.size": 1_000_000,
        "queue.buffering.max.kbytes": 32 * 1024,
        "compression.type": "none",
        "message.max.bytes": max(1_000_000, chunk + _OVERHEAD),
    }
    return _with(defaults, _without(options, _CONSUMER_ONLY)) | {"enable.idempotence": True, "acks": "all"}


def _with(defaults: Config, given: Mapping[str, str]) -> Config:
    return defaults | dict(given)


def _without(options: Mapping[str, str], prefixes: tuple[str, ...]) -> dict[str, str]:
    check(options)
    return {name: value for name, value in options.items() if not name.startswith(prefixes)}
