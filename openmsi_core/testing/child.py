"""What the contract suite does in a child process, so that a plugin that hangs, exits or crashes is only a finding.

``python -m openmsi_core.testing.child JOB``: JOB is a JSON file that says what to do and where to write the answer.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

# What openmsi itself imports must not be counted as the plugin's doing.
from openmsi_core.plugins.catalogue import find
from openmsi_core.plugins.loader import build, load
from openmsi_core.testing.answers import answer_of
from openmsi_core.testing.files import data_file

_WRITES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link", "shutil.rmtree", "os.truncate"}
_NETWORK = {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto"}
_PROCESSES = {"subprocess.Popen", "os.system", "os.fork", "os.posix_spawn", "os.exec"}


def main(arguments: list[str]) -> None:
    """Do one job: report on the import unless that was done before, then hand over the inputs."""
    job = json.loads(Path(arguments[0]).read_text("utf-8"))
    with Path(job["answer"]).open("a", encoding="utf-8") as out, _output_to(Path(job["printed"])) as printed:
        if job["first"] == 0:
            faulthandler.dump_traceback_later(job["limit"], exit=True)  # ends the process, whatever the module does
            report = imported(job["plugin"], printed)
            faulthandler.cancel_dump_traceback_later()
            _write(out, {"report": report})
            if report["error"]:
                return
        for line in handled(job, printed):
            _write(out, line)


def imported(plugin: str, printed: IO[bytes]) -> dict[str, Any]:
    """What importing a plugin did besides."""
    entry = find(plugin)
    seen: dict[str, list[str]] = {"files": [], "network": [], "processes": []}
    watching = [True]
    sys.addaudithook(lambda event, args: _note(event, args, seen) if watching[0] else None)
    threads, handlers = threading.active_count(), list(logging.root.handlers)
    level, kafka = logging.root.level, "confluent_kafka" in sys.modules
    began = time.perf_counter()
    error = ""
    try:
        load(entry)
    except Exception as raised:  # noqa: BLE001 - told
        error = str(raised)
    seconds = time.perf_counter() - began
    watching[0] = False
    return {
        "error": error,
        "seconds": seconds,
        "printed": _since(printed, 0),
        "threads": [each.name for each in threading.enumerate()][threads:],
        "logging": logging.root.handlers != handlers or logging.root.level != level,
        "kafka": "confluent_kafka" in sys.modules and not kafka,
        **seen,
    }


def handled(job: dict[str, Any], printed: IO[bytes]) -> Iterator[dict[str, Any]]:
    """What the plugin says of each input, from the first that is not done yet; or why it cannot begin."""
    folder = Path(job["workdir"])
    faulthandler.dump_traceback_later(job["limit"], exit=True)
    try:
        runner = build(job["plugin"], job["options"])(folder)
        runner.open()
    except BaseException as error:  # noqa: BLE001 - told
        yield {"unfit": f"{type(error).__name__}: {error}"}
        return
    for path, name in job["inputs"][job["first"] :]:
        faulthandler.dump_traceback_later(job["limit"], exit=True)
        before = printed.seek(0, os.SEEK_END)
        answer = answer_of(runner, data_file(Path(path), name, workdir=folder))
        faulthandler.cancel_dump_traceback_later()
        yield asdict(replace(answer, printed=_since(printed, before)))
    runner.close()


def _note(event: str, args: tuple[Any, ...], seen: dict[str, list[str]]) -> None:
    if event == "open" and _is_for_writing(args) and "__pycache__" not in str(args[0]):
        seen["files"].append(f"open {args[0]}")
    elif event in _WRITES and "__pycache__" not in str(args[0]):
        seen["files"].append(f"{event} {args[0]}")
    elif event in _NETWORK:
        seen["network"].append(f"{event} {args[1:]}")
    elif event in _PROCESSES:
        seen["processes"].append(f"{event} {args[0] if args else ''}")


def _is_for_writing(args: tuple[Any, ...]) -> bool:
    path, mode, flags = args
    if isinstance(path, int) or str(path) == os.devnull:
        return False
    writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    return any(mark in mode for mark in "wax+") if isinstance(mode, str) else bool(flags & writes)


@contextmanager
def _output_to(path: Path) -> Iterator[IO[bytes]]:
    """Standard output and error of this process in a file, whoever writes there, C too."""
    with path.open("ab+") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        yield file
        sys.stdout.flush()


def _since(printed: IO[bytes], position: int) -> str:
    sys.stdout.flush()
    sys.stderr.flush()
    printed.seek(position)
    text = printed.read().decode("utf-8", "backslashreplace")
    printed.seek(0, os.SEEK_END)
    return text


def _write(out: IO[str], answer: dict[str, Any]) -> None:
    out.write(json.dumps(answer) + "\n")
    out.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
