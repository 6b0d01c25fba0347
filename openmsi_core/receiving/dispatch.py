"""Whole files wait here for their turn: one at a time per path, and again after a failure when it is due."""

from __future__ import annotations

import heapq
import logging
from collections import deque
from collections.abc import Callable

from openmsi_core.model import Outcome
from openmsi_core.receiving.attempts import Again
from openmsi_core.receiving.jobs import Ended, Job
from openmsi_core.receiving.results import let_go
from openmsi_core.receiving.workers import Answer

log = logging.getLogger(__name__)


class Dispatch:
    """Keeps the order of the versions of a path, and counts what waits. The poll loop calls it.

    ``memory`` and ``disk`` are the bytes of files that are not dealt with.
    """

    def __init__(self, submit: Callable[[Job], None]) -> None:
        self.memory = 0
        self.disk = 0
        self._running: set[Job] = set()
        self._files = 0
        self._submit = submit
        self._paths: dict[bytes, deque[Job]] = {}
        self._waiting: list[tuple[float, int, Job]] = []
        self._count = 0
        self._recalled: set[int] = set()
        self._is_full = False

    def __len__(self) -> int:
        return self._files

    @property
    def running(self) -> int:
        """How many files are with a worker now."""
        return len(self._running)

    def busy(self, partitions: set[int]) -> int:
        """How many files of ``partitions`` are with a worker now."""
        return sum(1 for job in self._running for assignment in job.assignments if assignment.partition in partitions)

    def recall(self, partitions: set[int]) -> None:
        """Begin no more files of ``partitions``: what workers have not begun comes back, and waits for `due`."""
        self._recalled = partitions
        for job in self._running:
            if any(assignment.partition in partitions for assignment in job.assignments):
                job.is_recalled = True

    def add(self, job: Job) -> None:
        """A whole file came: it goes to its worker at once, unless an earlier version of its path is not done."""
        self.memory += job.memory
        self.disk += job.disk
        self._files += 1
        line = self._paths.setdefault(job.file.version.path.key, deque())
        line.append(job)
        if len(line) == 1:
            self._start(job)

    def due(self, now: float, *, is_full: bool = False) -> None:
        """Hand out again what has waited long enough; nothing is recalled any more.

        ``is_full``: what came of the files before has no room, so none is begun, and what workers have not begun
        comes back: a plugin may make a gigabyte of a small file.
        """
        self._recalled = set()
        if is_full and not self._is_full:
            for job in self._running:
                job.is_recalled = True
        self._is_full = is_full
        if is_full:
            return
        while self._waiting and self._waiting[0][0] <= now:
            self._start(heapq.heappop(self._waiting)[2])

    def answered(self, answer: Answer, now: float) -> Ended | None:
        """Take a worker's answer; an Ended when the file is dealt with and still ours."""
        job = answer.job
        self._running.discard(job)
        if isinstance(answer.answer, Again) and job.is_alive:
            if answer.answer.seconds:
                log.info("%s waits %.1f s: %s", job.file.version.path, answer.answer.seconds, answer.answer.reason)
            self._wait(job, now + answer.answer.seconds)
            return None
        self._leave(job)
        if not isinstance(answer.answer, Outcome):
            return None
        if not job.is_alive:  # whoever has its partition now makes its results anew
            let_go(answer.answer.results)
            return None
        offsets = tuple((assignment, job.span.runs[assignment.partition][0]) for assignment in job.assignments)
        return Ended(answer.answer, offsets, job.span, job.file.version, job.file.version.id)

    def drop_dead(self) -> None:
        """Let go of waiting files whose partition was taken away; those in a worker answer by themselves."""
        for item in [each for each in self._waiting if not each[2].is_alive]:
            self._waiting.remove(item)
            self._leave(item[2])
        heapq.heapify(self._waiting)

    def _start(self, job: Job) -> None:
        if self._is_full or any(assignment.partition in self._recalled for assignment in job.assignments):
            self._wait(job, 0.0)
            return
        job.is_recalled = False
        self._running.add(job)
        self._submit(job)

    def _wait(self, job: Job, until: float) -> None:
        self._count += 1
        heapq.heappush(self._waiting, (until, self._count, job))

    def _leave(self, job: Job) -> None:
        job.file.release()
        self.memory -= job.memory
        self.disk -= job.disk
        self._files -= 1
        key = job.file.version.path.key
        line = self._paths[key]
        line.remove(job)
        if line:  # only the first of a line is ever with a worker or waiting, so it was the one that left
            self._start(line[0])
        else:
            del self._paths[key]
