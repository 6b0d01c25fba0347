"""The s3 sink on a real Kafka and a real S3 server, beside plain boto3 and s3transfer on the same server.

    python tests/benchmarks/buckets.py [--small 5000] [--large-gib 1] [--samples FOLDER]

All in one run on one machine: what counts is the ratio. Every object is compared by SHA-256 as it lies in the
server's folder; the second run of the sink must upload nothing. Answers one JSON object a line.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import boto3
from boto3.s3.transfer import S3Transfer, TransferConfig
from botocore.config import Config

from openmsi_core.files.content import InMemory, OnDisk
from openmsi_core.files.datafile import DataFile
from openmsi_core.model import FileVersion, Position, RelativePath
from openmsi_core.plugins.loader import build
from openmsi_core.testing.brokers import RealKafka
from openmsi_core.testing.buckets import S3Server

ROOT = Path(__file__).resolve().parents[2]
THREADS = 8


def main() -> int:
    """Measure; 1 when an object differs or something was uploaded twice."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", type=int, default=5000, help="how many files of 10 KB")
    parser.add_argument("--large-gib", type=float, default=1.0, help="size of the large file")
    parser.add_argument("--samples", type=Path, help="a folder of real files, stored besides")
    parser.add_argument("--no-comparison", action="store_true", help="the sink alone; the source is removed early")
    parser.add_argument("--scratch", type=Path, help="where there is room for five times the large file")
    parser.add_argument("--server-scratch", type=Path, help="where the server has room for twice the large file")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.scratch) as scratch, _place(asked.server_scratch) as place:
        folder = Path(scratch)
        with RealKafka(folder / "kafka") as broker, S3Server(Path(place) / "s3") as server:
            os.environ.update(server.environment())
            return Bench(folder, broker.bootstrap, server, asked).run()


def _place(folder: Path | None) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(dir=folder)


class Bench:
    """One measurement: three sets of files, each through the sink and through the two others."""

    def __init__(self, folder: Path, broker: str, server: S3Server, asked: argparse.Namespace) -> None:
        self.folder, self.broker, self.server, self.asked = folder, broker, server, asked
        self.is_good = True

    def run(self) -> int:
        """Every set, one after the other; a set is removed before the next one needs its room."""
        sets: list[tuple[str, Callable[[Path], None]]] = [("small", self._small), ("large", self._large)]
        if self.asked.samples:
            sets.insert(0, ("samples", self._samples))
        for name, make in sets:
            source = self.folder / name
            source.mkdir()
            make(source)
            self._measure(name, source)
            shutil.rmtree(source)
        return 0 if self.is_good else 1

    def _measure(self, name: str, source: Path) -> None:
        wanted = {path.relative_to(source).as_posix(): digest_of(path) for path in files_of(source)}
        total = sum(path.stat().st_size for path in files_of(source))
        others = (("boto3", plain), ("boto3-8-threads", threaded), ("s3transfer", transferred), ("sink alone", alone))
        for other, put in () if self.asked.no_comparison else others:
            bucket = f"{name}-{other}".replace(" ", "-")
            self.server.add_bucket(bucket)
            began = time.monotonic()
            put(self.server.url, bucket, source)
            self._tell(name, other, time.monotonic() - began, len(wanted), total)
            shutil.rmtree(self.server.folder / "data" / bucket)
        self.server.add_bucket(name)
        topic = f"topic-{name}"
        self._openmsi("topics", "create", topic, "--partitions", "4")
        self._openmsi("upload", str(source), "--topic", topic, "-q")
        if self.asked.no_comparison:
            shutil.rmtree(source)  # a large file needs its room five times over
            source.mkdir()
        seconds, memory, said = self._sink(name, topic, "first")
        self._tell(name, "openmsi run s3", seconds, len(wanted), total, peak_mib=memory, said=said)
        stored = self._stored(name, topic)
        self._check(stored == wanted, f"{name}: {len(stored)} objects, {len(wanted)} wanted, or they differ")
        before = self._inodes(name)
        seconds, memory, said = self._sink(name, topic, "again")
        self._tell(name, "openmsi run s3, again", seconds, len(wanted), total, peak_mib=memory, said=said)
        self._check(self._inodes(name) == before, f"{name}: something was uploaded twice")
        shutil.rmtree(self.server.folder / "data" / name)

    def _sink(self, bucket: str, topic: str, group: str) -> tuple[float, int, str]:
        """Seconds, peak memory in MiB and the last line of a whole run."""
        command = [sys.executable, "-m", "openmsi_core", "run", "s3", "--topic", topic, "--broker", self.broker]
        command += ["--bucket", bucket, "--endpoint-url", self.server.url, "--until-caught-up", "--group", group]
        env = self._environment() | {"OPENMSI_STATE": str(self.folder / "state")}
        began = time.monotonic()
        with subprocess.Popen(command, env=env, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
            peak = [0]
            watcher = threading.Thread(target=_watch, args=(process, peak))
            watcher.start()
            said = process.communicate()[1].strip().splitlines()
            watcher.join()
        self._check(process.returncode == 0, f"openmsi run s3 ended with {process.returncode}: {said[-3:]}")
        return time.monotonic() - began, peak[0] >> 20, said[-1] if said else ""

    def _openmsi(self, *words: str) -> None:
        command = [sys.executable, "-m", "openmsi_core", *words, "--broker", self.broker]
        subprocess.run(command, env=self._environment(), cwd=ROOT, check=True, capture_output=True)

    def _environment(self) -> dict[str, str]:
        return os.environ | {"OPENMSI_STATE": str(self.folder / "state"), "PYTHONPATH": str(ROOT)}

    def _stored(self, bucket: str, topic: str) -> dict[str, str]:
        root = self.server.folder / "data" / bucket / topic
        return {path.relative_to(root).as_posix(): digest_of(path) for path in files_of(root)}

    def _inodes(self, bucket: str) -> set[tuple[int, int]]:
        root = self.server.folder / "data" / bucket
        return {(path.stat().st_ino, path.stat().st_mtime_ns) for path in files_of(root) if ".sgwtmp" not in path.parts}

    def _check(self, holds: bool, broken: str) -> None:
        if not holds:
            self.is_good = False
            print(json.dumps({"broken": broken}), flush=True)

    def _tell(self, name: str, what: str, seconds: float, files: int, total: int, **more: object) -> None:
        rate = {
            "seconds": round(seconds, 2),
            "files_s": round(files / seconds, 1),
            "mb_s": round(total / seconds / 1e6, 1),
        }
        print(json.dumps({"set": name, "what": what, "files": files, "bytes": total} | rate | more), flush=True)

    def _samples(self, folder: Path) -> None:
        shutil.copytree(self.asked.samples, folder, dirs_exist_ok=True)

    def _small(self, folder: Path) -> None:
        for number in range(self.asked.small):
            (folder / f"{number:06d}.raw").write_bytes(os.urandom(10_000))

    def _large(self, folder: Path) -> None:
        with (folder / "large.raw").open("wb") as out:
            for _ in range(int(self.asked.large_gib * 1024)):
                out.write(os.urandom(1 << 20))


def _watch(process: subprocess.Popen[str], peak: list[int]) -> None:
    """The largest VmHWM that the process ever shows."""
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text("ascii")
            peak[0] = max(peak[0], int(status.split("VmHWM:")[1].split()[0]) * 1024)
        except (OSError, IndexError):  # it is just ending
            return
        time.sleep(0.05)  # the kernel keeps the maximum: only the last look counts


def client_of(url: str) -> object:
    """As one would write it."""
    return boto3.client("s3", endpoint_url=url, config=Config(max_pool_connections=32))


def plain(url: str, bucket: str, source: Path) -> None:
    """The loop that everybody writes first."""
    client = client_of(url)
    for path in files_of(source):
        with path.open("rb") as body:
            if path.stat().st_size > 5 << 30:
                client.upload_fileobj(body, bucket, path.relative_to(source).as_posix())  # one put takes 5 GiB at most
            else:
                client.put_object(Bucket=bucket, Key=path.relative_to(source).as_posix(), Body=body)


def threaded(url: str, bucket: str, source: Path) -> None:
    """The same, eight at once."""
    client = client_of(url)

    def one(path: Path) -> None:
        with path.open("rb") as body:
            if path.stat().st_size > 5 << 30:
                client.upload_fileobj(body, bucket, path.relative_to(source).as_posix())
            else:
                client.put_object(Bucket=bucket, Key=path.relative_to(source).as_posix(), Body=body)

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(one, files_of(source)):
            pass


def transferred(url: str, bucket: str, source: Path) -> None:
    """boto3's own transfer manager with its defaults, eight files at once."""
    config = TransferConfig(preferred_transfer_client="classic")
    transfer = S3Transfer(client_of(url), config)
    with ThreadPoolExecutor(THREADS) as pool:
        keys = ((str(path), bucket, path.relative_to(source).as_posix()) for path in files_of(source))
        for _ in pool.map(lambda each: transfer.upload_file(*each), keys):
            pass


def alone(url: str, bucket: str, source: Path) -> None:
    """The sink without Kafka, as eight workers of a run drive it. It looks first, hashes, and compares checksums."""
    make = build("s3", {"bucket": bucket, "endpoint-url": url, "key": "{path}"})
    files = queue.SimpleQueue[Path | None]()
    for path in [*files_of(source), *[None] * THREADS]:
        files.put(path)

    def work(_: int) -> None:
        runner = make(None)
        runner.open()
        while path := files.get():
            runner.handle(whole(path, path.relative_to(source)))
        runner.close()

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(work, range(THREADS)):
            pass


def whole(path: Path, below: Path) -> DataFile:
    """A file as the runtime gives it to a plugin; the runtime has its digest from reading it."""
    status = path.stat()
    digest = bytes.fromhex(digest_of(path))
    version = FileVersion(
        bytes(16), RelativePath(below.parts), status.st_size, 1 << 19, status.st_mtime_ns, sha256=digest
    )
    content = OnDisk(path, ours=False) if status.st_size > 8 << 20 else InMemory((path.read_bytes(),))
    return DataFile(version, Position("t", 0, 0), datetime.now(UTC), content)


def files_of(folder: Path) -> Iterator[Path]:
    """Every file below it."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and ".sgwtmp" not in path.parts)


def digest_of(path: Path) -> str:
    """Its SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
