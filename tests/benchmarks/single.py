"""Measurements that are no race: delays, restarts, assembly in memory, and what starting costs."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from tests.benchmarks.processes import environment, ours, spent

MIB = 1 << 20


@contextmanager
def running(scratch: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command of ours that goes on until the end of the block."""
    with (scratch / f"{arguments[0]}.log").open("wb") as out:
        process = subprocess.Popen(ours(*arguments), stdout=out, stderr=out, env=environment(scratch), cwd=scratch)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(30)


class Receipts:
    """Reads a receipts topic and notes when each path was first told done."""

    def __init__(self, address: str, topic: str) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": address, "group.id": "bench", "isolation.level": "read_committed",
             "fetch.wait.max.ms": 5, "auto.offset.reset": "earliest"}
        )  # fmt: skip
        self._consumer.assign([TopicPartition(f"{topic}.receipts", 0, 0)])
        self.told: dict[str, float] = {}

    def until(self, count: int, within: float) -> None:
        """Read until so many are told. Raises RuntimeError."""
        ends = time.monotonic() + within
        while len(self.told) < count:
            if time.monotonic() > ends:
                raise RuntimeError(f"{len(self.told)} of {count} files arrived within {within:g} s")
            self.look(0.05)

    def look(self, timeout: float) -> None:
        """Take one receipt, if one comes."""
        message = self._consumer.poll(timeout)
        if message is not None and message.error() is None:
            self.told.setdefault(json.loads(message.value())["path"], time.monotonic())

    def close(self) -> None:
        self._consumer.close()


def delays(
    scratch: Path, address: str, topic: str, *, files: int, size: int, every: float, big: int = 0
) -> list[float]:
    """Seconds from a file's rename into place to its receipt, while a file of ``big`` bytes is sent, too."""
    source, archive = scratch / "delays", scratch / "delays-archive"
    source.mkdir()
    receipts = Receipts(address, topic)
    began: dict[str, float] = {}
    common = ("--topic", topic, "--broker", address)
    try:
        with (
            running(scratch, "run", "disk", "--folder", str(archive), *common),
            running(scratch, "watch", str(source), "--settle", "1s", *common),
        ):
            put(source, "warm.dat", b"x")
            receipts.until(1, 60)
            if big:
                with (source / ".big").open("wb") as file:
                    for _ in range(big // MIB):
                        file.write(os.urandom(MIB))
                (source / ".big").rename(source / "big.raw")
            due = time.monotonic()
            for number in range(files):
                began[f"{number}.dat"] = put(source, f"{number}.dat", os.urandom(size))
                due += every
                while (left := due - time.monotonic()) > 0:
                    receipts.look(min(left, 0.01))
            receipts.until(files + 1 + bool(big), 300)
    finally:
        receipts.close()
    return [receipts.told[name] - when for name, when in began.items()]


def put(folder: Path, name: str, data: bytes) -> float:
    """Write a file beside and rename it into place; when that was."""
    (folder / f".{name}").write_bytes(data)
    now = time.monotonic()
    (folder / f".{name}").rename(folder / name)
    return now


def p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98] if len(values) > 1 else values[0]


def restart(scratch: Path, address: str, topic: str, size: int) -> tuple[float, str]:
    """Seconds of a run that comes after one that was killed at nine tenths of a file, and what it says it did."""
    source, archive = scratch / "restart", scratch / "restart-archive"
    source.mkdir()
    for number in range(200):
        (source / f"{number:03d}.dat").write_bytes(os.urandom(10_000))
    with (source / "big.raw").open("wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
    spent(ours("upload", str(source), "--topic", topic, "--broker", address, "-q"), scratch)
    arguments = ("run", "disk", "--topic", topic, "--folder", str(archive), "--until-caught-up", "--broker", address)
    with running(scratch, *arguments) as process:
        while spooled(archive) < size * 9 // 10:
            if process.poll() is not None:
                raise RuntimeError("the run ended before it could be killed")
            time.sleep(0.002)
        process.kill()
        process.wait()
    took = spent(ours(*arguments), scratch)
    said = (scratch / "last.log").read_text().strip().splitlines()[-1]
    for path in source.iterdir():
        if digest(archive / path.name) != digest(path):
            raise RuntimeError(f"{path.name} differs from what was sent: the run is void")
    return took.seconds, said


def spooled(archive: Path) -> int:
    return sum(path.stat().st_size for path in archive.glob(".openmsi/**/*") if path.is_file())


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def assembly(scratch: Path, size: int) -> float:
    """MB/s of records becoming one file in memory, without Kafka and without a plugin."""
    code = (
        "import io,sys,time,tempfile;from pathlib import Path\n"
        "from openmsi_core.files import wire;from openmsi_core.files.assembly import Assembler,Limits\n"
        "from openmsi_core.files.chunking import chunks;from openmsi_core.files.spool import Spool\n"
        "from openmsi_core.model import FileVersion,Position,Record,RelativePath\n"
        "size=int(sys.argv[1]);data=bytes(1<<20)*(size>>20)\n"
        "version=FileVersion(b'i'*16,RelativePath.parse('f'),size,1<<19,0)\n"
        "values=[wire.encode(c) for c in chunks(io.BytesIO(data),version)]\n"
        "with tempfile.TemporaryDirectory() as d, Spool(Path(d)) as spool:\n"
        "    a=Assembler(spool,Limits(in_memory_file=1<<40,memory=1<<40));b=time.perf_counter()\n"
        "    for n,v in enumerate(values): e=a.take(Record(Position('t',0,n),0,None,v),wire.decode(v))\n"
        "    assert e.version.sha256; print(time.perf_counter()-b)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(size)],
        capture_output=True,
        text=True,
        check=True,
        env=environment(scratch),
    )
    return size / 1e6 / float(done.stdout)


def listing(scratch: Path, repeats: int) -> float:
    """Seconds that `openmsi plugins` takes longer than a bare `import click`; the median of pairs."""
    more = []
    for _ in range(repeats):
        listed = spent(ours("plugins"), scratch).seconds
        more.append(listed - spent([sys.executable, "-c", "import click"], scratch).seconds)
    return statistics.median(more)
