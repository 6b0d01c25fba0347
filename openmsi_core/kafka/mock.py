"""librdkafka's own mock cluster: a broker inside this process that is up in two milliseconds.

It is reached through ctypes in the library that confluent-kafka brings. It speaks the real protocol over real TCP
and does on request what no healthy broker does. What it does not have: it keeps 5 MB of each partition and drops
older records without a word, it creates topics only through `MockCluster.create`, it knows no compaction and no
topic settings, and it shows aborted records to everybody. For tests and measurements.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import confluent_kafka

from openmsi_core.errors import BrokerUnreachable

PRODUCE, FETCH, LIST_OFFSETS, METADATA, OFFSET_COMMIT, OFFSET_FETCH = 0, 1, 2, 3, 8, 9
JOIN_GROUP, HEARTBEAT, INIT_PRODUCER_ID = 11, 12, 22
"""Numbers of requests in Kafka's protocol, for `MockCluster.fail`."""

_PRODUCER_KIND = 0
_TEXT = 512


class MockCluster:
    """Brokers of a mock cluster that is up. Made by `mock`; ids of brokers begin at 1."""

    def __init__(self, library: ctypes.CDLL, cluster: ctypes.c_void_p) -> None:
        self._library = library
        self._cluster = cluster

    @property
    def bootstrap(self) -> str:
        """The addresses of its brokers."""
        return str(self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode("ascii"))

    def create(self, topic: str, partitions: int, replication: int = 1) -> None:
        """A new topic. Raises ValueError."""
        failed = self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, replication)
        if failed:
            raise ValueError(f"the mock cluster cannot create topic {topic}: error {failed}")

    def down(self, broker: int = 1) -> None:
        """A broker hangs up and answers nobody."""
        self._library.rd_kafka_mock_broker_set_down(self._cluster, broker)

    def up(self, broker: int = 1) -> None:
        """A broker answers again."""
        self._library.rd_kafka_mock_broker_set_up(self._cluster, broker)

    def round_trip(self, milliseconds: int, broker: int = 1) -> None:
        """Every answer of a broker comes so much later."""
        self._library.rd_kafka_mock_broker_set_rtt(self._cluster, broker, milliseconds)

    def leader(self, topic: str, partition: int, broker: int) -> None:
        """Another broker leads a partition from now on."""
        self._library.rd_kafka_mock_partition_set_leader(self._cluster, topic.encode(), partition, broker)

    def cut(self, topic: str, partition: int, before: int) -> None:
        """Records below an offset are gone, as after the retention time."""
        self._library.rd_kafka_mock_partition_delete_records(self._cluster, topic.encode(), partition, before)

    def fail(self, request: int, errors: Sequence[int]) -> None:
        """The next requests of a kind are answered by these errors (numbers of KafkaError), one each."""
        array = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, request, len(errors), array)

    def topic_fails(self, topic: str, error: int) -> None:
        """Metadata of a topic carry an error from now on; 0 ends it."""
        self._library.rd_kafka_mock_topic_set_error(self._cluster, topic.encode(), error)


@contextmanager
def mock(brokers: int = 1, *, rebalance_delay_ms: int = 0) -> Iterator[MockCluster]:
    """A mock cluster for as long as the ``with`` lasts. Raises BrokerUnreachable where librdkafka cannot be reached."""
    library = _librdkafka()
    told = ctypes.create_string_buffer(_TEXT)
    settings = ctypes.c_void_p(library.rd_kafka_conf_new())
    library.rd_kafka_conf_set(settings, b"log_level", b"0", told, _TEXT)  # it has no broker of its own, and says so
    client = library.rd_kafka_new(_PRODUCER_KIND, settings, told, _TEXT)
    if not client:
        raise BrokerUnreachable(f"no mock cluster: {told.value.decode('utf-8', 'replace')}")
    cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(client, brokers))
    try:
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, rebalance_delay_ms)
        yield MockCluster(library, cluster)
    finally:
        library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(ctypes.c_void_p(client))


@lru_cache(1)
def _librdkafka() -> ctypes.CDLL:
    """The library that confluent-kafka has loaded already, with the types of what we call."""
    library = ctypes.CDLL(str(_library_file()))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    signatures: dict[str, tuple[object, list[object]]] = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_set": (number, [pointer, text, text, text, ctypes.c_size_t]),
        "rd_kafka_new": (pointer, [number, pointer, text, ctypes.c_size_t]),
        "rd_kafka_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_new": (pointer, [pointer, number]),
        "rd_kafka_mock_cluster_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_topic_create": (number, [pointer, text, number, number]),
        "rd_kafka_mock_topic_set_error": (None, [pointer, text, number]),
        "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_broker_set_down": (number, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_broker_set_up": (number, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_broker_set_rtt": (number, [pointer, ctypes.c_int32, number]),
        "rd_kafka_mock_partition_set_leader": (number, [pointer, text, ctypes.c_int32, ctypes.c_int32]),
        "rd_kafka_mock_partition_delete_records": (number, [pointer, text, ctypes.c_int32, ctypes.c_int64]),
        "rd_kafka_mock_push_request_errors_array": (None, [pointer, ctypes.c_int16, ctypes.c_size_t, pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function: Callable[..., object] = getattr(library, name)
        function.restype, function.argtypes = result, arguments  # type: ignore[attr-defined]
    return library


def _library_file() -> Path:
    package = Path(confluent_kafka.__file__).parent
    names = {"win32": "librdkafka*.dll", "darwin": "librdkafka*.dylib"}
    pattern = names.get(sys.platform, "librdkafka*.so*")
    for folder in (package.parent / "confluent_kafka.libs", package / ".dylibs", package):
        for file in sorted(folder.glob(pattern)):
            return file
    raise BrokerUnreachable(f"no mock cluster: {pattern} is not beside {package}, confluent-kafka is not from a wheel")
