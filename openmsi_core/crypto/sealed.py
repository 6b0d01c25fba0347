"""The ports with encryption inside: what is written is sealed, what is read is opened, and a dead cipher is noticed."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from openmsi_core.crypto.cipher import Cipher
from openmsi_core.errors import NotDelivered
from openmsi_core.model import Commit, Outgoing, Record
from openmsi_core.ports import Delivered, Never, NotYet, Opened, OutcomeStore, RecordReader, RecordSink, RecordSource


class SealingSink:
    """A RecordSink whose keys and values are sealed."""

    def __init__(self, sink: RecordSink, cipher: Cipher, topic: str) -> None:
        self._sink = sink
        self._cipher = cipher
        self._topic = topic

    def partitions(self) -> int:
        """How many partitions the topic has."""
        return self._sink.partitions()

    def produce(self, partition: int, key: bytes, value: bytes, delivered: Delivered) -> None:
        """Seal and queue one record. Raises BrokerError, CipherDown."""
        seal_key, seal_value = self._cipher.seal_key, self._cipher.seal_value
        self._sink.produce(partition, seal_key(self._topic, key), seal_value(self._topic, value), delivered)

    def serve(self, timeout: float) -> int:
        """Call what is due. Raises BrokerError, CipherDown."""
        self._cipher.raise_if_down()
        return self._sink.serve(timeout)

    def pending(self) -> int:
        """How many records are not acknowledged yet."""
        return self._sink.pending()


class SealingStore:
    """An OutcomeStore whose records are sealed. ``partitions`` tells how many each output topic has.

    A sealed key is another one each time, so the partition is chosen here, from the key as it was: results of a path
    keep their order.
    """

    def __init__(self, store: OutcomeStore, cipher: Cipher, partitions: Mapping[str, int]) -> None:
        self._store = store
        self._cipher = cipher
        self._partitions = partitions

    def write(self, outgoing: Iterable[Outgoing], commits: Sequence[Commit], *, size: int = 0) -> None:
        """Seal and write. Raises what the store raises (NotDelivered with the record as it was), CipherDown."""
        try:
            self._store.write(_Sealing(outgoing, self._sealed), commits, size=size)
        except NotDelivered as error:
            if isinstance(error.outgoing, Outgoing):
                error.outgoing = self._as_it_was(error.outgoing)
            raise

    def _sealed(self, each: Outgoing) -> Outgoing:
        key = None if each.key is None else self._cipher.seal_key(each.topic, each.key)
        count = self._partitions.get(each.topic, 0)
        chosen = zlib.crc32(each.key) % count if each.key is not None and count else each.partition
        return Outgoing(each.topic, key, self._cipher.seal_value(each.topic, each.value), chosen)

    def _as_it_was(self, sealed: Outgoing) -> Outgoing:
        key = self._cipher.open_key(sealed.topic, sealed.key) if sealed.key is not None else None
        value = self._cipher.open_value(sealed.topic, sealed.value)
        if not isinstance(value, Opened):  # it is our own key
            raise TypeError("a record that was sealed just now does not open")
        return Outgoing(sealed.topic, key.data if isinstance(key, Opened) else None, value.data)


class _Sealing:
    """Records, sealed while they are gone through, as often as they are."""

    def __init__(self, outgoing: Iterable[Outgoing], sealed: Callable[[Outgoing], Outgoing]) -> None:
        self._outgoing = outgoing
        self._sealed = sealed

    def __iter__(self) -> Iterator[Outgoing]:
        return map(self._sealed, self._outgoing)


class WatchedSource:
    """A RecordSource that ends with CipherDown when encryption does; records come as they are."""

    def __init__(self, source: RecordSource, cipher: Cipher) -> None:
        self._source = source
        self._cipher = cipher

    def poll(self, timeout: float) -> Record | None:
        """The next record. Raises BrokerError, CipherDown."""
        self._cipher.raise_if_down()
        return self._source.poll(timeout)

    def partitions(self) -> int:
        """How many partitions there are."""
        return self._source.partitions()

    def positions(self) -> Mapping[int, int]:
        """The offset of the next record of each partition that is ours."""
        return self._source.positions()

    def pause(self) -> None:
        """Fetch nothing."""
        self._source.pause()

    def resume(self) -> None:
        """Fetch again."""
        self._source.resume()


class PatientSealer:
    """A Sealer that waits for a key, ``seconds`` for each: for a person who looks into a topic.

    A key that did not come once is not waited for again.
    """

    def __init__(self, cipher: Cipher, seconds: float) -> None:
        self._cipher = cipher
        self._seconds = seconds
        self._missing: set[tuple[str, bytes]] = set()

    def seal_key(self, topic: str, data: bytes) -> bytes:
        """The sealed key of a record."""
        return self._cipher.seal_key(topic, data)

    def seal_value(self, topic: str, data: bytes) -> bytes:
        """The sealed value of a record."""
        return self._cipher.seal_value(topic, data)

    def open_key(self, topic: str, data: bytes) -> Opened | NotYet | Never:
        """What a sealed key says; blocks. Raises CipherDown."""
        return self._waited(topic, data, self._cipher.open_key)

    def open_value(self, topic: str, data: bytes) -> Opened | NotYet | Never:
        """What a sealed value says; blocks. Raises CipherDown."""
        return self._waited(topic, data, self._cipher.open_value)

    def _waited(
        self, topic: str, data: bytes, opening: Callable[[str, bytes], Opened | NotYet | Never]
    ) -> Opened | NotYet | Never:
        found = opening(topic, data)
        ends = time.monotonic() + self._seconds
        while isinstance(found, NotYet) and (topic, found.key_index) not in self._missing:
            if time.monotonic() >= ends:
                self._missing.add((topic, found.key_index))
                break
            time.sleep(0.05)  # keys come in the exchange's thread, which tells nobody
            found = opening(topic, data)
        return found


class OpeningReader:
    """A RecordReader whose records come opened, keys and values; what does not open comes as it is."""

    def __init__(self, reader: RecordReader, sealer: PatientSealer) -> None:
        self._reader = reader
        self._sealer = sealer

    def ends(self) -> Mapping[int, tuple[int, int]]:
        """For each partition the first offset, and the one after the last."""
        return self._reader.ends()

    def since(self, timestamp_ms: int) -> Mapping[int, int]:
        """For each partition the first offset that is not older."""
        return self._reader.since(timestamp_ms)

    def between(self, ranges: Mapping[int, tuple[int, int]]) -> Iterator[Record | None]:
        """The records, opened. Raises BrokerError, CipherDown."""
        for record in self._reader.between(ranges):
            yield None if record is None else opened_record(record, self._sealer)


def opened_record(record: Record, sealer: PatientSealer) -> Record:
    """A record with key and value opened; what does not open stays as it is."""
    topic = record.position.topic
    key = sealer.open_key(topic, record.key) if record.key is not None else None
    value = sealer.open_value(topic, record.value) if record.value is not None else None
    return replace(
        record,
        key=key.data if isinstance(key, Opened) else record.key,
        value=value.data if isinstance(value, Opened) else record.value,
    )
