"""A watch in this process, on a real folder, with a topic in memory that may be late."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from openmsi_core.ports import Delivered
from openmsi_core.sending.goals import Forever, OnePass
from openmsi_core.sending.hints import FolderHints, Hints
from openmsi_core.sending.ledger import Ledger, ledger_file
from openmsi_core.sending.manner import Manner
from openmsi_core.sending.rules import Rules
from openmsi_core.sending.watching import Watch
from tests.faults.sent import Sent, sent
from tests.faults.trial import Trial
from tests.kafka.oracle import digests

CHUNK = 16 * 1024
_SETTLE = 0.06


class Topic:
    """A RecordSink in memory. With ``chance`` its answers come late and in handfuls."""

    def __init__(self, chance: random.Random | None = None, partitions: int = 2) -> None:
        self._chance = chance
        self._count = partitions
        self._logs: list[list[tuple[bytes, bytes]]] = [[] for _ in range(partitions)]
        self._waiting: deque[tuple[int, bytes, bytes, Delivered]] = deque()

    def partitions(self) -> int:
        return self._count

    def produce(self, partition: int, key: bytes, value: bytes, delivered: Delivered) -> None:
        self._waiting.append((partition, key, value, delivered))

    def serve(self, timeout: float) -> int:
        if not self._waiting:
            time.sleep(min(timeout, 0.02))  # as a client waits for answers
            return 0
        count = len(self._waiting) if self._chance is None else self._chance.randrange(len(self._waiting) + 1)
        for _ in range(count):
            partition, key, value, delivered = self._waiting.popleft()
            self._logs[partition].append((key, value))
            delivered(len(self._logs[partition]) - 1, "")
        return count

    def pending(self) -> int:
        return len(self._waiting)

    def found(self) -> Sent:
        """What it has now, as the oracle sees it."""
        return sent([record for log in self._logs for record in list(log)])


@contextmanager
def watching(trial: Trial, root: Path, topic: Topic, rules: Rules, hints: Hints | None = None) -> Iterator[Watch]:
    """A watch that runs in a thread of its own until the end of the ``with``."""
    stop, failures, made = threading.Event(), list[BaseException](), list[Watch]()
    begun = threading.Event()

    def run() -> None:
        try:
            with Ledger(ledger_file(trial.folder / "state", root, "t"), root=root, topic="t") as ledger:
                watch = Watch(
                    ledger, topic, Forever(), rules, stop, manner=Manner(CHUNK), report=lambda report: None, hints=hints
                )
                made.append(watch)
                begun.set()
                watch.run()
        except BaseException as error:
            failures.append(error)
            begun.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        begun.wait(30)
        if failures:
            raise failures[0]
        yield made[0]
    finally:
        stop.set()
        thread.join(30)
    if failures:
        raise failures[0]


def once(trial: Trial, root: Path, topic: Topic, exclude: tuple[str, ...] = ()) -> int:
    """One pass over the folder; how many files were sent."""
    rules = Rules(settle=_SETTLE, interval=0.02, exclude=exclude)
    with Ledger(ledger_file(trial.folder / "state", root, "t"), root=root, topic="t") as ledger:
        goal = OnePass(int(_SETTLE * 1e9))
        watch = Watch(ledger, topic, goal, rules, threading.Event(), manner=Manner(CHUNK), report=lambda report: None)
        return watch.run().sent


def quick(*, interval: float = 0.05, exclude: tuple[str, ...] = (), polling: bool = False) -> Rules:
    """The rules of a trial that has no time to wait."""
    return Rules(settle=_SETTLE, interval=interval, exclude=exclude, polling=polling)


def hinted(root: Path, *, held: int = 10_000) -> FolderHints:
    """Hints of the system about ``root``, of which at most so many are held."""
    return FolderHints(root, held=held)


def arrives(topic: Topic, root: Path, within: float, exclude: Callable[[bytes], bool] = lambda _: False) -> bool:
    """Wait until every file below ``root`` is in the topic in its present state; False when that never comes."""
    ends = time.monotonic() + within
    while time.monotonic() < ends:
        now = {path: digest for path, digest in digests(root).items() if not exclude(path)}
        whole = topic.found().whole
        if all(whole.get(path, [""])[-1] == digest for path, digest in now.items()):
            return True
        time.sleep(0.1)  # files and threads tell nobody when they are done
    return False
