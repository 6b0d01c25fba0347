"""A text that changes: in place for a person at a terminal, printed anew when it changed otherwise."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self, TextIO


class Screen(Protocol):
    """Shows one text at a time. Use it in a ``with``."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last text."""
        ...

    def show(self, text: str) -> None:
        """This instead of the text before."""
        ...


def screen(out: TextIO) -> Screen:
    """The screen that fits the stream."""
    return _Live(out) if out.isatty() else _Printed(out)


class _Printed:
    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._before = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def show(self, text: str) -> None:
        if text != self._before:
            print(text, file=self._out, flush=True)
        self._before = text


class _Live:
    """rich's live region."""

    def __init__(self, out: TextIO) -> None:
        from rich.console import Console  # noqa: PLC0415 - a quarter of a second that only a terminal needs
        from rich.live import Live  # noqa: PLC0415

        self._live = Live(console=Console(file=out), auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, text: str) -> None:
        from rich.text import Text  # noqa: PLC0415

        self._live.update(Text(text), refresh=True)
