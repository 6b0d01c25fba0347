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
        """Put the bytes at ``target`` (replacing what is there), without writing them again where that is possible."""
        ...

    def discard(self) -> None:
        """Free what is held; the content is unusable afterwards. May be called twice."""
        ...


@dataclass(slots=True)
class InMemory:
    """Bytes in memory, in pieces as they came."""

    pieces: Sequence[bytes] | None

    def open(self) -> BinaryIO:
        """A new binary reader at the beginning."""
        return io.BytesIO(self.read())

    def read(self) -> bytes:
        """All bytes."""
        pieces = self._held()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def path(self) -> Path | None:
        """None: there is no file."""
        return None

    def move_to(self, target: Path) -> None:
        """Write the bytes to ``target``."""
        with target.open("wb") as file:
            file.writelines(self._held())

    def discard(self) -> None:
        """Let go of the bytes."""
        self.pieces = None

    def _held(self) -> Sequence[bytes]:
        if self.pieces is None:  # nothing would be taken for an empty file
            raise ValueError("this file was let go of: read it before the plugin's method returns")
        return self.pieces


@dataclass(slots=True)
class OnDisk:
    """Bytes in a file. ``ours``: the file is a spool file, so it may get other names, and is removed at the end."""

    file: Path
    ours: bool

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
        """Give the spool file a second name where the file system can, so that nothing is written twice; else copy.

        Never a rename: if the caller fails afterwards the content must still be here for the next try.
        """
        if self.ours:
            target.unlink(missing_ok=True)
            try:
                os.link(self.file, target)
            except OSError:  # no hard links here, or another file system; what copying cannot do it says itself
                pass
            else:
                return
        shutil.copyfile(self.file, target)

    def discard(self) -> None:
        """Remove the spool file, unless it never was ours."""
        if self.ours:
            self.file.unlink(missing_ok=True)
