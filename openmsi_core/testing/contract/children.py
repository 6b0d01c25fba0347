"""Asking the child process: one job, its answers, and how it ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openmsi_core.testing.answers import Answer

_START_SECONDS = 30.0  # for an interpreter and our own imports, on a machine that is busy
_HUNG = "Timeout ("  # how faulthandler begins when it ends a process


@dataclass(frozen=True, slots=True)
class Findings:
    """What the child process found: what importing did (``error``: why it could not), and an answer for each input."""

    report: dict[str, Any]
    answers: list[Answer]


def findings(
    plugin: str, options: Mapping[str, object], inputs: Sequence[tuple[Path, str]], folder: Path, limit: float
) -> Findings:
    """Import a plugin in a child process and hand it ``inputs``; after one that ended it, a new process goes on."""
    job = {"plugin": plugin, "options": json.loads(json.dumps(options, default=str)), "limit": limit}
    job |= {"inputs": [(str(path), name) for path, name in inputs], "workdir": str(folder)}
    report: dict[str, Any] = {}
    found: list[Answer] = []
    while not report or len(found) < len(inputs):
        seconds = _START_SECONDS + limit * len(inputs)
        ended, lines, printed = _run(job | {"first": len(found)}, folder, seconds)
        if not report:
            report = lines.pop(0)["report"] if lines else {"error": _why(ended, printed, limit)}
        if report["error"]:
            break
        unfit = lines.pop()["unfit"] if lines and "unfit" in lines[-1] else ""
        found += [_answer(line) for line in lines]
        if unfit:
            found += [Answer("failed", reason=unfit)] * (len(inputs) - len(found))
        if len(found) < len(inputs):
            hung = _HUNG in printed
            reason = f"no answer after {limit:g} s" if hung else ended
            found.append(Answer("hung" if hung else "ended", reason=reason, traceback=printed[-1500:]))
    return Findings(report, found)


def _why(ended: str, printed: str, limit: float) -> str:
    if _HUNG in printed:
        ended = f"did not end within {limit:g} s"
    return f"importing it {ended}" + (f"; it had printed: {printed[-2000:]}" if printed else "")


def _run(job: dict[str, Any], folder: Path, seconds: float) -> tuple[str, list[dict[str, Any]], str]:
    """How it ended, what it answered, what it printed."""
    answer, printed = folder / "answer.jsonl", folder / "printed.txt"
    for each in (answer, printed):
        each.write_bytes(b"")
    job |= {"answer": str(answer), "printed": str(printed)}
    (folder / "job.json").write_text(json.dumps(job), "utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}
    command = [sys.executable, "-m", "openmsi_core.testing.child", str(folder / "job.json")]
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, timeout=seconds, check=False
        )
        ended = f"ended its process with exit code {done.returncode}"
        if done.returncode < 0:
            ended = f"killed its process with signal {-done.returncode}"
    except subprocess.TimeoutExpired:
        ended = f"did not end within {seconds:g} s"
    lines = [json.loads(line) for line in answer.read_text("utf-8").splitlines()]
    return ended, lines, printed.read_text("utf-8", "backslashreplace")


def _answer(line: dict[str, Any]) -> Answer:
    return Answer(
        line["what"],
        tuple(line["values"]),
        tuple(line["keys"]),
        line["location"],
        line["reason"],
        line["traceback"],
        line["printed"],
    )
