"""What a plugin says of one file, as the runtime would publish it."""

from __future__ import annotations

import json
import traceback
from dataclasses import dataclass

from openmsi_core.errors import Reject
from openmsi_core.files.datafile import DataFile
from openmsi_core.files.jsonable import dumps
from openmsi_core.ports import Runner


@dataclass(frozen=True, slots=True)
class Answer:
    """``what`` is result, rejected, failed, hung, ended or printed; ``values`` are as they come back from JSON.

    ``reason`` and ``traceback`` say why there are no values, ``printed`` what went to standard output and error.
    """

    what: str
    values: tuple[object, ...] = ()
    keys: tuple[str | None, ...] = ()
    location: str = ""
    reason: str = ""
    traceback: str = ""
    printed: str = ""

    @property
    def is_fair(self) -> bool:
        """True for a result and for a rejection: what a plugin may say of any file."""
        return self.what in {"result", "rejected"}

    def told(self) -> str:
        """For a message."""
        if self.what == "result":
            return "it gave a result"
        said = {"rejected": "it was rejected", "failed": "it raised", "hung": "it hung", "ended": "the process ended"}
        return f"{said[self.what]}: {self.reason}\n{self.traceback}".rstrip()


def answer_of(runner: Runner, file: DataFile) -> Answer:
    """Hand one file to a plugin and take its results; a sink is flushed. Nothing it raises gets through."""
    try:
        done = runner.handle(file)
        given = [(json.loads(dumps(one.value)), one.key) for one in done.results]
        if runner.flushes:
            runner.flush()
    except KeyboardInterrupt:
        raise
    except Reject as error:
        return Answer("rejected", reason=str(error))
    except BaseException as error:  # noqa: BLE001 - told as the answer
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
        return Answer("failed", reason=reason, traceback="".join(traceback.format_exception(error)[-6:]))
    return Answer("result", tuple(value for value, _ in given), tuple(key for _, key in given), done.location)
