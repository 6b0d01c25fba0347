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

    def update(self, *, files: int, bytes: int, total_files: int | None = None, note: str = "") -> None:  # noqa: A002
        """How far the work is: files and bytes so far, of how many files if that is known."""
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

    def update(self, *, files: int, bytes: int, total_files: int | None = None, note: str = "") -> None:  # noqa: A002
        self._line = line_of(self._what, files, bytes, total_files, self._clock() - self._began, note)
        if self._clock() - self._shown >= _EVERY_SECONDS:
            self._show()

    def _show(self) -> None:
        self._shown = self._clock()
        print(self._line, file=self._out, flush=True)
        self._line = ""  # what was said is not said again at the end


class _Bar:
    """rich's live line."""

    def __init__(self, what: str, out: TextIO) -> None:
        from rich.console import Console  # noqa: PLC0415 - a quarter of a second that only a terminal needs
        from rich.status import Status  # noqa: PLC0415

        self._what = what
        self._status = Status(f"{what}: nothing yet", console=Console(file=out))
        self._began = time.monotonic()
        self._line = ""

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()
        if self._line:
            self._status.console.print(self._line, markup=False, highlight=False)

    def update(self, *, files: int, bytes: int, total_files: int | None = None, note: str = "") -> None:  # noqa: A002
        self._line = line_of(self._what, files, bytes, total_files, time.monotonic() - self._began, note)
        self._status.update(self._line.replace("[", r"\["))


def line_of(what: str, files: int, size: int, total_files: int | None, seconds: float, note: str) -> str:
    """The line that is shown.

    >>> line_of("sent", 3, 3_000_000, 10, 2.0, "")
    'sent: 3 of 10 files, 3.0 MB, 1.5 MB/s'
    """
    of = f" of {total_files:,}" if total_files is not None else ""
    rate = f", {_amount(size / seconds)}/s" if seconds > 0.5 else ""
    return f"{what}: {files:,}{of} files, {_amount(size)}{rate}" + (f", {note}" if note else "")


def _amount(size: float) -> str:
    if size < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB"):
        size /= 1000
        if size < 1000:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} GB"
