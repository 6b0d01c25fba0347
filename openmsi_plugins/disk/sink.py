"""The sink itself: temporary name, durable in groups, then renamed."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import stat
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from openmsi_core import DataFile, PluginOptions, Reject, RetryLater, Sink, Stored

from .names import OURS, stored
from .tree import Durability, Tree, tree_of

_FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_PLACE = {
    errno.ELOOP: "a symbolic link stands where a folder should be",
    errno.ENOTDIR: "a file or a symbolic link stands where a folder should be",
    errno.EISDIR: "a folder stands where the file should be",
    errno.ENAMETOOLONG: "the name is too long for this file system",
    errno.EILSEQ: "this file system cannot store the name",
}
_FULL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Written:
    """A file under its temporary name, and where it goes."""

    temporary: Path
    names: tuple[str, ...]


class Disk(Sink):
    """Store files below a folder, whole or not at all."""

    delivery = "idempotent"

    class Options(PluginOptions):
        """Where, and what happens to a file that is there already."""

        folder: Path
        """The folder to store files in; it is made if it is missing."""

        on_conflict: Literal["replace", "keep-both", "refuse"] = "replace"
        """A file of that path with other content is there: replace it, keep both, or refuse the new one."""

    _tree: Tree
    _durability: Durability

    def spool_folder(self) -> Path:
        """A hidden folder inside the target, so that publishing is a rename."""
        return Path(self.options.folder) / OURS

    def open(self) -> None:
        """Get hold of the folder."""
        self._root = Path(self.options.folder)
        self._work = Path(self.workdir) if self.workdir else self.spool_folder()
        self._work.mkdir(parents=True, exist_ok=True)
        self._tree = tree_of(self._root)
        self._durability = Durability(self._root)
        self._written: list[_Written] = []
        self._count = 0
        self._mode = 0o666 & ~_umask()

    def close(self) -> None:
        """Let go of it."""
        self._drop()
        self._tree.close()

    def write(self, file: DataFile) -> Stored:
        """Write under a temporary name; the rename follows in `flush`."""
        names = stored(file.version.path.parts, windows=sys.platform == "win32")
        if names != file.version.path.parts:
            self.log.info("%s is stored as %s", file.version.path, "/".join(names))
        try:
            names, is_there = self._place(file, names)
            if not is_there:
                self._write(file, names)
        except OSError as error:
            raise _meaning(error, file) from error
        return Stored(os.fspath(self._root.joinpath(*names)), unchanged=is_there)

    def flush(self) -> None:
        """One sync for all files of the group, then their renames, then the renames made durable."""
        group, self._written = self._written, []
        if not group:
            return
        try:
            self._durability.sync([each.temporary for each in group])
            for each in group:
                self._tree.publish(each.temporary, each.names)
            self._durability.sync_names(sorted({self._root.joinpath(*each.names[:-1]) for each in group}))
        except OSError as error:
            self._written = group
            self._drop()
            if error.errno in _FULL:
                raise RetryLater(_FULL_SECONDS, f"{self._root}: {error.strerror}") from error
            if error.errno in _NO_PLACE and len(group) == 1:
                raise Reject(f"it cannot be stored in {self._root}: {_NO_PLACE[error.errno]}") from error
            raise

    def _place(self, file: DataFile, names: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
        """Under which names to store, and whether an equal file is there already."""
        there = self._tree.status(names)
        if there is None:
            return names, False
        if self._is_equal(file, names, there):
            return names, True
        if self.options.on_conflict == "refuse":
            raise Reject(f"{'/'.join(names)} is there already with other content, and on-conflict is 'refuse'")
        if self.options.on_conflict == "replace":
            return names, False
        other = (*names[:-1], _with_digest(names[-1], file.sha256))
        return other, self._tree.status(other) is not None

    def _is_equal(self, file: DataFile, names: tuple[str, ...], there: os.stat_result) -> bool:
        if not stat.S_ISREG(there.st_mode) or there.st_size != file.size:
            return False
        digest = hashlib.sha256()
        with self._tree.reader(names) as reader:
            while piece := reader.read(1 << 20):
                digest.update(piece)
        return digest.hexdigest() == file.sha256

    def _write(self, file: DataFile, names: tuple[str, ...]) -> None:
        self._count += 1
        temporary = self._work / f"new-{id(self):x}-{self._count}"
        self._written.append(_Written(temporary, names))
        try:
            file.save_to(temporary)
            temporary.chmod(self._mode)
            os.utime(temporary, ns=(time.time_ns(), file.mtime_ns))
        except BaseException:
            self._written.pop()
            temporary.unlink(missing_ok=True)
            raise

    def _drop(self) -> None:
        for each in self._written:
            each.temporary.unlink(missing_ok=True)
        self._written = []


def _meaning(error: OSError, file: DataFile) -> Exception:
    if error.errno in _FULL:
        logging.getLogger(__name__).warning("no room for %s: %s; it waits", file.version.path, error.strerror)
        return RetryLater(_FULL_SECONDS, f"no room for {file.version.path}: {error.strerror}")
    reason = _NO_PLACE.get(error.errno or 0)
    return Reject(f"it cannot be stored: {reason}") if reason else error


def _with_digest(name: str, sha256: str) -> str:
    """``scan.xrdml`` and a digest: ``scan.1a2b3c4d.xrdml``."""
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}.{sha256[:8]}.{suffix}" if dot and stem else f"{name}.{sha256[:8]}"


def _umask() -> int:
    """The process's umask. Reading it means setting it for an instant, so it is done once, before the work begins."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
