"""The sink itself: a temporary name, durable in groups, then the final name."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from openmsi_core import DataFile, FolderError, PluginOptions, Reject, RetryLater, Sink, Stored

from .names import OURS, Rules, spelled_out, stored, with_digest
from .staging import Durability, Staging
from .tree import Place, Tree, is_link, is_twin

_PAUSE = 10.0
"""Seconds until a file that found no room is offered again."""

_KNOWN = 50_000
"""How many folders are remembered as durable."""

# The disk is in trouble, not this file: it waits, and comes back.
_TROUBLE = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "ESTALE", "ENODEV", "ENXIO", "ENOTCONN", "EMFILE", "ENFILE")
    if hasattr(errno, name)
}
# This file cannot be stored here, however often it is tried.
_NO_PLACE = {
    errno.ELOOP: "a symbolic link stands on its way, and links are not followed",
    errno.ENOTDIR: "a file stands where a folder should be",
    errno.EISDIR: "a folder stands where the file should be",
    errno.ENAMETOOLONG: "its name is too long for this file system",
    errno.EILSEQ: "this file system cannot store its name",
}


@dataclass(frozen=True, slots=True)
class _Staged:
    """A file under its temporary name that waits for `Disk.flush`."""

    temporary: str
    sha256: str


class Disk(Sink):
    """Store files in a folder, in the sender's tree; whole or not at all."""

    delivery = "idempotent"
    stability = "stable"

    class Options(PluginOptions):
        """Where, and what happens to a file that is there already."""

        folder: Path
        """The folder to store files in; it is made if it is missing."""

        on_conflict: Literal["replace", "keep-both", "refuse"] = "replace"
        """What to do when other content stands at that path; equal content is always left alone."""

    options: Options

    _tree: Tree
    _staging: Staging
    _durability: Durability
    _rules: Rules
    _waiting: dict[tuple[str, ...], _Staged]
    _unsure: set[tuple[str, ...]]  # files that stood there already: equal, and perhaps not durable yet
    _durable: set[tuple[str, ...]]  # folders whose own names were synced once

    def spool_folder(self) -> Path:
        """A hidden folder below the target, so that storing a spooled file is a rename. Raises FolderError."""
        root = self._root_folder()
        try:
            root.mkdir(parents=True, exist_ok=True)
            (root / OURS).mkdir(mode=0o700, exist_ok=True)
            leads_away = (root / OURS).is_symlink()
        except OSError as error:
            raise _unusable(root, error) from error
        if leads_away:
            raise _unusable(root, OSError(errno.ELOOP, f"{OURS} in it is a symbolic link"))
        return root / OURS

    def open(self) -> None:
        """Get hold of the folder. Raises FolderError when it cannot be written."""
        self._root = self.spool_folder().parent
        self._waiting, self._unsure, self._durable = {}, set(), set()
        with ExitStack() as opening:
            try:
                self._tree = opening.enter_context(closing(Tree(self._root)))
                self._staging = opening.enter_context(closing(Staging(self._root, self._tree)))
                self._staging.open()
                self._rules = Rules(windows=sys.platform == "win32", folds=self._staging.folds_case())
            except OSError as error:
                raise _unusable(self._root, error) from error
            self._opened = opening.pop_all()
        self._durability = Durability(self._tree.root)
        self._tree.folds = self._rules.folds

    def close(self) -> None:
        """Let go of it; what was not flushed is not stored."""
        self._opened.close()

    def write(self, file: DataFile) -> Stored:
        """Write under a temporary name; the final one follows in `flush`."""
        names = stored(file.path.parts, self._rules)
        try:
            return self._store(file, names)
        except OSError as error:
            raise self._meaning(error, names) from error

    def flush(self) -> None:
        """Make all files since the last call durable, then give them their names, then make the names durable.

        When it fails, files that have their final name already are whole; the others are gone.
        """
        group, unsure = self._waiting, self._unsure
        self._waiting, self._unsure = {}, set()
        self._tree.forget()  # somebody may have moved folders since
        at: tuple[str, ...] = ()
        try:
            if not self._durability.everything(len(group) + len(unsure)):
                for each in group.values():
                    self._durability.file(self._staging.place, each.temporary)
                for at in unsure:
                    self._durability.file(self._tree.folder(at[:-1]), at[-1])
            for at, each in group.items():
                self._staging.publish(each.temporary, self._tree.folder(at[:-1]), at[-1])
            self._sync_folders({names[:-1] for names in (*group, *unsure)})
        except OSError as error:
            for each in group.values():
                self._staging.drop(each.temporary)
            raise self._meaning(error, at) from error
        finally:
            self._tree.forget()

    def _store(self, file: DataFile, names: tuple[str, ...]) -> Stored:
        for end in range(1, len(names)):
            if names[:end] in self._waiting:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        place = self._tree.folder(names[:-1])
        if self._is_twin(place, names):
            names = (*names[:-1], spelled_out(names[-1]))
        names, is_there = self._choose(file, place, names)
        location = _shown(place.path, names[-1])
        if names != file.path.parts:
            self.log.info("%s is stored as %s", _shown(Path(*file.path.parts)), location)
        if is_there:
            if names not in self._waiting:
                self._unsure.add(names)
            return Stored(location, unchanged=True)
        before = self._waiting.get(names)
        self._waiting[names] = _Staged(self._staging.add(file), file.sha256)
        if before is not None:
            self._staging.drop(before.temporary)
        return Stored(location)

    def _choose(self, file: DataFile, place: Place, names: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
        """Under which names to store, and whether an equal file stands there already."""
        standing = self._standing(file, place, names)
        if standing != "other" or self.options.on_conflict == "replace":
            return names, standing == "equal"
        if self.options.on_conflict == "refuse":
            at = _shown(place.path, names[-1])
            raise Reject(f"{at} is there already with other content, and on-conflict is 'refuse'")
        for digits in (8, 64):
            other = (*names[:-1], with_digest(names[-1], file.sha256[:digits]))
            standing = self._standing(file, place, other)
            if standing != "other":
                break
        return other, standing == "equal"

    def _standing(self, file: DataFile, place: Place, names: tuple[str, ...]) -> Literal["nothing", "equal", "other"]:
        """What will stand at ``names`` after the next flush, were ``file`` not stored. Raises OSError."""
        waiting = self._waiting.get(names)
        if waiting is not None:
            return "equal" if waiting.sha256 == file.sha256 else "other"
        status = place.status(names[-1])
        if status is None:
            return "nothing"
        if is_link(status):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if not stat.S_ISREG(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if status.st_size != file.size:
            return "other"
        with os.fdopen(place.open(names[-1], os.O_RDONLY), "rb") as reader:
            return "equal" if hashlib.file_digest(reader, "sha256").hexdigest() == file.sha256 else "other"

    def _is_twin(self, place: Place, names: tuple[str, ...]) -> bool:
        if not self._rules.folds:
            return False
        folded = [part.casefold() for part in names]
        waits = any(other != names and [part.casefold() for part in other] == folded for other in self._waiting)
        return waits or is_twin(place, names[-1])

    def _sync_folders(self, folders: set[tuple[str, ...]]) -> None:
        """Those in which files got their names, and their parents once: they may be new."""
        parents = {names[:end] for names in folders for end in range(len(names))} - self._durable | self._tree.made
        if not self._durability.everything(len(folders | parents)):
            for names in folders | parents:
                self._durability.folder(self._tree.folder(names))
        if len(self._durable) > _KNOWN:
            self._durable.clear()
        self._durable |= parents
        self._tree.made.clear()

    def _meaning(self, error: OSError, names: tuple[str, ...]) -> Exception:
        """What an error of the system does to the file: wait, dead letter, or another try."""
        at = _shown(self._root, *names)
        if error.errno in _TROUBLE:
            text = f"{at} cannot be written now: {error.strerror}"
            self.log.warning("%s; it is tried again in %g s", text, _PAUSE)
            return RetryLater(_PAUSE, text)
        reason = _NO_PLACE.get(error.errno or 0)
        return Reject(f"{at} cannot be stored: {reason}") if reason else OSError(error.errno, error.strerror, at)

    def _root_folder(self) -> Path:
        return self.options.folder.expanduser().absolute()


def _unusable(root: Path, error: OSError) -> FolderError:
    return FolderError(
        f"files cannot be stored in {_shown(root)}: {error.strerror or error}. Choose another folder (--folder), or "
        "give this account the right to write there."
    )


def _shown(folder: Path, *names: str) -> str:
    """A path as text that every encoding takes: bytes that are not UTF-8 are escaped."""
    return os.fspath(folder.joinpath(*names)).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
