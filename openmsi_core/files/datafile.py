"""The whole file that a plugin sees."""

from __future__ import annotations

import errno
import locale
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import BinaryIO

from openmsi_core.errors import RetryLater
from openmsi_core.files.content import Content
from openmsi_core.model import FileVersion, Position

_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
_PAUSE = 10.0  # seconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class DataFile:
    """A whole file whose bytes match the digest it was sent with. Read-only.

    It lives as long as the call of the plugin that got it: what you want to keep, keep as bytes or with
    `save_to`.
    """

    version: FileVersion
    position: Position
    received: datetime
    content: Content
    workdir: Path | None = None
    complete: bool = True
    """False when only the first bytes are here, as many as a head plugin asks for; see `openmsi_core.Extractor`."""
    _borrowed: list[Path] = field(default_factory=list)

    @property
    def path(self) -> PurePosixPath:
        """Where the file stood below the sender's root."""
        return PurePosixPath(self.version.path.text)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.version.path.name

    @property
    def suffix(self) -> str:
        """The last suffix of the name with its dot, in lower case; "" if it has none."""
        return self.path.suffix.lower()

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self.version.size

    @property
    def sha256(self) -> str:
        """SHA-256 of the content, 64 hexadecimal digits; "" for a file that is not `complete`."""
        return (self.version.sha256 or b"").hex() if self.complete else ""

    @property
    def mtime(self) -> datetime:
        """When the file was last changed on the sender's machine, UTC, to the microsecond."""
        return _EPOCH + timedelta(microseconds=self.version.mtime_ns // 1000)

    @property
    def mtime_ns(self) -> int:
        """The same in epoch nanoseconds, as `os.utime` takes it."""
        return self.version.mtime_ns

    @property
    def user(self) -> Mapping[str, str | int | float]:
        """What the sender said about the file (``--meta key=value``)."""
        return MappingProxyType(dict(self.version.user))

    @property
    def topic(self) -> str:
        """The topic it came from."""
        return self.position.topic

    @property
    def partition(self) -> int:
        """The partition it came from."""
        return self.position.partition

    @property
    def offset(self) -> int:
        """The offset of its first record."""
        return self.position.offset

    def open(self) -> BinaryIO:
        """A binary reader at the beginning of the file; close it, or use it in a ``with``."""
        return self.content.open()

    def read_bytes(self) -> bytes:
        """The whole content."""
        return self.content.read()

    def text(self, encoding: str | None = None) -> str:
        """The content as text: by its BOM, else UTF-8, else ``encoding``, else the platform's, else Latin-1.

        Instruments write Shift-JIS and Latin-1; give ``encoding`` when you know it. Never raises for content.
        """
        return decoded(self.content.read(), encoding)

    def local_path(self) -> Path:
        """A real file with this content and the right suffix, for libraries that want a name.

        It is removed after the call of the plugin; do not change it. Raises RetryLater while the disk is full, which a
        plugin lets pass, and OSError.
        """
        there = self.content.path()
        if there is not None and there.suffix.lower() == self.suffix:
            return there
        if not self._borrowed:
            try:
                self._borrowed.append(self._copy())
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                raise RetryLater(_PAUSE, f"there is no room for a copy of the file: {error.strerror}") from error
        return self._borrowed[0]

    def _copy(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="openmsi-", dir=self.workdir))
        target = folder / f"file{self.suffix if self.suffix.isprintable() else ''}"
        try:
            with self.open() as source, target.open("xb") as out:
                while piece := source.read(1 << 20):
                    out.write(piece)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return target

    def save_to(self, path: Path) -> None:
        """Put the content at ``path``: a second name when it is spooled on that file system, else a copy.

        Neither atomic nor durable by itself; the bundled disk sink shows how to make it so. Raises OSError.
        """
        self.content.move_to(path)

    def release(self) -> None:
        """Free everything that is held for this file. The runtime calls it after the plugin."""
        self.take_back()
        self.content.discard()

    def take_back(self) -> None:
        """Remove what `local_path` made: a call that failed may have changed it, and the next one gets its own."""
        for borrowed in self._borrowed:  # with whatever a library left beside it; what stays goes with the spool
            shutil.rmtree(borrowed.parent, ignore_errors=True)
        self._borrowed.clear()


_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe\x00\x00", "utf-32"), (b"\x00\x00\xfe\xff", "utf-32"),
         (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))  # fmt: skip


def decoded(data: bytes, encoding: str | None = None) -> str:
    r"""``data`` as text; see `DataFile.text`.

    >>> decoded("\ufeffµ".encode("utf-16"))
    'µ'
    >>> decoded("走査".encode("shift-jis"), "shift-jis")
    '走査'
    """
    for mark, codec in _BOMS:
        if data.startswith(mark):
            return data.decode(codec, "replace").removeprefix("\ufeff")
    candidates = ["utf-8", *([encoding] if encoding else []), locale.getpreferredencoding(False)]
    for codec in candidates:
        try:
            return data.decode(codec)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")
