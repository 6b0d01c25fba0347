"""The sink itself: a temporary name, durable in groups, then the final name."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from openmsi_core import DataFile, FolderError, PluginOptions, Reject, RetryLater, Sink, Stored

from .names import OURS, Rules, spelled_out, stored, with_digest
from .staging import Durability, Staging, rules_of
from .tree import Place, Tree, is_link, is_twin
from .trouble import GONE, NO_PLACE, TROUBLE, shown, unusable

_PAUSE = 10.0
"""Seconds until a file that found no room is offered again."""

_KNOWN = 50_000
"""How many folders are remembered as durable."""


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
    _opened: ExitStack
    _identity: tuple[int, int]  # device and inode of the root
    _suspect: set[tuple[str, ...]]  # files that stand there, equal as far as can be read, and could not be synced
    _in_trouble: str = ""  # what was said of it

    def spool_folder(self) -> Path:
        """A hidden folder below the target, so that storing a spooled file is a rename. Raises FolderError."""
        root = self._root_folder()
        try:
            root.mkdir(parents=True, exist_ok=True)
            (root / OURS).mkdir(mode=0o700, exist_ok=True)
            leads_away = (root / OURS).is_symlink()
        except OSError as error:
            raise unusable(root, error) from error
        if leads_away:
            raise unusable(root, OSError(errno.ELOOP, f"{OURS} in it is a symbolic link"))
        return root / OURS

    def open(self) -> None:
        """Get hold of the folder. Raises FolderError when it cannot be written."""
        self._root = self.spool_folder().parent
        self._get_hold()

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
            if not self._is_in_place():  # what was opened may be in a folder that was moved, or is no more
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            self._sync_files([each.temporary for each in group.values()], unsure)
            for at, each in group.items():
                self._staging.publish(each.temporary, self._tree.folder(at[:-1]), at[-1])
            self._sync_folders({names[:-1] for names in (*group, *unsure)})
        except OSError as error:
            for each in group.values():
                self._staging.drop(each.temporary)
            raise self._meaning(error, at) from error
        finally:
            self._tree.forget()
        self._suspect -= group.keys()
        if self._in_trouble:
            self.log.warning("%s can be written again", shown(self._root))
            self._in_trouble = ""

    def _get_hold(self) -> None:
        """Open what is needed to write in the root. Raises FolderError; then what was open is open still."""
        with ExitStack() as opening:
            try:
                tree = opening.enter_context(closing(Tree(self._root)))
                staging = opening.enter_context(closing(Staging(self._root, tree)))
                staging.open()
                status = self._root.stat()
                rules = rules_of(self._root, folds=staging.folds_case())
            except OSError as error:
                raise unusable(self._root, error) from error
            self._opened = opening.pop_all()
        self._tree, self._staging, self._identity = tree, staging, (status.st_dev, status.st_ino)
        self._durability = Durability(tree.root)
        self._rules, tree.folds = rules, rules.folds
        self._waiting, self._unsure, self._durable, self._suspect = {}, set(), set(), set()

    def _is_in_place(self) -> bool:
        """True while the root is the folder that was opened, and what is ours in it is there. Raises OSError."""
        try:
            status = self._root.stat()
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == self._identity and self._staging.is_there()

    def _renewed(self, at: str) -> RetryLater:
        """The root, or our folder in it, went away under us. Take hold of it again, but never make it: where a file
        system was unmounted that would fill another one.
        """
        try:
            if self._root.stat().st_dev != self._identity[0]:
                return self._wait(f"{at} cannot be written: another file system stands at {shown(self._root)} now")
            before = self._opened
            self._get_hold()
        except (OSError, FolderError) as error:
            return self._wait(f"{at} cannot be written: {shown(self._root)} was taken away ({error})")
        before.close()
        self.log.warning("%s was moved or removed, and is made anew", shown(self._root, OURS))
        return RetryLater(0.0, f"{shown(self._root)} was moved or removed meanwhile")

    def _wait(self, text: str) -> RetryLater:
        """Try again later; said once for all files until something could be written again."""
        if not self._in_trouble:
            self._in_trouble = text
            self.log.warning("%s; files wait, and are tried again every %g s", text, _PAUSE)
        return RetryLater(_PAUSE, text)

    def _store(self, file: DataFile, names: tuple[str, ...]) -> Stored:
        for end in range(1, len(names)):
            if names[:end] in self._waiting:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        place = self._tree.folder(names[:-1])
        if self._is_twin(place, names):
            names = (*names[:-1], spelled_out(names[-1]))
        names, is_there = self._choose(file, place, names)
        location = shown(place.path, names[-1])
        if names != file.path.parts:
            self.log.info("%s is stored as %s", shown(Path(*file.path.parts)), location)
        if is_there and names not in self._suspect:
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
            at = shown(place.path, names[-1])
            raise Reject(f"{at} is there already with other content, and on-conflict is 'refuse'")
        for digits in (8, 64):
            other = (*names[:-1], with_digest(names[-1], file.sha256[:digits], self._rules))
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
        folded = [self._rules.folded(name) for name in names]
        waits = any(
            other != names and [self._rules.folded(name) for name in other] == folded for other in self._waiting
        )
        return waits or is_twin(place, names[-1])

    def _sync_files(self, temporary: Sequence[str], unsure: set[tuple[str, ...]]) -> None:
        """What one sync could not write no later sync of the same file can be trusted to have written."""
        try:
            if self._durability.everything(len(temporary) + len(unsure)):
                return
            for name in temporary:
                self._durability.file(self._staging.place, name)
            for names in unsure:
                self._durability.file(self._tree.folder(names[:-1]), names[-1])
        except OSError:
            self._staging.is_sync_trusted = False
            self._suspect |= unsure
            raise

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
        at = shown(self._root, *names)
        if error.errno in GONE:
            try:
                if not self._is_in_place():
                    return self._renewed(at)
            except OSError as worse:
                error = worse
        if error.errno in TROUBLE:
            return self._wait(f"{at} cannot be written now: {error.strerror}")
        reason = NO_PLACE.get(error.errno or 0)
        return Reject(f"{at} cannot be stored: {reason}") if reason else OSError(error.errno, error.strerror, at)

    def _root_folder(self) -> Path:
        return self.options.folder.expanduser().absolute()
