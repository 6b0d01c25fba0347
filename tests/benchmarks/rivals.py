"""Who is measured beside ours: each sends a folder, and receives what it sent.

A rival that is not installed is left out, and the table says why. Each reads its own topics, so that the order in
which they come does not matter.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from tests.benchmarks.processes import Spent, ours, spent
from tests.faults.predecessor.programs import Program, write_config

CHUNK = 512 * 1024
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Task:
    """One measurement: a folder of ``source`` files through ``topic`` into ``target``."""

    address: str
    topic: str
    partitions: int
    source: Path
    target: Path
    scratch: Path

    @property
    def files(self) -> list[Path]:
        return sorted(path for path in self.source.rglob("*") if path.is_file())

    @property
    def records(self) -> int:
        return sum(max(1, -(-path.stat().st_size // CHUNK)) for path in self.files)


@dataclass(frozen=True)
class Rival:
    """``verifies``: what it received is compared to what was sent. ``most``: files, beyond which it is not asked."""

    name: str
    send: Callable[[Task], Spent] | None
    receive: Callable[[Task], Spent] | None
    verifies: bool = True
    most: int = 1 << 30


def send_ours(task: Task) -> Spent:
    return spent(ours("upload", str(task.source), "--topic", task.topic, "--broker", task.address, "-q"), task.scratch)


def receive_ours(task: Task) -> Spent:
    return spent(
        ours("run", "disk", "--topic", task.topic, "--folder", str(task.target), "--until-caught-up",
             "--broker", task.address, "-q"),
        task.scratch,
    )  # fmt: skip


def send_loop(task: Task) -> Spent:
    return spent(
        [sys.executable, str(HERE / "loop.py"), "send", task.address, task.topic, str(task.source)], task.scratch
    )


def receive_loop(task: Task) -> Spent:
    task.target.mkdir()
    command = [sys.executable, str(HERE / "loop.py"), "receive", task.address, task.topic, str(task.target)]
    return spent([*command, str(task.records)], task.scratch)


def copied(command: list[str]) -> Callable[[Task], Spent]:
    """A copy from folder to folder on this machine: no broker, for context."""
    return lambda task: spent([*command, f"{task.source}/", str(task.target)], task.scratch)


def c_client(folder: Path) -> Rival | str:
    """The C client's loop, built here; why not, when it cannot be."""
    compiler, program = shutil.which("cc"), folder / "cloop"
    if compiler is None:
        return "C client: no C compiler"
    built = subprocess.run(
        [compiler, "-O2", "-o", str(program), str(HERE / "cloop.c"), "-lrdkafka"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if built.returncode:
        return "C client: cloop.c does not build here (librdkafka-dev?)"

    def send(task: Task) -> Spent:
        names = [str(path) for path in task.files]
        return spent([str(program), "send", task.address, task.topic, str(task.partitions), *names], task.scratch)

    def receive(task: Task) -> Spent:
        out = task.scratch / "cloop.out"
        command = [str(program), "receive", task.address, task.topic, str(task.partitions), str(task.records), str(out)]
        took = spent(command, task.scratch)
        out.unlink()
        return took

    return Rival("C client", send, receive, verifies=False)


def predecessor(venv: Path | None) -> Rival | str:
    """OpenMSIStream's programs for folders; why not, when it is not installed."""
    if venv is None or not (venv / "bin" / "DataFileUploadDirectory").exists():
        return "OpenMSIStream: not installed (--predecessor VENV)"

    def program(task: Task, name: str, folder: Path, *more: str) -> Program:
        config = write_config(task.scratch, task.address)
        config.write_text(config.read_text().replace("compression.type = lz4\n", ""))
        command = [str(venv / "bin" / name), str(folder), "--config", str(config), "--topic_name", task.topic, *more]
        return Program(command, task.scratch, task.scratch / f"{name}.log")

    def until(task: Task, running: Program, is_done: Callable[[], bool]) -> Spent:
        began = time.perf_counter()
        while not is_done():
            running.look()
            if running.code is not None or time.perf_counter() - began > 900:
                raise RuntimeError(f"OpenMSIStream did not come to the end: {running.text[-800:]}")
            time.sleep(0.01)
        return Spent(time.perf_counter() - began, 0.0, running.peak)

    def send(task: Task) -> Spent:
        copy = task.scratch / "predecessor-source"
        shutil.copytree(task.source, copy)
        try:
            with program(task, "DataFileUploadDirectory", copy, "--upload_existing") as running:
                return until(task, running, lambda: end_of(task) >= task.records)
        finally:
            shutil.rmtree(copy)

    def receive(task: Task) -> Spent:
        sizes = {path.relative_to(task.source): path.stat().st_size for path in task.files}

        def is_done() -> bool:
            return task.target.is_dir() and all(
                (task.target / name).is_file() and (task.target / name).stat().st_size == size
                for name, size in sizes.items()
            )

        with program(task, "DataFileDownloadDirectory", task.target) as running:
            return until(task, running, is_done)

    return Rival("OpenMSIStream 1.8.8", send, receive, verifies=False, most=600)


def end_of(task: Task) -> int:
    """How many records the topic has."""
    consumer = Consumer({"bootstrap.servers": task.address, "group.id": "looking", "log_level": 0})
    try:
        places = [TopicPartition(task.topic, number) for number in range(task.partitions)]
        return sum(consumer.get_watermark_offsets(place, timeout=10)[1] for place in places)
    finally:
        consumer.close()


def present(folder: Path, venv: Path | None) -> tuple[list[Rival], list[str]]:
    """Those that can run here, ours first, and why the others cannot."""
    found = [Rival("ours", send_ours, receive_ours), Rival("30-line loop", send_loop, receive_loop)]
    missing = []
    for each in (c_client(folder), predecessor(venv)):
        if isinstance(each, Rival):
            found.append(each)
        else:
            missing.append(each)
    for name, command in (("rsync", ["rsync", "-a", "--fsync"]), ("rclone", ["rclone", "copy"])):
        if shutil.which(name):
            found.append(Rival(f"{name} (no broker)", copied(command), None))
        else:
            missing.append(f"{name}: not installed")
    return found, missing
