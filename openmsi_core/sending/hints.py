"""Hints: what the file system says has changed. They make a watch quick; nothing depends on them.

The only module that knows watchdog. What it tells may be late, twice, wrong or missing: every hint leads to a look, and
the scanner finds what no hint was given for.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

_HELD = 10_000
_EVENTS = (FileCreatedEvent, FileModifiedEvent, FileClosedEvent, FileMovedEvent, DirCreatedEvent, DirMovedEvent)

_log = logging.getLogger(__name__)


class Hint(NamedTuple):
    """A place worth a look, as the file system spells it; ``is_moved``: it was put there by a rename, whole."""

    place: str
    is_moved: bool


class Hints(Protocol):
    """Where a watch gets its hints from; used with ``with``."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def take(self, most: int) -> list[Hint]:
        """At most so many hints, each once; never waits."""
        ...

    def were_lost(self) -> bool:
        """True when hints were lost since this was asked last: then only a scan tells what is there."""
        ...


class NoHints:
    """For folders whose file system tells nothing, such as network mounts."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing."""

    def take(self, most: int) -> list[Hint]:
        """None."""
        del most
        return []

    def were_lost(self) -> bool:
        """Never."""
        return False


class FolderHints:
    """Hints about everything below ``root``, from the operating system through watchdog.

    Its threads run from `__enter__` to `__exit__`. A system that refuses (too many folders for its limit, say) is said
    once, and no hints come. Holds at most ``held`` hints; more are lost, and that is told.
    """

    def __init__(self, root: Path, *, held: int = _HELD) -> None:
        self._root = root
        self._held = held
        self._lock = threading.Lock()
        self._waiting: dict[str, bool] = {}
        self._is_lossy = False
        self._observer: BaseObserver | None = None

    def __enter__(self) -> Self:
        logging.getLogger("watchdog").addFilter(self._overheard)
        for name in ("watchdog.observers.inotify", "watchdog.observers.inotify_c"):
            logging.getLogger(name).addFilter(self._overheard)
        observer: BaseObserver | None = None
        try:
            observer = Observer()
            observer.schedule(_Listener(self), os.fspath(self._root), recursive=True, event_filter=list(_EVENTS))
            observer.start()
        except OSError as error:
            _log.warning(
                "the system gives no events for %s (%s): the folder is looked through at intervals only; on Linux "
                "raise fs.inotify.max_user_watches for quicker ones", self._root, error.strerror or error,
            )  # fmt: skip
            if observer is not None:
                observer.stop()
        else:
            self._observer = observer
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(5.0)
            self._observer = None
        for name in ("watchdog", "watchdog.observers.inotify", "watchdog.observers.inotify_c"):
            logging.getLogger(name).removeFilter(self._overheard)

    def take(self, most: int) -> list[Hint]:
        """At most so many hints, each once; never waits."""
        if not self._waiting:  # without the lock: what comes now is taken at the next turn
            return []
        with self._lock:
            places = list(self._waiting)[:most]
            return [Hint(place, self._waiting.pop(place)) for place in places]

    def were_lost(self) -> bool:
        """True when hints were lost since this was asked last: then only a scan tells what is there."""
        was, self._is_lossy = self._is_lossy, False
        return was

    def told(self, place: str, *, is_moved: bool) -> None:
        """Note a hint; called by watchdog's threads."""
        with self._lock:
            if place not in self._waiting and len(self._waiting) >= self._held:
                self._is_lossy = True
            else:
                self._waiting[place] = is_moved

    def _overheard(self, record: logging.LogRecord) -> bool:
        """Watchdog tells of a queue that overflowed in its log, and nowhere else; ours says what matters."""
        if "overflow" in record.msg:
            self._is_lossy = True
        return False


class _Listener(FileSystemEventHandler):
    def __init__(self, hints: FolderHints) -> None:
        self._hints = hints

    def on_any_event(self, event: FileSystemEvent) -> None:
        if not isinstance(event, _EVENTS):
            return
        is_moved = isinstance(event, FileMovedEvent | DirMovedEvent)
        self._hints.told(os.fsdecode(event.dest_path if is_moved else event.src_path), is_moved=is_moved)
