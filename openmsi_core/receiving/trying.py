"""One local file through a plugin, as a whole file of a topic goes through it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

from openmsi_core.files.content import OnDisk
from openmsi_core.files.events import Whole
from openmsi_core.files.opened import Span
from openmsi_core.model import FileVersion, Outcome, Position, RelativePath
from openmsi_core.ports import Runner
from openmsi_core.receiving.attempts import Again, RetryPolicy, attempt, failure_of
from openmsi_core.receiving.jobs import Job, RunFacts, job_of


def tried(runner: Runner, path: Path, run: RunFacts) -> dict[str, object]:
    """What became of ``path``: outcome, results, location, reason. Each file is tried once. Raises OSError."""
    status = path.stat()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    version = FileVersion(
        id=bytes(16),
        path=RelativePath((path.name,)),
        size=status.st_size,
        chunk=512 * 1024,
        mtime_ns=status.st_mtime_ns,
        sha256=digest,
    )
    span = Span()
    span.add(Position(run.topic, 0, 0))
    whole = Whole(version, OnDisk(path.absolute(), ours=False), span)
    job = job_of(whole, (), run, datetime.now(UTC))
    try:
        answer = _flushed(runner, job, attempt(runner, job, run, _ONCE, time.monotonic()))
    finally:
        job.file.release()
    if isinstance(answer, Again):
        return _told(path, "retry-later", reason=answer.reason, error="RetryLater")
    return _told(
        path,
        answer.what,
        results=[json.loads(result.value) for result in answer.results],
        location=answer.location,
        reason=answer.reason,
        error=answer.error,
        traceback=answer.traceback,
    )


_ONCE = RetryPolicy(delays=())


def _flushed(runner: Runner, job: Job, answer: Outcome | Again) -> Outcome | Again:
    if not runner.flushes or isinstance(answer, Again) or answer.what.is_letter:
        return answer
    try:
        runner.flush()
    except BaseException as error:  # noqa: BLE001 - told as the file's outcome
        return failure_of(error, job, _ONCE, time.monotonic())
    return answer


def _told(path: Path, outcome: str, **facts: object) -> dict[str, object]:
    nothing: dict[str, object] = {"results": [], "location": "", "reason": "", "error": "", "traceback": ""}
    return {"path": os.fspath(path), "outcome": str(outcome)} | nothing | facts
