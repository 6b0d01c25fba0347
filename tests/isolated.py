"""Plugins that do to their process what the name of the file says, installed as pip would, and runners of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from openmsi_core.plugins.isolation.running import IsolatedRunner
from openmsi_core.wiring.building import Built, Isolation
from tests.plugin_fakes import install

SOURCE = '''
import ctypes, os, signal, subprocess, sys, time
from pydantic import SecretStr
from openmsi_core import Extractor, PluginOptions, Processor, Reject, Result, RetryLater, Sink, Stored, hookimpl


def suffer(word):
    if word == "segfault":
        ctypes.string_at(0)
    if word == "exit":
        os._exit(3)
    if word == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    while word == "hang":
        pass
    if word == "memory":
        held = []
        while True:
            held.append(b"x" * 10_000_000)
    while word == "print":
        print("x" * 1000)
    if word == "reject":
        raise Reject("no xrdMeasurement element")
    if word == "later":
        raise RetryLater(7.5, "the server is away")
    if word == "raise":
        raise ZeroDivisionError("1/0")
    if word == "input":
        input()
    if word == "closes":
        os.closerange(3, 1000)
        time.sleep(60)
    if word == "program":
        program = subprocess.Popen(["sleep", "1000"])
        print("program", program.pid)
        time.sleep(1000)


class Extracts(Extractor):
    """Extracts."""

    class Options(PluginOptions):
        password: SecretStr = SecretStr("")
        """A secret."""
        open_with: str = ""
        """What to suffer when it is opened."""

    def open(self):
        suffer(self.options.open_with)

    def extract(self, file):
        suffer(file.name.partition(".")[0])
        if file.name == "talks":
            print("printed")
            self.log.warning("logged")
        return {"size": len(file.read_bytes()), "path": str(file.local_path()), "sha256": file.sha256,
                "user": dict(file.user), "mtime": file.mtime, "offset": file.offset, "name": file.name,
                "secret": len(self.options.password.get_secret_value()), "pid": os.getpid()}


class Processes(Processor):
    """Processes."""

    def process(self, file):
        if file.name == "endless":
            while True:
                yield Result("x" * 100_000)
        for number, line in enumerate(file.text().splitlines()):
            suffer(line)
            yield Result({"line": line}, key=str(number))


class Stores(Sink):
    """Stores the names of its files in a file, when they are flushed."""

    class Options(PluginOptions):
        to: str
        """Where."""

    def open(self):
        self.waiting = []

    def write(self, file):
        suffer(file.name)
        self.waiting.append(file.name)
        return Stored(f"stored/{file.name}")

    def flush(self):
        waiting, self.waiting = self.waiting, []
        for name in waiting:
            suffer(name.removeprefix("flush-"))
            with open(self.options.to, "a") as out:
                print(name, file=out)


class Heads(Extractor):
    """The first 64 KiB."""
    head = 65536

    def extract(self, file):
        self.log.info("called with the beginning of %s in %d", file.name, os.getpid())
        suffer(file.name.partition(".")[0])
        return {"head": len(file.read_bytes()), "complete": file.complete, "sha256": file.sha256}


class EarlyHeads(Heads):
    """The same, at once."""
    early = True


class Observes(Extracts):
    """Observes."""

    @hookimpl
    def openmsi_closing(self, reason):
        pass
'''

POINTS = {
    "openmsi.extractors": {
        "extracts": "suffering:Extracts",
        "observes": "suffering:Observes",
        "heads": "suffering:Heads",
        "early-heads": "suffering:EarlyHeads",
    },
    "openmsi.processors": {"processes": "suffering:Processes"},
    "openmsi.sinks": {"stores": "suffering:Stores"},
}


def installed(folder: Path) -> str:
    """The folder that has to stand in `sys.path`."""
    install(folder, "suffering", POINTS, {"suffering.py": SOURCE})
    return str(folder)


@contextmanager
def isolated(
    name: str, workdir: Path, values: Mapping[str, object] | None = None, *, timeout: float = 30.0
) -> Iterator[IsolatedRunner]:
    """One runner in a process of its own, opened."""
    built = Built(name, values or {}, Isolation("process", timeout, 256 * 1024 * 1024))
    with built.runners(1, workdir) as (runner,):
        assert isinstance(runner, IsolatedRunner)
        runner.open()
        yield runner
        runner.close()


def forget() -> None:
    """Let the next test import the module anew."""
    sys.modules.pop("suffering", None)
