"""What all workers of a process share: connections, threads for parts, and room in memory."""

from __future__ import annotations

import io
import queue
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, TypeVar

from .bucket import Bucket
from .trouble import Complaint

ROOM = 40 * 1024 * 1024
"""Bytes that may be on their way in memory, of all files together."""

SLOWEST, PATIENCE = 64 * 1024, 120.0
"""Bytes per second, and seconds: a file that takes longer than both together is given up, and tried again later."""

_STRIPES = 128

Part = TypeVar("Part")


class TooSlow(Exception):
    """A file took longer than it may."""


class Room:
    """Bytes of memory that are shared out; who wants more than there is waits."""

    def __init__(self, size: int = ROOM) -> None:
        self._size = self._free = size
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, count: int) -> Iterator[None]:
        """Inside, ``count`` bytes are ours. More than all of it is all of it."""
        self.take(count)
        try:
            yield
        finally:
            self.give(count)

    def take(self, count: int) -> None:
        """Wait until there is room. Who takes more before giving back may wait for ever."""
        count = min(count, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= count)
            self._free -= count

    def give(self, count: int) -> None:
        """Give back what was taken."""
        with self._changed:
            self._free += min(count, self._size)
            self._changed.notify_all()


class Body(io.RawIOBase):
    """What is sent, in pieces: a slow link costs no timeout as long as it moves, and the deadline is looked at.

    A body of one piece would have to leave within the time that a connection may take to be made.
    """

    def __init__(self, content: BinaryIO, deadline: float) -> None:
        super().__init__()
        self._content = content
        self._deadline = deadline

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes. Raises TooSlow."""
        if time.monotonic() > self._deadline:
            raise TooSlow("it takes longer than 2 minutes and 64 KiB/s; the link is too slow, or stands still")
        return self._content.read(-1 if size is None else size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Begin again, when a request is sent again."""
        return self._content.seek(offset, whence)

    def tell(self) -> int:
        """Where it stands."""
        return self._content.tell()

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True


class PartThreads:
    """Threads that send parts.

    They are daemons, which those of an executor are not: a process that was told to stop would wait for a part that
    is stuck in the network, for minutes.
    """

    def __init__(self, count: int) -> None:
        self._waiting: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"openmsi-s3-part-{number}", daemon=True)
            for number in range(count)
        ]
        self._is_started = False
        self._lock = threading.Lock()

    def submit(self, call: Callable[..., Part], *arguments: object) -> Future[Part]:
        """Call it in one of the threads, which the first call starts."""
        with self._lock:
            for thread in () if self._is_started else self._threads:
                thread.start()
            self._is_started = True
        future: Future[Part] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(call(*arguments))
            except BaseException as error:  # noqa: BLE001 - whoever asked for the result gets it
                future.set_exception(error)

        self._waiting.put(work)
        return future

    def shutdown(self) -> None:
        """Let the threads end; waits two seconds for those that are busy."""
        for _ in self._threads:
            self._waiting.put(None)
        ends = time.monotonic() + 2.0
        for thread in self._threads if self._is_started else ():
            thread.join(max(0.0, ends - time.monotonic()))

    def _work(self) -> None:
        while (work := self._waiting.get()) is not None:
            work()


def deadline_of(size: int) -> float:
    """Until when a file of ``size`` bytes must be stored, on the monotonic clock."""
    return time.monotonic() + PATIENCE + size / SLOWEST


@dataclass(slots=True)
class Shared:
    """Made by the first worker, let go of by the last. ``misses`` counts files in a row that were not there yet."""

    bucket: Bucket
    parts: PartThreads
    complaint: Complaint
    room: Room = field(default_factory=Room)
    misses: int = 0
    stored: int = 0
    knows_conditions: bool = True
    users: int = 0
    _stripes: tuple[threading.Lock, ...] = field(
        default_factory=lambda: tuple(threading.Lock() for _ in range(_STRIPES))
    )

    def alone(self, key: str) -> threading.Lock:
        """A lock that keeps others of this process away from ``key``: a template may give two paths one."""
        return self._stripes[zlib.crc32(key.encode()) % _STRIPES]


_all: dict[str, Shared] = {}
_lock = threading.Lock()


def joined(name: str, make: Callable[[], Shared]) -> Shared:
    """What all workers with these options share; the first makes it while the others wait. Raises what that raises."""
    with _lock:
        if name not in _all:
            _all[name] = make()
        _all[name].users += 1
        return _all[name]


def left(name: str) -> None:
    """One worker less; the last one closes everything."""
    with _lock:
        shared = _all[name]
        shared.users -= 1
        if shared.users:
            return
        del _all[name]
    shared.parts.shutdown()
    shared.bucket.close()
