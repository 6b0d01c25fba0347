"""From settings to a run: topic, assembler, workers, checkpoint, tied together."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event

from openmsi_core.files.assembly import Assembler, Limits
from openmsi_core.files.paths import wanted
from openmsi_core.files.spool import Spool
from openmsi_core.kafka import admin
from openmsi_core.kafka.checkpoint import AtLeastOnce
from openmsi_core.kafka.consumer import TopicConsumer
from openmsi_core.kafka.transaction import Transactional
from openmsi_core.model import Claim, FileVersion, PluginFacts
from openmsi_core.observe.vitals import Identity
from openmsi_core.receiving.attempts import RetryPolicy
from openmsi_core.receiving.intake import Intake
from openmsi_core.receiving.jobs import Counts, Ended, RunFacts
from openmsi_core.receiving.pace import Pace, Room
from openmsi_core.receiving.stream import Announce, Stream
from openmsi_core.receiving.trying import tried
from openmsi_core.receiving.workers import Workers
from openmsi_core.settings import RunSettings
from openmsi_core.wiring.building import Built, Isolation
from openmsi_core.wiring.connecting import PATIENT_SECONDS, reached
from openmsi_core.wiring.encrypting import (
    UNENCRYPTED,
    USUAL_UNREADABLE,
    Choice,
    Encryption,
    encryption,
)
from openmsi_core.wiring.measured import aged, measured
from openmsi_core.wiring.observers import Observers
from openmsi_core.wiring.observing import Watched, identity, observed
from openmsi_core.wiring.signals import signals_set

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunReport:
    """How a run ended: what it counted, how many versions were still open, which signal stopped it (0: none)."""

    counts: Counts
    still_open: int
    signal: int


def run_plugin(
    settings: RunSettings,
    kafka: Mapping[str, str],
    state: Path,
    values: Mapping[str, object],
    *,
    announce: Callable[[RunFacts, Counts, Sequence[Ended]], None],
    choice: Choice = UNENCRYPTED,
) -> RunReport:
    """Run one plugin on one topic until it is stopped by a signal, or has caught up if the settings ask for that.

    ``values`` are the plugin's options. Raises UsageError of any kind, BrokerError, CipherDown.
    """
    built, stopping = Built(settings.plugin, values, isolation_of(settings)), Event()
    probe, waits = built.probe, not settings.until_caught_up
    with ExitStack() as stack:
        stopped = stack.enter_context(signals_set(stopping.set))
        watched = stack.enter_context(observed(settings, kafka, _identity(settings, probe.facts)))
        reached_run = reached(lambda: facts_of(settings, kafka, probe.facts), stopping, waits=waits)
        if reached_run is None:
            return RunReport(Counts(), 0, stopped[0])
        crypt = stack.enter_context(encrypted(choice, kafka, reached_run, stopping))
        spool = stack.enter_context(Spool(probe.spool_folder() or state / "spool", free=settings.spool_free))
        run = replace(reached_run, workdir=spool.folder)
        runners = stack.enter_context(built.runners(settings.workers or probe.workers, spool.folder))
        observers = Observers(run, settings.hooks)
        stack.enter_context(observers.watching(runners))
        workers = stack.enter_context(Workers(runners, run, RetryPolicy(), observers.file, stopping=stopping))
        counts, is_wanted = Counts(), wanted_by(settings, probe.accepts)
        assembler = Assembler(spool, limits_of(settings), is_wanted, head=probe.facts.head)
        intake = Intake(assembler, crypt.sealer, counts, settings.max_file_size)
        told = _telling(partial(announce, run, counts), partial(observers.checkpoint, counts), watched)
        stream = stream_of(settings, run, intake, workers, told, stopping=stopping, **crypt.patience)
        source = stack.enter_context(_source(settings, kafka, stream, stopping))
        store = stack.enter_context(_store(settings, kafka, source, stopping))
        seen, timed = measured(stream, intake, source, store, watched)
        still_open = stream.run(crypt.source(seen), crypt.store(timed), settings.until_caught_up)
        return RunReport(counts, still_open, stopped[0])


def encrypted(
    choice: Choice, kafka: Mapping[str, str], run: RunFacts, stopping: Event
) -> AbstractContextManager[Encryption]:
    """Encryption for a run: what it reads is opened; results, receipts and dead letters are sealed."""
    writes = [run.letters_topic, run.receipts_topic, *([run.output_topic] if run.output_topic else [])]
    return encryption(choice, kafka, writes, [run.topic], stopping)


def try_plugin(
    name: str, files: Sequence[Path], values: Mapping[str, object], isolation: Isolation | None = None
) -> Iterator[dict[str, object]]:
    """Run a plugin on local files through the path that files of a topic take after reassembly.

    Yields what became of each file. Raises PluginError, SettingsError, OSError.
    """
    built = Built(name, values, isolation or Isolation())
    probe = built.probe
    run = RunFacts("try", "(local files)", probe.facts, output_topic="(shown)")
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="openmsi-try-")))
        spool = stack.enter_context(Spool(probe.spool_folder() or scratch))
        (runner,) = stack.enter_context(built.runners(1, spool.folder))
        runner.open()
        stack.callback(runner.close)
        for path in files:
            yield tried(runner, path, replace(run, workdir=spool.folder))


def stream_of(
    settings: RunSettings,
    run: RunFacts,
    intake: Intake,
    workers: Workers,
    told: Announce,
    *,
    stopping: Event,
    unreadable_after: float = USUAL_UNREADABLE,
    keys: float = 0.0,
) -> Stream:
    """The poll loop of a run, with its limits."""
    return Stream(
        run,
        intake,
        workers,
        first_offset=_first_offset(settings),
        pace=Pace(
            incomplete_after=settings.incomplete_after,
            breaker=settings.breaker,
            unreadable_after=unreadable_after,
            keys=keys,
        ),
        room=Room(memory=settings.memory_limit // 2, disk=settings.spool_limit // 2),
        announce=told,
        stopping=stopping,
    )


def _source(settings: RunSettings, kafka: Mapping[str, str], stream: Stream, stopping: Event) -> TopicConsumer:
    return TopicConsumer(
        kafka,
        settings.topic,
        settings.group,
        stream,
        since_ms=settings.since_ms,
        topic_id=stream.run_facts.topic_id,
        is_stopping=stopping.is_set,
    )


def _store(
    settings: RunSettings, kafka: Mapping[str, str], source: TopicConsumer, stopping: Event
) -> AbstractContextManager[AtLeastOnce | Transactional]:
    """Where checkpoints go; what is not promised is said at the start."""
    if settings.delivery == "exactly-once":
        return Transactional(kafka, source, is_stopping=stopping.is_set)
    log.info("delivery is at-least-once: a kill may publish the results of the last second twice")
    return AtLeastOnce(kafka, source, is_stopping=stopping.is_set)


def _telling(announce: Announce, checkpoint: Callable[[], None], watched: Watched) -> Announce:
    def told(ended: Sequence[Ended]) -> None:
        announce(ended)
        aged(watched, ended)
        checkpoint()

    return told


def _identity(settings: RunSettings, plugin: PluginFacts) -> Identity:
    return identity("run", settings.plugin, settings.topic, settings.group, [plugin.package])


def limits_of(settings: RunSettings) -> Limits:
    """What assembling may cost: half of each limit; the other half is for whole files that wait for their plugin."""
    half = settings.spool_limit // 2
    return Limits(memory=settings.memory_limit // 2, spool=half, file=settings.spool_limit)


def isolation_of(settings: RunSettings) -> Isolation:
    """Where the plugin of a run runs."""
    return Isolation(settings.isolate, settings.plugin_timeout, settings.plugin_memory)


def facts_of(settings: RunSettings, kafka: Mapping[str, str], plugin: PluginFacts) -> RunFacts:
    """What the run is, once the broker has answered and the topics fit. Raises TopicError, BrokerError."""
    return RunFacts(
        group=settings.group,
        topic=settings.topic,
        plugin=plugin,
        output_topic=settings.output_topic,
        bare=settings.bare,
        max_results=settings.max_results,
        topic_id=admin.check_run(kafka, settings.topic, settings.output_topic, PATIENT_SECONDS),
    )


def wanted_by(settings: RunSettings, accepts: Sequence[str]) -> Callable[[FileVersion], bool]:
    """The run's own patterns, and those that the plugin accepts."""

    def is_wanted(version: FileVersion) -> bool:
        return wanted(version.path, settings.include, settings.exclude) and wanted(version.path, accepts, ())

    return is_wanted


def _first_offset(settings: RunSettings) -> Callable[[Claim], int]:
    """Where a partition without a commit begins; one that was added later has no records but new ones."""

    def first(claim: Claim) -> int:
        if settings.start == "beginning" or claim.is_new:
            return claim.low
        return claim.high if settings.start == "end" or claim.since is None else claim.since

    return first
