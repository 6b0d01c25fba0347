"""Commits of a group behind a transaction that nobody will ever end.

A broker that comes up after a crash may record the end of a transaction without writing it to the partitions: its
coordinator takes partitions without a leader for deleted ones and leaves them out (seen on Kafka 4.4 with one broker,
where partitions have no leader until it has registered itself again). Then the group's offsets stay pending for ever,
and asking for stable ones is answered never. Kafka keeps the last commits beside the pending ones.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from openmsi_core.kafka import config
from openmsi_core.kafka.errors import ClientWatch

_log = logging.getLogger(__name__)

_ASK_SECONDS = 3.0


class Pending:
    """Looks past the pending commits of one group on one topic, once they cannot come to an end any more.

    `passed` is asked after each question for stable commits that got no answer. It answers only when the broker gave
    its other answer again and again for ``patience`` seconds: longer than any transaction may be open while the broker
    that would end it is there.
    """

    def __init__(self, options: Mapping[str, str], topic: str, group: str, patience: float) -> None:
        self._options = options
        self._topic = topic
        self._group = group
        self._patience = patience
        self._since: float | None = None

    @property
    def is_seen(self) -> bool:
        """True while the broker answers, and its answer is that commits are pending."""
        return self._since is not None

    def passed(self, partitions: Sequence[int]) -> list[TopicPartition] | None:
        """The last commits that are not pending; None while these may still end. Blocks for up to 3 s."""
        found = self._ask(partitions)
        if found is None:
            self._since = None
            return None
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if now - self._since < self._patience:
            return None
        _log.warning(
            "the commits of group %s on %s are pending in a transaction that Kafka does not end, as after a crash of "
            "the broker. This run goes on from the last ones that are not, and nothing is lost or doubled by that; but "
            "each start waits %.0f s for it, and readers of %s.receipts may see nothing newer. Kafka's own tool ends "
            "it: kafka-transactions.sh find-hanging, then abort",
            self._group,
            self._topic,
            self._patience,
            self._topic,
        )
        return found

    def _ask(self, partitions: Sequence[int]) -> list[TopicPartition] | None:
        # A consumer that joins nothing and reads uncommitted is told the same as an admin client asking for unstable
        # offsets; but librdkafka's admin client aborts the process when the connection breaks meanwhile
        # (confluentinc/librdkafka#4605, seen here after 10 minutes of mixed load).
        settings: Any = config.consumer(self._options, self._group) | {"isolation.level": "read_uncommitted"}
        client = Consumer(ClientWatch(self._options, self._topic).configured(settings))
        try:
            asked = [TopicPartition(self._topic, partition) for partition in partitions]
            found: list[TopicPartition] = client.committed(asked, timeout=_ASK_SECONDS)
        except KafkaException as error:
            _log.debug("the commits of %s were not told: %r", self._group, error)
            return None
        finally:
            client.close()
        return None if any(each.error is not None for each in found) else found
