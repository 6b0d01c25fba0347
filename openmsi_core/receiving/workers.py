"""The threads that run plugins. The poll loop never does.

Each worker has its own runner, so a plugin is never called by two threads. Files of one path always go to the same
worker. A worker groups the files of a plugin that flushes, and answers for them only after the flush.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from openmsi_core.errors import TargetError, WorkLost, text_of
from openmsi_core.files.datafile import DataFile
from openmsi_core.model import Outcome
from openmsi_core.ports import Runner
from openmsi_core.receiving.attempts import Again, RetryPolicy, attempt, failure_of
from openmsi_core.receiving.jobs import Job, RunFacts
from openmsi_core.receiving.results import memory_of

log = logging.getLogger(__name__)

GROUP_FILES = 256
GROUP_BYTES = 64 * 1024 * 1024
GROUP_SECONDS = 0.25
UNTAKEN_BYTES = 16 * 1024 * 1024  # of results in memory that nobody took; then files are given back, not begun


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker says of one job. ``answer`` is None for a job that belongs to nobody any more."""

    job: Job
    answer: Outcome | Again | None


Observe = Callable[[DataFile, Outcome], None]


class Workers:
    """A fixed number of worker threads; each opens its runner, `__exit__` ends them.

    ``observe`` is told of each file that is dealt with, in the worker's thread. `answers` is what they have
    finished; it never blocks longer than asked. When a runner cannot be opened
    `__enter__` raises what its plugin raised; it waits until all are open, or ``stopping`` is set.
    """

    def __init__(
        self,
        runners: Sequence[Runner],
        run: RunFacts,
        policy: RetryPolicy,
        observe: Observe = lambda *_: None,
        *,
        stopping: threading.Event | None = None,
    ) -> None:
        self._stopping = stopping or threading.Event()
        self._observe = observe
        self._runners = runners
        self._run = run
        self._policy = policy
        self._jobs: list[queue.SimpleQueue[Job | None]] = [queue.SimpleQueue() for _ in runners]
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._untaken = 0
        self._counting = threading.Lock()
        self._loops: list[_WorkerLoop] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        for number, runner in enumerate(self._runners):
            loop = _WorkerLoop(runner, self._jobs[number], self._say, self._run, self._policy, self._is_full)
            thread = threading.Thread(target=loop.run, name=f"openmsi-worker-{number}", daemon=True)
            thread.start()
            self._loops.append(loop)
            self._threads.append(thread)
        for loop in self._loops:
            while not loop.opened.wait(0.1) and not self._stopping.is_set():
                pass
        failed = next((loop.died for loop in self._loops if loop.died is not None), None)
        if failed is not None:
            self.stop(2.0)
            raise failed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(2.0)

    def _say(self, answer: Answer) -> None:
        """Called in a worker's thread: observers first, while the file is still there."""
        if isinstance(answer.answer, Outcome):
            self._observe(answer.job.file, answer.answer)
        self._count(answer, 1)
        self._answers.put(answer)

    def _count(self, answer: Answer, sign: int) -> None:
        if isinstance(answer.answer, Outcome) and answer.answer.results:
            with self._counting:
                self._untaken += sign * memory_of(answer.answer.results)

    def _is_full(self) -> bool:
        """True while the poll loop, which may wait for the broker, did not take what there is."""
        return self._untaken >= UNTAKEN_BYTES

    def submit(self, job: Job) -> None:
        """Give a file to the worker of its path."""
        number = zlib.crc32(job.file.version.path.key) % len(self._jobs)
        self._jobs[number].put(job)

    def answers(self, timeout: float = 0.0) -> list[Answer]:
        """Everything answered by now; waits up to ``timeout`` seconds for the first.

        Raises what ended a worker, which is a fault of ours or of a plugin's `close`.
        """
        for loop in self._loops:
            if loop.died is not None:
                raise loop.died
        out: list[Answer] = []
        try:
            out.append(self._answers.get(timeout=timeout) if timeout > 0 else self._answers.get_nowait())
            while True:
                out.append(self._answers.get_nowait())
        except queue.Empty:
            for answer in out:
                self._count(answer, -1)
            return out

    def stop(self, timeout: float) -> bool:
        """Let each worker finish its current file, and end; False when one is still busy after ``timeout`` seconds.

        A thread that is stuck in a plugin cannot be ended; it is a daemon and dies with the process.
        """
        for jobs in self._jobs:
            jobs.put(None)
        ends = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, ends - time.monotonic()))
        stuck = [thread.name for thread in self._threads if thread.is_alive()]
        if stuck:
            log.warning("%s: still inside the plugin after %g s; left behind", ", ".join(stuck), timeout)
        self._threads = []
        return not stuck


class _WorkerLoop:
    """What one worker thread does."""

    def __init__(
        self,
        runner: Runner,
        jobs: queue.SimpleQueue[Job | None],
        answer: Callable[[Answer], None],
        run: RunFacts,
        policy: RetryPolicy,
        is_full: Callable[[], bool],
    ) -> None:
        self._is_full = is_full
        self._runner = runner
        self._jobs = jobs
        self._answer = answer
        self._run = run
        self._policy = policy
        self._group: list[tuple[Job, Outcome]] = []
        self._bytes = 0
        self._began = 0.0
        self.opened = threading.Event()
        self.died: BaseException | None = None

    def run(self) -> None:
        try:
            self._runner.open()  # here, because some libraries' objects belong to the thread that made them
            self.opened.set()
            try:
                self._work()
            finally:
                self._runner.close()
        except BaseException as error:  # noqa: BLE001 - the poll loop raises it: a run without its worker must end
            self.died = error
            self.opened.set()

    def _work(self) -> None:
        while True:
            job = self._next()
            if job is None:
                break
            if not job.is_alive:
                self._answer(Answer(job, None))
                continue
            if job.is_recalled or self._is_full():
                self._answer(Answer(job, Again(0.0, "recalled before it was begun")))
                continue
            self._handle(job)
        self._flush(is_alone=True)

    def _next(self) -> Job | None:
        """The next job; while none waits, what is grouped is flushed. None: the end."""
        if not self._group:
            return self._jobs.get()
        due = (
            len(self._group) >= GROUP_FILES
            or self._bytes >= GROUP_BYTES
            or time.monotonic() - self._began >= GROUP_SECONDS
        )
        if not due:
            try:
                return self._jobs.get_nowait()
            except queue.Empty:
                pass  # nothing waits: now is the time to flush
        self._flush()
        return self._jobs.get()

    def _handle(self, job: Job) -> None:
        answer = attempt(self._runner, job, self._run, self._policy, time.monotonic())
        if not self._runner.flushes or isinstance(answer, Again) or answer.what.is_letter:
            self._answer(Answer(job, answer))
            return
        if not self._group:
            self._began = time.monotonic()
        self._group.append((job, answer))
        self._bytes += job.file.size

    def _flush(self, *, is_alone: bool = False) -> None:
        group, self._group, self._bytes = self._group, [], 0
        if not group:
            return
        try:
            self._runner.flush()
        except TargetError:
            raise
        except BaseException as error:  # noqa: BLE001 - each file of the group is judged below
            if len(group) == 1 and (is_alone or not isinstance(error, WorkLost)):
                self._answer(Answer(group[0][0], failure_of(error, group[0][0], self._policy, time.monotonic())))
                return
            log.warning("storing %d files together failed (%s); each is tried alone", len(group), text_of(error))
            for job, _ in group:
                job.tries -= 1
                self._alone(job)
            return
        for job, outcome in group:
            self._answer(Answer(job, outcome))

    def _alone(self, job: Job) -> None:
        """One file and its own flush."""
        self._handle(job)
        self._flush()
