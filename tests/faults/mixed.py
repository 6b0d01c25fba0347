"""``python -m tests.faults.mixed --minutes 30``: mixed load on a real Kafka with a fault every five seconds.

One sender, two groups (``file-info`` and ``disk``) of one to three members. Every five seconds something breaks: a
member is killed, stopped or frozen, a new one joins, the broker is killed and started again, or garbage is sent. At
the end every file has one result and one receipt for each group, the tree is equal, and no process used more memory
at the end than it was allowed. The table shows the memory over time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from confluent_kafka import Producer

from openmsi_core.testing.brokers import CALM, RealKafka
from tests.faults.receivers import Receiver
from tests.faults.senders import Files
from tests.faults.trial import Trial
from tests.kafka.oracle import digests, settle, values

_EVERY = 5.0
_MOST_MEMORY = 256 * 1024 * 1024


class Group:
    """The members of one run."""

    def __init__(self, trial: Trial, stack: ExitStack, *arguments: str) -> None:
        self.arguments = arguments
        self.members: list[Receiver] = []
        self._trial, self._stack = trial, stack

    def join(self) -> None:
        """One more member."""
        self.members.append(self._stack.enter_context(Receiver(self._trial, *self.arguments)))

    def tidy(self) -> None:
        """Members that the broker sent away are replaced, as a service does."""
        for member in [each for each in self.members if not each.process.is_alive()]:
            self.members.remove(member)
            code = member.process.exitcode
            self._trial.check(code in {0, 3}, f"a member ended with {code}: {member.output[-1500:]}")
        if not self.members:
            self.join()


def main() -> int:
    """Run it; 1 when a promise was broken."""
    parser = argparse.ArgumentParser("python -m tests.faults.mixed")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--folder", type=Path, default=Path("faults/mixed"))
    asked = parser.parse_args()
    shutil.rmtree(asked.folder, ignore_errors=True)
    asked.folder.mkdir(parents=True)
    print(f"seed {asked.seed}", flush=True)
    with RealKafka(asked.folder.absolute() / "kafka", settings=CALM) as kafka:
        trial = Trial(asked.seed, asked.folder.absolute(), kafka.bootstrap)
        _run(trial, kafka, asked.minutes * 60)
    print(f"{trial.checks:,} checks, {trial.kills} kills, hits {dict(sorted(trial.hits.items()))}")
    print(f"peak memory of a receiver {trial.peak_memory // 1024 // 1024} MiB")
    return 0


def _run(trial: Trial, kafka: RealKafka, seconds: float) -> None:
    chance, files = trial.chance, Files(trial, 4)
    tree = trial.folder / "tree"
    with ExitStack() as stack:
        # the first member of each group is never killed: what leaks shows in a long life
        info = Group(trial, stack, "run", "file-info", "--topic", files.topic, "--output-topic", files.output)
        disk = Group(trial, stack, "run", "disk", "--folder", str(tree), "--topic", files.topic)
        for group in (info, disk):
            group.join()
        began = told = time.monotonic()
        while time.monotonic() - began < seconds:
            round_began = time.monotonic()
            files.begin(chance.randrange(200), largest=3_000_000, again=0.05)
            files.send(chance.random())
            _break_something(trial, kafka, files, chance.choice([info, disk]))
            for group in (info, disk):
                group.tidy()
                for member in group.members:
                    member.measure()
            if time.monotonic() - told >= 60:
                told = time.monotonic()
                _say(told - began, files, (info, disk))
            time.sleep(max(0.0, _EVERY - (time.monotonic() - round_began)))  # a fault every five seconds
        files.send()
        _finish(trial, files, (info, disk), tree)


def _break_something(trial: Trial, kafka: RealKafka, files: Files, group: Group) -> None:
    chance = trial.chance
    what = chance.choices(["kill", "stop", "freeze", "join", "broker", "garbage"], [3, 2, 2, 4, 1, 2])[0]
    late = [member for member in group.members[1:] if member.process.is_alive()]
    if what == "join" or not late:
        if len(group.members) < 3:
            group.join()
            trial.hit("joined")
            return
        what = "garbage" if not late else "kill"
    if what == "kill":
        member = chance.choice(late)
        group.members.remove(member)
        member.end(signal.SIGKILL)
        trial.killed("killed")
    elif what == "stop":
        member = chance.choice(late)
        group.members.remove(member)
        code = member.end(signal.SIGTERM, within=30)
        trial.check(code in {0, -signal.SIGTERM}, f"a stopped member ended with {code}: {member.output[-1500:]}")
        trial.hit("stopped")
    elif what == "freeze":
        member = chance.choice(late)
        os.kill(member.process.pid or 0, signal.SIGSTOP)
        time.sleep(1.0 + chance.random() * 2)  # longer than the session timeout: it wakes up as a zombie
        os.kill(member.process.pid or 0, signal.SIGCONT)
        trial.hit("frozen")
    elif what == "broker":
        kafka.kill()
        kafka.start()
        trial.killed("broker")
    else:
        producer = Producer({"bootstrap.servers": trial.broker, "log_level": 0})
        for _ in range(5):
            producer.produce(files.topic, chance.randbytes(chance.randrange(1, 500)), b"x", chance.randrange(4))
            files.garbage += 1
        if producer.flush(30):
            raise TimeoutError("garbage was not acknowledged")
        trial.hit("garbage")


def _say(seconds: float, files: Files, groups: tuple[Group, ...]) -> None:
    now = [_resident(group.members[0]) for group in groups]
    print(f"{seconds / 60:5.1f} min  {len(files.wanted):7,} files  resident now {now} MiB", flush=True)


def _resident(member: Receiver) -> int:
    status = Path(f"/proc/{member.process.pid}/status")
    if not status.exists():
        return 0
    text = status.read_text("ascii")
    return int(text.split("VmRSS:")[1].split()[0]) // 1024 if "VmRSS:" in text else 0


def _finish(trial: Trial, files: Files, groups: tuple[Group, ...], tree: Path) -> None:
    for group in groups:
        for member in group.members:
            code = member.end(within=30)
            trial.check(code in {0, 3, -signal.SIGTERM}, f"a member ended with {code}: {member.output[-1500:]}")
        with Receiver(trial, *group.arguments, "--until-caught-up") as last:
            code = last.wait(300)
        trial.check(code in {0, 4}, f"the last receiver ended with {code}: {last.output[-1500:]}")
    for topic in (f"{files.topic}.dlq", f"{files.topic}.receipts", files.output):
        settle(trial.broker, topic)
    receipts = Counter(
        (json.loads(value or b"")["run"], json.loads(value or b"")["id"])
        for _, value in values(trial.broker, f"{files.topic}.receipts")
    )
    wanted = {(run, key): 1 for run in ("openmsi-file-info", "openmsi-disk") for key in files.wanted}
    trial.equal(dict(receipts), wanted, "receipts")
    results = [json.loads(value or b"")["file"] for _, value in values(trial.broker, files.output)]
    trial.equal(Counter(one["id"] for one in results), Counter(dict.fromkeys(files.wanted, 1)), "results")
    trial.equal({one["id"]: one["sha256"] for one in results}, files.wanted, "digests of results")
    letters = [json.loads(value or b"")["what"] for _, value in values(trial.broker, f"{files.topic}.dlq")]
    trial.equal(Counter(letters), Counter({"bad-record": 2 * files.garbage}), "dead letters: each group's garbage")
    found = {path.decode(): digest for path, digest in digests(tree).items()}
    trial.equal(found, files.last, "the tree")
    trial.check(trial.peak_memory < _MOST_MEMORY, f"a receiver used {trial.peak_memory:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
