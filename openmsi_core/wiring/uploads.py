"""What an upload does beside sending: it counts what there is to send, and waits for receipts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from threading import Event
from types import TracebackType
from typing import Protocol, Self

from openmsi_core.errors import OpenmsiError
from openmsi_core.kafka.reading import TopicReader
from openmsi_core.sending.expected import Expected
from openmsi_core.sending.reports import Report
from openmsi_core.sending.seen import Seen
from openmsi_core.sending.waiting import Reply, Waiting, wait
from openmsi_core.wiring.receipts import stuck

_PATIENCE = 5.0


class Moved(Protocol):
    """Who is told how far an upload is."""

    def expect(self, expected: Expected) -> None:
        """Where the whole will stand once it is counted."""
        ...

    def moved(self, under_way: int) -> None:
        """Bytes that the broker has of files that it does not have whole."""
        ...


@contextmanager
def counted(progress: Moved, files: Iterable[Seen]) -> Iterator[None]:
    """While inside, ``files`` are counted in a thread."""
    stop = Event()
    expected = Expected(files, stop)
    progress.expect(expected)
    thread = threading.Thread(target=expected.run, name="openmsi-count", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def both(first: Callable[[Report], None], second: Callable[[Report], None]) -> Callable[[Report], None]:
    """Tells two."""

    def tell(report: Report) -> None:
        first(report)
        second(report)

    return tell


class Receipts:
    """The receipts of ``runs`` for what is uploaded to ``topic``; ``seconds`` are waited for them after the last file.

    `__enter__` notes where the receipts topic ends before anything is sent; raises TopicError when it is missing.
    ``told`` is called with each reply; ``stuck`` says afterwards why none may have come.
    """

    def __init__(
        self,
        kafka: Mapping[str, str],
        topic: str,
        runs: Sequence[str],
        seconds: float,
        told: Callable[[Reply], None],
    ) -> None:
        self.waiting = Waiting(runs, told)
        self.stuck = ""
        self._kafka = kafka
        self._name = f"{topic}.receipts"
        self._seconds = seconds
        self._stack = ExitStack()
        self._places: Mapping[int, int] = {}

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self._reader = undo.enter_context(TopicReader(self._kafka, self._name))
            self._places = {number: high for number, (_, high) in self._reader.ends().items()}
            self._stack = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def wait(self, stop: Event) -> None:
        """Wait until none is missing, time is over (tell which are), or ``stop`` is set. Raises BrokerError."""
        ends = time.monotonic() + self._seconds
        wait(self.waiting, self._reader, self._places, stop, lambda: time.monotonic() >= ends)
        if self.waiting.left and not stop.is_set():
            self.waiting.give_up()
            self.stuck = self._why()

    def _why(self) -> str:
        try:
            return stuck(self._kafka, self._name, _PATIENCE)
        except OpenmsiError as error:
            return f"whether {self._name} can be read to its end is not known: {error}"
