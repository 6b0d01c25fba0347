"""One child process: started, spoken to, watched, ended by its id. The only door to psutil."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

from openmsi_core.errors import PluginFailed
from openmsi_core.plugins.isolation.child import TRACE
from openmsi_core.plugins.isolation.frames import MAX_ANSWER, Frame, receive, send

_BEGIN = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop());"
    "from openmsi_core.plugins.isolation.child import main; main()"
)
_GRACE = 2.0  # seconds that the child has to tell itself where it hangs
_LOOK = 0.05  # seconds between two looks at memory and time
_END_SECONDS = 2.0
MAX_PRINTED = 16 * 1024 * 1024  # bytes that a plugin may print on one file
_SHOWN_LINES, _SHOWN_CHARACTERS = 100, 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """Which plugin with which options, and what one call may cost: seconds, and bytes of memory."""

    plugin: str
    values: Mapping[str, Any] = field(repr=False)  # there may be secrets among them
    timeout: float
    memory: int

    @property
    def log(self) -> logging.Logger:
        """Where what the plugin prints goes."""
        return logging.getLogger(f"openmsi.plugin.{self.plugin.rpartition('/')[2]}")


class Child:
    """A running child process. `end` may be called by any thread, all else by one."""

    def __init__(self, plan: Plan, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self._plan = plan
        self.folder = folder
        self.process = process
        self._why: tuple[str, str] | None = None
        self._deadline: float | None = None
        self._printed = self._lines = 0
        self._turn = threading.Condition()
        self._threads = [
            threading.Thread(target=each, name=f"openmsi-{name}-{process.pid}", daemon=True)
            for name, each in (("watch", self._watch), ("printed", self._listen))
        ]

    @classmethod
    def started(cls, plan: Plan, workdir: Path) -> Self:
        """A new one, with a folder of its own in ``workdir``; `let_go` ends it. Raises OSError."""
        folder = Path(tempfile.mkdtemp(prefix="child-", dir=workdir))
        process = subprocess.Popen(  # noqa: S603 - this interpreter, with code that stands above
            [sys.executable, "-P", "-c", _BEGIN, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in a terminal is for the run; and so all that it starts can be ended
        )
        child = cls(plan, folder, process)
        for thread in child._threads:
            thread.start()
        return child

    @property
    def is_alive(self) -> bool:
        """False when it ended, by itself or not."""
        return self.process.poll() is None

    @contextmanager
    def watched(self, seconds: float) -> Iterator[None]:
        """Inside, the child works on something, and is ended when that takes longer, or too much."""
        with self._turn:
            self._printed, self._lines, self._deadline = 0, 0, time.monotonic() + seconds + _GRACE
            self._turn.notify_all()
        try:
            yield
        finally:
            with self._turn:
                self._deadline = None

    def send(self, frame: Frame) -> None:
        """Blocks until the child has taken it, or is ended. Raises OSError when it is gone."""
        if self.process.stdin is not None:
            send(self.process.stdin, frame)  # type: ignore[arg-type] # a pipe is a BinaryIO

    def receive(self) -> Frame | None:
        """The next frame that is no log line; None when the child is gone. Blocks."""
        pipe = self.process.stdout
        while pipe is not None:
            try:
                frame = receive(pipe, MAX_ANSWER)  # type: ignore[arg-type] # the same
            except ValueError as error:
                self.end("crashed", f"it answered with what nobody can read: {error}")
                return None
            if frame is None or frame.facts.get("say") != "log":
                return frame
            facts = frame.facts
            logging.getLogger(str(facts["logger"])).log(int(facts["level"]), "%s", facts["text"])
            self._count(len(facts["text"]))
        return None

    def death(self, doing: str) -> PluginFailed:
        """What to raise for a child that does not answer any more; it is gone after this. ``doing``: "handling x"."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_END_SECONDS)  # its pipes end a moment before it does
        self.end("crashed", "it closed its pipe")
        trace = ""
        with suppress(OSError):
            trace = (self.folder / TRACE).read_text("utf-8", "replace")
        what, why = self._why or ("crashed", _ended_how(self.process.returncode))
        if self._why is None and trace.startswith("Timeout ("):
            what, why = "timed-out", self._too_long()
        return PluginFailed(f"the plugin's process ended while {doing}: {why}", what=what, traceback=trace)

    def end(self, what: str = "crashed", why: str = "") -> None:
        """End the child and all that it started, and say why unless it is gone already. Waits for 2 s at most."""
        if why and self._why is None and self.is_alive:
            self._why = (what, why)
        _kill(self.process)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_END_SECONDS)

    def let_go(self) -> None:
        """End it, and free all that is held for it. Called once, by the thread that speaks to it."""
        self.end()
        with self._turn:
            self._deadline = None
            self._turn.notify_all()
        for thread in self._threads:
            thread.join(_END_SECONDS)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with suppress(OSError):  # what waits in the buffer of a pipe that nobody reads
                    pipe.close()
        shutil.rmtree(self.folder, ignore_errors=True)  # what stays goes with the spool

    def _watch(self) -> None:
        """Look at time and memory while the child works."""
        try:
            seen = psutil.Process(self.process.pid)
            while self.is_alive:
                with self._turn:
                    if self._deadline is None:
                        self._turn.wait(1.0)
                    deadline = self._deadline
                if deadline is not None:
                    self._judge(seen.memory_info().rss, deadline)
                    time.sleep(_LOOK)  # between two looks; nobody tells when memory grows
        except psutil.NoSuchProcess:  # whoever speaks to it finds out
            return
        except psutil.Error as error:
            self.end("crashed", f"it could not be watched: {error}")

    def _judge(self, memory: int, deadline: float) -> None:
        if memory > self._plan.memory:
            self.end(
                "out-of-memory",
                f"it had {memory >> 20:,} MiB, plugin-memory allows {self._plan.memory >> 20:,} MiB",
            )
        elif time.monotonic() > deadline:
            self.end("timed-out", self._too_long())

    def _too_long(self) -> str:
        return f"it took longer than plugin-timeout, {self._plan.timeout:g} s"

    def _listen(self) -> None:
        """Log what the plugin prints, line by line; end it when it prints without end."""
        pipe = self.process.stderr
        while pipe is not None and (text := pipe.readline(64 * 1024)):
            self._lines += 1
            if self._lines <= _SHOWN_LINES:
                self._plan.log.info("%s", text.decode("utf-8", "replace").rstrip()[:_SHOWN_CHARACTERS])
            elif self._lines == _SHOWN_LINES + 1:
                self._plan.log.info("(it prints more, which is left out)")
            self._count(len(text))

    def _count(self, length: int) -> None:
        self._printed += length
        if self._printed > MAX_PRINTED:
            self.end("too-much-output", f"it printed or logged more than {MAX_PRINTED >> 20} MiB")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The process and, where there are sessions, all that it started."""
    if sys.platform == "win32":
        process.kill()
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)  # it leads the session of its own in which it was started
    except (ProcessLookupError, PermissionError):  # all are gone; macOS says it in the second way
        return


def _ended_how(code: int | None) -> str:
    if code is None:
        return "it does not answer and cannot be ended"
    if code >= 0:
        return f"it ended itself with exit code {code}"
    with suppress(ValueError):
        name = signal.Signals(-code).name
        hint = " (the system may have had no memory left)" if name == "SIGKILL" else ""
        return f"it was ended by {name}{hint}"
    return f"it was ended by signal {-code}"
