"""What the fixtures of the pytest plugin are made of: a fresh topic, sending one file, running a plugin to the end."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openmsi_core.files import wire
from openmsi_core.files.paths import partition_of
from openmsi_core.kafka import admin
from openmsi_core.kafka.producer import TopicProducer
from openmsi_core.kafka.reading import read
from openmsi_core.model import RelativePath
from openmsi_core.settings import RunSettings
from openmsi_core.testing.files import MTIME_NS
from openmsi_core.testing.logs import values_of
from openmsi_core.testing.played import Played
from openmsi_core.wiring import run_plugin

_CHUNK = 512 * 1024
_ACKNOWLEDGED_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that nobody else uses, where its broker is, and the topic for results beside it."""

    name: str
    broker: str

    @property
    def results(self) -> str:
        """Where results go."""
        return f"{self.name}-results"

    @property
    def kafka(self) -> Mapping[str, str]:
        """Options for a client."""
        return {"bootstrap.servers": self.broker}


def fresh_topic(broker: str) -> Topic:
    """A new topic of two partitions with its companions, and one for results. Raises BrokerError."""
    topic = Topic(f"contract-{uuid.uuid4().hex[:8]}", broker)
    connected = admin.connected(topic.kafka)
    admin.create_family(connected, topic.name, 2)
    connected.create(topic.results, 1, -1, {})
    return topic


class SendFile:
    """Sends one file to a topic and waits until the broker has it."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic

    def __call__(
        self,
        path: Path,
        *,
        name: str | None = None,
        chunk_size: int = _CHUNK,
        shuffle: bool = False,
        duplicate: bool = False,
    ) -> None:
        """``name`` is what it is called in the topic; ``shuffle`` and ``duplicate`` its records. Raises BrokerError."""
        sent_as = RelativePath.parse(name or path.name)
        size = max(chunk_size, wire.MIN_CHUNK)
        records = values_of(sent_as.text, path.read_bytes(), chunk=size, mtime_ns=MTIME_NS)
        records *= 1 + duplicate
        if shuffle:
            random.Random(1).shuffle(records)
        refused: list[str] = []
        with TopicProducer(self.topic.kafka, self.topic.name, chunk=_CHUNK) as producer:
            partition = partition_of(sent_as, producer.partitions())
            for record in records:
                producer.produce(partition, sent_as.key, record, lambda _, why: refused.append(why) if why else None)
            while producer.pending():
                producer.serve(_ACKNOWLEDGED_SECONDS)
        assert not refused, f"the broker refused records of {sent_as}: {refused[0]}"


class RunPlugin:
    """Runs a plugin over a topic, as ``openmsi run NAME --until-caught-up`` does."""

    def __init__(self, topic: Topic, state: Path) -> None:
        self.topic = topic
        self.state = state

    def __call__(self, plugin: str, **options: object) -> Played:
        """What came of it. Raises PluginError, SettingsError, BrokerError."""
        table = {"plugin": plugin, "topic": self.topic.name, "output-topic": self.topic.results}
        settings = RunSettings.model_validate(table | {"until-caught-up": True, "breaker": 0})
        run_plugin(settings, self.topic.kafka, self.state, options, announce=lambda *_: None)
        groups = admin.connected(self.topic.kafka).groups(self.topic.name)
        committed = sum(offset for offset, _ in groups.get(settings.group, {}).values())
        receipts, letters = self._all(f"{self.topic.name}.receipts"), self._all(f"{self.topic.name}.dlq")
        return Played(self._all(self.topic.results), receipts, letters, committed)

    def _all(self, topic: str) -> list[Any]:
        return [json.loads(each.value) for each in read(self.topic.kafka, topic) if each.value]
