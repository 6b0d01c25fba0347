"""Seeded defects: each breaks one promise, and the trials of its faults must notice.

Each is a context manager that makes the defect in this process. Trials in this process are wrapped by it; real
processes get it through `launched`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any
from unittest.mock import patch

from openmsi_core import model
from openmsi_core.files.assembly import Assembler
from openmsi_core.files.opened import OpenVersion
from openmsi_core.model import Outcome, What
from openmsi_core.receiving import attempts, unfinished, workers
from openmsi_core.receiving.intake import Intake
from openmsi_core.wiring import receiving
from openmsi_plugins.disk import sink
from openmsi_plugins.disk.staging import Durability, Staging
from openmsi_plugins.disk.tree import Place

Mutation = Callable[[], AbstractContextManager[Any]]


@contextmanager
def metadata_is_dropped() -> Iterator[None]:
    """A commit does not say what is unfinished above it: P3."""
    with patch.object(unfinished, "decode", lambda _text: None):
        yield


@contextmanager
def digest_is_not_checked() -> Iterator[None]:
    """A file counts as whole whatever its digest: P2."""
    with patch.object(OpenVersion, "digest", lambda opened: opened.promised):
        yield


@contextmanager
def old_partitions_are_remembered() -> Iterator[None]:
    """What was read under an earlier assignment goes on as if nothing had happened: P3."""
    with patch.object(Assembler, "forget_partitions", lambda *_: None):
        yield


@contextmanager
def short_writes_count_as_whole() -> Iterator[None]:
    """A sink that does not look whether all bytes were written: P2."""

    def write(own: Staging, name: str, data: bytes) -> None:
        descriptor = own.place.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            with suppress(OSError):
                os.write(descriptor, data)
        finally:
            os.close(descriptor)

    with patch.object(Staging, "_write", write):
        yield


@contextmanager
def a_record_without_room_counts_as_taken() -> Iterator[None]:
    """A record for which the spool had no room is not kept: P1."""
    real = Intake.offer

    def offer(own: Intake) -> Iterator[Any]:
        own.waiting.clear()
        yield from real(own)

    with patch.object(Intake, "offer", offer):
        yield


@contextmanager
def a_full_disk_is_a_failure() -> Iterator[None]:
    """A file that finds no room is given up instead of waiting: a person would have to send it again."""

    def meaning(own: sink.Disk, error: OSError, names: tuple[str, ...]) -> Exception:
        return error

    with patch.object(sink.Disk, "_meaning", meaning):
        yield


@contextmanager
def a_failed_sync_counts() -> Iterator[None]:
    """A sink does not look whether its files reached the disk: P1."""
    everything, file = Durability.everything, Durability.file

    def all_of_them(own: Durability, count: int) -> bool:
        with suppress(OSError):
            return everything(own, count)
        return True

    def one(own: Durability, place: Place, name: str) -> None:
        with suppress(OSError):
            file(own, place, name)

    with patch.object(Durability, "everything", all_of_them), patch.object(Durability, "file", one):
        yield


@contextmanager
def a_failed_sync_is_tried_again() -> Iterator[None]:
    """After a failed sync the same spooled bytes are synced once more, which says nothing: P1."""
    with patch.object(Staging, "is_sync_trusted", property(lambda _: True, lambda *_: None), create=True):
        yield


@contextmanager
def names_are_not_escaped() -> Iterator[None]:
    """The sink stores every name as it came: P2."""
    with patch.object(sink, "stored", lambda parts, _rules: tuple(parts)):
        yield


@contextmanager
def paths_are_not_checked() -> Iterator[None]:
    """A path may lead out of its root: P2."""
    with patch.object(model, "_check_part", lambda _part: None):
        yield


@contextmanager
def only_exceptions_are_caught() -> Iterator[None]:
    """A plugin that calls sys.exit ends the run: other files are not dealt with."""
    real = attempts.failure_of

    def failure_of(error: BaseException, *more: Any) -> Any:
        if not isinstance(error, Exception):
            raise error
        return real(error, *more)

    with patch.object(attempts, "failure_of", failure_of), patch.object(workers, "failure_of", failure_of):
        yield


@contextmanager
def a_failed_file_counts_as_done() -> Iterator[None]:
    """Nobody is told of a file on which the plugin failed: P4."""
    with patch.object(attempts, "_letter", lambda _what, _error, job: Outcome(What.DONE, tries=job.tries)):
        yield


@contextmanager
def a_stop_is_not_heard() -> Iterator[None]:
    """A signal changes nothing: who stops a service must kill it."""
    with patch.object(receiving, "signals_set", lambda _stop: _deaf()):
        yield


@contextmanager
def _deaf() -> Iterator[list[int]]:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    yield [0]


MUTATIONS: dict[str, Mutation] = {
    "metadata-is-dropped": metadata_is_dropped,
    "digest-is-not-checked": digest_is_not_checked,
    "old-partitions-are-remembered": old_partitions_are_remembered,
    "short-writes-count-as-whole": short_writes_count_as_whole,
    "a-record-without-room-counts-as-taken": a_record_without_room_counts_as_taken,
    "names-are-not-escaped": names_are_not_escaped,
    "paths-are-not-checked": paths_are_not_checked,
    "only-exceptions-are-caught": only_exceptions_are_caught,
    "a-failed-file-counts-as-done": a_failed_file_counts_as_done,
    "a-stop-is-not-heard": a_stop_is_not_heard,
    "a-failed-sync-counts": a_failed_sync_counts,
    "a-failed-sync-is-tried-again": a_failed_sync_is_tried_again,
    "a-full-disk-is-a-failure": a_full_disk_is_a_failure,
}


def applied(name: str) -> AbstractContextManager[Any]:
    """The mutation of that name; nothing for ""."""
    return MUTATIONS[name]() if name else nullcontext()
