"""Logging, configured by the command line alone."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from openmsi_core.model import shown

_LEVELS = {-1: logging.WARNING, 0: logging.INFO, 1: logging.DEBUG}


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
