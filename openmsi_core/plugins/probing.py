"""Importing a plugin in a child process, to see what only running it tells: the exact way in which it fails."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import IO, Any

from openmsi_core.plugins.entry import LOADABLE, Entry

SECONDS = 10.0
_AT_ONCE = 4
_ANSWER, _NOISE = 4_000_000, 2_000  # bytes that are kept; the rest is read and forgotten
_CODE = (
    "import json, sys\n"
    "sys.path[:] = json.loads(sys.argv[1])\n"
    "from openmsi_core.plugins.imported import main\n"
    "main(sys.argv[2])\n"
)


@dataclass(frozen=True, slots=True)
class Probed:
    """What importing a plugin told.

    ``entry`` has the status that holds now. ``facts`` are the class's own values by name; ``options`` and ``schema``
    say what it can be told. ``noise`` is the beginning of what it printed.
    """

    entry: Entry
    facts: Mapping[str, Any] = field(default_factory=dict)
    options: Sequence[Mapping[str, Any]] = ()
    schema: Mapping[str, Any] | None = None
    noise: str = ""

    @property
    def differences(self) -> tuple[str, ...]:
        """The parts of the manifest that read otherwise than they are at run time."""
        read = {name: getattr(self.entry, name) for name in self.facts}
        read |= {"sniff": self.entry.signature.hex(), "accepts": list(self.entry.accepts)}
        return tuple(
            name for name, value in self.facts.items() if name not in self.entry.dynamic and value != read[name]
        )


def probe(entry: Entry, seconds: float = SECONDS, path: Sequence[str] | None = None) -> Probed:
    """Import the plugin of ``entry`` in a child process that may take so many seconds; blocks until it has ended.

    ``path``: what the child imports from, instead of our `sys.path`. Whatever the plugin does, this answers. One that
    cannot be loaded anyway is not tried.
    """
    if entry.status not in LOADABLE:
        return Probed(entry)
    plain = {name: value for name, value in asdict(entry).items() if name != "signature"}
    arguments = [json.dumps(list(sys.path if path is None else path)), json.dumps(plain)]
    with subprocess.Popen(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", _CODE, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as child:
        answer, noise = _Reading(child.stdout, _ANSWER), _Reading(child.stderr, _NOISE)
        try:
            code: int | None = child.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(child)
            for reading in (answer, noise):
                reading.thread.join(1.0)
    return _judged(entry, code, seconds, bytes(answer.kept), bytes(noise.kept))


def probe_all(entries: Sequence[Entry], seconds: float = SECONDS) -> tuple[Probed, ...]:
    """All of them, some at once, in their order."""
    with ThreadPoolExecutor(_AT_ONCE, "openmsi-probe") as pool:
        return tuple(pool.map(lambda entry: probe(entry, seconds), entries))


class _Reading:
    """A thread that reads a stream to its end and keeps its beginning."""

    def __init__(self, stream: IO[bytes] | None, limit: int) -> None:
        self.kept = bytearray()
        self._stream, self._limit = stream, limit
        self.thread = threading.Thread(target=self._read, name="openmsi-probe-reading", daemon=True)
        self.thread.start()

    def _read(self) -> None:
        while self._stream is not None and (more := self._stream.read1(65536)):  # type: ignore[attr-defined] # buffered
            self.kept += more[: self._limit - len(self.kept)]


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child and what it started, if they still run."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # they have ended
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.wait()


def _judged(entry: Entry, code: int | None, seconds: float, answer: bytes, noise: bytes) -> Probed:
    said = noise.decode("utf-8", "replace").strip()
    try:
        found = json.loads(answer)
    except ValueError:
        failed = replace(entry, status="fails on import", detail=_died(code, seconds, said))
        return Probed(failed, noise=said)
    status = found["status"]
    if status != "ok":
        detail = found["detail"]
    elif entry.status in {"dynamic", "fails on import"}:  # now it is known
        status, detail = "ok", ""
    else:
        status, detail = entry.status, entry.detail
    if said and status != "fails on import":
        detail = "; ".join(filter(None, [detail, f"it prints when it is imported: {said.splitlines()[0]!r}"]))
    judged = replace(entry, status=status, detail=detail)
    return Probed(judged, found.get("facts", {}), found.get("options", ()), found.get("schema"), said)


def _died(code: int | None, seconds: float, said: str) -> str:
    last = said.splitlines()[-1] if said else ""
    if code is None:
        how = f"importing it takes longer than {seconds:g} s"
    elif code < 0:
        how = f"importing it crashes the process ({signal.Signals(-code).name})"
    else:
        how = f"importing it ends the process with exit code {code}"
    return f"{how}: {last}" if last else how
