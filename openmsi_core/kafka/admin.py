"""Topics: create a family, check its settings, describe it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import confluent_kafka
from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined] # exported, though not by mypy's rules
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from openmsi_core.errors import TopicError
from openmsi_core.kafka import config
from openmsi_core.kafka.errors import CONNECT_SECONDS, ClientWatch, made, metadata, translated, unreachable
from openmsi_core.kafka.producer import partitions_of

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)
RESERVED = (".dlq", ".receipts", ".keys", ".reqs", ".subs")
CHUNK = 512 * 1024
_VISIBLE_SECONDS = 15.0
_EARLIEST: Any = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """What a topic is: partitions with the ends of their logs, its id ("" where the broker has none), its settings."""

    name: str
    id: str
    ends: Mapping[int, tuple[int, int]]
    settings: Mapping[str, str]


class Admin:
    """Asks and tells the broker about topics. `connected` makes one. Every method raises BrokerError."""

    def __init__(self, options: Mapping[str, str], client: AdminClient, watch: ClientWatch) -> None:
        self._options = options
        self._client = client
        self._watch = watch

    def create(self, name: str, partitions: int, replication: int, settings: Mapping[str, str]) -> bool:
        """Create a topic and wait until it can be used; False when it was there already."""
        topic = NewTopic(name, num_partitions=partitions, replication_factor=replication, config=dict(settings))
        try:
            self._client.create_topics([topic], operation_timeout=30)[name].result(35)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                return False
            raise translated(error.args[0], self._options, name) from error
        self._wait_for_leaders(name)
        return True

    def topics(self) -> Sequence[str]:
        """Every topic that is not the broker's own, sorted."""
        everything = metadata(self._client, self._watch, None, CONNECT_SECONDS)
        return sorted(name for name in everything.topics if not name.startswith("__"))

    def facts(self, name: str) -> TopicFacts:
        """What a topic is. Raises TopicError when it is missing."""
        count = partitions_of(self._client, self._watch, self._options, name, CONNECT_SECONDS)
        return TopicFacts(name, self.topic_id(name), self._ends(name, count), self._settings(name))

    def topic_id(self, name: str) -> str:
        """The id that changes when a topic is deleted and made anew; "" where the broker has none."""
        try:
            described = self._client.describe_topics(TopicCollection([name]), request_timeout=10)[name].result(15)
        except KafkaException as error:
            if error.args[0].code() in {KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION}:
                return ""
            raise translated(error.args[0], self._options, name) from error
        return str(described.topic_id)

    def groups(self, name: str) -> Mapping[str, Mapping[int, tuple[int, str]]]:
        """For each consumer group that committed on a topic: per partition the offset and the metadata."""
        try:
            listed = self._client.list_consumer_groups(request_timeout=10).result(15)
            return {
                group.group_id: offsets for group in listed.valid if (offsets := self._offsets(group.group_id, name))
            }
        except KafkaException as error:
            raise translated(error.args[0], self._options, name) from error

    def stable_ends(self, name: str) -> Mapping[int, tuple[int, int]]:
        """For each partition the end for readers of committed records, and the end of everything.

        Where the first is lower, a transaction is open. Raises TopicError when the topic is missing.
        """
        count = partitions_of(self._client, self._watch, self._options, name, CONNECT_SECONDS)
        places = [TopicPartition(name, partition) for partition in range(count)]
        asked = dict.fromkeys(places, _LATEST)
        levels = IsolationLevel.READ_UNCOMMITTED, IsolationLevel.READ_COMMITTED
        try:  # in this order, so that what is committed in between does not look held back
            high, stable = (
                {place: future.result(15).offset for place, future in answers.items()}
                for answers in (
                    self._client.list_offsets(asked, isolation_level=level, request_timeout=10) for level in levels
                )
            )
        except KafkaException as error:
            raise translated(error.args[0], self._options, name) from error
        return {place.partition: (stable[place], high[place]) for place in places}

    def _offsets(self, group: str, topic: str) -> Mapping[int, tuple[int, str]]:
        asked = ConsumerGroupTopicPartitions(group)
        done = self._client.list_consumer_group_offsets([asked], request_timeout=10)[group].result(15)
        return {
            each.partition: (each.offset, each.metadata or "")
            for each in done.topic_partitions or []
            if each.topic == topic and each.offset >= 0
        }

    def _ends(self, name: str, count: int) -> Mapping[int, tuple[int, int]]:
        places = [TopicPartition(name, partition) for partition in range(count)]
        try:
            low = self._client.list_offsets(dict.fromkeys(places, _EARLIEST), request_timeout=10)
            high = self._client.list_offsets(dict.fromkeys(places, _LATEST), request_timeout=10)
            return {place.partition: (low[place].result(15).offset, high[place].result(15).offset) for place in places}
        except KafkaException as error:
            raise translated(error.args[0], self._options, name) from error

    def _settings(self, name: str) -> Mapping[str, str]:
        resource = ConfigResource(ResourceType.TOPIC, name)
        try:
            entries = self._client.describe_configs([resource], request_timeout=10)[resource].result(15)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:  # not a right that a run must have
                return {}
            raise translated(error.args[0], self._options, name) from error
        return {key: str(entry.value) for key, entry in entries.items() if entry.value is not None}

    def _wait_for_leaders(self, name: str) -> None:
        """Metadata of a new topic lags for up to a second."""
        ends = time.monotonic() + _VISIBLE_SECONDS
        while True:
            described = metadata(self._client, self._watch, None, CONNECT_SECONDS).topics.get(name)
            if (
                described is not None
                and described.partitions
                and all(each.leader >= 0 and each.error is None for each in described.partitions.values())
            ):
                return
            if time.monotonic() >= ends:
                raise unreachable(self._options, f"topic {name} got no leaders within {_VISIBLE_SECONDS:g} s")
            self._client.poll(0.05)


def library_version() -> str:
    """The version of librdkafka."""
    return str(confluent_kafka.libversion()[0])


def connected(options: Mapping[str, str], seconds: float = CONNECT_SECONDS) -> Admin:
    """An Admin whose broker has answered. Raises SettingsError, BrokerError."""
    watch = ClientWatch(options)
    client: Any = made(_client, watch.configured(config.admin(options)))
    metadata(client, watch, None, seconds)
    return Admin(options, client, watch)


def check_options(options: Mapping[str, str]) -> None:
    """Let librdkafka itself look at the options; no broker needs to answer. Raises SettingsError."""
    made(_client, ClientWatch(options).configured(config.admin(options)))


def _client(settings: dict[str, object]) -> AdminClient:
    plain: Any = settings
    return AdminClient(plain)


def create_family(
    admin: Admin, topic: str, partitions: int, replication: int = -1, *, chunk: int = CHUNK
) -> Mapping[str, bool]:
    """T, T.dlq and T.receipts with sound settings; for each whether it is new.

    ``replication`` -1 is the cluster's default; records with chunks of ``chunk`` bytes fit. Raises TopicError for a
    reserved name, BrokerError.
    """
    refuse_reserved(topic)
    data = {"cleanup.policy": "delete"}
    if chunk > CHUNK:  # an untouched broker takes the usual ones
        data["max.message.bytes"] = str(chunk + 2 * config.CHUNK_MARGIN)
    thirty_days = str(30 * 24 * 3600 * 1000)
    receipts = {"cleanup.policy": "compact,delete", "retention.ms": thirty_days}
    return {
        topic: admin.create(topic, partitions, replication, data),
        f"{topic}.dlq": admin.create(f"{topic}.dlq", 1, replication, {"cleanup.policy": "delete"}),
        f"{topic}.receipts": admin.create(f"{topic}.receipts", 1, replication, receipts),
    }


def refuse_reserved(topic: str) -> None:
    """Raises TopicError for a name that means something else, or that Kafka does not take."""
    if not _NAME.fullmatch(topic) or topic in {".", ".."}:
        raise TopicError(f"{topic!r} is no topic name: 1 to 249 letters, digits, dots, dashes and underscores.")
    for ending in RESERVED:
        if topic.endswith(ending):
            raise TopicError(f"{topic!r} cannot be a topic for files: names that end in {ending} have another use.")


def faults(facts: TopicFacts, chunk: int) -> Sequence[str]:
    """What is wrong with a topic for files of chunks of ``chunk`` bytes, each with what to do; empty: nothing."""
    found = []
    if "compact" in facts.settings.get("cleanup.policy", ""):
        found.append(
            f"the topic {facts.name} is compacted, which removes all but the last record of each file: "
            "set cleanup.policy=delete"
        )
    largest = int(facts.settings.get("max.message.bytes", 1 << 30))
    if chunk + 4096 > largest:
        found.append(
            f"the topic {facts.name} takes records of {largest:,} bytes, chunks have {chunk:,}: set max.message.bytes "
            "higher, or --chunk-size lower"
        )
    return found


def check_send(options: Mapping[str, str], topic: str, chunk: int) -> str:
    """The id of ``topic``. Raises TopicError when files cannot be sent to it, BrokerError."""
    refuse_reserved(topic)
    facts = connected(options).facts(topic)
    problems = faults(facts, chunk)
    if problems:
        raise TopicError("; ".join(problems) + ".")
    return facts.id


def check_run(options: Mapping[str, str], topic: str, output: str | None, seconds: float = CONNECT_SECONDS) -> str:
    """The id of ``topic``, asked for within ``seconds``. Raises TopicError when a run cannot work, BrokerError."""
    refuse_reserved(topic)
    admin = connected(options, seconds)
    facts = admin.facts(topic)
    problems = list(faults(facts, 0))
    there = set(admin.topics())
    family = [name for name in (f"{topic}.dlq", f"{topic}.receipts") if name not in there]
    if family:
        problems.append(
            f"the topic {' and '.join(family)} for dead letters and receipts is missing: "
            f"`openmsi topics create {topic} --partitions {len(facts.ends)}` makes what is missing"
        )
    if output and output not in there:
        problems.append(
            f"the output topic {output} is missing: `openmsi topics create {output} --partitions 1 --plain` makes it"
        )
    if problems:
        raise TopicError("; ".join(problems) + ".")
    return facts.id
