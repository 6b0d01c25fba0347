"""F14: files are modified, truncated, replaced, deleted, grown and touched while they are read.

The changes come between two reads of a file, from the thread that reads it, and at any time from another thread. Every
content that a file ever had is known; what arrives must be one of these, and in the end the last one.
"""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast
from unittest.mock import patch

from openmsi_core.sending import sender
from openmsi_core.sending.reading import open_file
from tests.faults.sent import check_sent
from tests.faults.trial import Fault, Trial
from tests.faults.watching import CHUNK, Topic, arrives, quick, watching
from tests.kafka.oracle import digests

_FILES = 12


class States:
    """The files of a trial, and every content that each of them ever had."""

    def __init__(self, trial: Trial, root: Path) -> None:
        self.history: dict[bytes, set[str]] = {}
        self._trial, self._root = trial, root
        self._chance = random.Random(trial.seed)  # used by two threads: under the lock
        self._lock = threading.Lock()
        self._number = 0

    def put(self, name: str) -> None:
        """New content."""
        self._keep(name, self._content())

    def change(self, name: str) -> None:
        """Anything that a program may do to a file."""
        with self._lock:
            what = self._chance.choice(
                ["overwrite", "truncate", "replace", "delete", "grow", "touch", "empty", "patch"]
            )
        self._trial.hit(what)
        file = self._root / name
        try:
            self._do(what, file)
        except FileNotFoundError:
            self._keep(name, self._content())

    def _do(self, what: str, file: Path) -> None:
        if what == "delete":
            file.unlink()
        elif what == "touch":
            os.utime(file)
        elif what == "replace":
            other = file.with_name(f".{file.name}.new")
            content = self._content(file.stat().st_size)
            self._note(file.name, content)
            other.write_bytes(content)
            times = file.stat()
            os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))  # only the inode tells
            other.rename(file)
        else:
            now = file.read_bytes()
            with self._lock:
                cut = self._chance.randrange(len(now) + 1)
            content = {
                "overwrite": self._content(),
                "truncate": now[:cut],
                "grow": now + b"grown",
                "empty": b"",
                "patch": now[:cut] + b"PATCH"[: len(now) - cut] + now[cut + 5 :],
            }[what]
            self._keep(file.name, content)

    def _keep(self, name: str, content: bytes) -> None:
        """In one write, so that no half of it is a state of the file."""
        self._note(name, content)
        descriptor = os.open(self._root / name, os.O_WRONLY | os.O_CREAT)
        try:
            size = os.fstat(descriptor).st_size
            if size > len(content):
                os.ftruncate(descriptor, len(content))
                self._note(name, (self._root / name).read_bytes())
            os.write(descriptor, content)
        finally:
            os.close(descriptor)

    def _note(self, name: str, content: bytes) -> None:
        self.history.setdefault(name.encode(), set()).add(hashlib.sha256(content).hexdigest())

    def _content(self, size: int = -1) -> bytes:
        with self._lock:
            self._number += 1
            if size < 0:
                size = self._chance.choice([0, 10, CHUNK, CHUNK + 1, 3 * CHUNK, 8 * CHUNK + 77])
            return (b"%d " % self._number + self._chance.randbytes(size))[:size]


class Tampered:
    """An open file to which something may happen just before a read."""

    def __init__(self, source: BinaryIO, strike: Callable[[], None]) -> None:
        self._source = source
        self._strike = strike

    def read(self, size: int = -1) -> bytes:
        self._strike()
        return self._source.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)


def run(trial: Trial) -> None:
    """A watch, and files that are not left alone."""
    root = trial.folder / "in"
    root.mkdir()
    states, topic, chance = States(trial, root), Topic(random.Random(trial.seed + 1)), random.Random(trial.seed + 2)
    names = [f"f{number}" for number in range(_FILES)]
    for name in names:
        states.put(name)
    strikes = [trial.chance.randrange(20, 60)]

    def opened(file: str) -> BinaryIO:
        def strike() -> None:
            if strikes[0] > 0 and chance.random() < 0.2:
                strikes[0] -= 1
                trial.hit("between-reads")
                states.change(Path(file).name)

        return cast("BinaryIO", Tampered(open_file(file), strike))

    with (
        patch.dict(sender.Sender.__init__.__kwdefaults__, {"opener": opened}),
        watching(trial, root, topic, quick(exclude=(".*",))),
    ):
        for _ in range(trial.chance.randrange(10, 30)):
            states.change(trial.chance.choice(names))
            time.sleep(trial.chance.random() * 0.05)  # the instant is what is tried
        strikes[0] = 0
        has_come = arrives(topic, root, 30.0)
    found = topic.found()
    check_sent(trial, root, found, once=False)
    trial.check(has_come, "the last states did not arrive within 30 s")
    strange = {path: set(each) - states.history.get(path, set()) for path, each in found.whole.items()}
    trial.equal({path: each for path, each in strange.items() if each}, {}, "contents that no file ever had")
    trial.check(len(digests(root)) > 0, "something is left to compare")


FAULT = Fault(
    "F14",
    "source modified, truncated, deleted, replaced while it is sent",
    run,
    ci=20,
    release=1000,
    windows=("between-reads", "overwrite", "truncate", "replace", "delete", "grow", "touch", "empty", "patch"),
    mutations=("no-second-look", "one-look-is-enough"),
)
