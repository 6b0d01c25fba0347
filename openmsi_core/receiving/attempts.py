"""One call of a plugin on one file, and what its failure means."""

from __future__ import annotations

from dataclasses import dataclass

from openmsi_core.errors import (
    PluginFailed,
    Reject,
    RetryLater,
    TargetError,
    TooManyResults,
    name_of,
    text_of,
    traceback_of,
)
from openmsi_core.model import Outcome, What
from openmsi_core.ports import Runner
from openmsi_core.receiving.jobs import Job, RunFacts
from openmsi_core.receiving.results import results_of


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and when a file is tried again. Seconds.

    ``delays`` are waited between tries after a failure: one more try than delays. A plugin that asks with
    RetryLater is called again for ``retry_for`` at most.
    """

    delays: tuple[float, ...] = (1.0, 10.0)
    retry_for: float = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Again:
    """The file is not dealt with: offer it again after ``seconds``."""

    seconds: float
    reason: str


def attempt(runner: Runner, job: Job, run: RunFacts, policy: RetryPolicy, now: float) -> Outcome | Again:
    """Hand ``job`` to the plugin once; ``now`` is any monotonic clock in seconds.

    Catches everything that a plugin can raise, SystemExit too: a plugin may fail, the run may not. Raises TargetError,
    by which a plugin ends the run on purpose.
    """
    job.tries += 1
    try:
        handled = runner.handle(job.file)
        results = results_of(job.file.version, job.span, handled.results, run)
    except TargetError:  # it concerns every file, so the run ends
        job.file.take_back()
        raise
    except BaseException as error:  # noqa: BLE001 - judged by failure_of; nothing is swallowed
        job.file.take_back()
        return failure_of(error, job, policy, now)
    return Outcome(What.DONE, results=results, location=handled.location, unchanged=handled.unchanged, tries=job.tries)


def failure_of(error: BaseException, job: Job, policy: RetryPolicy, now: float) -> Outcome | Again:
    """What an exception of the plugin does to its file; whatever the exception itself does when it is looked at."""
    try:
        return _judged(error, job, policy, now)
    except BaseException as worse:  # noqa: BLE001 - a plugin's own class may do anything
        return _letter(What.FAILED, worse, job)


def _judged(error: BaseException, job: Job, policy: RetryPolicy, now: float) -> Outcome | Again:
    if isinstance(error, Reject):
        return _letter(What.REJECTED, error, job)
    if isinstance(error, TooManyResults):
        return _letter(What.TOO_MANY_RESULTS, error, job)
    if isinstance(error, RetryLater):
        if job.waiting_since is None:
            job.waiting_since = now
        if now - job.waiting_since >= policy.retry_for:
            return _letter(What.RETRIES_EXHAUSTED, error, job)
        job.tries -= 1  # waiting for something outside is not a failed try
        return Again(max(error.seconds, 0.1), text_of(error))
    if job.tries <= len(policy.delays):
        return Again(policy.delays[job.tries - 1], f"{name_of(error)}: {text_of(error)}")
    return _letter(What(error.what) if isinstance(error, PluginFailed) else What.FAILED, error, job)


def _letter(what: What, error: BaseException, job: Job) -> Outcome:
    return Outcome(what, reason=text_of(error), error=name_of(error), traceback=traceback_of(error), tries=job.tries)
