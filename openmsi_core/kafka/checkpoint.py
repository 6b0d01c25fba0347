"""Where outcomes become durable in Kafka."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from openmsi_core.errors import BrokerError, OpenmsiError, RightMissing
from openmsi_core.kafka import config
from openmsi_core.kafka.consumer import TopicConsumer
from openmsi_core.kafka.errors import ClientWatch, made, translated, unreachable
from openmsi_core.model import Commit, Outgoing

log = logging.getLogger(__name__)

_ACKNOWLEDGED_SECONDS = 60.0
_STEP_SECONDS = 10.0
_GIVE_UP_SECONDS = 120.0


class _Outlet:
    """A producer of outcomes, from `__enter__` to `__exit__`; what is not acknowledged at the end is thrown away."""

    def __init__(self, options: Mapping[str, str], consumer: TopicConsumer) -> None:
        self._options = options
        self._consumer = consumer
        self._watch = ClientWatch(options)
        self._producer: Producer | None = None

    def __enter__(self) -> Self:
        self._connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _connect(self) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None and len(producer):
            producer.purge()  # not acknowledged, so not committed: it is published again at the next start
            producer.flush(1.0)

    @property
    def _client(self) -> Producer:
        if self._producer is None:
            raise RuntimeError(f"{type(self).__name__} is used outside its `with`")
        return self._producer

    def _produce(self, each: Outgoing, failures: list[OpenmsiError]) -> None:
        def delivered(error: KafkaError | None, message: Message[Any, Any]) -> None:
            if error is not None:
                failures.append(translated(error, self._options, message.topic() or ""))

        while True:
            try:
                self._client.produce(each.topic, each.value, each.key, on_delivery=delivered)
            except BufferError:
                self._client.poll(0.1)
            except KafkaException as error:
                raise translated(error.args[0], self._options, each.topic) from error
            else:
                return


class AtLeastOnce(_Outlet):
    """The OutcomeStore without transactions: everything acknowledged first, then the commit.

    A kill between the two publishes the outcomes once more at the next start; never is one lost.
    """

    def write(self, outgoing: Sequence[Outgoing], commits: Sequence[Commit]) -> None:
        """Produce, wait for every acknowledgement, commit. Raises BrokerError, TopicError, RightMissing."""
        failures: list[OpenmsiError] = []
        for each in outgoing:
            self._produce(each, failures)
        left = self._client.flush(_ACKNOWLEDGED_SECONDS)
        self._watch.raise_if_refused()
        if failures:
            raise failures[0]
        if left:
            raise unreachable(self._options, f"{left} outcomes were not acknowledged within {_ACKNOWLEDGED_SECONDS} s")
        self._consumer.commit(commits)

    def _connect(self) -> None:
        self._producer = made(Producer, self._watch.configured(config.outcome_producer(self._options)))


class ExactlyOnce(_Outlet):
    """The OutcomeStore in transactions: outcomes and commit become visible together, or not at all.

    The transactional id is this process's own, so that two runs on a host do not fence each other; a member that has
    left its group is fenced by the group's metadata, which each transaction carries. After an error that ends a
    transaction the same checkpoint may be written again; after a fatal one a new producer does it.
    """

    def write(self, outgoing: Sequence[Outgoing], commits: Sequence[Commit]) -> None:
        """One transaction. Raises BrokerError, TopicError, RightMissing: then nothing of it is visible.

        Blocks until the outcome of the commit is known: a transaction whose end is unknown must not be repeated.
        """
        if self._producer is None:
            self._connect()
        try:
            self._transaction(outgoing, commits)
        except KafkaException as error:
            raise self._ended(error.args[0]) from error

    def _transaction(self, outgoing: Sequence[Outgoing], commits: Sequence[Commit]) -> None:
        producer, failures = self._client, list[OpenmsiError]()
        producer.begin_transaction()
        for each in outgoing:
            self._produce(each, failures)
        places = [TopicPartition(self._consumer.topic, each.partition, each.offset, each.metadata) for each in commits]
        group = self._consumer.client.consumer_group_metadata()
        self._until_known(lambda: producer.send_offsets_to_transaction(places, group, _STEP_SECONDS))
        self._until_known(lambda: producer.commit_transaction(_STEP_SECONDS))
        if failures:  # librdkafka fails the commit when a record failed; this says so if it ever does not
            raise failures[0]

    def _until_known(self, step: Callable[[], None]) -> None:
        """Call ``step`` again while its outcome is unknown. Raises KafkaException for an outcome that is known."""
        ends = time.monotonic() + _GIVE_UP_SECONDS
        while True:
            try:
                step()
            except KafkaException as error:
                if not error.args[0].retriable() or time.monotonic() > ends:
                    raise
                self._watch.raise_if_refused()
                self._client.poll(0.1)
            else:
                return

    def _ended(self, error: KafkaError) -> OpenmsiError:
        """Abort what an error ended, so that the same checkpoint can be written again; the error as ours."""
        log.info("a checkpoint's transaction ended with %s: %s", error.name(), error.str())
        if error.txn_requires_abort():
            try:
                self._until_known(lambda: self._client.abort_transaction(_STEP_SECONDS))
            except KafkaException as second:
                error = second.args[0]
        if not error.txn_requires_abort():
            self._close()  # fatal, or of unknown outcome: a new producer fences this one and begins anew
        ours = translated(error, self._options, self._consumer.topic)
        return ours if isinstance(ours, BrokerError) else BrokerError(str(ours))

    def _connect(self) -> None:
        name = f"openmsi-{secrets.token_hex(8)}"
        producer = made(Producer, self._watch.configured(config.checkpoint_producer(self._options, name)))
        self._producer = producer
        try:
            self._until_known(lambda: producer.init_transactions(_STEP_SECONDS))
        except KafkaException as error:
            self._close()
            ours = translated(error.args[0], self._options, name)
            if isinstance(ours, RightMissing):
                ours = RightMissing(f'{ours} Or set delivery = "at-least-once" for this run.')
            raise ours from error
