"""What travels between the poll loop, the workers and the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from openmsi_core.files.content import InMemory
from openmsi_core.files.datafile import DataFile
from openmsi_core.files.events import Whole
from openmsi_core.files.opened import Span
from openmsi_core.model import FileVersion, Outcome, PluginFacts, Record
from openmsi_core.receiving.watermark import Watermark


@dataclass(slots=True, eq=False)
class Assignment:
    """One partition from the moment it was given to us until it is taken away: a local epoch.

    Kafka checks the member, not the partition, so what was begun under one assignment is never committed under
    another: jobs and outcomes carry their assignments, and those of a dead one are dropped.
    """

    partition: int
    watermark: Watermark
    high: int
    alive: bool = True


@dataclass(slots=True, eq=False)
class Job:
    """One file on its way through a worker. One that ``is_recalled`` is given back by a worker, not begun.

    One that ``is_void`` is wanted by nobody any more.
    """

    file: DataFile
    span: Span
    assignments: tuple[Assignment, ...]
    memory: int
    disk: int
    tries: int = 0
    waiting_since: float | None = None
    is_recalled: bool = False
    is_void: bool = False

    @property
    def is_alive(self) -> bool:
        """False when a partition of the file was taken away meanwhile: the outcome would belong to nobody."""
        return not self.is_void and all(assignment.alive for assignment in self.assignments)


@dataclass(slots=True)
class Ended:
    """An outcome that waits for its checkpoint, and what it is about.

    ``offsets`` says, for each assignment, which first offset is dealt with by it. ``record`` is the beginning
    of the bad record when the outcome is about a record alone, ``record_bytes`` how long its value was.
    ``is_refused``: the broker refused what it published first. ``tied`` to these assignments is one that ends nothing.
    """

    outcome: Outcome
    offsets: tuple[tuple[Assignment, int], ...]
    span: Span
    version: FileVersion | None = None
    file_id: bytes = b""
    record: Record | None = None
    record_bytes: int | None = None
    is_refused: bool = False
    tied: tuple[Assignment, ...] = ()

    @property
    def is_alive(self) -> bool:
        """False when it may not be committed any more."""
        return all(each.alive for each in (*self.tied, *(assignment for assignment, _ in self.offsets)))


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run is: one topic, one plugin, one consumer group; where results go.

    ``workdir`` is where large results wait, ``max_results`` how many bytes of them one file may have.
    """

    group: str
    topic: str
    plugin: PluginFacts
    output_topic: str | None = None
    bare: bool = False
    topic_id: str = ""
    workdir: Path | None = None
    max_results: int = 1024**3

    @property
    def letters_topic(self) -> str:
        """Where dead letters go."""
        return f"{self.topic}.dlq"

    @property
    def receipts_topic(self) -> str:
        """Where receipts go."""
        return f"{self.topic}.receipts"


@dataclass(slots=True)
class Counts:
    """What a run did so far; ``lag`` is how many records were not read yet when somebody last looked."""

    files: int = 0
    bytes: int = 0
    records: int = 0
    results: int = 0
    letters: int = 0
    skipped: int = 0
    aborted: int = 0
    unchanged: int = 0
    lag: int = 0
    by_outcome: dict[str, int] = field(default_factory=dict)

    def add(self, ended: Ended) -> None:
        """Count one outcome that is durable now."""
        outcome = ended.outcome
        self.by_outcome[outcome.what] = self.by_outcome.get(outcome.what, 0) + 1
        self.results += len(outcome.results)
        self.letters += outcome.what.is_letter
        self.unchanged += outcome.unchanged
        if ended.version is not None and outcome.what == "done":
            self.files += 1
            self.bytes += ended.version.size


def job_of(whole: Whole, assignments: tuple[Assignment, ...], run: RunFacts, received: datetime) -> Job:
    """A whole file for its plugin, which may need only its beginning. Raises OSError when that cannot be read."""
    content, version = whole.content, whole.version
    is_complete = not 0 < run.plugin.head < version.size
    if not is_complete:
        with content.open() as reader:
            head = reader.read(run.plugin.head)
        content.discard()
        content = InMemory([head])
    file = DataFile(version, whole.span.first, received, content, run.workdir, is_complete)
    if not isinstance(content, InMemory):
        return Job(file, whole.span, assignments, version.memory, version.size)
    return Job(file, whole.span, assignments, version.memory + min(version.size, run.plugin.head or version.size), 0)
