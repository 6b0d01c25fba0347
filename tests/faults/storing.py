"""A whole run that stores files with the real disk sink, for trials in this process."""

from __future__ import annotations

import hashlib
import logging
import os
import random
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from openmsi_core.files.assembly import Limits
from openmsi_core.plugins.loader import build
from openmsi_core.receiving.attempts import RetryPolicy
from openmsi_core.receiving.pace import Pace
from openmsi_plugins.disk import sink
from tests.fakes import Log, values_of
from tests.faults.trial import Trial
from tests.kafka.oracle import digests
from tests.rig import Rig

PATIENT = RetryPolicy(delays=(0.0, 0.0), retry_for=120.0)
QUICK_PACE = Pace(longest=0.05, housekeeping=0.0, stop_wait=2.0, stall_before_pause=0.2)
WAIT = 0.05  # seconds for which the sink of a trial waits where a real one waits ten


class StoringRig(Rig):
    """A stream whose plugin is the real disk sink, as a run builds it; ``sinks`` are its instances."""

    def __init__(self, trial: Trial, log: Log, root: Path, **more: Any) -> None:
        make = build("disk", {"folder": str(root)})
        probe = make(None)
        folder = more.pop("spool", None) or probe.spool_folder()
        more = {"limits": Limits(in_memory_file=32 * 1024), "policy": PATIENT, "pace": QUICK_PACE, "workers": 2} | more
        super().__init__(trial.folder, log, None, call=lambda *_, **__: make(None), spool=folder, **more)
        self.sinks = [runner.plugin for runner in self.runners]


@contextmanager
def impatient(folder: Path) -> Iterator[None]:
    """Inside, a sink in trouble tries again after `WAIT`, and what is logged goes to a file in ``folder``."""
    handler = logging.FileHandler(folder / "log.txt", encoding="utf-8")
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with patch.object(sink, "_PAUSE", WAIT):
            yield
    finally:
        root.removeHandler(handler)
        handler.close()


def some_files(chance: random.Random, count: int, largest: int) -> dict[str, bytes]:
    """Files in a few folders, most of them small, some spooled."""
    sizes = [0, 1, 2_000, 20_000, 33_000, largest // 2, largest]
    return {
        f"{chance.choice(['', 'a/', 'a/b/', 'c d/'])}file-{number}": chance.randbytes(
            chance.randrange(chance.choice(sizes) + 1)
        )
        for number in range(count)
    }


def interleaved(chance: random.Random, files: Mapping[str, bytes]) -> Log:
    """A topic in which the records of all files are mixed, and some come before their turn."""
    log = Log()
    lines = [values_of(path, data) for path, data in files.items()]
    while lines:
        line = chance.choice(lines[:4])
        log.put(line.pop(min(chance.choice([0, 0, 0, 1, 2]), len(line) - 1)))
        lines = [each for each in lines if each]
    return log


def wanted(files: Mapping[str, bytes]) -> dict[bytes, str]:
    """What the oracle must find."""
    return {os.fsencode(path): hashlib.sha256(data).hexdigest() for path, data in files.items()}


def check_whole(
    trial: Trial, root: Path, files: Mapping[str, bytes], leave_out: frozenset[bytes] = frozenset()
) -> None:
    """What stands under a final name now is a whole file."""
    should = wanted(files)
    for path, digest in digests(root).items():
        if path not in leave_out:
            trial.equal(digest, should.get(path), f"what stands at {path!r} before the end")


def check_stored(trial: Trial, rig: StoringRig, root: Path, files: Mapping[str, bytes]) -> None:
    """Everything is stored once and nothing is left over."""
    trial.equal(digests(root), wanted(files), "files in the folder")
    trial.equal(rig.letters(), [], "dead letters")
    done = sorted(receipt["path"] for receipt in rig.receipts() if receipt["outcome"] == "done")
    trial.equal(done, sorted(files), "receipts")
    trial.equal([each.name for each in (root / ".openmsi").glob("store-*")], [], "what sinks left behind")
    trial.equal(
        {number: rig.log.commits[number].offset for number in rig.log.commits},
        {number: len(values) for number, values in enumerate(rig.log.partitions)},
        "committed positions",
    )


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """A file system of ``size`` bytes at ``folder``; False where mounts are not permitted."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        is_mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        is_mounted = False
    try:
        yield is_mounted
    finally:
        if is_mounted and subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def each_call(owners: Mapping[tuple[Any, str], str], before: Callable[[str], None]) -> Iterator[None]:
    """Inside, ``before(name)`` is called before every call of these functions; what it raises they raise."""
    with ExitStack() as stack:
        for (owner, attribute), name in owners.items():
            stack.enter_context(patch.object(owner, attribute, _watched(getattr(owner, attribute), name, before)))
        yield


def _watched(function: Callable[..., Any], name: str, before: Callable[[str], None]) -> Callable[..., Any]:
    def called(*arguments: Any, **named: Any) -> Any:
        before(name)
        return function(*arguments, **named)

    return called
