"""The scanner: what is below a folder now. File-system events may make it faster; they never replace it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

from openmsi_core.errors import PathRefused
from openmsi_core.files.paths import wanted
from openmsi_core.model import MAX_PART_BYTES, MAX_PATH_BYTES, RelativePath, shown
from openmsi_core.sending.seen import Seen, facts_of
from openmsi_core.sending.sidecars import Sidecars

OURS = ".openmsi"
"""Folders of this name hold files of ours (unfinished ones of the disk sink); they are never sent."""

Complaint = Callable[[str, str], None]
"""Called with a place (as the file system spells it) and the reason why it is left out."""

_REPARSE_POINT = 0x400


class _Place:
    """What `os.scandir` would tell of one place, asked for alone."""

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.path = path

    def stat(self, *, follow_symlinks: bool) -> os.stat_result:
        return os.stat(self.path, follow_symlinks=follow_symlinks)  # noqa: PTH116 - as DirEntry does

    def is_symlink(self) -> bool:
        return stat.S_ISLNK(self.stat(follow_symlinks=False).st_mode)

    def is_dir(self, *, follow_symlinks: bool) -> bool:
        return stat.S_ISDIR(self.stat(follow_symlinks=follow_symlinks).st_mode)

    def is_file(self, *, follow_symlinks: bool) -> bool:
        return stat.S_ISREG(self.stat(follow_symlinks=follow_symlinks).st_mode)


_Entry = os.DirEntry[str] | _Place


class Scanner:
    """Looks below ``root`` for regular files that the patterns want.

    Symlinked folders (and Windows' junctions) are not followed, so a loop cannot be entered. A symlinked file is
    sent under the link's own path if it leads to a regular file inside the root; a link that leads outside is left
    out and said, because whoever may create a link in the folder could otherwise publish any file of the machine.
    Devices, sockets and pipes are not files. What is left out for a reason that a person can change (unreadable, a
    name that cannot be sent) goes to ``complain``, at every scan; ``left_out`` counts it for the last scan.
    """

    def __init__(
        self,
        root: Path,
        complain: Complaint,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        sidecars: Sidecars | None = None,
    ) -> None:
        self.root = root
        self.left_out = 0
        self._complain = complain
        self._include = tuple(include)
        self._exclude = tuple(exclude)
        self._sidecars = sidecars or Sidecars()

    def scan(self) -> Generator[Seen]:
        """Every file that is there now, in no particular order; close it when you stop early. Never raises OSError."""
        self.left_out = 0
        yield from self._walk([(os.fspath(self.root), b"")])

    def look(self, place: str, trusted: set[Path] | None = None) -> Generator[Seen]:
        """The file at ``place`` below the root, or all files below the folder that it is; by the rules of a scan.

        Folders in ``trusted`` were found to be no links a moment ago; those that are looked at come into it.
        """
        path = Path(place)
        if path == self.root or not path.is_relative_to(self.root):
            return
        below = path.parent.relative_to(self.root).parts
        trusted = set() if trusted is None else trusted
        if path.parent not in trusted:
            if ".." in below or OURS in below or not self._is_real(path.parent, below):
                return
            trusted.add(path.parent)
        prefix = "".join(f"{part}/" for part in below).encode("utf-8", "surrogateescape")
        folders: list[tuple[str, bytes]] = []
        yield from self._look(_Place(path.name, place), prefix, folders)
        yield from self._walk(folders)

    def _is_real(self, folder: Path, below: Sequence[str]) -> bool:
        """False for a folder behind a link: it may lie anywhere."""
        root, real = os.path.realpath(self.root), os.path.realpath(folder)
        return real == os.fspath(Path(root, *below))

    def place_of(self, key: bytes) -> str:
        """Where a path that was seen stands, for `look`."""
        return os.fspath(Path(self.root, *key.decode("utf-8", "surrogateescape").split("/")))

    def _walk(self, folders: list[tuple[str, bytes]]) -> Generator[Seen]:
        while folders:
            folder, prefix = folders.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        yield from self._look(entry, prefix, folders)
            except FileNotFoundError as error:
                if not prefix:  # the root itself is gone: a mount that comes back, or a mistake
                    self._leave_out(folder, _reason(error))
            except OSError as error:
                self._leave_out(folder, _reason(error))

    def _look(self, entry: _Entry, prefix: bytes, folders: list[tuple[str, bytes]]) -> Iterator[Seen]:
        key = self._key(entry, prefix)
        if key is None:
            return
        try:
            if _is_link(entry):
                seen = self._link(entry, key)
            elif entry.is_dir(follow_symlinks=False):
                if entry.name != OURS:
                    folders.append((entry.path, key + b"/"))
                return
            elif entry.is_file(follow_symlinks=False):
                seen = Seen(entry.path, key, facts_of(entry.stat(follow_symlinks=False)))
            else:
                return
        except FileNotFoundError:
            return  # it vanished between the listing and the look: an ordinary event
        except OSError as error:
            self._leave_out(entry.path, _reason(error))
            return
        if seen is not None and self._wants(seen):
            yield seen

    def _key(self, entry: _Entry, prefix: bytes) -> bytes | None:
        """The record key of an entry; a cheaper spelling of what RelativePath checks."""
        try:
            raw = entry.name.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # half a surrogate pair, which Windows allows
            raw = bytes(MAX_PART_BYTES + 1)
        key = prefix + raw
        if len(raw) <= MAX_PART_BYTES and len(key) <= MAX_PATH_BYTES:
            return key
        try:
            RelativePath((*prefix.decode("utf-8", "surrogateescape").split("/")[:-1], entry.name))
        except PathRefused as error:
            self._leave_out(entry.path, f"its path cannot be sent: {error}")
        return None

    def _link(self, entry: _Entry, key: bytes) -> Seen | None:
        target = os.path.realpath(entry.path)
        facts = os.stat(target)  # noqa: PTH116 - a bare call: the scanner counts microseconds
        if not stat.S_ISREG(facts.st_mode):
            return None
        root = os.path.realpath(self.root)
        if os.path.commonpath((root, target)) != root:
            self._leave_out(entry.path, f"a link that leads out of the folder, to {shown(target)}")
            return None
        return Seen(target, key, facts_of(facts))

    def _wants(self, seen: Seen) -> bool:
        if not self._include and not self._exclude:
            return True
        subject = self._sidecars.owner(seen.key) or seen.key  # a sidecar is wanted where its file is
        return wanted(RelativePath.from_key(subject), self._include, self._exclude)

    def _leave_out(self, place: str, reason: str) -> None:
        self.left_out += 1
        self._complain(place, reason)


def _is_link(entry: _Entry) -> bool:
    if entry.is_symlink():
        return True
    if os.name != "nt":
        return False
    return bool(getattr(entry.stat(follow_symlinks=False), "st_file_attributes", 0) & _REPARSE_POINT)


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
