"""`make bench-quick`: ours beside a thirty-line loop, in one run, on one broker, whole processes.

Absolute figures differ between machines and hours, so what is judged is the ratio of the medians. The bounds are
wide on purpose: they catch something that became several times slower, not noise. Every file that ours received is
compared by SHA-256; a run with one wrong file is void.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from openmsi_core.testing.brokers import RealKafka

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.kafka.oracle import digests  # noqa: E402

REPEATS = 3


@dataclass(frozen=True)
class Work:
    """One workload: so many files of so many bytes; the loop may be at most so many times faster."""

    name: str
    files: int
    size: int
    send_bound: float
    receive_bound: float


WORKS = (
    # ours makes every file durable before it counts; the loop leaves that to chance, so its bound is wider
    Work("4,000 x 10 KB", 4000, 10_000, 8.0, 12.0),
    Work("2 x 128 MB", 2, 128 * 1024 * 1024, 4.0, 4.0),
)


def main() -> int:
    """Measure, print the table, and say whether a bound was passed."""
    slow = []
    with tempfile.TemporaryDirectory() as scratch, RealKafka(Path(scratch) / "kafka") as broker:
        print(f"{'work':<16} {'step':<8} {'ours s':>22} {'loop s':>22} {'ratio':>6} {'bound':>6}")
        for work in WORKS:
            for step, bound in (("send", work.send_bound), ("receive", work.receive_bound)):
                ours, loop = _measured(Path(scratch), broker.bootstrap, work)[step]
                ratio = statistics.median(ours) / statistics.median(loop)
                print(
                    f"{work.name:<16} {step:<8} {_spread(ours)} {_spread(loop)} {ratio:6.2f} {bound:6.2f}", flush=True
                )
                if ratio > bound:
                    slow.append(f"{work.name}, {step}: {ratio:.2f} times the loop, at most {bound:.2f} is allowed")
    for line in slow:
        print(f"too slow: {line}", file=sys.stderr)
    return 1 if slow else 0


_CACHE: dict[str, dict[str, tuple[list[float], list[float]]]] = {}


def _measured(scratch: Path, address: str, work: Work) -> dict[str, tuple[list[float], list[float]]]:
    if work.name in _CACHE:
        return _CACHE[work.name]
    source = scratch / f"source-{work.files}"
    source.mkdir()
    for number in range(work.files):
        (source / f"{number:06d}.raw").write_bytes(os.urandom(min(work.size, 1 << 20)) * max(1, work.size >> 20))
    wanted = digests(source)
    out: dict[str, tuple[list[float], list[float]]] = {"send": ([], []), "receive": ([], [])}
    for repeat in range(REPEATS):
        topic = f"work-{work.files}-{repeat}"
        _run("openmsi_core", "topics", "create", topic, "--partitions", "4", "--broker", address)
        out["send"][0].append(_run("openmsi_core", "upload", str(source), "--topic", topic, "--broker", address, "-q"))
        _run("openmsi_core", "topics", "create", f"{topic}-loop", "--partitions", "4", "--plain", "--broker", address)
        count, seconds = _loop("send", address, f"{topic}-loop", str(source))
        out["send"][1].append(seconds)
        ours, loop = scratch / "ours", scratch / "loop"
        loop.mkdir()
        arguments = ["--topic", topic, "--folder", str(ours), "--until-caught-up", "--broker", address, "-q"]
        out["receive"][0].append(_run("openmsi_core", "run", "disk", *arguments))
        out["receive"][1].append(_loop("receive", address, f"{topic}-loop", str(loop), count)[1])
        if digests(ours) != wanted:
            raise AssertionError(f"{work.name}: a received file differs from the one that was sent; the run is void")
        shutil.rmtree(ours)
        shutil.rmtree(loop)
    _CACHE[work.name] = out
    return out


def _run(module: str, *arguments: str) -> float:
    """One whole process; its seconds."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", module, *arguments], check=True, stdout=subprocess.DEVNULL, timeout=300)
    return time.perf_counter() - began


def _loop(*arguments: str) -> tuple[str, float]:
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("loop.py")), *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.stdout.split()[0], time.perf_counter() - began


def _spread(seconds: list[float]) -> str:
    return f"{min(seconds):6.2f}/{statistics.median(seconds):6.2f}/{max(seconds):6.2f}"


if __name__ == "__main__":
    sys.exit(main())
