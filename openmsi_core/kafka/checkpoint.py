"""Where outcomes become durable in Kafka when there are no transactions: at least once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from openmsi_core.errors import BrokerError, NotDelivered, OpenmsiError
from openmsi_core.kafka import config
from openmsi_core.kafka.errors import ClientWatch, guarded, made, translated, unreachable
from openmsi_core.kafka.nogroup import Membership
from openmsi_core.kafka.patience import Patience, never
from openmsi_core.kafka.producer import end, forget_given_up
from openmsi_core.model import Commit, Outgoing

_log = logging.getLogger(__name__)

_WRITE_SECONDS = 60.0


class AtLeastOnce:
    """The OutcomeStore without transactions: everything acknowledged first, then the commit.

    A kill between the two publishes the outcomes once more at the next start; never is one lost.
    """

    def __init__(
        self, options: Mapping[str, str], consumer: Membership, *, is_stopping: Callable[[], bool] = never
    ) -> None:
        self._options = options
        self._consumer = consumer
        self._is_stopping = is_stopping
        self._watch = ClientWatch(options)
        self._producer: Producer | None = None
        self._is_open = False
        self._batches = Batches()

    def __enter__(self) -> Self:
        self._is_open = True
        self._ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        self._discard()

    def write(self, outgoing: Iterable[Outgoing], commits: Sequence[Commit], *, size: int = 0) -> None:  # noqa: ARG002
        """Produce, wait for every acknowledgement, commit; blocks for up to 60 s, 2 s when we are stopping.

        When the broker refuses a record, everything is written once more, each record alone: see `Batches`.
        Raises BrokerError (also when a rebalance came before the commit: what is still ours is written again),
        TopicError, RightMissing, NotDelivered.
        """
        self._batches.write(lambda: self._write(outgoing), self._discard)
        if not self._consumer.commit(commits):
            raise BrokerError("a rebalance came before a commit: what is still ours is written again")

    def _write(self, outgoing: Iterable[Outgoing]) -> None:
        producer, patience = self._ready(), Patience(_WRITE_SECONDS, self._is_stopping)
        acknowledged = Acknowledged(self._options)
        try:
            acknowledged.produce(producer, outgoing, patience)
            self._wait(producer, patience)
            acknowledged.raise_if_failed()
        except BaseException:
            self._discard()  # else what is queued would be sent beside the same outcomes of the next try
            raise

    def _wait(self, producer: Producer, patience: Patience) -> None:
        while len(producer):
            if not patience.left:
                raise unreachable(self._options, f"{len(producer)} outcomes were not acknowledged in time")
            try:
                guarded(lambda: producer.flush(patience.slice))
            except KafkaException as error:
                raise translated(error.args[0], self._options) from error
            self._watch.raise_if_refused()

    def _ready(self) -> Producer:
        if not self._is_open:
            raise RuntimeError("AtLeastOnce is used outside its `with`")
        if self._producer is None:
            if self._watch.connected:
                forget_given_up()
            self._watch = ClientWatch(self._options)
            settings = config.outcome_producer(self._options, is_alone=self._batches.are_off)
            self._producer = made(Producer, self._watch.configured(settings))
            self._watch.connected = True  # the consumer beside it has reached the broker
        return self._producer

    def _discard(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            end(producer)


class Batches:
    """Whether records go to the broker in batches, or each alone.

    A broker refuses a batch that is larger than its topic takes records, though each record in it would fit, and
    librdkafka then calls each of them too large. So what is refused is written again without batches, and only a
    record that is refused alone is refused. Where that helped, there are no more batches: it would happen again.
    """

    def __init__(self) -> None:
        self.are_off = False

    def write(self, write: Callable[[], None], discard: Callable[[], None]) -> None:
        """Call ``write``; once more, after ``discard``, when a batch may be what was refused. Raises what it raises."""
        while True:
            try:
                write()
            except NotDelivered as error:
                discard()
                self.are_off = not self.are_off
                if not self.are_off:
                    raise
                _log.info("%s That may be for the others in its batch: now each record is sent alone", error)
            else:
                return


class Acknowledged:
    """The records of one checkpoint on their way: which of them the broker refused."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = options
        self._failures: list[OpenmsiError] = []

    def produce(self, producer: Producer, outgoing: Iterable[Outgoing], patience: Patience) -> None:
        """Queue all of them, waiting while the client's queue is full. Raises BrokerError, NotDelivered."""
        for each in outgoing:
            self._produce(producer, each, patience)

    def raise_if_failed(self) -> None:
        """Raise the first failure that the broker reported."""
        if self._failures:
            raise self._failures[0]

    @property
    def refusal(self) -> NotDelivered | None:
        """The first record that the broker refused for good; None when there is none."""
        return next((each for each in self._failures if isinstance(each, NotDelivered)), None)

    def _produce(self, producer: Producer, each: Outgoing, patience: Patience) -> None:
        while True:
            try:
                delivered = partial(self._delivered, each)
                producer.produce(each.topic, each.value, each.key, each.partition, on_delivery=delivered)
            except BufferError:
                if not patience.left:
                    raise unreachable(self._options, "outcomes wait in a full queue") from None
                self._make_room(producer, patience)
            except KafkaException as error:
                raise self._failure(error.args[0], each) from error
            else:
                return

    def _make_room(self, producer: Producer, patience: Patience) -> None:
        try:
            guarded(lambda: producer.poll(patience.slice))
        except KafkaException as error:
            raise translated(error.args[0], self._options) from error

    def _delivered(self, outgoing: Outgoing, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failures.append(self._failure(error, outgoing))

    def _failure(self, error: KafkaError, outgoing: Outgoing) -> OpenmsiError:
        ours = translated(error, self._options, outgoing.topic)
        if isinstance(ours, NotDelivered):
            ours.outgoing = outgoing
        return ours
