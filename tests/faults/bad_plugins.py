"""What a plugin may do to one file: each entry is a way to fail, by the group that the fault plan counts."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from typing import Any

from openmsi_core import DataFile, Extractor, Processor, Reject, Result, RetryLater, Sink, Stored

Act = Callable[[DataFile], Any]


class _Silent(Exception):
    def __str__(self) -> str:
        raise ValueError("not even this")


class _Deadly(Exception):
    def __str__(self) -> str:
        raise SystemExit("while it is told")

    __repr__ = __str__


class _NoText(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]  # noqa: PLE0307


class _SilentReject(Reject):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class _Nameless(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in {"__name__", "__qualname__", "__module__"}:
            raise AttributeError("no name")
        return super().__getattribute__(name)


class _Anonymous(Exception, metaclass=_Nameless):
    pass


class _OddRetry(RetryLater):
    def __init__(self) -> None:
        super().__init__(0.0)
        self.seconds = "soon"  # type: ignore[assignment]


class _Own(BaseException):
    pass


def _raising(error: Callable[[], BaseException]) -> Act:
    def act(_: DataFile) -> Any:
        raise error()

    return act


def _giving(value: Callable[[], Any]) -> Act:
    return lambda _: value()


def _recursion(file: DataFile) -> Any:
    return _recursion(file)


def _odd_syntax_error() -> SyntaxError:
    error = SyntaxError("odd")
    error.lineno, error.offset, error.text, error.filename = "x", "y", 7, object()  # type: ignore[assignment]
    return error


def _noted() -> Exception:
    error = ValueError("with notes")
    error.__notes__ = 7  # type: ignore[assignment]
    return error


def _circle() -> Exception:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    return one


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"x": value}
    return value


def _deep_group() -> Exception:
    error: Exception = ValueError("deep")
    for _ in range(300):
        error = ExceptionGroup("g", [error])
    return error


def _circular() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["x"] = value
    return value


def _printing(file: DataFile) -> Any:
    """100 MB; the stream of a trial leads nowhere."""
    line = "x" * (1 << 20)
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        for _ in range(100):
            print(line)
    raise ValueError("printed a lot")


def _closed_stdout(file: DataFile) -> Any:
    closed = io.StringIO()
    closed.close()
    with redirect_stdout(closed):
        print("nobody reads this")


def _removing(file: DataFile) -> Any:
    file.local_path().unlink()
    file.release()
    raise ValueError("removed its file")


def _threads(file: DataFile) -> Any:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    sys.stderr.flush()
    raise ValueError("with a thread")


def _half(_: DataFile) -> Iterator[Any]:
    yield Result({"half": 1})
    raise ValueError("in the middle")


GROUPS: dict[str, list[Act]] = {
    "raises": [
        *map(_raising, (lambda: ValueError("bad file"), MemoryError, lambda: OSError(5, "gone"), _Own)),
        *map(_raising, (KeyboardInterrupt, GeneratorExit, StopIteration, StopAsyncIteration, lambda: Reject("no"))),
        *map(_raising, (_deep_group, _circle, lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"))),
        *(_recursion, _removing, _threads),
    ],
    "exits": list(map(_raising, (lambda: SystemExit(3), lambda: SystemExit("bye"), SystemExit, lambda: SystemExit(0)))),
    "unspeakable": list(
        map(
            _raising,
            (
                *(_Silent, _Deadly, _NoText, _SilentReject, _Anonymous, _OddRetry, _odd_syntax_error, _noted),
                *(
                    lambda: ValueError("\ud800\udcff\0"),
                    lambda: ValueError("x" * 50_000_000),
                    lambda: ValueError(b"\xff"),
                ),
            ),
        )
    ),
    "rubbish": [
        *map(_giving, (lambda: None, lambda: 7, lambda: [1], lambda: "text", lambda: {"x": object()}, _circular)),
        *map(_giving, (lambda: _nested(100_000), lambda: {1: 2, (1,): 2}, lambda: Stored)),
        *map(_giving, (lambda: {"x": "y" * 5_000_000}, lambda: iter([object()]), lambda: Ellipsis, lambda: Result)),
        _half,
    ],
    "prints": [_printing, _closed_stdout],
    "retries": [_raising(lambda: RetryLater(0.0, "never ready"))],
}


class Extracting(Extractor):
    """Does to a file what its name says."""

    def __init__(self, act: Callable[[DataFile], Any]) -> None:
        super().__init__()
        self._act = act

    def extract(self, file: DataFile) -> Any:
        found = self._act(file)
        return {"size": file.size} if found is Good else found


class Processing(Processor):
    """Does to a file what its name says."""

    def __init__(self, act: Callable[[DataFile], Any]) -> None:
        super().__init__()
        self._act = act

    def process(self, file: DataFile) -> Any:
        found = self._act(file)
        return iter([Result({"size": file.size})]) if found is Good else found


class Storing(Sink):
    """Does to a file what its name says."""

    def __init__(self, act: Callable[[DataFile], Any]) -> None:
        super().__init__()
        self._act = act

    def write(self, file: DataFile) -> Any:
        found = self._act(file)
        return Stored("somewhere") if found is Good else found


class FlushingStoring(Storing):
    """The same, but its files fail when they are flushed."""

    def __init__(self, act: Callable[[DataFile], Any]) -> None:
        super().__init__(act)
        self._waiting: list[DataFile] = []

    def write(self, file: DataFile) -> Any:
        self._waiting.append(file)
        return Stored("somewhere")

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for file in waiting:
            if self._act(file) is not Good:
                raise ValueError("rubbish while flushing")


class Good:
    """What acts answer for a file that is well."""


KINDS = (Extracting, Processing, Storing, FlushingStoring)
