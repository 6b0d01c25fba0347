"""Progress: a bar for a person at a terminal, a plain line now and then otherwise, nothing when asked to be quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self, TextIO

_EVERY_SECONDS = 5.0


class Progress(Protocol):
    """What long work tells while it goes on. Use it in a ``with``."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show the last state."""
        ...

    def update(
        self,
        *,
        files: int,
        bytes: int,  # noqa: A002
        total_files: int | None = None,
        total_bytes: int | None = None,
        note: str = "",
    ) -> None:
        """How far the work is: files and bytes so far, of how many if that is known."""
        ...


def reporter(what: str, *, quiet: bool = False, stream: TextIO | None = None) -> Progress:
    """The progress that fits the stream (standard error). ``what`` is a verb: "sent", "received"."""
    out = stream or sys.stderr
    if quiet:
        return _Silent()
    return _Bar(what, out) if out.isatty() else _Lines(what, out)


class _Silent:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def update(self, **_: object) -> None:
        return


class _Lines:
    """One line every few seconds, and one at the end."""

    def __init__(self, what: str, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._out = out
        self._clock = clock
        self._began = self._shown = clock()
        self._line = ""

    def __enter__(self) -> Self:
        self._began = self._shown = self._clock()
        return self

    def __exit__(self, *_: object) -> None:
        if self._line:
            self._show()

    def update(
        self,
        *,
        files: int,
        bytes: int,  # noqa: A002
        total_files: int | None = None,
        total_bytes: int | None = None,
        note: str = "",
    ) -> None:
        elapsed = self._clock() - self._began
        self._line = line_of(self._what, files, bytes, elapsed, note, total_files=total_files, total_bytes=total_bytes)
        if self._clock() - self._shown >= _EVERY_SECONDS:
            self._show()

    def _show(self) -> None:
        self._shown = self._clock()
        print(self._line, file=self._out, flush=True)
        self._line = ""  # what was said is not said again at the end


class _Bar:
    """rich's bar, with rate and remaining time; it moves to and fro while nobody knows how much there is."""

    def __init__(self, what: str, out: TextIO) -> None:
        from rich.console import Console  # noqa: PLC0415 - a quarter of a second that only a terminal needs
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn  # noqa: PLC0415

        self._what = what
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TransferSpeedColumn())
        self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(file=out), transient=True)
        self._task = self._bar.add_task(f"{what}: nothing yet", total=None)
        self._began = time.monotonic()
        self._line = ""

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        if self._line:
            self._bar.console.print(self._line, markup=False, highlight=False)

    def update(
        self,
        *,
        files: int,
        bytes: int,  # noqa: A002
        total_files: int | None = None,
        total_bytes: int | None = None,
        note: str = "",
    ) -> None:
        totals = {"total_files": total_files, "total_bytes": total_bytes}
        self._line = line_of(self._what, files, bytes, time.monotonic() - self._began, note, **totals)
        text = line_of(self._what, files, bytes, 0.0, note, **totals)  # rate and time have columns of their own
        self._bar.update(self._task, description=text, completed=bytes, total=total_bytes)


def line_of(
    what: str,
    files: int,
    size: int,
    seconds: float,
    note: str,
    *,
    total_files: int | None = None,
    total_bytes: int | None = None,
) -> str:
    """The line that is shown; ``seconds`` since the beginning, 0 when rate and remaining time are not wanted.

    >>> line_of("sent", 3, 3_000_000, 2.0, "", total_files=10, total_bytes=9_000_000)
    'sent: 3 of 10 files, 3.0 MB of 9.0 MB, 1.5 MB/s, about 4 s left'
    """
    text = f"{what}: {files:,}" + (f" of {total_files:,}" if total_files is not None else "")
    text += f" files, {_amount(size)}" + (f" of {_amount(total_bytes)}" if total_bytes is not None else "")
    if seconds > 0.5:
        text += f", {_amount(size / seconds)}/s"
        if total_bytes is not None and 0 < size < total_bytes:
            text += f", about {_span((total_bytes - size) * seconds / size)} left"
    return text + (f", {note}" if note else "")


def _span(seconds: float) -> str:
    """A span as a person says it.

    >>> _span(4.4), _span(125), _span(7300)
    ('4 s', '2 min', '2 h 2 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _amount(size: float) -> str:
    if size < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB"):
        size /= 1000
        if size < 1000:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} GB"
