"""A plugin in a process of its own as the runtime drives it: the Runner port, like `PluginRunner`."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from openmsi_core.errors import (
    FolderError,
    OpenmsiError,
    PluginError,
    PluginFailed,
    Reject,
    RetryLater,
    SettingsError,
    TargetError,
    WorkLost,
)
from openmsi_core.files.datafile import DataFile
from openmsi_core.model import PluginFacts, Result, shown
from openmsi_core.plugins.isolation.frames import Frame, frame_of
from openmsi_core.plugins.isolation.process import Child, Plan

log = logging.getLogger(__name__)

_OPEN_SECONDS = 120.0  # to import the plugin and open it, if plugin-timeout is not longer
_LEVELS = ("", "openmsi", "openmsi_core", "openmsi_plugins")
_KNOWN = {each.__name__: each for each in (FolderError, PluginError, Reject, SettingsError, TargetError)}


class IsolatedDone:
    """What the plugin did with one file. ``location`` and ``unchanged`` are known once ``results`` are read."""

    def __init__(self) -> None:
        self.results: Iterable[Result] = ()
        self.location = ""
        self.unchanged = False


class IsolatedRunner:
    """Drives a plugin in a child process. One thread calls it; `end` may be called by any.

    A child that dies is replaced when the next file comes. ``workdir`` is where its temporary files go.
    """

    def __init__(self, plan: Plan, facts: PluginFacts, workdir: Path, *, flushes: bool) -> None:
        self.facts = facts
        self.flushes = flushes
        self._plan = plan
        self._workdir = workdir
        self._child: Child | None = None
        self._is_busy = False  # the last answer was not read to its end
        self._unflushed = 0
        self._is_lost = False
        self._has_ended = False
        self._lock = threading.Lock()  # between starting a child and `end`

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is none."""
        return self._child.process.pid if self._child is not None else None

    def open(self) -> None:
        """Start the child and let its plugin get ready. Raises what the plugin raises, and PluginFailed."""
        self._ready()

    def close(self) -> None:
        """Let the plugin clean up, and end the child. Raises what the plugin raises."""
        child = self._child
        if child is None or self._has_ended or self._is_busy or not child.is_alive:
            self._let_go()
            return
        try:
            self._finish(self._call(child, Frame({"do": "close"}), "it was closed"))
        finally:
            self._let_go()

    def end(self) -> None:
        """End the child at once, whatever it is doing; there will be no other one."""
        with self._lock:
            self._has_ended = True
            child = self._child
        if child is not None:
            child.end("crashed", "the run ended")

    def handle(self, file: DataFile) -> IsolatedDone:
        """Hand one file to the plugin. Raises what it raises, and PluginFailed with the reason when its process ends.

        The results of a processor come while they are made, and so does what goes wrong then.
        """
        child, done = self._ready(), IsolatedDone()
        results = self._results(child, file, done)
        done.results = results if self.facts.kind == "processor" else tuple(results)
        return done

    def flush(self) -> None:
        """Let a sink make durable what it wrote. Raises WorkLost when the process that wrote it is gone."""
        child = self._ready()  # which finds out whether the last one is there still
        if self._is_lost:
            self._is_lost = False
            raise WorkLost("the process that wrote these files ended before they were flushed")
        self._unflushed = 0
        self._finish(self._call(child, Frame({"do": "flush"}), "it flushed"))

    def spool_folder(self) -> Path | None:
        """None: whoever builds runners asks the plugin itself."""
        return None

    def _ready(self) -> Child:
        """The child, a new one if the last one is gone."""
        if self._child is not None and self._child.is_alive and not self._is_busy:
            return self._child
        if self._child is not None:
            if not self._is_busy:
                log.warning(
                    "the process of the plugin %s ended between two files; a new one is started", self.facts.name
                )
            self._let_go()
        with self._lock:
            if self._has_ended:
                raise PluginFailed("the run has ended, and its plugin with it")
            child = self._child = Child.started(self._plan, self._workdir)
        levels = {name: logging.getLogger(name).getEffectiveLevel() for name in _LEVELS}
        begin = Frame(
            {
                "plugin": self._plan.plugin,
                "values": dict(self._plan.values),
                "workdir": str(child.folder),
                "timeout": self._plan.timeout,
                "levels": levels,
            }
        )
        try:
            self._finish(self._call(child, begin, "it was opened", max(_OPEN_SECONDS, self._plan.timeout)))
        except BaseException:
            self._let_go()
            raise
        return child

    def _results(self, child: Child, file: DataFile, done: IsolatedDone) -> Iterator[Result]:
        doing = f"it handled {shown(file.version.path.text)}"
        for frame in self._call(child, frame_of(file), doing):
            if frame.facts["say"] == "done":
                done.location, done.unchanged = frame.facts["location"], frame.facts["unchanged"]
                self._unflushed += self.flushes
                return
            yield Result(json.loads(frame.data), frame.facts["key"])

    def _finish(self, frames: Iterator[Frame]) -> None:
        for _ in frames:
            pass

    def _call(self, child: Child, asked: Frame, doing: str, seconds: float | None = None) -> Iterator[Frame]:
        """Everything that the child answers, "done" last. Raises what it failed with."""
        self._is_busy = True
        with child.watched(self._plan.timeout if seconds is None else seconds):
            with contextlib.suppress(OSError):  # it is gone: receiving says so
                child.send(asked)
            while True:
                frame = child.receive()
                if frame is None:
                    error = child.death(doing)
                    self._let_go()
                    raise error
                if frame.facts["say"] in {"done", "failed"}:
                    self._is_busy = False
                if frame.facts["say"] == "failed":
                    raise _failure(frame.facts)
                yield frame
                if frame.facts["say"] == "done":
                    return

    def _let_go(self) -> None:
        """The child is gone after this, and what it had not flushed."""
        child, self._child, self._is_busy = self._child, None, False
        self._is_lost = self._is_lost or self._unflushed > 0
        self._unflushed = 0
        if child is not None:
            child.let_go()


def _failure(facts: Any) -> OpenmsiError:
    """The exception that the plugin raised there, as far as it is one of ours."""
    error: OpenmsiError
    if facts["kind"] == "RetryLater" and 0 <= facts["seconds"] < 1e9:
        error = RetryLater(facts["seconds"], facts["text"])
    elif facts["kind"] in _KNOWN:
        error = _KNOWN[facts["kind"]](facts["text"])
    else:
        return PluginFailed(facts["text"], error=facts["error"], traceback=facts["traceback"])
    error.add_note(f"In the plugin's process:\n{facts['traceback']}")
    return error
