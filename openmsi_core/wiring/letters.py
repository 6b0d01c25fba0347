"""From settings to dead letters: read them, look at one, save its file, hand it to its plugin again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

from openmsi_core.errors import BreakerOpen, TopicError, UsageError
from openmsi_core.files.assembly import Assembler
from openmsi_core.files.saving import save
from openmsi_core.files.spool import Spool
from openmsi_core.kafka import admin
from openmsi_core.kafka.checkpoint import AtLeastOnce
from openmsi_core.kafka.nogroup import NoGroup
from openmsi_core.kafka.reading import TopicReader
from openmsi_core.kafka.transaction import Transactional
from openmsi_core.model import FileVersion, RelativePath
from openmsi_core.ports import OutcomeStore, Sealer
from openmsi_core.receiving.again import InOrder, Retried, Retry, look_for_newer, record_of, removed, whole_of
from openmsi_core.receiving.attempts import RetryPolicy
from openmsi_core.receiving.letters import Letter, Letters, place_in, read_letter
from openmsi_core.receiving.survey import Newest, Survey
from openmsi_core.receiving.workers import Workers
from openmsi_core.settings import RunSettings
from openmsi_core.wiring.building import Built
from openmsi_core.wiring.connecting import reached
from openmsi_core.wiring.encrypting import UNENCRYPTED, Choice, Encryption, looking
from openmsi_core.wiring.observers import Observers
from openmsi_core.wiring.receiving import encrypted, facts_of, isolation_of, limits_of
from openmsi_core.wiring.signals import signals_set

log = logging.getLogger(__name__)

BY_HAND = RetryPolicy(delays=(1.0,), retry_for=0.0)
"""A person waits: one more try after a second, and who asks to be called later is told of at once."""


def letters_in(
    kafka: Mapping[str, str], topic: str, *, keeps_resolved: bool = False, choice: Choice = UNENCRYPTED
) -> Letters:
    """The dead letters of ``topic``, from the beginning of the log to its present end.

    Raises TopicError, SettingsError, BrokerError, CipherError.
    """
    with looking(choice, kafka, [f"{topic}.dlq"]) as crypt:
        return _letters(kafka, topic, crypt, keeps_resolved=keeps_resolved)


def _letters(kafka: Mapping[str, str], topic: str, crypt: Encryption, *, keeps_resolved: bool = False) -> Letters:
    with _letters_reader(kafka, topic) as plain:
        reader = crypt.reader(plain)
        ends = reader.ends()
        return Letters.of(reader.between(ends), ends, keeps_resolved=keeps_resolved)


def show_letter(kafka: Mapping[str, str], topic: str, letter_id: str, choice: Choice = UNENCRYPTED) -> dict[str, Any]:
    """Everything about one letter, and whether what it is about is still in the topic.

    ``bytes`` has ``there``, ``removed`` (offsets, for a person) and ``until``: retention leaves them at least until
    then; None: for ever, or not known. Raises UsageError, TopicError, BrokerError.
    """
    with looking(choice, kafka, [f"{topic}.dlq"]) as crypt:
        letter, resolution = _one(kafka, topic, letter_id, crypt)
    told = letter.as_json() | {"resolved": resolution}
    settings = admin.connected(kafka).facts(topic).settings
    with TopicReader(kafka, topic) as reader:
        ends = reader.ends()
        missing = [number for number, (_, last, _) in letter.positions.items() if last >= ends.get(number, (0, 0))[1]]
        gone = removed(letter, ends)
        sent = None
        if not gone and not missing:
            ranges = {number: (first, first + 1) for number, (first, _, _) in letter.positions.items()}
            sent = min((each.timestamp_ms for each in reader.between(ranges) if each is not None), default=None)
    until = _until(sent, settings.get("retention.ms"))
    return told | {"bytes": {"there": sent is not None, "removed": gone, "until": until}}


def save_letter(
    kafka: Mapping[str, str],
    state: Path,
    topic: str,
    letter_id: str,
    to: Path,
    *,
    force: bool = False,
    choice: Choice = UNENCRYPTED,
) -> Path:
    """Write the file of a letter, or the record that it is about, to ``to``, a folder or a file; where it stands now.

    The file is verified by its digest, and appears whole or not at all. Raises NotWhole when its bytes are gone,
    UsageError, FolderError, TopicError, BrokerError, OSError.
    """
    with ExitStack() as stack:
        crypt = stack.enter_context(looking(choice, kafka, [topic]))
        letter, _ = _one(kafka, topic, letter_id, crypt)
        reader = stack.enter_context(TopicReader(kafka, topic))
        if not letter.file_id:
            name = RelativePath((f"{topic}-{letter_id}.record",))
            return save(record_of(letter, crypt.reader(reader)).value or b"", to, name, force=force)
        spool = stack.enter_context(Spool(state / "spool"))
        whole = whole_of(letter, reader, Assembler(spool), crypt.patient)
        stack.callback(whole.content.discard)
        return save(whole.content, to, whole.version.path, mtime_ns=whole.version.mtime_ns, force=force)


def retry_letters(
    settings: RunSettings,
    kafka: Mapping[str, str],
    state: Path,
    values: Mapping[str, object],
    letters: Sequence[Letter],
    *,
    told: Callable[[Retried], None],
    force: bool = False,
    choice: Choice = UNENCRYPTED,
) -> int:
    """Hand the files of ``letters``, all of one run, to its plugin again; the signal that stopped it, or 0.

    ``told`` hears of each letter once it is durable. With ``force`` later versions do not matter. Raises BreakerOpen
    after so many failures in a row as the run allows, PluginError, SettingsError, TopicError, FolderError, BrokerError.
    """
    built = Built(settings.plugin, values, isolation_of(settings))
    probe = built.probe
    stopping = Event()
    with ExitStack() as stack:
        stopped = stack.enter_context(signals_set(stopping.set))
        reached_run = reached(lambda: facts_of(settings, kafka, probe.facts), stopping, waits=False)
        if reached_run is None:
            return stopped[0]
        crypt = stack.enter_context(encrypted(choice, kafka, reached_run, stopping))
        spool = stack.enter_context(Spool(probe.spool_folder() or state / "spool", free=settings.spool_free))
        run = replace(reached_run, workdir=spool.folder)
        reader = stack.enter_context(TopicReader(kafka, run.topic))
        runners = stack.enter_context(built.runners(1, spool.folder))
        observers = Observers(run, settings.hooks)
        stack.enter_context(observers.watching(runners))
        workers = stack.enter_context(Workers(runners, run, BY_HAND, observers.file))
        store = stack.enter_context(_retry_store(settings, kafka, stopping))
        left = letters if force else _unresolved(letters, kafka, run.topic, crypt)
        newest = Newest() if force else _newest(letters, reader, spool, settings, crypt.patient, stopping=stopping)
        retry = Retry(run, workers, _together(settings, crypt.store(store)), newest, stopping=stopping)
        limits, sealer = limits_of(settings), crypt.patient
        fates = retry.each(left, lambda letter: whole_of(letter, reader, Assembler(spool, limits), sealer))
        _tell(fates, told, settings.breaker)
        return stopped[0]


def _tell(fates: Iterable[Retried], told: Callable[[Retried], None], breaker: int) -> None:
    """Tell each; raise BreakerOpen after ``breaker`` failures in a row, 0: never."""
    row = 0
    for fate in fates:
        told(fate)
        if fate.outcome is not None:
            row = row + 1 if fate.outcome.what.is_letter else 0
        if breaker and row >= breaker:
            raise BreakerOpen(
                f"{row} files in a row failed again, the last one {fate.letter.subject}: {fate.reason}. Nothing was "
                "published of them; mend the plugin or what it needs and try again."
            )


def _unresolved(letters: Sequence[Letter], kafka: Mapping[str, str], topic: str, crypt: Encryption) -> Sequence[Letter]:
    """Those that nobody has resolved meanwhile; whoever tried to is fenced by now."""
    unresolved = _letters(kafka, topic, crypt).unresolved
    return [letter for letter in letters if letter.id in unresolved]


def _retry_store(
    settings: RunSettings, kafka: Mapping[str, str], stopping: Event
) -> AbstractContextManager[AtLeastOnce | Transactional]:
    """One transactional id for all who retry letters of a topic, so that no two of them publish the same file."""
    if settings.delivery != "exactly-once":
        return groupless_store(settings, kafka, stopping)
    name = f"retry-{settings.topic}"
    return Transactional(kafka, NoGroup(settings.topic), name=name, is_stopping=stopping.is_set)


def groupless_store(
    settings: RunSettings, kafka: Mapping[str, str], stopping: Event
) -> AbstractContextManager[AtLeastOnce | Transactional]:
    """Where outcomes go when there is no group whose commits could go with them."""
    store = Transactional if settings.delivery == "exactly-once" else AtLeastOnce
    return store(kafka, NoGroup(settings.topic), is_stopping=stopping.is_set)


def _together(settings: RunSettings, store: OutcomeStore) -> OutcomeStore:
    """Without transactions a letter may only be resolved after its results are acknowledged."""
    return store if settings.delivery == "exactly-once" else InOrder(store)


def _newest(
    letters: Sequence[Letter],
    reader: TopicReader,
    spool: Spool,
    settings: RunSettings,
    sealer: Sealer,
    *,
    stopping: Event,
) -> Newest:
    paths = {letter.path.key for letter in letters if letter.path is not None}
    assembler = Assembler(spool, limits_of(settings), nothing)
    survey = Survey(assembler, sealer, lambda version: version.path.key in paths)
    return look_for_newer(letters, reader, survey, stopping.is_set)


def nothing(version: FileVersion) -> bool:  # noqa: ARG001 - a Wanted
    """Want no file: a look through a topic keeps no bytes."""
    return False


def _letters_reader(kafka: Mapping[str, str], topic: str) -> TopicReader:
    admin.refuse_reserved(topic)
    there = admin.connected(kafka).topics()
    if f"{topic}.dlq" not in there:
        raise TopicError(
            f"the topic {topic}.dlq for dead letters is missing. `openmsi topics create {topic}` makes it, or correct "
            f"the name {topic}."
        )
    return TopicReader(kafka, f"{topic}.dlq")


def _one(
    kafka: Mapping[str, str], topic: str, letter_id: str, crypt: Encryption
) -> tuple[Letter, Mapping[str, Any] | None]:
    """A letter with nothing left out, and what resolved it."""
    place = place_in(letter_id)
    if place is None:
        raise UsageError(
            f"{letter_id!r} is no ID of a dead letter: they look like 0-17. `openmsi dlq list` shows them."
        )
    partition, offset = place
    with _letters_reader(kafka, topic) as plain:
        reader = crypt.reader(plain)
        ends = reader.ends()
        low, high = ends.get(partition, (0, 0))
        if low <= offset < high:
            found = next((each for each in reader.between({partition: (offset, offset + 1)}) if each), None)
            letter = read_letter(found, whole=True) if found is not None else None
            if isinstance(letter, Letter):
                if letter.topic != topic:
                    raise UsageError(f"letter {letter_id} in {topic}.dlq is about another topic, {letter.topic!r}.")
                known = Letters.of(reader.between(ends), ends, keeps_resolved=True)
                resolved = known.resolved.get(letter_id)
                return letter, resolved.resolved if resolved is not None else None
    raise UsageError(
        f"there is no dead letter {letter_id} in {topic}.dlq, whose partition {partition} holds the offsets {low} up "
        f"to {high}. `openmsi dlq list --topic {topic} --all` shows what there is."
    )


def _until(sent_ms: int | None, retention: str | None) -> str | None:
    """When retention may take a record at the earliest; None: never, or not known."""
    if sent_ms is None or sent_ms < 0 or retention is None or int(retention) < 0:
        return None
    try:
        return datetime.fromtimestamp((sent_ms + int(retention)) / 1000, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):  # so far away that the calendar has no day for it
        return None
