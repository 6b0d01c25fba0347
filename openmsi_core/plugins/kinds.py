"""What an author subclasses: one class with one method.

A plugin gets a `DataFile`, returns its results and raises its failures: `Reject` for a file that is not what it
should be, `RetryLater` when something outside is not ready, anything else for a failure that may pass. Everything
else it needs is on ``self``: ``options``, ``log``, ``workdir``.

The class attributes are the plugin's manifest. Write them as literals: the catalogue reads them without importing
your module.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from openmsi_core.files.datafile import DataFile
from openmsi_core.model import Result, Stored
from openmsi_core.plugins.options import PluginOptions


class Plugin(ABC):  # noqa: B024 - each kind adds its one abstract method
    """What the three kinds have in common; do not subclass it directly."""

    accepts: ClassVar[tuple[str, ...]] = ()
    """Globs of the files it wants, as in ``("*.xrdml",)``; empty: every file."""
    sniff: ClassVar[bytes] = b""
    """Bytes that occur in the first 4 KiB of the files it wants."""
    head: ClassVar[int] = 0
    """How many bytes of a file are enough for it, up to 8 MiB; 0: all of them.

    It is called as soon as so many have arrived, and gets exactly these: of a larger file `DataFile.complete` is False
    and `DataFile.sha256` is "". Its results are published once the whole file is verified.
    """
    early: ClassVar[bool] = False
    """With ``head``: publish its results at once, marked as not verified; perhaps twice, perhaps of a broken file."""
    emits: ClassVar[str] = ""
    """What its results are, in a word or the address of a schema."""
    delivery: ClassVar[str] = ""
    """What handing it the same file twice does, as ``"idempotent"``."""
    stability: ClassVar[str] = ""
    """``"stable"``, ``"experimental"``, or what you want people to know."""
    workers: ClassVar[int] = 1
    """How many instances work at once where the run does not say; more for one that mostly waits for a server."""
    cite: ClassVar[str] = ""
    """What users of the results should cite."""

    class Options(PluginOptions):
        """No options."""

    def __init__(
        self, options: PluginOptions | None = None, log: logging.Logger | None = None, workdir: Path | None = None
    ) -> None:
        # Any, so that an author reads self.options.keep_empty without a cast. Say `options: Options` in your class
        # if you check types.
        self.options: Any = self.Options() if options is None else options
        self.log = log or logging.getLogger(f"openmsi.plugin.{type(self).__name__}")
        self.workdir = workdir

    def open(self) -> None:  # noqa: B027 - a plugin that needs nothing leaves it out
        """Called once in each worker before the first file; connect here, not in the constructor."""

    def close(self) -> None:  # noqa: B027 - the same
        """Called once in each worker after the last file."""

    def check(self, topic: str) -> Iterator[str]:  # noqa: ARG002 - for those who need it
        """Try what the plugin needs, as `openmsi check` asks: a sentence for each thing that is well.

        Called between `open` and `close`; ``topic`` is where files would come from. Raise `TargetError` for what is
        not well.
        """
        return iter(())


class Extractor(Plugin):
    """Takes metadata out of files.

    >>> class Lines(Extractor):
    ...     '''How many lines a text has.'''
    ...     accepts = ("*.txt",)
    ...     def extract(self, file: DataFile) -> dict[str, object]:
    ...         return {"lines": file.text().count("\\n")}
    """

    @abstractmethod
    def extract(self, file: DataFile) -> Mapping[str, object]:
        """The metadata of one file, as JSON can hold it. Raise `Reject` when the file is not what it should be."""


class Sink(Plugin):
    """Stores files somewhere. Storing the same file twice must do no harm: leave an equal one alone."""

    @abstractmethod
    def write(self, file: DataFile) -> Stored:
        """Store one file; it counts after this, or after `flush` if your class has one."""

    def flush(self) -> None:
        """Make durable what was written since the last call. If this raises, none of it counts.

        Whatever was written since the last call is then handed in again, one file at a time, each with its own
        flush.
        """

    def spool_folder(self) -> Path | None:
        """A folder on the file system where you will store files, so that `DataFile.save_to` writes nothing twice.

        Called before `open`.
        """
        return None


class Processor(Plugin):
    """Makes any number of results out of one file.

    >>> class Words(Processor):
    ...     '''Every word of a text.'''
    ...     def process(self, file: DataFile) -> Iterator[Result]:
    ...         yield from (Result(word) for word in file.text().split())
    """

    @abstractmethod
    def process(self, file: DataFile) -> Iterator[Result]:
        """Yield the results of one file; all of them are published, or none."""
