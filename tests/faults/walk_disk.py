"""The disk sink on a file system that forgets: every call fails once, or is the last one before the power goes.

A file's content is safe after fsync of it, a name after fsync of its folder, everything after syncfs. What is not safe
when the power goes may be there, or not, or in part.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from openmsi_core import DataFile, RetryLater
from openmsi_core.files.content import OnDisk
from openmsi_core.testing.files import data_file
from openmsi_plugins.disk import Disk, staging
from openmsi_plugins.disk.names import OURS
from tests.disk_fakes import tree
from tests.faults.model import Killed

_CALLS = ("open", "write", "fsync", "replace", "mkdir", "stat", "utime", "chmod", "unlink", "rmdir", "link", "dup")
CALLS = (*(f"os-{name}" for name in _CALLS), "syncfs")

OLD = {"a/1": b"old" * 9, "same": b"same", "a/b/kept": b"kept"}
FIRST = {"a/1": b"new" * 700, "a/2": b"2" * 5000, "same": b"same", "c/d/3": b"", "4": b"4"}
SECOND = {"a/1": b"newer" * 80, "c/5": b"5" * 100, "large": b"L" * 1_200_000}  # few: synced one by one
WANTED = OLD | FIRST | SECOND

Names = dict[str, int]


class Disks:
    """Counts the calls below ``root``, strikes at one of them, and knows what is safe.

    ``strike`` is the number of the call; ``how`` is "fails", "last" (it is not done any more) or "done" (it is).
    """

    def __init__(self, root: Path, strike: int, how: str) -> None:
        self.root, self.strike, self.how = str(root), strike, how
        self.count = 0
        self.struck = ""
        self.is_dead = self._is_busy = False
        self.contents: dict[int, bytes] = {}  # what is safe of a file, by its number
        self.names: Names = {}  # what is safe of the tree
        self._pending: list[tuple[str, str, int | None]] = []  # folder, path, number (None: removed)
        self.all_safe()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Meanwhile the system's calls come through here."""
        with ExitStack() as stack:
            for name in _CALLS:
                stack.enter_context(patch.object(os, name, self._through(name, getattr(os, name))))
            stack.enter_context(patch.object(staging, "_find_syncfs", lambda: self._syncfs))
            yield

    def all_safe(self) -> None:
        """Everything that is there survives."""
        self._pending.clear()
        self.names = self._live()
        self.contents = {number: Path(self.root, path).read_bytes() for path, number in self.names.items()}

    def bury(self) -> None:
        """What the death of the process does: its descriptors are closed, and with them its locks."""
        for descriptor in [int(name) for name in os.listdir("/proc/self/fd")]:
            try:
                path = os.readlink(f"/proc/self/fd/{descriptor}")
            except FileNotFoundError:  # the one that listdir had
                continue
            if path.startswith(self.root):
                os.close(descriptor)

    def power_cut(self, chance: random.Random) -> None:
        """Leave what a disk may show after it: the safe names, some of the later ones, any part of unsafe content."""
        live = self._live()
        now = {number: Path(self.root, path).read_bytes() for path, number in live.items()}
        known = {path for _, path, _ in self._pending} | set(self.names)
        ops = [*self._pending, *(("", path, number) for path, number in live.items() if path not in known)]
        kept = {folder: chance.random() for folder, _, _ in ops}
        names = dict(self.names)
        for folder, path, number in ops:
            if chance.random() > kept[folder]:
                kept[folder] = -1.0  # in one folder nothing comes after what was lost
            elif number is None:
                names.pop(path, None)
            else:
                names[path] = number
        shutil.rmtree(self.root)
        for path, number in names.items():
            data = self.contents.get(number)
            if data is None or (number in now and now[number] != data):
                data = _part(chance, now.get(number, b""))
            target = Path(self.root, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)

    def _live(self) -> Names:
        found = (path for path in Path(self.root).rglob("*") if path.is_file() and not path.is_symlink())
        return {str(path.relative_to(self.root)): path.stat().st_ino for path in found}

    def _through(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **named: Any) -> Any:
            if self._is_busy:  # our own calls
                return call(*arguments, **named)
            with self._busy():
                return watched(*arguments, **named)

        def watched(*arguments: Any, **named: Any) -> Any:
            where = self._where(arguments[0], named.get("dir_fd", named.get("src_dir_fd")))
            if where is None:
                return call(*arguments, **named)
            target = where
            if name in {"replace", "link"}:
                target = self._where(arguments[1], named.get("dst_dir_fd")) or where
            return self._one(f"os-{name}", lambda: self._done(name, call, arguments, named, (where, target)))

        return called

    def _one(self, name: str, do: Callable[[], Any]) -> Any:
        if self.is_dead:
            raise Killed
        self.count += 1
        if self.count != self.strike:
            return do()
        self.struck = name
        if self.how == "fails":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self.how == "done":
            do()
        self.is_dead = True
        raise Killed

    def _done(self, name: str, call: Callable[..., Any], arguments: Any, named: Any, paths: tuple[str, str]) -> Any:
        where, target = paths
        is_new = name == "open" and not os.path.lexists(where)
        number = _number(where)
        answer = call(*arguments, **named)
        if is_new and _number(where) is not None:
            self.contents.pop(_number(where) or 0, None)  # a number may have been another file's
            self._note(where, _number(where))
        elif name == "replace":
            self._note(where, None, os.path.dirname(target))
            self._note(target, number)
        elif name == "link":
            self._note(target, number)
        elif name == "unlink":
            self._note(where, None)
        elif name == "fsync":
            self._synced(where, arguments[0])
        return answer

    def _synced(self, where: str, descriptor: int) -> None:
        if os.path.isdir(where):
            folder = os.path.relpath(where, self.root)
            for each in [each for each in self._pending if each[0] == folder]:
                self._pending.remove(each)
                if each[2] is None:
                    self.names.pop(each[1], None)
                else:
                    self.names[each[1]] = each[2]
        else:
            self.contents[os.fstat(descriptor).st_ino] = Path(where).read_bytes()

    def _syncfs(self, _descriptor: int | None) -> int:
        with self._busy():
            self._one("syncfs", self.all_safe)
        return 0

    @contextmanager
    def _busy(self) -> Iterator[None]:
        self._is_busy = True
        try:
            yield
        finally:
            self._is_busy = False

    def _note(self, path: str, number: int | None, folder: str = "") -> None:
        relative = os.path.relpath(path, self.root)
        self._pending.append((os.path.relpath(folder or os.path.dirname(path), self.root), relative, number))

    def _where(self, name: Any, folder: int | None) -> str | None:
        """The path that a call is about, if it is below the root."""
        if isinstance(name, int):
            path = os.readlink(f"/proc/self/fd/{name}")
        else:
            path = os.fsdecode(name)
            if not os.path.isabs(path):
                path = os.path.join(os.readlink(f"/proc/self/fd/{folder}") if folder is not None else os.getcwd(), path)
        return path if path == self.root or path.startswith(self.root + "/") else None


def _number(path: str) -> int | None:
    return os.lstat(path).st_ino if os.path.isfile(path) else None


def _part(chance: random.Random, data: bytes) -> bytes:
    """What an unsafe file may show."""
    return chance.choice([b"", data[: chance.randrange(len(data) + 1)], bytes(len(data)), data])


def prepare(root: Path) -> None:
    """The folder as it is at the start."""
    shutil.rmtree(root, ignore_errors=True)
    for path, data in OLD.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)


def store(root: Path, acknowledged: dict[str, bytes]) -> None:
    """Everything through a sink, in two groups, as a worker would; what is flushed is acknowledged."""
    sink = Disk(Disk.Options(folder=root))
    sink.open()
    try:
        for group in (FIRST, SECOND):
            left = {path: data for path, data in group.items() if acknowledged.get(path) != data}
            if not _together(sink, root / OURS, left):
                for path, data in left.items():
                    if not any(_together(sink, root / OURS, {path: data}) for _ in range(3)):
                        raise AssertionError(f"{path} cannot be stored")
            acknowledged |= group
    finally:
        sink.close()


def _together(sink: Disk, spool: Path, files: dict[str, bytes]) -> bool:
    try:
        for path, data in files.items():
            sink.write(_file(spool, path, data))
        sink.flush()
    except (RetryLater, OSError):
        return False
    return True


def _file(spool: Path, path: str, data: bytes) -> DataFile:
    file = data_file(data, path)
    if len(data) > 1 << 20:  # spooled, beside the target
        spooled = spool / "spooled"
        spooled.write_bytes(data)
        file.content = OnDisk(spooled, ours=True)
    return file


def wrong(root: Path, acknowledged: dict[str, bytes]) -> list[str]:
    """Names under which something stands that nobody sent, or not what was acknowledged."""
    allowed = {path: {each[path] for each in (OLD, FIRST, SECOND) if path in each} for path in WANTED}
    found = tree(root)
    bad = [path for path, data in found.items() if data not in allowed.get(path, set())]
    for path, data in acknowledged.items():
        later = SECOND.get(path, data)
        if found.get(path) not in {data, later}:
            bad.append(path)
    return bad + [path for path in OLD if path not in found]
