"""From settings to a replay: chosen files of a topic through a plugin again, without its group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

from openmsi_core.files.assembly import Assembler, everything
from openmsi_core.files.spool import Spool
from openmsi_core.kafka.reading import TopicReader
from openmsi_core.model import What
from openmsi_core.receiving.attempts import RetryPolicy
from openmsi_core.receiving.choosing import Where, receipted
from openmsi_core.receiving.intake import Intake
from openmsi_core.receiving.jobs import Counts, Ended, RunFacts
from openmsi_core.receiving.replaying import Chosen, ChosenSource, WithoutCommits, choose, superseded
from openmsi_core.receiving.survey import Survey
from openmsi_core.receiving.workers import Workers
from openmsi_core.settings import RunSettings
from openmsi_core.wiring.building import Built
from openmsi_core.wiring.connecting import reached
from openmsi_core.wiring.encrypting import UNENCRYPTED, Choice, Encryption
from openmsi_core.wiring.letters import groupless_store, nothing
from openmsi_core.wiring.observers import Observers
from openmsi_core.wiring.receiving import encrypted, facts_of, isolation_of, limits_of, stream_of, wanted_by
from openmsi_core.wiring.signals import signals_set


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """How a replay ended: what was chosen and counted, how many did not end, which signal stopped it (0: none)."""

    chosen: Chosen
    counts: Counts = field(default_factory=Counts)
    still_open: int = 0
    signal: int = 0


Announce = Callable[[RunFacts, Counts, Sequence[Ended]], None]


def choose_files(
    settings: RunSettings,
    kafka: Mapping[str, str],
    state: Path,
    values: Mapping[str, object],
    where: Where,
    *,
    force: bool = False,
    choice: Choice = UNENCRYPTED,
) -> ReplayReport:
    """What a replay would take; nothing is run. Raises what `replay_plugin` raises."""
    return _Replay(settings, kafka, state, values, choice).chosen(where, force=force)


def replay_plugin(
    settings: RunSettings,
    kafka: Mapping[str, str],
    state: Path,
    values: Mapping[str, object],
    where: Where,
    *,
    announce: Announce,
    force: bool = False,
    choice: Choice = UNENCRYPTED,
) -> ReplayReport:
    """Run a plugin again on the whole files that ``where`` wants, until all are dealt with or a signal stops it.

    The group's commits are neither read nor moved. With ``force`` also those that have a later version on their path.
    Raises UsageError when too many files match, BreakerOpen, PluginError, SettingsError, TopicError, FolderError,
    BrokerError.
    """
    return _Replay(settings, kafka, state, values, choice).run(where, announce, force=force)


class _Replay:
    """What choosing and running share."""

    def __init__(
        self,
        settings: RunSettings,
        kafka: Mapping[str, str],
        state: Path,
        values: Mapping[str, object],
        choice: Choice,
    ) -> None:
        self._choice = choice
        self._settings = settings
        self._kafka = kafka
        self._built = Built(settings.plugin, values, isolation_of(settings))
        self._probe = self._built.probe
        self._stopping = Event()
        self._state = state

    def chosen(self, where: Where, *, force: bool) -> ReplayReport:
        with ExitStack() as stack:
            stopped = stack.enter_context(signals_set(self._stopping.set))
            run = self._reached()
            if run is None:
                return ReplayReport(Chosen(), signal=stopped[0])
            crypt = stack.enter_context(encrypted(self._choice, self._kafka, run, self._stopping))
            spool = stack.enter_context(Spool(self._state / "spool", free=self._settings.spool_free))
            reader = stack.enter_context(TopicReader(self._kafka, run.topic))
            return ReplayReport(self._choose(run, reader, spool, where, crypt, force=force), signal=stopped[0])

    def run(self, where: Where, announce: Announce, *, force: bool) -> ReplayReport:
        settings, counts, stopping = self._settings, Counts(), self._stopping
        with ExitStack() as stack:
            stopped = stack.enter_context(signals_set(stopping.set))
            reached_run = self._reached()
            if reached_run is None:
                return ReplayReport(Chosen(), signal=stopped[0])
            crypt = stack.enter_context(encrypted(self._choice, self._kafka, reached_run, stopping))
            spool = stack.enter_context(
                Spool(self._probe.spool_folder() or self._state / "spool", free=self._settings.spool_free)
            )
            run = replace(reached_run, workdir=spool.folder)
            reader = stack.enter_context(TopicReader(self._kafka, run.topic))
            chosen = self._choose(run, reader, spool, where, crypt, force=force)
            if stopping.is_set():
                return ReplayReport(chosen, counts, len(chosen.running), stopped[0])
            store = crypt.store(stack.enter_context(groupless_store(settings, self._kafka, stopping)))
            for outgoing in superseded(chosen, run, datetime.now(UTC)):
                store.write(outgoing, ())
            if not chosen.running:
                return ReplayReport(chosen)
            runners = stack.enter_context(self._built.runners(settings.workers or self._probe.workers, spool.folder))
            observers = Observers(run, settings.hooks)
            stack.enter_context(observers.watching(runners))
            workers = stack.enter_context(Workers(runners, run, RetryPolicy(), observers.file))
            assembler = Assembler(spool, limits_of(settings), everything, head=run.plugin.head)
            intake = Intake(assembler, crypt.sealer, counts, settings.max_file_size)

            def told(ended: Sequence[Ended]) -> None:
                announce(run, counts, ended)
                observers.checkpoint(counts)

            stream = stream_of(settings, run, intake, workers, told, stopping=stopping, **crypt.patience)
            source = ChosenSource(reader, chosen, crypt.patient, stream)
            stream.run(source, WithoutCommits(store), until_caught_up=True)
            ended = sum(count for what, count in counts.by_outcome.items() if what is not What.EARLY)
            return ReplayReport(chosen, counts, len(chosen.running) - ended, stopped[0])

    def _reached(self) -> RunFacts | None:
        return reached(lambda: facts_of(self._settings, self._kafka, self._probe.facts), self._stopping, waits=False)

    def _choose(
        self, run: RunFacts, reader: TopicReader, spool: Spool, where: Where, crypt: Encryption, *, force: bool
    ) -> Chosen:
        ids = self._receipted(run, where, crypt) if where.needs_receipts else None
        is_wanted = wanted_by(self._settings, self._probe.accepts)
        survey = Survey(
            Assembler(spool, limits_of(self._settings), nothing),
            crypt.patient,
            lambda version: where.wants_path(version.path) and is_wanted(version),
        )
        return choose(reader, survey, where, ids, force=force, is_stopping=self._stopping.is_set)

    def _receipted(self, run: RunFacts, where: Where, crypt: Encryption) -> frozenset[bytes]:
        with TopicReader(self._kafka, run.receipts_topic) as plain:
            receipts = crypt.reader(plain)
            return receipted(receipts.between(receipts.ends()), run.group, where)
