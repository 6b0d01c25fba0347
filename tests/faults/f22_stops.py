"""F22: SIGTERM and Ctrl-C under load: the run ends in time with the right code, and the next one completes the work.

Every third trial stops senders instead: `openmsi watch` on a folder that grows and changes.

One or two processes of `openmsi run disk` share a topic with a backlog. They are stopped at random instants, also
while they start; what is stored in the end, and told in receipts, is counted by the oracle.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
import uuid
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from confluent_kafka import Producer

from openmsi_core.files.paths import partition_of
from openmsi_core.kafka import admin
from openmsi_core.model import RelativePath
from tests.fakes import values_of
from tests.faults.sent import Folder, check_sent, sent
from tests.faults.storing import wanted
from tests.faults.trial import Fault, Trial
from tests.kafka.oracle import digests, values
from tests.kafka.processes import Command, wait_for

_QUICK = ("-X", "session.timeout.ms=1000", "-X", "heartbeat.interval.ms=200", "-X", "transaction.timeout.ms=2000")
_WITHIN = 10.0  # seconds
_PARTITIONS = 3
_CODES = {signal.SIGTERM: {0}, signal.SIGINT: {130}}
# before the command has begun to listen the system, or Python, ends it
_CODES_EARLY = {signal.SIGTERM: {0, -signal.SIGTERM}, signal.SIGINT: {130, -signal.SIGINT, 1}}


def run(trial: Trial) -> None:
    """Stops of receivers, or of senders."""
    if trial.seed % 3 or trial.mutation == "metadata-is-dropped":
        _receivers(trial)
    else:
        _senders(trial)


def _senders(trial: Trial) -> None:
    """A folder that grows and changes, senders that are stopped one after the other, a last one that ends by itself."""
    chance, topic, state = trial.chance, f"stops-{uuid.uuid4().hex[:10]}", trial.folder / "state"
    admin.create_family(admin.connected({"bootstrap.servers": trial.broker}), topic, _PARTITIONS)
    folder = Folder(trial.folder / "in", chance, largest=30_000_000)
    arguments = ["watch", str(folder.root), "--topic", topic, "--exclude", "*.part", "--settle", "100ms", "--broker"]
    for number in range(chance.randrange(2, 5)):
        folder.add(chance.randrange(20, 200))
        folder.change(0.1)
        _stopped_sender(trial, state, number, [*arguments, trial.broker])
    with _sender(trial, state, "last", [*arguments, trial.broker, "--once"]) as last:
        trial.equal(last.wait(120), 0, f"exit code of the last sender, which said:\n{last.output[-2000:]}")
    check_sent(trial, folder.root, sent(values(trial.broker, topic)))


def _stopped_sender(trial: Trial, state: Path, number: int, arguments: list[str]) -> None:
    chance = trial.chance
    with _sender(trial, state, str(number), arguments) as watch:
        if chance.random() < 0.3:
            time.sleep(chance.random() * 1.5)  # the instant is what is tried
            codes = _CODES_EARLY
            trial.hit("sender-while-starting")
        else:
            watch.until(lambda: "sent " in watch.output, 60)
            time.sleep(chance.random() * 0.3)  # the instant is what is tried
            codes = _CODES
            trial.hit("sender-under-load")
        how = chance.choice([signal.SIGTERM, signal.SIGINT])
        trial.hit(how.name)
        trial.measured(watch.peak_memory())
        began = time.monotonic()
        watch.process.send_signal(how)
        code = watch.wait(3 * _WITHIN)
        took = time.monotonic() - began
        trial.check(took <= _WITHIN, f"a sender took {took:.1f} s to end after {how.name}:\n{watch.output[-1500:]}")
        trial.check(code in codes[how], f"exit code {code} of a sender after {how.name}:\n{watch.output[-1500:]}")


def _sender(trial: Trial, state: Path, name: str, arguments: list[str]) -> Command:
    return Command(
        trial.folder / f"watch-{name}", *arguments, state=state, module="tests.faults.launched",
        OPENMSI_TEST_MUTATION=trial.mutation,
    )  # fmt: skip


def _receivers(trial: Trial) -> None:
    """More and more files, a stop in each batch of them, and a last run until everything is there."""
    chance = trial.chance
    topic = f"stops-{uuid.uuid4().hex[:10]}"
    admin.create_family(admin.connected({"bootstrap.servers": trial.broker}), topic, _PARTITIONS)
    files: dict[str, bytes] = {}
    root = trial.folder / "root"
    for number in range(chance.randrange(1, 4)):
        more = _some_files(chance, number)
        _produce(trial.broker, topic, more, chance)
        files |= more
        _stopped_run(trial, topic, root, number, len(files))
    with _run(trial, topic, root, "last", "--until-caught-up") as last:
        trial.equal(last.wait(60), 0, f"exit code of the last run, which said:\n{last.output[-2000:]}")
    trial.equal(digests(root), wanted(files), "files in the folder")
    trial.equal(values(trial.broker, f"{topic}.dlq"), [], "dead letters")
    receipts = [json.loads(value or b"{}") for _, value in values(trial.broker, f"{topic}.receipts")]
    counts = Counter(receipt["path"] for receipt in receipts if receipt["outcome"] == "done")
    trial.equal({path: counts[path] for path in files if counts[path] != 1}, {}, "files without exactly one receipt")
    left = [path.name for path in (root / ".openmsi").iterdir() if path.name.startswith(("store-", "spool-"))]
    trial.equal(left, [], "what the runs left behind")


def _some_files(chance: random.Random, number: int) -> dict[str, bytes]:
    count = chance.randrange(400, 1000)
    files = {f"small/{number}-{each}": chance.randbytes(chance.randrange(10_000)) for each in range(count)}
    return files | {
        f"large/{number}-{each}": chance.randbytes(chance.randrange(9_000_000, 14_000_000)) for each in range(2)
    }


def _stopped_run(trial: Trial, topic: str, root: Path, number: int, count: int) -> None:
    chance = trial.chance
    members = chance.choice([1, 1, 2])
    trial.hit("alone" if members == 1 else "two-members")
    with ExitStack() as stack:
        runs = [stack.enter_context(_run(trial, topic, root, f"{number}-{member}")) for member in range(members)]
        if chance.random() < 0.2:
            time.sleep(chance.random() * 1.5)  # the instant is what is tried
            window, codes = "while-starting", _CODES_EARLY
        else:
            window, codes = _under_load(trial, runs, root, count), _CODES
        trial.hit(window)
        for each in runs:
            how = chance.choice([signal.SIGTERM, signal.SIGINT])
            trial.hit(how.name)
            trial.measured(each.peak_memory())
            began = time.monotonic()
            each.process.send_signal(how)
            code = each.wait(3 * _WITHIN)
            took = time.monotonic() - began
            told = f"{how.name} {window}, which said:\n{each.output[-1500:]}"
            trial.check(took <= _WITHIN, f"the end took {took:.1f} s after {told}")
            trial.check(code in codes[how], f"exit code {code} after {told}")


def _under_load(trial: Trial, runs: list[Command], root: Path, count: int) -> str:
    """Wait until so many files are stored, or nothing is left to do."""
    for each in runs[:1]:
        each.until(lambda each=each: "is ours" in each.output, 60)
    already = len(digests(root))
    if already >= count:
        return "idle"
    enough = already + trial.chance.randrange((count - already + 1) // 2)  # they come in groups
    wait_for(lambda: len(_names(root)) >= enough, 60, lambda: runs[0].output[-2000:])
    time.sleep(trial.chance.random() * 0.2)  # the instant is what is tried
    return "under-load" if len(_names(root)) < count else "just-done"


def _names(root: Path) -> list[str]:
    return [name for kind in ("small", "large") if (root / kind).is_dir() for name in os.listdir(root / kind)]


def _run(trial: Trial, topic: str, root: Path, name: str, *more: str) -> Command:
    arguments = ["run", "disk", "--topic", topic, "--folder", str(root), "--broker", trial.broker, *_QUICK, *more]
    return Command(
        trial.folder / f"run-{name}", *arguments, module="tests.faults.launched", OPENMSI_TEST_MUTATION=trial.mutation
    )


def _produce(broker: str, topic: str, files: dict[str, bytes], chance: random.Random) -> None:
    """The records of all files, those of several mixed, each file in the partition of its path."""
    producer = Producer({"bootstrap.servers": broker, "linger.ms": 5, "queue.buffering.max.kbytes": 200_000})
    waiting = list(files.items())
    chance.shuffle(waiting)
    lines: list[tuple[str, list[bytes]]] = []
    while waiting or lines:
        while waiting and len(lines) < 5:
            path, data = waiting.pop()
            lines.append((path, values_of(path, data, chunk=256 * 1024)))
        path, line = chance.choice(lines)
        parsed = RelativePath.parse(path)
        producer.produce(topic, line.pop(0), parsed.key, partition_of(parsed, _PARTITIONS))
        lines = [each for each in lines if each[1]]
    if producer.flush(60):
        raise AssertionError("the records of the trial did not reach Kafka")


FAULT = Fault(
    "F22",
    "stops under load",
    run,
    ci=8,
    release=200,
    needs_kafka=True,
    windows=(
        "SIGTERM",
        "SIGINT",
        "under-load",
        "while-starting",
        "two-members",
        "alone",
        "sender-under-load",
        "sender-while-starting",
    ),
    mutations=("a-stop-is-not-heard", "metadata-is-dropped"),
)
