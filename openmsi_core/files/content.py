"""Where the bytes of a whole file are: in memory, or in one file on disk."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol


class Content(Protocol):
    """The bytes of one whole file."""

    def open(self) -> BinaryIO:
        """A new binary reader at the beginning."""
        ...

    def read(self) -> bytes:
        """All bytes."""
        ...

    def path(self) -> Path | None:
        """The file on disk, or None when the bytes are in memory."""
        ...

    def move_to(self, target: Path) -> None:
        """Put the bytes at ``target`` (replacing what is there); a rename where the file system allows it."""
        ...

    def discard(self) -> None:
        """Free what is held; the content is unusable afterwards. May be called twice."""
        ...


@dataclass(slots=True)
class InMemory:
    """Bytes in memory, in pieces as they came."""

    pieces: Sequence[bytes]

    def open(self) -> BinaryIO:
        """A new binary reader at the beginning."""
        return io.BytesIO(self.read())

    def read(self) -> bytes:
        """All bytes."""
        return self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)

    def path(self) -> Path | None:
        """None: there is no file."""
        return None

    def move_to(self, target: Path) -> None:
        """Write the bytes to ``target``."""
        with target.open("wb") as file:
            file.writelines(self.pieces)

    def discard(self) -> None:
        """Let go of the bytes."""
        self.pieces = ()


@dataclass(slots=True)
class OnDisk:
    """Bytes in a file. ``ours``: the file is a spool file, so it may be moved, and is removed at the end."""

    file: Path
    ours: bool
    moved: bool = False

    def open(self) -> BinaryIO:
        """A new binary reader at the beginning."""
        return self.file.open("rb")

    def read(self) -> bytes:
        """All bytes."""
        return self.file.read_bytes()

    def path(self) -> Path | None:
        """The file."""
        return self.file

    def move_to(self, target: Path) -> None:
        """Give the spool file a second name where the file system can, so that nothing is written twice and the
        content is still here if the caller fails afterwards; else rename it; else copy.
        """
        if not self.ours:
            shutil.copyfile(self.file, target)
            return
        target.unlink(missing_ok=True)
        try:
            os.link(self.file, target)
        except OSError:  # no hard links here, or another file system
            self._rename_or_copy(target)

    def _rename_or_copy(self, target: Path) -> None:
        if self.moved:
            shutil.copyfile(self.file, target)
            return
        try:
            self.file.replace(target)
        except OSError:  # another file system: copying is the only way, and its own errors are raised
            shutil.copyfile(self.file, target)
        else:
            self.file, self.moved = target, True

    def discard(self) -> None:
        """Remove the spool file, unless it was moved away or never was ours."""
        if self.ours and not self.moved:
            self.file.unlink(missing_ok=True)
