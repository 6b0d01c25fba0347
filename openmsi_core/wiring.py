"""From settings to running objects: the only place that chooses adapters."""

from __future__ import annotations

import signal
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from threading import Event
from types import FrameType

from openmsi_core.crypto.plain import Plain
from openmsi_core.errors import FolderError
from openmsi_core.files.assembly import Assembler, Limits
from openmsi_core.files.paths import wanted
from openmsi_core.files.spool import Spool
from openmsi_core.kafka import admin
from openmsi_core.kafka.checkpoint import AtLeastOnce
from openmsi_core.kafka.consumer import TopicConsumer
from openmsi_core.kafka.producer import TopicProducer
from openmsi_core.model import Claim, FileVersion
from openmsi_core.plugins.loader import build
from openmsi_core.ports import RecordSink
from openmsi_core.receiving.attempts import RetryPolicy
from openmsi_core.receiving.intake import Intake
from openmsi_core.receiving.jobs import Counts, Ended, RunFacts
from openmsi_core.receiving.pace import Pace, Room
from openmsi_core.receiving.stream import Stream
from openmsi_core.receiving.trying import tried
from openmsi_core.receiving.workers import Workers
from openmsi_core.sending.connecting import connected
from openmsi_core.sending.goals import Forever, OnePass
from openmsi_core.sending.ledger import Ledger, ledger_file
from openmsi_core.sending.manner import Manner
from openmsi_core.sending.outlet import Budget
from openmsi_core.sending.reports import Report, Tally
from openmsi_core.sending.uploading import Upload, gathered
from openmsi_core.sending.watching import Rules, Watch
from openmsi_core.settings import RunSettings, WatchSettings


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
    runner_of = build(settings.plugin, values)
    probe = runner_of(None)
    topic_id = admin.check_run(kafka, settings.topic, settings.output_topic)
    run = RunFacts(
        group=settings.group,
        topic=settings.topic,
        plugin=probe.facts,
        output_topic=settings.output_topic,
        bare=settings.bare,
        topic_id=topic_id,
    )
    counts = Counts()
    with ExitStack() as stack:
        spool = stack.enter_context(Spool(probe.spool_folder() or state / "spool"))
        runners = [runner_of(spool.folder) for _ in range(settings.workers)]
        workers = stack.enter_context(Workers(runners, run, RetryPolicy()))
        limits = Limits(memory=settings.memory_limit // 2, spool=settings.spool_limit)
        stream = Stream(
            run,
            Intake(Assembler(spool, limits, _wanted(settings, probe.accepts)), Plain(), counts, settings.max_file_size),
            workers,
            counts,
            first_offset=_first_offset(settings),
            pace=Pace(incomplete_after=settings.incomplete_after, breaker=settings.breaker),
            room=Room(memory=settings.memory_limit // 2, disk=settings.spool_limit),
            workdir=spool.folder,
            announce=lambda ended: announce(run, counts, ended),
        )
        stopped = stack.enter_context(signals_set(stream.stopping.set))
        source = stack.enter_context(TopicConsumer(kafka, run.topic, run.group, stream))
        store = stack.enter_context(AtLeastOnce(kafka, source))
        still_open = stream.run(source, store, settings.until_caught_up)
        return RunReport(counts, still_open, stopped[0])


def try_plugin(name: str, files: Sequence[Path], values: Mapping[str, object]) -> Iterator[dict[str, object]]:
    """Run a plugin on local files through the path that files of a topic take after reassembly.

    Yields what became of each file. Raises PluginError, SettingsError, OSError.
    """
    runner_of = build(name, values)
    probe = runner_of(None)
    run = RunFacts("try", "(local files)", probe.facts, output_topic="(shown)")
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="openmsi-try-")))
        spool = stack.enter_context(Spool(probe.spool_folder() or scratch))
        runner = runner_of(spool.folder)
        runner.open()
        stack.callback(runner.close)
        for path in files:
            yield tried(runner, path, run, spool.folder)


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


def _wanted(settings: RunSettings, accepts: Sequence[str]) -> Callable[[FileVersion], bool]:
    """The run's own patterns, and those that the plugin accepts."""

    def is_wanted(version: FileVersion) -> bool:
        return wanted(version.path, settings.include, settings.exclude) and wanted(version.path, accepts, ())

    return is_wanted


def _first_offset(settings: RunSettings) -> Callable[[Claim], int]:
    """Where a partition without a commit begins."""
    return (lambda claim: claim.high) if settings.start == "end" else (lambda claim: claim.low)


# Sending: `openmsi watch` and `openmsi upload`.

_CONNECT_ONCE = 15.0
_ONE_PASS = 0.2  # seconds between the scans of one pass, which ends with the scan that finds nothing left
_CONNECT_AGAIN = 3.0  # so that a stop is noticed while a watch waits for its broker


@dataclass(frozen=True, slots=True)
class SendReport:
    """How sending ended: what it counted, which signal stopped it (0: none)."""

    tally: Tally
    signal: int


def watch_folder(
    settings: WatchSettings, kafka: Mapping[str, str], state: Path, *, report: Callable[[Report], None]
) -> SendReport:
    """Send the files of a folder until a signal stops it, or once if the settings ask for that.

    ``state`` is where its ledger lies. Raises FolderError, SettingsError, TopicError, BrokerError.
    """
    rules = Rules(
        settle=settings.settle,
        interval=_ONE_PASS if settings.once else settings.rescan,
        new_only=settings.new_only,
        include=settings.include,
        exclude=settings.exclude,
    )
    root = settings.path.absolute()
    if not root.is_dir():
        raise FolderError(f"there is no folder {root}; create it, or watch another one")
    ledger = Ledger(ledger_file(state, root, settings.topic), root=root, topic=settings.topic)
    goal = OnePass(int(settings.settle * 1e9)) if settings.once else Forever()
    stop = Event()
    with ExitStack() as stack:
        stopped = stack.enter_context(signals_set(stop.set))
        stack.enter_context(ledger)
        connect = partial(
            _outgoing, kafka, settings.topic, settings.chunk, _CONNECT_ONCE if settings.once else _CONNECT_AGAIN,
            ledger.belongs_to,
        )  # fmt: skip
        sink = connected(stack, connect, stop, waits=goal.waits_for_broker)
        if sink is None:
            return SendReport(Tally(), stopped[0])
        manner = _manner(settings.chunk, settings.meta)
        watch = Watch(ledger, sink, goal, rules, stop, manner=manner, budget=_budget(kafka), report=report)
        return SendReport(watch.run(), stopped[0])


def upload_files(
    paths: Sequence[Path],
    topic: str,
    kafka: Mapping[str, str],
    *,
    chunk: int,
    meta: Mapping[str, str | int | float],
    report: Callable[[Report], None],
    complain: Callable[[str, str], None],
) -> SendReport:
    """Send files and folders once and wait until the broker has them.

    ``complain`` is told of places that cannot be looked at. Raises UsageError, SettingsError, TopicError, BrokerError.
    """
    files = gathered(paths, complain)
    stop = Event()
    with ExitStack() as stack:
        stopped = stack.enter_context(signals_set(stop.set))
        connect = partial(_outgoing, kafka, topic, chunk, _CONNECT_ONCE, lambda _: None)
        sink = connected(stack, connect, stop, waits=False)
        if sink is None:
            return SendReport(Tally(), stopped[0])
        upload = Upload(files, sink, stop, manner=_manner(chunk, meta), budget=_budget(kafka), report=report)
        return SendReport(upload.run(), stopped[0])


@contextmanager
def _outgoing(
    kafka: Mapping[str, str], topic: str, chunk: int, seconds: float, learn: Callable[[str], None]
) -> Iterator[RecordSink]:
    """A sink for a topic that was found fit for our files; ``learn`` is told the topic's id."""
    with TopicProducer(kafka, topic, chunk=chunk, connect=seconds) as sink:
        learn(admin.check_send(kafka, topic, chunk))
        yield sink


def _manner(chunk: int, meta: Mapping[str, str | int | float]) -> Manner:
    try:
        version = metadata.version("openmsi")
    except metadata.PackageNotFoundError:  # run from a source tree that is not installed
        version = "unknown"
    return Manner(chunk=chunk, user=meta, source=f"{socket.gethostname()} openmsi/{version}")


def _budget(kafka: Mapping[str, str]) -> Budget:
    """Below the client's own queue, also where the user made that smaller: then producing never blocks."""
    usual = Budget()
    kilobytes, messages = kafka.get("queue.buffering.max.kbytes"), kafka.get("queue.buffering.max.messages")
    return Budget(
        bytes=min(usual.bytes, int(kilobytes) * 1024 * 3 // 4) if kilobytes else usual.bytes,
        records=min(usual.records, max(1, int(messages) // 2)) if messages else usual.records,
    )
