"""The process of one plugin: takes files from standard input, answers on a pipe that nobody else writes to.

It ends when its standard input does, whatever the plugin is doing: nobody would take the answer.
"""

from __future__ import annotations

import faulthandler
import io
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import openmsi_core.errors as tree
from openmsi_core.errors import OpenmsiError, Reject, RetryLater, name_of, text_of, traceback_of
from openmsi_core.files.jsonable import dumps
from openmsi_core.model import Result
from openmsi_core.plugins.isolation.frames import MAX_ANSWER, Frame, file_of, receive, send
from openmsi_core.plugins.loader import build
from openmsi_core.plugins.running import PluginRunner

TRACE = "trace.txt"
"""Where a crash or a timeout leaves its traceback, in the work folder of the child."""

OOM_SCORE = "500"
"""When the machine itself has no memory left, Linux ends this process and not the run."""


def main() -> None:
    """Work until told to end, or until nobody listens any more."""
    asking, answers = _pipes()
    begin = receive(asking)
    if begin is None:
        return
    facts = begin.facts
    workdir = Path(facts["workdir"])
    with (workdir / TRACE).open("w", encoding="utf-8") as trace:
        _get_ready(facts, answers, trace)
        asked: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(asking, asked), name="openmsi-listen", daemon=True).start()
        _Work(facts, answers, asked, trace).run()
        faulthandler.disable()


class _Answers:
    """Writes frames; threads of a plugin may log while its results are sent."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def say(self, word: str, facts: Mapping[str, object] | None = None, data: bytes = b"") -> None:
        """Blocks until it is taken."""
        with self._lock:
            send(self._pipe, Frame({"say": word, **(facts or {})}, data))


class _ToRun(logging.Handler):
    """Hands log lines to the run, which has the level, the format and the place of its own."""

    def __init__(self, answers: _Answers) -> None:
        super().__init__()
        self._answers = answers

    def emit(self, record: logging.LogRecord) -> None:
        """One line, with its traceback."""
        try:
            text = self.format(record)
            self._answers.say("log", {"logger": record.name, "level": record.levelno, "text": text[:MAX_LOGGED]})
        except Exception:  # noqa: BLE001 - as logging does: whatever cannot be logged is told on standard error
            self.handleError(record)


MAX_LOGGED = 64 * 1024  # characters of one log line


class _Work:
    """What the main thread does: one thing after the other, as it is asked to."""

    def __init__(
        self, facts: Mapping[str, Any], answers: _Answers, asked: queue.SimpleQueue[Frame], trace: TextIO
    ) -> None:
        self._facts = facts
        self._answers = answers
        self._asked = asked
        self._trace = trace
        self._workdir = Path(facts["workdir"])

    def run(self) -> None:
        runner: PluginRunner | None = None
        try:
            runner = build(self._facts["plugin"], self._facts["values"])(self._workdir)
            runner.open()
        except BaseException as error:  # noqa: BLE001 - told to the run, which raises it
            self._answers.say("failed", _told(error))
            return
        self._answers.say("done")
        while (frame := self._asked.get()).facts["do"] != "close":
            self._timed(runner, frame)
        self._answered(runner.close)

    def _timed(self, runner: PluginRunner, frame: Frame) -> None:
        """One call; a thread of faulthandler, which needs no lock of Python's, ends the process when it takes long."""
        faulthandler.dump_traceback_later(self._facts["timeout"], exit=True, file=self._trace)
        try:
            if frame.facts["do"] == "flush":
                self._answered(runner.flush)
            else:
                self._handle(runner, frame)
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _answered(self, call: Any) -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - told to the run, which raises it
            self._answers.say("failed", _told(error))
        else:
            self._answers.say("done")

    def _handle(self, runner: PluginRunner, frame: Frame) -> None:
        file = file_of(frame, self._workdir)
        try:
            done = runner.handle(file)
            for one in done.results:
                self._answers.say("result", {"key": one.key}, _encoded(one))
        except BaseException as error:  # noqa: BLE001 - told to the run, which raises it
            self._answers.say("failed", _told(error))
        else:
            self._answers.say("done", {"location": done.location, "unchanged": done.unchanged})
        finally:
            file.take_back()


def _encoded(one: Result) -> bytes:
    data = dumps(one.value)
    if len(data) > MAX_ANSWER // 2:
        raise Reject(f"a result of {len(data):,} bytes: that is more than a record of Kafka takes")
    return data


def _told(error: BaseException) -> dict[str, object]:
    """An exception for another process; ``kind`` is the nearest class of our own tree, "" when there is none."""
    ours = (each.__name__ for each in type(error).__mro__ if getattr(tree, each.__name__, None) is each)
    kind = next(ours, "") if isinstance(error, OpenmsiError) else ""
    seconds: object = error.seconds if isinstance(error, RetryLater) else 0.0
    return {
        "kind": kind,
        "error": name_of(error),
        "text": text_of(error),
        "traceback": traceback_of(error),
        "seconds": float(seconds) if isinstance(seconds, int | float) else 0.0,
    }


def _pipes() -> tuple[BinaryIO, _Answers]:
    """Our two ends. What the plugin and its libraries print goes to standard error, and they have nothing to read."""
    asking, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    os.dup2(2, 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    return asking, _Answers(answers)


def _get_ready(facts: Mapping[str, Any], answers: _Answers, trace: TextIO) -> None:
    """Signals are the run's business: it lets the present file end, and then ends this process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # not SIG_IGN, which the plugin's own children would inherit
    faulthandler.enable(trace)
    root = logging.getLogger()
    root.handlers[:] = [_ToRun(answers)]
    root.setLevel(facts["levels"][""])
    for name, level in facts["levels"].items():
        logging.getLogger(name).setLevel(level)
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - there is none on Windows

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a plugin that crashes each day would fill the disk
    if sys.platform == "linux":
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE, "ascii")


def _listen(asking: BinaryIO, asked: queue.SimpleQueue[Frame]) -> None:
    while (frame := receive(asking)) is not None:
        asked.put(frame)
    os._exit(0)
