"""F6: a broker that is down, answers with errors, moves leaders, or is two seconds away (librdkafka's mock cluster).

The mock knows no read_committed, so what is checked here is that nothing is lost and nothing wrong comes through; that
nothing comes twice is F1's and F5's to check, on a real Kafka.
"""

from __future__ import annotations

import json
import threading
import time
import zlib
from contextlib import ExitStack
from datetime import UTC, datetime

from confluent_kafka import Producer

from openmsi_core.crypto.plain import Plain
from openmsi_core.errors import BrokerError
from openmsi_core.files.assembly import Assembler
from openmsi_core.files.spool import Spool
from openmsi_core.kafka.checkpoint import AtLeastOnce
from openmsi_core.kafka.consumer import TopicConsumer
from openmsi_core.kafka.mock import MockCluster, mock
from openmsi_core.receiving.attempts import RetryPolicy
from openmsi_core.receiving.intake import Intake
from openmsi_core.receiving.jobs import Counts
from openmsi_core.receiving.pace import Pace
from openmsi_core.receiving.stream import Stream
from openmsi_core.receiving.workers import Workers
from tests.fakes import Call, values_of
from tests.faults.trial import Fault, Trial
from tests.kafka.oracle import values
from tests.rig import RUN

_PRODUCE, _FETCH, _OFFSET_COMMIT, _OFFSET_FETCH, _HEARTBEAT = 0, 1, 8, 9, 12
_ERRORS = {
    _PRODUCE: (6, 7, 19),  # not leader, request timed out, not enough replicas
    _FETCH: (6, 3),  # not leader, unknown topic
    _OFFSET_COMMIT: (14, 15, 16, 27),  # coordinator loading, not available, moved; rebalance in progress
    _OFFSET_FETCH: (14, 15, 16),
    _HEARTBEAT: (27, 22),  # rebalance in progress, illegal generation
}


def run(trial: Trial) -> None:
    """Files come while the cluster misbehaves; runs that give up are started again; in the end all are there."""
    chance = trial.chance
    with mock(3) as cluster:
        for topic, partitions in (("t", 2), ("t.dlq", 1), ("t.receipts", 1), ("out", 1)):
            cluster.create(topic, partitions, 3)
        wanted = {f"f{number}": chance.randbytes(chance.randrange(1, 40_000)) for number in range(20)}
        over = threading.Event()
        weather = threading.Thread(target=_misbehave, args=(trial, cluster, over))
        weather.start()
        try:
            _send(cluster.bootstrap, wanted)
        finally:
            ends = time.monotonic() + 4
            found = _receive(trial, cluster.bootstrap, wanted, lambda: time.monotonic() > ends and over.set())
            over.set()
            weather.join()
        trial.equal({path: found.get(path) for path in wanted}, wanted, "files")
        results = [json.loads(value or b"")["file"]["path"] for _, value in values(cluster.bootstrap, "out")]
        trial.equal(set(results), set(wanted), "files with results")
        trial.equal(values(cluster.bootstrap, "t.dlq"), [], "dead letters")


def _send(address: str, wanted: dict[str, bytes]) -> None:
    producer = Producer(
        {"bootstrap.servers": address, "enable.idempotence": True, "message.timeout.ms": 0, "log_level": 0}
    )
    for path, data in wanted.items():
        for value in values_of(path, data):
            producer.produce("t", value, b"k", zlib.crc32(path.encode()) % 2)
    if producer.flush(60):
        raise TimeoutError("the mock cluster took no records")


def _misbehave(trial: Trial, cluster: MockCluster, over: threading.Event) -> None:
    chance = trial.chance
    while not over.is_set():
        what = chance.choice(["down", "errors", "leader", "slow"])
        trial.hit(what)
        broker = 1 + chance.randrange(3)
        if what == "down":
            cluster.down(broker)
            over.wait(chance.random())
            cluster.up(broker)
        elif what == "errors":
            request = chance.choice(list(_ERRORS))
            cluster.fail(request, [chance.choice(_ERRORS[request]) for _ in range(1 + chance.randrange(3))])
        elif what == "leader":
            cluster.leader("t", chance.randrange(2), broker)
        else:
            cluster.round_trip(2000 if chance.random() < 0.3 else 200, broker)
            over.wait(chance.random())
            cluster.round_trip(0, broker)
        over.wait(chance.random() * 0.3)
    for broker in (1, 2, 3):
        cluster.up(broker)
        cluster.round_trip(0, broker)


def _receive(trial: Trial, address: str, wanted: dict[str, bytes], each: object) -> dict[str, bytes]:
    """Runs, one after the other, until one of them has seen the end; each has a member and a spool of its own."""
    found: dict[str, bytes] = {}
    ends = time.monotonic() + 90
    for number in range(100):
        if callable(each):
            each()
        try:
            if _one(trial, address, f"spool-{number}", found) == 0 and set(found) == set(wanted):
                return found
        except BrokerError as error:
            trial.hit("given-up")
            trial.check(bool(str(error)), "an error says what happened")
        if time.monotonic() > ends:
            return found
    return found


def _one(trial: Trial, address: str, name: str, found: dict[str, bytes]) -> int:
    options = {"bootstrap.servers": address, "session.timeout.ms": "3000", "heartbeat.interval.ms": "500"}
    counts = Counts()
    with ExitStack() as stack:
        spool = stack.enter_context(Spool(trial.folder / name))
        runner = Call(lambda file: found.__setitem__(str(file.path), file.read_bytes()) or {})
        workers = stack.enter_context(Workers([runner], RUN, RetryPolicy()))
        stream = Stream(
            RUN,
            Intake(Assembler(spool), Plain(), counts, 1 << 40),
            workers,
            first_offset=lambda claim: claim.low,
            pace=Pace(longest=0.1, silence=5.0, stop_wait=0.5),
            now=lambda: datetime.now(UTC),
        )
        source = stack.enter_context(TopicConsumer(options, "t", "g", stream))
        store = stack.enter_context(AtLeastOnce(options, source))
        return stream.run(source, store, until_caught_up=True)


FAULT = Fault(
    "F6",
    "broker down, error codes, leader moves, 2 s round trips (mock cluster)",
    run,
    ci=10,
    release=1000,
    windows=("down", "errors", "leader", "slow"),
    mutations=("open-versions-are-forgotten",),
)
