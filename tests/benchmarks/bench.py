"""`make bench`: ours, the predecessor, the plainest loops in Python and C, and copies without a broker, in one run.

Whole processes, interleaved, five times each; median, least and most. A run with one wrong file is void. One table as
text, one as JSON, and a picture. Absolute figures differ between machines and hours: compare within one run only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import confluent_kafka

from openmsi_core.testing.brokers import KAFKA_VERSION, RealKafka
from tests.benchmarks import single
from tests.benchmarks.processes import Spent, ours, spent
from tests.benchmarks.rivals import Rival, Task, present
from tests.kafka.oracle import digests

MIB = 1 << 20
PARTITIONS = 4


@dataclass(frozen=True)
class Work:
    """So many files of so many bytes, sent and received by every rival that can."""

    name: str
    files: int
    size: int


RACES = (Work("W1", 10_000, 10_000), Work("W2", 1000, 1_000_000), Work("W3", 1, 1 << 30))


@dataclass
class Row:
    """One rival at one step of one work."""

    work: str
    step: str
    rival: str
    files: int
    bytes: int
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: int = 0

    def add(self, took: Spent) -> None:
        self.seconds.append(took.seconds)
        self.cpu.append(took.cpu)
        self.peak = max(self.peak, took.peak)


def race(work: Work, rivals: list[Rival], repeats: int, scratch: Path, address: str) -> list[Row]:
    """Every rival sends and receives, in turns. Raises AssertionError when a file arrived wrong."""
    rows: dict[tuple[str, str], Row] = {}
    for repeat in range(repeats):
        for rival in rivals if repeat % 2 == 0 else reversed(rivals):
            files = min(work.files, rival.most)
            source = made(scratch, files, work.size)
            topic = f"{work.name}-{rivals.index(rival)}-{repeat}".lower()
            create(scratch, address, topic)
            task = Task(address, topic, PARTITIONS, source, scratch / "target", scratch)
            for step, does in (("send", rival.send), ("receive", rival.receive)):
                if does is None:
                    continue
                row = rows.setdefault((step, rival.name), Row(work.name, step, rival.name, files, files * work.size))
                row.add(does(task))
                if step == "receive" and rival.verifies and digests(task.target) != digests(source):
                    raise AssertionError(
                        f"{work.name}, {rival.name}: a file differs from what was sent; the run is void"
                    )
            shutil.rmtree(task.target, ignore_errors=True)
            delete(scratch, address, topic)
            print(f"  {work.name} {repeat + 1}/{repeats} {rival.name}", file=sys.stderr, flush=True)
    shutil.rmtree(scratch / "sources", ignore_errors=True)
    return list(rows.values())


def made(scratch: Path, files: int, size: int) -> Path:
    """The source folder, made once for each number of files."""
    folder = scratch / "sources" / f"{files}-{size}"
    if not folder.exists():
        folder.mkdir(parents=True)
        for number in range(files):
            with (folder / f"{number:06d}.raw").open("wb") as file:
                for start in range(0, size, MIB):
                    file.write(os.urandom(min(MIB, size - start)))
    return folder


def create(scratch: Path, address: str, topic: str) -> None:
    spent(ours("topics", "create", topic, "--partitions", str(PARTITIONS), "--broker", address), scratch)


def delete(scratch: Path, address: str, topic: str) -> None:
    from confluent_kafka.admin import AdminClient

    names = [topic, f"{topic}.dlq", f"{topic}.receipts"]
    client = AdminClient({"bootstrap.servers": address})
    for future in client.delete_topics(names, operation_timeout=30).values():
        future.result(30)


def figures(scratch: Path, address: str, repeats: int) -> dict[str, str]:
    """What is no race."""
    found = {}
    create(scratch, address, "w4")
    found["W4 p99 of a small file to its receipt while 1 GiB is sent, s"] = (
        f"{single.p99(single.delays(scratch, address, 'w4', files=200, size=10_000, every=0.05, big=1 << 30)):.2f}"
    )
    clean(scratch)
    create(scratch, address, "w5")
    found["W5 p99 of one 100 KB file a second to its receipt, s"] = (
        f"{single.p99(single.delays(scratch, address, 'w5', files=60, size=100_000, every=1.0)):.2f}"
    )
    clean(scratch)
    create(scratch, address, "w6")
    seconds, said = single.restart(scratch, address, "w6", 1 << 30)
    found["W6 run after a kill at 9/10 of 1 GiB, s"] = f"{seconds:.2f} ({said})"
    clean(scratch)
    for size in (256 * MIB, 1 << 30):
        found[f"W7 assembled in memory, {size // MIB} MiB, MB/s"] = f"{single.assembly(size):.0f}"
    found["`openmsi plugins` over `import click`, s"] = f"{single.listing(scratch, 2 * repeats):.3f}"
    return found


def clean(scratch: Path) -> None:
    for folder in ("delays", "delays-archive", "restart", "restart-archive", "state"):
        shutil.rmtree(scratch / folder, ignore_errors=True)


def table(rows: list[Row]) -> str:
    """For each step the rivals, with the ratio of their median to ours."""
    lines = [
        "| work | step | who | files | s: median (least-most) | files/s | MB/s | times ours | CPU s/GB | peak MiB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    mine = {(row.work, row.step): row for row in rows if row.rival == "ours"}
    for row in rows:
        median = statistics.median(row.seconds)
        own = mine[row.work, row.step]
        # rivals that are given fewer files are compared by their rate
        ratio = (median / row.bytes) / (statistics.median(own.seconds) / own.bytes)
        cpu = statistics.median(row.cpu) / (row.bytes / 1e9)
        lines.append(
            f"| {row.work} | {row.step} | {row.rival} | {row.files:,} | {median:.2f} "
            f"({min(row.seconds):.2f}-{max(row.seconds):.2f}) | {row.files / median:,.0f} | "
            f"{row.bytes / 1e6 / median:,.1f} | {ratio:.2f} | {f'{cpu:.1f}' if cpu else '-'} | {row.peak // MIB} |"
        )
    return "\n".join(lines)


def picture(rows: list[Row], path: Path) -> None:
    """MB/s of everybody, one group of bars for each step of each work."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    steps = list(dict.fromkeys((row.work, row.step) for row in rows))
    chart, places = pyplot.subplots(1, len(steps), figsize=(3.2 * len(steps), 3.6))
    for place, step in zip(places if len(steps) > 1 else [places], steps, strict=True):
        own = [row for row in rows if (row.work, row.step) == step]
        place.barh([row.rival for row in own], [row.bytes / 1e6 / statistics.median(row.seconds) for row in own])
        place.set_title(" ".join(step))
        place.set_xlabel("MB/s")
        place.invert_yaxis()
    chart.tight_layout()
    chart.savefig(path)


def machine() -> dict[str, object]:
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "confluent-kafka": confluent_kafka.__version__,
        "librdkafka": confluent_kafka.libversion()[0],
        "kafka": KAFKA_VERSION,
    }


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--repeats", type=int, default=5)
    asked.add_argument("--only", action="append", help="W1, W2, W3 or rest; may be repeated")
    asked.add_argument("--predecessor", type=Path, help="a virtual environment with openmsistream 1.8.8")
    asked.add_argument("--out", type=Path, default=Path("bench"), help="folder for bench.md, bench.json, bench.svg")
    asked.add_argument("--scratch", type=Path, help="where the files and the broker's log lie (needs 12 GB)")
    given = asked.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    rows, found, before = [], {}, machine()
    with tempfile.TemporaryDirectory(dir=given.scratch) as name, RealKafka(Path(name) / "kafka") as broker:
        scratch = Path(name)
        rivals, missing = present(scratch, given.predecessor)
        for work in RACES:
            if not given.only or work.name in given.only:
                rows += race(work, rivals, given.repeats, scratch, broker.bootstrap)
        if not given.only or "rest" in given.only:
            found = figures(scratch, broker.bootstrap, given.repeats)
    text = "\n".join(
        [
            table(rows),
            "",
            *(f"* {name}: {value}" for name, value in found.items()),
            "",
            *(f"* {text}" for text in missing),
        ]
    )
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    told = {"machine": before, "load after": os.getloadavg(), "commit": commit.stdout.strip()}
    (given.out / "bench.md").write_text(f"{text}\n\n```json\n{json.dumps(told, indent=1)}\n```\n")
    (given.out / "bench.json").write_text(json.dumps(told | {"rows": [asdict(row) for row in rows], "figures": found}))
    if rows:
        picture(rows, given.out / "bench.svg")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
