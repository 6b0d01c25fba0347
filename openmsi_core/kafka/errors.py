"""From Kafka's errors to ours: one clear sentence each, with the broker, the topic and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException

from openmsi_core.errors import (
    BrokerError,
    BrokerRefused,
    BrokerUnreachable,
    NotDelivered,
    OpenmsiError,
    RightMissing,
    TopicError,
)

_UNKNOWN_TOPIC = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.UNKNOWN_TOPIC_ID,
}
_REFUSED = {
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._SSL,
    KafkaError.ILLEGAL_SASL_STATE,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
}
_UNREACHABLE = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._MSG_TIMED_OUT,
    KafkaError._RESOLVE,
    KafkaError.REQUEST_TIMED_OUT,
}
_TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE}
_REBALANCED = {
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.STALE_MEMBER_EPOCH,
    KafkaError.FENCED_MEMBER_EPOCH,
    KafkaError._ASSIGNMENT_LOST,
}


@dataclass(frozen=True, slots=True)
class Where:
    """What an error message names: the brokers as the user wrote them, topic, group, and the right that is used."""

    broker: str
    topic: str = ""
    group: str = ""
    right: str = ""


def kafka_error(error: KafkaException | KafkaError) -> KafkaError:
    """The KafkaError that an exception carries."""
    if isinstance(error, KafkaError):
        return error
    inner = error.args[0]
    return inner if isinstance(inner, KafkaError) else KafkaError(KafkaError._FAIL, str(inner))


def lost_to_rebalance(error: KafkaError) -> bool:
    """True for a commit that came too late: its partitions are, or are becoming, somebody else's."""
    return error.code() in _REBALANCED


def is_refusal(error: KafkaError) -> bool:
    """True when the broker answers and does not want us: credentials or certificate."""
    return error.code() in _REFUSED


def is_unreachable(error: KafkaError) -> bool:
    """True when nobody answered in time."""
    return error.code() in _UNREACHABLE


def is_missing_topic(error: KafkaError) -> bool:
    """True when the broker does not know the topic."""
    return error.code() in _UNKNOWN_TOPIC


def missing_topic(topic: str, broker: str) -> TopicError:
    """What to say when a topic is not there."""
    return TopicError(
        f"topic {topic} does not exist on {broker} (or this account may not see it): "
        f"create it with `openmsi topics create {topic} --partitions 4`"
    )


def translated(error: KafkaException | KafkaError, where: Where) -> OpenmsiError:
    """Our error for Kafka's: its class says what happens next, its text what, where and what to do."""
    found = kafka_error(error)
    code, at = found.code(), f"Kafka at {where.broker}"
    if code in _UNKNOWN_TOPIC:
        return missing_topic(where.topic or "?", where.broker)
    if (missing := _missing_right(found, where)) is not None:
        return missing
    if code in _REFUSED:
        return refused(found, where.broker)
    if code in _TOO_LARGE:
        return NotDelivered(
            f"a record is too large for topic {where.topic or '?'} on {where.broker} ({found.str()}): "
            "raise the topic's max.message.bytes, or send smaller chunks"
        )
    if code in _UNREACHABLE:
        return BrokerUnreachable(f"{at} did not answer in time ({found.str()}): is it running, is the address right?")
    return BrokerError(f"{at} answered {found.name()}{_about(where)}: {found.str()}")


def refused(error: KafkaError, broker: str) -> BrokerRefused:
    """The sentence for an account or a certificate that was refused."""
    text = error.str()
    if error.code() != KafkaError._SSL:
        return BrokerRefused(
            f"Kafka at {broker} refused the account: check sasl.username, sasl.password and sasl.mechanisms ({_tail(text)})"
        )
    if "verify" in text:
        return BrokerRefused(
            f"the certificate of Kafka at {broker} is not signed by whom we trust: check ssl.ca.location ({_tail(text)})"
        )
    return BrokerRefused(
        f"no TLS connection to Kafka at {broker}: check security.protocol and the ssl.* options ({_tail(text)})"
    )


def closed_early(broker: str, protocol: str) -> BrokerRefused:
    """The sentence for a listener that hangs up before the first word: it speaks another protocol."""
    other = "plain" if "SSL" in protocol.upper() else "TLS or SASL"
    return BrokerRefused(
        f"Kafka at {broker} takes the connection and closes it at once: is this a {other} port? "
        f"security.protocol is {protocol} here"
    )


def _missing_right(error: KafkaError, where: Where) -> RightMissing | None:
    lacking = {
        KafkaError.TOPIC_AUTHORIZATION_FAILED: f"{where.right or 'DESCRIBE'} on topic {where.topic or '?'}",
        KafkaError.GROUP_AUTHORIZATION_FAILED: f"READ on group {where.group or '?'}",
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "WRITE on transactional ids that begin with openmsi-",
        KafkaError.CLUSTER_AUTHORIZATION_FAILED: f"{where.right or 'IDEMPOTENT_WRITE'} on the cluster",
    }.get(error.code())
    if lacking is None:
        return None
    return RightMissing(f"this account lacks a right on Kafka at {where.broker}: {lacking}. Ask for it (an ACL)")


def _about(where: Where) -> str:
    return f" about topic {where.topic}" if where.topic else ""


def _tail(text: str) -> str:
    """What librdkafka says behind the address of the broker."""
    return text.split("/bootstrap: ")[-1].split(" (after ")[0].split(" (install ")[0]
