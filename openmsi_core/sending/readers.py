"""Readers: several files are opened and read at once, where that helps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, zip_longest
from types import TracebackType
from typing import Self, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_NONE = object()


class Readers:
    """So many threads between `__enter__` and `__exit__`; before and after, and with 0, the caller's own.

    Whoever asks waits until everything is read: nothing else touches what a thread works on. Reading and hashing let
    other threads run, and where opening a file takes a round trip through a network, they wait together.
    """

    def __init__(self, threads: int = 0) -> None:
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self._threads:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="openmsi-reader")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    def each(self, function: Callable[[Item], Answer], items: Sequence[Item]) -> list[Answer]:
        """What ``function``, which must not raise, answers to each item, in their order."""
        if self._pool is None or len(items) < 2:
            return [function(item) for item in items]
        shares = [items[number :: self._threads] for number in range(min(self._threads, len(items)))]
        answered = self._pool.map(lambda share: [function(item) for item in share], shares)
        mixed = chain.from_iterable(zip_longest(*answered, fillvalue=_NONE))
        return [answer for answer in mixed if answer is not _NONE]  # type: ignore[misc]
