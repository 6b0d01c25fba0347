"""Logging, configured by the command line alone."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TextIO

from openmsi_core.model import shown

_LEVELS = {-1: logging.WARNING, 0: logging.INFO, 1: logging.DEBUG}
LOG_SCHEMA = "openmsi-log/1"
_LONGEST = 1000


class _Lines(logging.Formatter):
    """One line: time in UTC, level when it matters, text with control characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        text = shown(record.getMessage())
        if record.exc_info:
            text += "".join(f"\n{shown(line)}" for line in self.formatException(record.exc_info).split("\n"))
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        return f"{_instant(record)} {level}{text}"


class _Json(logging.Formatter):
    """One JSON object a line, for machines."""

    def format(self, record: logging.LogRecord) -> str:
        facts = {
            "at": _instant(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
        }
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        return json.dumps(facts).encode("utf-8", "backslashreplace").decode("utf-8")


class ToTopic(logging.Handler):
    """Each line of ours as a JSON object to ``publish``, with ``facts`` about this program; it never blocks or raises.

    What the Kafka client and this path itself log is left out: it would make more of what it tells.
    """

    def __init__(self, publish: Callable[[bytes, bytes], None], facts: Mapping[str, object]) -> None:
        super().__init__()
        self._publish = publish
        self._facts = dict(facts)
        self.setFormatter(_Json())

    def emit(self, record: logging.LogRecord) -> None:
        """Hand it on."""
        if record.name.startswith("openmsi_core.kafka"):
            return
        told = {"schema": LOG_SCHEMA, **self._facts, **json.loads(self.format(record))}
        value = json.dumps(told).encode("utf-8", "backslashreplace")
        self._publish(str(self._facts.get("host", "")).encode("utf-8", "backslashreplace"), value)


class LastError(logging.Handler):
    """Tells ``complained`` of each warning and error, the text in one line."""

    def __init__(self, complained: Callable[[str, datetime], None]) -> None:
        super().__init__(logging.WARNING)
        self._complained = complained

    def emit(self, record: logging.LogRecord) -> None:
        """Hand it on."""
        text = shown(record.getMessage())
        self._complained(text[:_LONGEST], datetime.fromtimestamp(record.created, UTC))


@contextmanager
def listening(*handlers: logging.Handler) -> Iterator[None]:
    """``handlers`` hear everything that is logged while inside."""
    root = logging.getLogger()
    for each in handlers:
        root.addHandler(each)
    try:
        yield
    finally:
        for each in handlers:
            root.removeHandler(each)


class _ToStandardError(logging.StreamHandler[TextIO]):
    """Writes to what standard error is at that moment, so that lines go above a live progress line."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        """Standard error."""
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:  # noqa: ARG002 - the setter of a property that has none
        raise AttributeError("the stream of this handler is standard error")


def configure(verbosity: int, *, as_json: bool = False, stream: TextIO | None = None) -> None:
    """Log to ``stream`` (standard error): -1 warnings, 0 a line per file, 1 everything of ours."""
    out = logging.StreamHandler(stream) if stream is not None else _ToStandardError()
    out.setFormatter(_Json() if as_json else _Lines())
    root = logging.getLogger()
    root.handlers[:] = [out]
    root.setLevel(logging.WARNING)
    for name in ("openmsi_core", "openmsi_plugins", "openmsi"):
        logging.getLogger(name).setLevel(_LEVELS[max(-1, min(1, verbosity))])


def _instant(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
