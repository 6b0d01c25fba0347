"""Seeded defects: each breaks one promise, and the trials of its faults must notice.

Each is a context manager that makes the defect in this process. Trials in this process are wrapped by it; real
processes get it through `launched`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from openmsi_core import model
from openmsi_core.files import wire
from openmsi_core.files.assembly import Assembler
from openmsi_core.files.opened import OpenVersion
from openmsi_core.kafka.transaction import Transactional
from openmsi_core.model import Commit, Outcome, Outgoing, What
from openmsi_core.receiving import attempts, checkpoint, envelopes, unfinished, workers
from openmsi_core.receiving import stream as streams
from openmsi_core.receiving.attempts import Again
from openmsi_core.receiving.dispatch import Dispatch
from openmsi_core.receiving.intake import Intake
from openmsi_core.receiving.jobs import Ended, Job
from openmsi_core.receiving.stream import Stream
from openmsi_core.receiving.watermark import Watermark
from openmsi_core.sending import flight as flights
from openmsi_core.sending import restarting, rows, tables
from openmsi_core.sending.entries import DEALT_WITH, State
from openmsi_core.sending.flight import Flight
from openmsi_core.sending.hints import FolderHints
from openmsi_core.sending.ledger import Ledger
from openmsi_core.sending.reports import Ending
from openmsi_core.sending.scanner import Scanner
from openmsi_core.sending.sender import Sender
from openmsi_core.wiring import receiving
from openmsi_plugins.disk import sink
from openmsi_plugins.disk.staging import Durability, Staging
from openmsi_plugins.disk.tree import Place
from tests.faults.bucket_mutations import BUCKET_MUTATIONS

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


@contextmanager
def checksum_is_not_checked() -> Iterator[None]:
    """A record counts as undamaged whatever its checksum: P2."""
    with patch.object(wire, "_checksum", lambda *_: 7):
        yield


@contextmanager
def claims_are_believed() -> Iterator[None]:
    """Memory is set aside for the size that a record claims: P5."""
    learn = OpenVersion._learn

    def learned(opened: Any, chunk: Any) -> None:
        learn(opened, chunk)
        opened.reserved = bytearray(min(chunk.version.size if chunk.version else 0, 1 << 26))

    with patch.object(OpenVersion, "_learn", learned):
        yield


@contextmanager
def last_record_is_enough() -> Iterator[None]:
    """A file is published when its last record came, before it is whole and verified: P2."""
    with (
        patch.object(OpenVersion, "is_whole", property(lambda opened: None not in (opened._end, opened.version))),
        patch.object(OpenVersion, "digest", lambda opened: opened.promised),
    ):
        yield


@contextmanager
def commit_is_skipped() -> Iterator[None]:
    """Results are published without the commit that says so: P3."""
    plan = checkpoint.plan
    with patch.object(checkpoint, "plan", lambda *arguments: replace(plan(*arguments), commits=())):
        yield


@contextmanager
def open_versions_are_forgotten() -> Iterator[None]:
    """A commit passes versions that are not dealt with: P4."""
    with patch.object(Watermark, "_still_open", lambda *_: iter(())):
        yield


@contextmanager
def epochs_are_ignored() -> Iterator[None]:
    """What was begun under an assignment that ended is published under the next one: P3."""
    always = property(lambda _: True)
    with patch.object(Ended, "is_alive", always), patch.object(Job, "is_alive", always):
        yield


@contextmanager
def nothing_is_given_up() -> Iterator[None]:
    """However many files are open, none has to go: P5."""
    with patch.object(Assembler, "excess", lambda _: []):
        yield


@contextmanager
def what_must_wait_is_published() -> Iterator[None]:
    """Outcomes are published that the commit cannot record: P3."""
    plan = Watermark._plan

    def planned(mark: Watermark, *arguments: Any) -> Any:
        return replace(plan(mark, *arguments), held=frozenset(), below=1 << 62)

    with patch.object(Watermark, "_plan", planned):
        yield


@contextmanager
def jumps_age_files() -> Iterator[None]:
    """A file's age is reckoned from a clock that somebody sets: P4."""
    keep_house = Stream._keep_house

    def kept(stream: Any, source: Any) -> None:
        keep_house(stream, source)
        moment = stream._now().timestamp() - stream._pace.incomplete_after
        for ended in list(stream._intake.expire(int(moment * 1000))):
            stream._outcomes.add(ended)

    with patch.object(Stream, "_keep_house", kept):
        yield


@contextmanager
def timestamps_are_believed() -> Iterator[None]:
    """A file's age is reckoned from the sender's clock: P4."""
    take = Assembler.take

    def taken(assembler: Assembler, record: Any, chunk: Any, _now_ms: int = 0) -> Any:
        return take(assembler, record, chunk, record.timestamp_ms)

    with patch.object(Assembler, "take", taken):
        yield


@contextmanager
def times_lose_their_sign() -> Iterator[None]:
    """A time before 1970 is told as one after it: P2, for what is said of a file."""
    instant = envelopes.instant_ns
    with patch.object(envelopes, "instant_ns", lambda nanoseconds: instant(abs(nanoseconds))):
        yield


@contextmanager
def content_is_not_synced() -> Iterator[None]:
    """Files get their names before their content is safe: P2."""
    with (
        patch.object(Durability, "everything", lambda *_: False),
        patch.object(Durability, "file", lambda *_: None),
    ):
        yield


@contextmanager
def names_are_not_synced() -> Iterator[None]:
    """A file counts as stored before its name is safe: P1."""
    with patch.object(sink.Disk, "_sync_folders", lambda *_: None):
        yield


@contextmanager
def files_are_written_in_place() -> Iterator[None]:
    """What stands under a final name is written there: P2."""

    def publish(own: Any, name: str, place: Any, final: str) -> None:
        descriptor = place.open(final, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        data = Path(own.place.path, name).read_bytes()
        for at in range(0, len(data), 1000):
            os.write(descriptor, data[at : at + 1000])
        os.fsync(descriptor)
        os.close(descriptor)
        own.drop(name)

    with patch.object(Staging, "publish", publish):
        yield


@contextmanager
def paths_lose_their_order() -> Iterator[None]:
    """While a version waits for its next try, a later one of its path goes first: P3."""
    answered = Dispatch.answered

    def unordered(dispatch: Any, answer: Any, now: float) -> Any:
        job = answer.job
        if not isinstance(answer.answer, Again) or not job.is_alive:
            return answered(dispatch, answer, now)
        dispatch._running.discard(job)
        line = dispatch._paths[job.file.version.path.key]
        line.rotate(-1)
        dispatch._start(line[0])
        return None

    with patch.object(Dispatch, "answered", unordered):
        yield


@contextmanager
def equal_content_is_stored_again() -> Iterator[None]:
    """A sink does not look at what stands there: P3."""
    standing = sink.Disk._standing

    def other(disk: Any, *arguments: Any) -> Any:
        found = standing(disk, *arguments)
        return "other" if found == "equal" else found

    with patch.object(sink.Disk, "_standing", other):
        yield


@contextmanager
def outcomes_and_offsets_come_apart() -> Iterator[None]:
    """Results are committed in one transaction, the offsets after it: P3."""
    whole = Transactional.write

    def write(store: Transactional, outgoing: Iterable[Outgoing], commits: Sequence[Commit], *, size: int = 0) -> None:
        whole(store, outgoing, (), size=size)
        whole(store, (), commits)

    with patch.object(Transactional, "write", write):
        yield


@contextmanager
def cuts_are_not_told() -> Iterator[None]:
    """What retention removed before it was read is passed in silence: P4."""
    with patch.object(streams, "cut_of", lambda *_: None):
        yield


@contextmanager
def keys_are_waited_for_for_ever() -> Iterator[None]:
    """A sealed record whose key never comes never ends: P4."""
    with patch.object(Intake, "unlock", lambda *_: iter(())):
        yield


@contextmanager
def sent_before_acknowledged() -> Iterator[None]:
    """The ledger calls a file sent as soon as its last record is produced: P1."""
    went_out = Flight.went_out

    def too_early(flight: Flight) -> None:
        went_out(flight)
        if flight.ending is Ending.SENT:
            flight.answered = flight.produced
            _TOO_EARLY.append(flight)

    step = Sender.step

    def stepped(sender: Any, timeout: float) -> bool:
        moved = step(sender, timeout)
        for flight in _TOO_EARLY:
            sender._journal.put(flight.entry(State.SENT, 0))
        _TOO_EARLY.clear()
        sender._journal.flush()
        return moved

    with patch.object(Flight, "went_out", too_early), patch.object(Sender, "step", stepped):
        yield


_TOO_EARLY: list[Flight] = []


@contextmanager
def nothing_is_looked_back_at() -> Iterator[None]:
    """A restart does not look for what the last process could not write down: P3."""
    with patch.object(restarting, "_whole_behind", lambda *_: {}):
        yield


@contextmanager
def halves_are_forgotten() -> Iterator[None]:
    """What was half sent is neither continued nor given up: P4."""
    with patch.object(restarting, "_continue", lambda *_: None):
        yield


@contextmanager
def no_second_look() -> Iterator[None]:
    """Whether a file changed while it was read is not asked: P2."""
    with patch.object(flights, "second_look", lambda *_: None):
        yield


@contextmanager
def one_look_is_enough() -> Iterator[None]:
    """A path that was sent is never looked at again, as the predecessor's is not: P1."""

    def known(ledger: Ledger, key: bytes, *_: int) -> bool:
        found = ledger.entry(key)
        return found is not None and found.state in DEALT_WITH

    with patch.object(Ledger, "known", known):
        yield


@contextmanager
def hints_are_the_truth() -> Iterator[None]:
    """After the first scan only hints lead to looks: P1."""
    scan, seen = Scanner.scan, set()

    def once(scanner: Scanner) -> Any:
        if scanner.root in seen:
            return
        seen.add(scanner.root)
        yield from scan(scanner)

    with patch.object(Scanner, "scan", once), patch.object(FolderHints, "were_lost", lambda _: False):
        yield


@contextmanager
def damage_is_believed() -> Iterator[None]:
    """A ledger that cannot be used is not put aside: nothing is sent without a person."""
    with patch.object(rows.Rows, "_put_aside", lambda *_: None):
        yield


@contextmanager
def rows_are_believed() -> Iterator[None]:
    """Values of rows that flipped count as what was written."""
    with patch.object(rows, "checksum_of", lambda *_: 0), patch.object(tables, "checksum_of", lambda *_: 0):
        yield


MUTATIONS: dict[str, Mutation] = {
    "sent-before-acknowledged": sent_before_acknowledged,
    "nothing-is-looked-back-at": nothing_is_looked_back_at,
    "halves-are-forgotten": halves_are_forgotten,
    "no-second-look": no_second_look,
    "one-look-is-enough": one_look_is_enough,
    "hints-are-the-truth": hints_are_the_truth,
    "damage-is-believed": damage_is_believed,
    "rows-are-believed": rows_are_believed,
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
    "checksum-is-not-checked": checksum_is_not_checked,
    "claims-are-believed": claims_are_believed,
    "last-record-is-enough": last_record_is_enough,
    "commit-is-skipped": commit_is_skipped,
    "open-versions-are-forgotten": open_versions_are_forgotten,
    "epochs-are-ignored": epochs_are_ignored,
    "nothing-is-given-up": nothing_is_given_up,
    "what-must-wait-is-published": what_must_wait_is_published,
    "jumps-age-files": jumps_age_files,
    "timestamps-are-believed": timestamps_are_believed,
    "times-lose-their-sign": times_lose_their_sign,
    "content-is-not-synced": content_is_not_synced,
    "names-are-not-synced": names_are_not_synced,
    "files-are-written-in-place": files_are_written_in_place,
    "paths-lose-their-order": paths_lose_their_order,
    "equal-content-is-stored-again": equal_content_is_stored_again,
    "outcomes-and-offsets-come-apart": outcomes_and_offsets_come_apart,
    "keys-are-waited-for-for-ever": keys_are_waited_for_for_ever,
    "cuts-are-not-told": cuts_are_not_told,
    **BUCKET_MUTATIONS,
}


def applied(name: str) -> AbstractContextManager[Any]:
    """The mutation of that name; nothing for ""."""
    return MUTATIONS[name]() if name else nullcontext()
