"""What is known of partitions that were just assigned: their commits, the ends of their logs, where a moment lies."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from openmsi_core.errors import BrokerUnreachable, RightMissing
from openmsi_core.kafka.config import longest_transaction
from openmsi_core.kafka.errors import translated
from openmsi_core.kafka.hanging import Pending
from openmsi_core.kafka.patience import Answer
from openmsi_core.model import Claim

_TAKEOVER_SECONDS = 90.0  # 60 s for the transaction of large results, and 10 s in which the broker looks for such
_ASK_SECONDS = 3.0
_UNSTABLE = {KafkaError._TIMED_OUT, KafkaError.UNSTABLE_OFFSET_COMMIT}
_REST_SECONDS = 0.1


class Claims:
    """Asks the broker for one group and one topic, until it answers or ``is_stopping`` says yes.

    While the transaction of a killed member is open the broker does not tell its commits: every question is asked
    again for up to 90 s, then BrokerUnreachable is raised; RightMissing at once. A transaction that no broker ends in
    that time, though one was there all the while, is never ended: then the commits before it count, see `Pending`.

    This runs inside a rebalance callback. There, poll, consume, close and list_topics of the same client would clear
    confluent-kafka's call state, and the next callback of the same poll would abort the process: none is used here.
    """

    def __init__(
        self,
        consumer: Consumer,
        options: Mapping[str, str],
        topic: str,
        group: str,
        since_ms: int | None,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._consumer = consumer
        self._options = options
        self._topic = topic
        self._group = group
        self._since_ms = since_ms
        self._is_stopping = is_stopping
        self._pending = Pending(options, topic, group, _open_seconds(options))  # what it passed by once counts for all

    def of(self, partitions: Sequence[int], *, is_refused: bool = False) -> Sequence[Claim] | None:
        """One claim for each partition; None when we are stopping."""
        commits = self.committed(partitions)
        fresh = [each.partition for each in commits if each.offset < 0]
        is_new = bool(fresh) and self._has_commits(min(fresh))
        moments = self._moments(fresh)
        claims = []
        for each in commits:
            place = TopicPartition(self._topic, each.partition)
            ends = self._answered(partial(self._consumer.get_watermark_offsets, place, timeout=_ASK_SECONDS))
            if ends is None:
                return None
            low, high = ends
            claims.append(
                Claim(
                    each.partition,
                    each.offset if each.offset >= 0 else None,
                    each.metadata or "",
                    low,
                    high,
                    since=moments.get(each.partition, high),
                    is_new=is_new and each.offset < 0,
                    is_refused=is_refused,
                )
            )
        return claims if len(claims) == len(partitions) else None

    def committed(self, partitions: Sequence[int]) -> Sequence[TopicPartition]:
        """The commits with their metadata; none when we are stopping."""
        asked = [TopicPartition(self._topic, partition) for partition in partitions]

        def ask() -> list[TopicPartition]:
            try:
                return self._stable(asked)
            except KafkaException as error:
                passed = self._pending.passed(partitions) if error.args[0].code() in _UNSTABLE else None
                if passed is None:
                    raise
                return passed

        return (self._answered(ask, self._pending) if asked else None) or []

    def _stable(self, asked: list[TopicPartition]) -> list[TopicPartition]:
        answered: list[TopicPartition] = self._consumer.committed(asked, timeout=_ASK_SECONDS)
        for each in answered:
            if each.error is not None:
                raise KafkaException(each.error)
        return answered

    def _has_commits(self, below: int) -> bool:
        """True when the group has a commit on a partition below this one; what is added gets the highest numbers."""
        return any(each.offset >= 0 for each in self.committed(range(below)))

    def _moments(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """The first offset at or after the moment that the run begins at; left out where there is none."""
        if self._since_ms is None or not partitions:
            return {}
        asked = [TopicPartition(self._topic, partition, self._since_ms) for partition in partitions]
        found = self._answered(partial(self._consumer.offsets_for_times, asked, timeout=_ASK_SECONDS)) or []
        return {each.partition: each.offset for each in found if each.offset >= 0}

    def _answered(self, ask: Callable[[], Answer], pending: Pending | None = None) -> Answer | None:
        """Ask until there is an answer; None when we are stopping."""
        ends = time.monotonic() + _TAKEOVER_SECONDS
        while not self._is_stopping():
            try:
                return ask()
            except KafkaException as error:
                reason = translated(error.args[0], self._options, self._group)
                if isinstance(reason, RightMissing):
                    raise reason from error
                if time.monotonic() >= ends and not (pending and pending.is_seen):
                    raise BrokerUnreachable(
                        f"where group {self._group} stands on {self._topic} was not told within "
                        f"{_TAKEOVER_SECONDS:g} s, and a run never starts from anywhere else: {reason}"
                    ) from error
                time.sleep(_REST_SECONDS)  # some refusals come at once, and asking is all that can be done
        return None


def _open_seconds(options: Mapping[str, str]) -> float:
    """How long a transaction may be open while a broker is there: to its timeout, and until the broker looks for it."""
    return max(_TAKEOVER_SECONDS, longest_transaction(options) + 30.0)
