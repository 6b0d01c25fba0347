"""From settings to a sender: folder, ledger, producer, tied together."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from itertools import chain
from pathlib import Path
from threading import Event

from openmsi_core.errors import FolderError
from openmsi_core.kafka import admin
from openmsi_core.kafka.producer import TopicProducer
from openmsi_core.kafka.reading import TopicReader
from openmsi_core.ports import RecordSink
from openmsi_core.sending.goals import Forever, OnePass
from openmsi_core.sending.hints import FolderHints
from openmsi_core.sending.ledger import Ledger, ledger_file
from openmsi_core.sending.manner import Manner
from openmsi_core.sending.mounts import network_kind
from openmsi_core.sending.outlet import Budget
from openmsi_core.sending.readers import Readers
from openmsi_core.sending.renaming import Renaming
from openmsi_core.sending.reports import Report, Tally
from openmsi_core.sending.rules import Rules
from openmsi_core.sending.seen import Seen
from openmsi_core.sending.sidecars import Sidecars
from openmsi_core.sending.uploading import Upload, gathered
from openmsi_core.sending.watching import Watch
from openmsi_core.settings import WatchSettings, span_of
from openmsi_core.wiring.connecting import PATIENT_SECONDS, reached
from openmsi_core.wiring.encrypting import UNENCRYPTED, Choice, encryption
from openmsi_core.wiring.measured import MeasuredSink, SenderNumbers
from openmsi_core.wiring.observing import identity, observed
from openmsi_core.wiring.receipts import Beside
from openmsi_core.wiring.signals import signals_set
from openmsi_core.wiring.uploads import Moved, Receipts, accompanied, both

_log = logging.getLogger(__name__)

_READERS, _READERS_FAR = 2, 8  # on a network mount threads wait for answers, here for a processor
_ONE_PASS = 0.2  # seconds between the scans of one pass, which ends with the scan that finds nothing left


@dataclass(frozen=True, slots=True)
class SendReport:
    """How sending ended: what it counted, which signal stopped it (0: none)."""

    tally: Tally
    signal: int


def watch_folder(
    settings: WatchSettings,
    kafka: Mapping[str, str],
    state: Path,
    *,
    report: Callable[[Report], None],
    choice: Choice = UNENCRYPTED,
) -> SendReport:
    """Send the files of a folder until a signal stops it, or once if the settings ask for that.

    Its ledger lies in ``state``. Raises FolderError, SettingsError, TopicError, BrokerError, CipherError, CipherDown.
    """
    root = settings.path.absolute()
    if not root.is_dir():
        raise FolderError(f"there is no folder {root}; create it, or watch another one")
    manner, rules = _manner_of(settings), _rules(settings, root)
    ledger = Ledger(ledger_file(state, root, settings.topic), root=root, topic=settings.topic)
    beside = Beside(ledger, kafka, settings)
    goal = OnePass(int(settings.settle * 1e9)) if settings.once else Forever()
    stop = Event()
    with ExitStack() as stack:
        stopped = stack.enter_context(signals_set(stop.set))
        watched = stack.enter_context(observed(settings, kafka, identity("watch", str(root), settings.topic)))
        numbers = SenderNumbers()
        watched.vitals.counting(numbers.counts, dict)
        stack.enter_context(beside.introduced())
        connect = partial(_outgoing, kafka, settings.topic, settings.chunk, PATIENT_SECONDS, ledger.belongs_to)
        if (sink := reached(lambda: stack.enter_context(connect()), stop, waits=goal.waits_for_broker)) is None:
            return SendReport(Tally(), stopped[0])
        crypt = stack.enter_context(encryption(choice, kafka, [settings.topic], [], stop))
        stack.enter_context(beside.following(stop, are_sealed=bool(choice.node)))
        report = numbers.noting(report, watched)
        sink = MeasuredSink(crypt.sink(sink, settings.topic), numbers, watched)
        watch = Watch(
            ledger, sink, goal, rules, stop, manner=manner, budget=_budget(kafka), report=report,
            hints=None if rules.polling or settings.once else FolderHints(root),
            reader=None if choice.node else partial(TopicReader, kafka, settings.topic), aside=beside,
            readers=stack.enter_context(Readers(_READERS_FAR if rules.polling else _READERS)),
        )  # fmt: skip
        return SendReport(watch.run(), stopped[0])


def _manner_of(settings: WatchSettings) -> Manner:
    selected, sidecars, renaming = span_of(settings.selected), Sidecars(settings.sidecar), Renaming(settings.rename)
    return _manner(settings.chunk, settings.meta, span=selected, sidecars=sidecars, renaming=renaming)


def _rules(settings: WatchSettings, root: Path) -> Rules:
    kind = network_kind(root)
    if kind:
        _log.info("%s is a network mount (%s): no events, it is looked through every %g s", root, kind, settings.rescan)
    return Rules(
        settle=settings.settle,
        interval=_ONE_PASS if settings.once else settings.rescan,
        new_only=settings.new_only,
        polling=settings.polling or bool(kind),
        include=settings.include,
        exclude=settings.exclude,
    )


def upload_files(
    paths: Sequence[Path],
    topic: str,
    kafka: Mapping[str, str],
    *,
    chunk: int,
    meta: Mapping[str, str | int | float],
    report: Callable[[Report], None],
    complain: Callable[[str, str], None],
    piped: Seen | None = None,
    progress: Moved | None = None,
    receipts: Receipts | None = None,
    choice: Choice = UNENCRYPTED,
) -> SendReport:
    """Send files and folders, and a file that came through a pipe, once, and wait until the broker has them.

    ``complain`` is told of places that cannot be looked at, ``progress`` how far it is. With ``receipts``, wait for
    those after that; with ``choice``, hand out the keys for a while. Raises UsageError, SettingsError, TopicError,
    BrokerError, CipherError, CipherDown.
    """
    more = [piped] if piped is not None else []
    files = chain(more, gathered(paths, complain))
    stop = Event()
    with ExitStack() as stack:
        stopped = stack.enter_context(signals_set(stop.set))
        connect = partial(_outgoing, kafka, topic, chunk, PATIENT_SECONDS, lambda _: None)
        if (sink := reached(lambda: stack.enter_context(connect()), stop, waits=False)) is None:
            return SendReport(Tally(), stopped[0])
        sink = stack.enter_context(encryption(choice, kafka, [topic], [], stop)).sink(sink, topic)
        stack.enter_context(accompanied(receipts, progress, chain(more, gathered(paths, lambda *_: None))))
        upload = Upload(
            files, sink, stop,
            manner=_manner(chunk, meta), budget=_budget(kafka),
            report=report if receipts is None else both(receipts.waiting.sent, report),
            moved=progress.moved if progress is not None else lambda _: None,
        )  # fmt: skip
        tally = upload.run()
        if receipts is not None:
            receipts.wait(stop)
        return SendReport(tally, stopped[0])


@contextmanager
def _outgoing(
    kafka: Mapping[str, str], topic: str, chunk: int, seconds: float, learn: Callable[[str], None]
) -> Iterator[RecordSink]:
    """A sink for a topic that was found fit for our files; ``learn`` is told the topic's id."""
    with TopicProducer(kafka, topic, chunk=chunk, connect=seconds) as sink:
        learn(admin.check_send(kafka, topic, chunk))
        yield sink


def _manner(
    chunk: int,
    meta: Mapping[str, str | int | float],
    *,
    span: tuple[int, int] | None = None,
    sidecars: Sidecars | None = None,
    renaming: Renaming | None = None,
) -> Manner:
    try:
        version = metadata.version("openmsi")
    except metadata.PackageNotFoundError:  # run from a source tree that is not installed
        version = "unknown"
    source = f"{socket.gethostname()} openmsi/{version}"
    return Manner(
        chunk=chunk, user=meta, source=source, span=span,
        sidecars=sidecars or Sidecars(), renaming=renaming or Renaming(),
    )  # fmt: skip


def _budget(kafka: Mapping[str, str]) -> Budget:
    """Below the client's own queue, also where the user made that smaller: then producing never blocks."""
    usual = Budget()
    kilobytes, messages = kafka.get("queue.buffering.max.kbytes"), kafka.get("queue.buffering.max.messages")
    return Budget(
        bytes=min(usual.bytes, int(kilobytes) * 1024 * 3 // 4) if kilobytes else usual.bytes,
        records=min(usual.records, max(1, int(messages) // 2)) if messages else usual.records,
    )
