"""A plugin in the whole receiving loop, on a topic in memory: assembly, workers, watermark, checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openmsi_core.crypto.plain import Plain
from openmsi_core.files.assembly import Assembler, Limits
from openmsi_core.files.paths import wanted
from openmsi_core.files.spool import Spool
from openmsi_core.model import Commit, Outgoing
from openmsi_core.ports import Runner
from openmsi_core.receiving.attempts import RetryPolicy
from openmsi_core.receiving.intake import Intake
from openmsi_core.receiving.jobs import Counts, RunFacts
from openmsi_core.receiving.pace import Pace
from openmsi_core.receiving.stream import Stream
from openmsi_core.receiving.workers import Workers
from openmsi_core.testing.logs import Log, LogSource, LogStore

TOPIC, RESULTS = "t", "results"
_NEVER_AGAIN = RetryPolicy(delays=(), retry_for=0.0)


class Killed(BaseException):
    """The process ends between a checkpoint's records and its commit."""


@dataclass(frozen=True, slots=True)
class Played:
    """What one topic and one plugin came to: results, receipts and dead letters as JSON, and the committed offset."""

    results: Sequence[Any]
    receipts: Sequence[Any]
    letters: Sequence[Any]
    committed: int

    def values(self) -> dict[str, list[object]]:
        """Path -> what the plugin said of it, each value once, in order."""
        found: dict[str, dict[str, object]] = {}
        for each in self.results:
            value = each["metadata"] if "metadata" in each else each["value"]
            key = json.dumps([each.get("record"), value], sort_keys=True)
            found.setdefault(each["file"]["path"], {})[key] = value
        return {path: list(values.values()) for path, values in found.items()}

    def stored(self) -> dict[str, str]:
        """Path -> the location that the last receipt of it tells."""
        return {each["path"]: each["location"] for each in self.receipts if each["outcome"] == "done"}


def played(
    make: Callable[[Path], Runner],
    records: Iterable[bytes],
    folder: Path,
    *,
    killed: bool = False,
    accepts: Sequence[str] = (),
) -> Played:
    """Run a plugin over ``records`` until their end; with ``killed`` it dies at its first checkpoint and runs again."""
    log = Log()
    log.put(*records)
    if killed:
        with suppress(Killed):  # what it had published stays, what it had not committed is run again
            _run(make, log, folder, _DyingStore(log), accepts)
    _run(make, log, folder, LogStore(log), accepts)
    results, receipts, letters = (_told(log, topic) for topic in (RESULTS, f"{TOPIC}.receipts", f"{TOPIC}.dlq"))
    return Played(results, receipts, letters, log.commits[0].offset if log.commits else 0)


def _told(log: Log, topic: str) -> list[Any]:
    return [json.loads(value) for value in log.values(topic)]


class _DyingStore(LogStore):
    """Publishes, and dies before the commit."""

    def write(self, outgoing: Iterable[Outgoing], commits: Sequence[Commit], *, size: int = 0) -> None:  # noqa: ARG002
        """Raises Killed when there was something to publish."""
        outgoing = list(outgoing)
        self.log.published += outgoing
        if outgoing:
            raise Killed
        self.log.commits |= {commit.partition: commit for commit in commits}


def _run(make: Callable[[Path], Runner], log: Log, folder: Path, store: LogStore, accepts: Sequence[str]) -> None:
    with ExitStack() as stack:
        probe = make(folder)
        spool = stack.enter_context(Spool(probe.spool_folder() or folder / "spool"))
        runner = make(spool.folder)
        run = RunFacts("contract", TOPIC, runner.facts, output_topic=RESULTS, workdir=spool.folder)
        workers = stack.enter_context(Workers([runner], run, _NEVER_AGAIN))
        assembler = Assembler(spool, Limits(), lambda version: wanted(version.path, accepts, ()))
        intake = Intake(assembler, Plain(), Counts(), 1 << 40)
        pace = Pace(longest=0.05, housekeeping=0.0, stop_wait=5.0, breaker=0)
        stream = Stream(run, intake, workers, first_offset=lambda claim: claim.low, pace=pace)
        stream.run(LogSource(log, stream, TOPIC), store, until_caught_up=True)
