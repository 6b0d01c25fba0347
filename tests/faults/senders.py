"""Files on a topic without a sender's process: records of many files, mixed as several senders would mix them."""

from __future__ import annotations

import hashlib
import uuid
import zlib
from collections import defaultdict

from confluent_kafka import Producer

from openmsi_core.kafka import admin
from tests.fakes import values_of
from tests.faults.trial import Trial


class Files:
    """What a trial sends to one topic; ``wanted`` is the SHA-256 of each version by its id, ``last`` of each path."""

    def __init__(self, trial: Trial, partitions: int) -> None:
        self.topic = f"f-{uuid.uuid4().hex[:10]}"
        self.output = f"{self.topic}-out"
        self.partitions = partitions
        self.wanted: dict[str, str] = {}
        self.paths: dict[str, str] = {}
        self.last: dict[str, str] = {}
        self.ends: dict[int, int] = defaultdict(int)  # of each partition; only this producer writes there
        self.firsts: dict[str, tuple[int, int]] = {}  # of each version: partition and offset of its first record
        self.garbage = 0  # records that are none of ours
        self._chance = trial.chance
        self._count = 0
        # per partition: the path and the records of each file on its way
        self._waiting: dict[int, list[tuple[str, list[bytes]]]] = defaultdict(list)
        options = {"bootstrap.servers": trial.broker}
        made = admin.connected(options)
        admin.create_family(made, self.topic, partitions)
        made.create(self.output, 1, -1, {})
        self._producer = Producer(
            {**options, "linger.ms": 0, "acks": "all", "enable.idempotence": True, "log_level": 0}
        )

    def begin(self, count: int, largest: int = 400_000, *, again: float = 0.1) -> None:
        """Begin ``count`` more files; some have the path of an earlier one."""
        for _ in range(count):
            known = list(self.last)
            is_again = bool(known) and self._chance.random() < again
            path = self._chance.choice(known) if is_again else f"d{self._count % 7}/f{self._count}.dat"
            self._count += 1
            size = self._chance.randrange(largest) if self._chance.random() < 0.25 else self._chance.randrange(9000)
            data, file_id = self._chance.randbytes(size), self._chance.randbytes(16)
            digest = hashlib.sha256(data).hexdigest()
            self.wanted[file_id.hex()], self.paths[file_id.hex()], self.last[path] = digest, path, digest
            records = values_of(path, data, file_id=file_id)
            self._waiting[zlib.crc32(path.encode()) % self.partitions].append((path, records))

    def send(self, part: float = 1.0) -> None:
        """Send about this part of the records that wait, files mixed, versions of a path in their order."""
        for partition, lines in self._waiting.items():
            total = sum(len(records) for _, records in lines)
            for _ in range(total if part >= 1 else int(total * part)):
                path, _ = self._chance.choice(lines[:8])  # a sender has a few files on their way at once
                line = next(each for each in lines if each[0] == path)  # and never two versions of one path
                value = line[1].pop(0)
                self._producer.produce(self.topic, value, b"k", partition)
                self.firsts.setdefault(value[8:24].hex(), (partition, self.ends[partition]))
                self.ends[partition] += 1
                if not line[1]:
                    lines.remove(line)
        left = self._producer.flush(30)
        if left:
            raise TimeoutError(f"{left} records were not acknowledged")
