"""What every trial has: its folder, its topic and group, files, a sender, a receiver and a verdict."""

from __future__ import annotations

import os
import random
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.predecessor import oracle, records
from tests.faults.predecessor.programs import Program, until, write_config

CHUNK = 16_384
MEMORY = 512 << 20  # bytes: above it is a violation
Files = dict[bytes, bytes]


@dataclass(slots=True)
class Verdict:
    """What a trial showed. It passed when ``violations`` is empty; ``seen`` are facts that are no violation."""

    violations: list[str] = field(default_factory=list)
    seen: dict[str, object] = field(default_factory=dict)
    peak: int = 0  # MiB, the most that the receiver held
    raised: int = 0  # how often a thread of the receiver raised and was started again

    def files(self, root: Path, expected: Files, what: str = "file") -> bool:
        """Count what is missing or wrong among the expected files; True when there is nothing."""
        missing, wrong = oracle.compare(root, expected)
        if missing:
            self.violations.append(f"{what} missing: {shown(missing)}")
        if wrong:
            self.violations.append(f"{what} wrong under its final name: {shown(wrong)}")
        return not missing and not wrong


@dataclass(frozen=True, slots=True)
class Received:
    """One start of the receiver that was run until nothing more happened."""

    died: int | None
    answer: str
    told: str
    ended: bool
    peak: int
    raised: int


class Trial:
    """One trial. ``folder`` keeps the logs; ``out`` is where the receiver writes, inside of a jail that is watched."""

    def __init__(self, venv: Path, broker: str, folder: Path, jail: Path, seed: int) -> None:
        self.venv, self.broker, self.folder, self.jail, self.seed = venv, broker, folder, jail, seed
        self.rng = random.Random(f"{folder.name}-{seed}")
        self.topic = f"{folder.name}-{os.urandom(3).hex()}"
        self.source, self.out = folder / "src", jail / "a" / "b" / "c" / "out"
        self.verdict = Verdict()
        self.config = folder / "predecessor.config"

    def prepare(self) -> None:
        self.source.mkdir(parents=True)
        self.out.mkdir(parents=True)
        write_config(self.folder, self.broker)
        records.make_topic(self.broker, self.topic)

    def good_files(self, small: int, large_size: int, prefix: str = "run") -> Files:
        """Small files of 100-5000 bytes and two larger ones of many chunks."""
        made = {
            f"{prefix}-{number % 4}/sample_{number:03}.dat".encode(): self.rng.randbytes(self.rng.randint(100, 5000))
            for number in range(small)
        }
        return made | {f"{prefix}-big/scan_{n}.bin".encode(): self.rng.randbytes(large_size) for n in range(2)}

    def upload(self, files: Files, patience: float = 40.0) -> tuple[str, bool]:
        """Send by the predecessor's DataFileUploadDirectory; what it said, and whether every chunk is in Kafka."""
        top = os.fsencode(self.source)
        for path, content in files.items():
            full = os.path.join(top, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "wb") as file:
                file.write(content)
        wanted = sum(-(-len(content) // CHUNK) for content in files.values())
        command = [str(self.venv / "bin" / "DataFileUploadDirectory"), str(self.source), "--config", str(self.config)]
        command += ["--topic_name", self.topic, "--upload_existing", "--chunk_size", str(CHUNK)]
        with Program([*command, "--watchdog_lag_time", "1"], self.folder, self.folder / "sender.txt") as program:
            all_there = until(lambda: records.length(self.broker, self.topic) >= wanted, patience, 0.3)
            if program.code is not None:
                self.verdict.seen["sender ended by itself"] = program.code
            program.quit(60)
        return program.text, all_there

    def relay(self, changed: list[records.Record]) -> None:
        """From now on the receiver reads another topic, which holds these records."""
        self.topic += "-relayed"
        records.make_topic(self.broker, self.topic)
        records.write_all(self.broker, self.topic, changed)

    def receiver(self, *, new_group: bool = False) -> Program:
        """Start the predecessor's DataFileDownloadDirectory, with two threads, its default."""
        command = [str(self.venv / "bin" / "DataFileDownloadDirectory"), str(self.out), "--config", str(self.config)]
        command += ["--topic_name", self.topic, "--logger_stream_level", "debug"]
        group = [] if new_group else ["--consumer_group_id", f"group-{self.topic}"]
        return Program(command + group, self.folder, self.folder / "receiver.txt")

    def receive(self, quiet: float, *, new_group: bool = False, longest: float = 90.0) -> Received:
        """Run the receiver until no file has changed for ``quiet`` seconds, ask it, and end it by its own command."""
        before = len(self.warnings())
        with self.receiver(new_group=new_group) as program:
            self._until_quiet(program, quiet, longest)
            died = program.code
            answer = program.ask() if died is None else ""
            program.look()
            ended = program.quit(45)
        told = self.warnings()[before:]
        return Received(died, answer, told, ended, program.peak, told.count("a thread raised an Exception"))

    def _until_quiet(self, program: Program, quiet: float, longest: float) -> None:
        started = changed = time.monotonic()
        last = oracle.state(self.out)
        while program.code is None and time.monotonic() - changed < quiet and time.monotonic() - started < longest:
            time.sleep(0.1)  # files tell nobody when they change
            program.look()
            now = oracle.state(self.out)
            if now != last:
                last, changed = now, time.monotonic()

    def warnings(self) -> str:
        """Its own log file: warnings and errors."""
        path = self.out / os.fsdecode(oracle.LOG_OF_RECEIVER)
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def reported(self) -> set[bytes]:
        """The files of which any start of the receiver said that it has them."""
        said = (self.folder / "receiver.txt").read_text("utf-8", "replace")
        return {name.encode() for name in re.findall(r"File (.+) successfully reconstructed", said)}

    def judge_process(self, run: Received) -> None:
        """What holds for every fault: it must not die, must end when told to, and keeps below 512 MB."""
        if run.died is not None:
            self.verdict.violations.append(f"the receiver died with code {run.died}")
        if run.peak > MEMORY:
            self.verdict.violations.append(f"the receiver took {run.peak >> 20} MiB of memory")
        if not run.ended:
            self.verdict.seen["did not end within 45 s of q"] = True
        self.verdict.peak = max(self.verdict.peak, run.peak >> 20)
        self.verdict.raised += run.raised


def shown(paths: list[bytes], most: int = 4) -> str:
    """Some paths, readable."""
    names = ", ".join(ascii(os.fsdecode(path))[:120] for path in paths[:most])
    return f"{len(paths)} ({names}{', ...' if len(paths) > most else ''})"
