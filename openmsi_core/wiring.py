"""From settings to running objects: the only place that chooses adapters."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from openmsi_core.crypto.plain import Plain
from openmsi_core.files.assembly import Assembler, Limits
from openmsi_core.files.paths import wanted
from openmsi_core.files.spool import Spool
from openmsi_core.model import Claim, FileVersion
from openmsi_core.ports import Runner
from openmsi_core.receiving.attempts import RetryPolicy
from openmsi_core.receiving.intake import Intake
from openmsi_core.receiving.jobs import Counts, Ended, RunFacts
from openmsi_core.receiving.pace import Room
from openmsi_core.receiving.stream import Stream
from openmsi_core.receiving.workers import Workers
from openmsi_core.settings import RunSettings


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
    announce: Callable[[RunFacts, Counts, Ended], None],
) -> RunReport:
    """Run one plugin on one topic until it is stopped by a signal, or has caught up if the settings ask for that.

    ``values`` are the plugin's options. Raises PluginError, SettingsError, TopicError, FolderError, BrokerError.
    """
    from openmsi_core.kafka import admin
    from openmsi_core.kafka.consumer import TopicConsumer
    from openmsi_core.plugins.loader import build

    runner_of = build(settings.plugin, values)
    runners = [runner_of() for _ in range(settings.workers)]
    topic_id = admin.check_run(kafka, settings.topic, settings.output_topic)
    run = RunFacts(
        group=settings.group,
        topic=settings.topic,
        plugin=runners[0].facts,
        output_topic=settings.output_topic,
        bare=settings.bare,
        topic_id=topic_id,
    )
    counts = Counts()
    with ExitStack() as stack:
        workers = stack.enter_context(Workers(runners, run, RetryPolicy()))
        spool = stack.enter_context(Spool(runners[0].spool_folder() or state / "spool"))
        assembler = Assembler(spool, _limits(settings), _wanted(settings, runners[0]))
        stream = Stream(
            run,
            Intake(assembler, Plain(), counts, settings.max_file_size),
            workers,
            counts,
            first_offset=_first_offset(settings),
            room=Room(memory=settings.memory_limit // 2, disk=settings.spool_limit),
            workdir=spool.folder,
            announce=lambda ended: announce(run, counts, ended),
        )
        stopped = stack.enter_context(signals_set(stream.stopping.set))
        source = stack.enter_context(TopicConsumer(kafka, run.topic, run.group, stream))
        store = stack.enter_context(_store(settings, kafka, source))
        still_open = stream.run(source, store, settings.until_caught_up)
        workers.stop(3.0)
    return RunReport(counts, still_open, stopped[0])


@contextmanager
def signals_set(stop: Callable[[], None]) -> Iterator[Sequence[int]]:
    """While inside, Ctrl-C and SIGTERM call ``stop`` instead of ending the process; the second Ctrl-C raises.

    Answers a list whose only item is the number of the last signal, 0 while there was none.
    """
    last = [0]

    def note(number: int, _: FrameType | None) -> None:
        if last[0] == number == signal.SIGINT:
            raise KeyboardInterrupt
        last[0] = number
        stop()

    before = {number: signal.signal(number, note) for number in _STOPPING}
    try:
        yield last
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


_STOPPING = [signal.SIGINT, signal.SIGTERM, *([signal.SIGBREAK] if hasattr(signal, "SIGBREAK") else [])]


def _limits(settings: RunSettings) -> Limits:
    return Limits(memory=settings.memory_limit // 2, spool=settings.spool_limit)


def _wanted(settings: RunSettings, runner: Runner) -> Callable[[FileVersion], bool]:
    """The run's own patterns, and those that the plugin accepts."""

    def is_wanted(version: FileVersion) -> bool:
        return wanted(version.path, settings.include, settings.exclude) and wanted(version.path, runner.accepts, ())

    return is_wanted
