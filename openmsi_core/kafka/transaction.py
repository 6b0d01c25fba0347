"""Where outcomes become durable in Kafka exactly once: one transaction per checkpoint.

What may happen to a transaction, and what then::

    retriable            the same call again, until it is answered
    abortable            abort; the caller writes the same again
    fatal                a new producer with a new id; the caller writes the same again
    result unknown       the same commit again until it is known; after a fatal error the group's offsets tell
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from openmsi_core.errors import BrokerError, BrokerRefused, BrokerUnreachable, RightMissing
from openmsi_core.kafka import config
from openmsi_core.kafka.checkpoint import Acknowledged, Batches
from openmsi_core.kafka.errors import (
    CONNECT_SECONDS,
    ClientWatch,
    guarded,
    made,
    metadata,
    translated,
    unreachable,
)
from openmsi_core.kafka.nogroup import Membership
from openmsi_core.kafka.patience import Errand, Patience, never
from openmsi_core.kafka.producer import end, forget_given_up
from openmsi_core.model import Commit, Outgoing

_log = logging.getLogger(__name__)

_WRITE_SECONDS = 20.0  # longer than transaction.timeout.ms: by then the broker has given the transaction up
_LARGE_SECONDS = 65.0
_LARGE_BYTES = 64 * 1024 * 1024
_PREFIX = "openmsi-"


class Transactional:
    """The OutcomeStore with transactions: results, receipts, dead letters and offsets, all of them or none.

    Its transactional id is its own, so that two runs on one host do not fence each other; a member that has left
    the group is fenced by the group's metadata. With a ``name`` the id is made of that: then whoever comes later fences
    whoever was there, who is told so by a BrokerRefused.
    """

    def __init__(
        self,
        options: Mapping[str, str],
        consumer: Membership,
        *,
        name: str | None = None,
        is_stopping: Callable[[], bool] = never,
    ) -> None:
        self._name = name
        self._options = options
        self._consumer = consumer
        self._is_stopping = is_stopping
        self._watch = ClientWatch(options)
        self._producer: Producer | None = None
        self._is_open = False
        self._is_large = False
        self._errand = Errand()
        self._batches = Batches()

    def __enter__(self) -> Self:
        self._is_open = True
        self._ready(Patience(_WRITE_SECONDS, self._is_stopping))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        self._discard()

    def write(self, outgoing: Iterable[Outgoing], commits: Sequence[Commit], *, size: int = 0) -> None:
        """Everything in one transaction; blocks until its end is known.

        Above 64 MiB it may take a minute, and so may the broker to give it up after a kill. Raises BrokerError
        (nothing was written; write the same again), TopicError, RightMissing, NotDelivered. When the broker refuses a
        record, everything is written once more, each record alone: see `Batches`.
        """
        self._batches.write(lambda: self._write(outgoing, commits, size), self._discard)

    def _write(self, outgoing: Iterable[Outgoing], commits: Sequence[Commit], size: int) -> None:
        is_large = size > _LARGE_BYTES
        if is_large is not self._is_large:
            self._discard()
            self._is_large = is_large
        patience = Patience(_LARGE_SECONDS if is_large else _WRITE_SECONDS, self._is_stopping)
        producer, acknowledged = self._ready(patience), Acknowledged(self._options)
        try:
            producer.begin_transaction()
            acknowledged.produce(producer, outgoing, patience)
            self._again(lambda seconds: self._send_offsets(producer, commits, seconds), patience)
            self._again(producer.flush, patience)
            acknowledged.raise_if_failed()
        except KafkaException as error:
            undone = self._given_up(producer, error.args[0])
            # a refused record breaks the transaction, and the next call finds only that
            raise acknowledged.refusal or undone from error
        except BrokerUnreachable:
            self._producer = None  # nobody is there to abort it; the broker does that after its timeout
            raise
        except BaseException:
            self._abort(producer)
            raise
        self._commit(producer, commits)

    def _commit(self, producer: Producer, commits: Sequence[Commit]) -> None:
        """Commit, again and again until the result is known; only a stop ends it earlier."""
        patience = Patience(float("inf"), self._is_stopping)
        try:
            self._again(producer.commit_transaction, patience)
        except KafkaException as error:
            if error.args[0].fatal() and self._is_recorded(commits):
                self._discard()
                return
            raise self._given_up(producer, error.args[0]) from error

    def _send_offsets(self, producer: Producer, commits: Sequence[Commit], seconds: float) -> None:
        offsets = [TopicPartition(self._consumer.topic, each.partition, each.offset, each.metadata) for each in commits]
        if offsets:
            producer.send_offsets_to_transaction(offsets, self._consumer.client.consumer_group_metadata(), seconds)

    def _again(self, call: Callable[[float], object], patience: Patience) -> None:
        """Make a call in slices while its failures are retriable. Raises KafkaException, BrokerError."""
        while True:
            self._watch.raise_if_refused()
            try:
                # in a thread, because adding offsets takes no notice of its timeout (measured: 15 s)
                timed = partial(call, max(patience.slice, 0.05))
                left = self._errand.run(partial(guarded, timed), patience)
            except TimeoutError as error:
                self._errand = Errand()
                raise unreachable(self._options, "a checkpoint is not answered") from error
            except KafkaException as error:
                failure = error.args[0]
                if not failure.retriable() or failure.fatal() or failure.txn_requires_abort():
                    raise
                if not patience.left:
                    raise unreachable(self._options, failure.str()) from error
            else:
                if not left:  # flush answers how much is still on its way
                    return
                if not patience.left:
                    raise unreachable(self._options, f"{left} outcomes were not acknowledged in time")

    def _given_up(self, producer: Producer, error: KafkaError) -> BrokerError:
        """Undo the transaction; what to raise for it."""
        if error.fatal():
            _log.info("the transactional producer cannot go on (%s): the next checkpoint gets a new one", error.name())
            self._discard()
            if self._name is not None:
                return BrokerRefused("another process began the same work; it goes on with it, this one ends.")
        else:
            self._abort(producer)
        ours = translated(error, self._options, self._consumer.topic)
        if isinstance(ours, RightMissing):
            return ours
        return BrokerError(f"a checkpoint was undone ({error.name()}: {error.str()}) and is written again")

    def _abort(self, producer: Producer) -> None:
        """Abort; a producer that cannot even do that is given up, and the broker aborts after its timeout."""
        try:
            self._again(producer.abort_transaction, Patience(10.0, self._is_stopping))
        except (KafkaException, BrokerError) as error:
            _log.info("a transaction could not be aborted, the broker does it after its timeout: %s", error)
            self._discard()

    def _is_recorded(self, commits: Sequence[Commit]) -> bool:
        """True when the group's offsets say that a transaction of unknown end was committed."""
        found = {each.partition: (each.offset, each.metadata or "") for each in self._consumer.committed()}
        return bool(commits) and all(found.get(each.partition) == (each.offset, each.metadata) for each in commits)

    def _ready(self, patience: Patience) -> Producer:
        if not self._is_open:
            raise RuntimeError("Transactional is used outside its `with`")
        if self._producer is None:
            if self._watch.connected:
                forget_given_up()
            self._watch = ClientWatch(self._options)
            name = _PREFIX + (self._name or uuid.uuid4().hex)
            is_alone = self._batches.are_off
            settings = config.checkpoint_producer(self._options, name, is_large=self._is_large, is_alone=is_alone)
            producer = made(Producer, self._watch.configured(settings))
            metadata(producer, self._watch, None, min(CONNECT_SECONDS, patience.left))
            try:
                self._again(producer.init_transactions, patience)
            except KafkaException as error:
                end(producer)
                ours = translated(error.args[0], self._options, _PREFIX + "…")
                if isinstance(ours, RightMissing):
                    raise RightMissing(f'{ours} Or set delivery = "at-least-once" for this run.') from error
                raise ours from error
            self._producer = producer
        return self._producer

    def _discard(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            end(producer)
