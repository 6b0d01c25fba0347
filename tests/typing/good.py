"""What plugin authors write, as a type checker must accept it. Nothing here is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, assert_type

from openmsi_core import (
    DataFile,
    Extractor,
    FolderError,
    PluginOptions,
    Processor,
    Reject,
    Result,
    RetryLater,
    Sink,
    Stored,
    hookimpl,
)


class Header(Extractor):
    """The shortest useful one."""

    accepts = ("*.xrdml",)
    sniff = b"xrdMeasurement"
    head = 65536
    early = False

    class Options(PluginOptions):
        """What may be chosen."""

        keep_empty: bool = False

    options: Options

    def extract(self, file: DataFile) -> dict[str, object]:
        assert_type(self.options.keep_empty, bool)
        assert_type(file.path, PurePosixPath)
        assert_type(file.name, str)
        assert_type(file.suffix, str)
        assert_type(file.size, int)
        assert_type(file.sha256, str)
        assert_type(file.mtime, datetime)
        assert_type(file.user, Mapping[str, str | int | float])
        assert_type(file.complete, bool)
        assert_type(file.open(), BinaryIO)
        assert_type(file.read_bytes(), bytes)
        assert_type(file.text("shift-jis"), str)
        assert_type(file.local_path(), Path)
        if not file.size and not self.options.keep_empty:
            raise Reject("an empty file")
        return {"size": file.size}


class Untyped(Extractor):
    """Without a word about its options: they are Any, so that nobody needs a cast."""

    def extract(self, file: DataFile) -> dict[str, Any]:
        return {"factor": self.options.factor * file.size}


class Words(Processor):
    """Any number of results."""

    def process(self, file: DataFile) -> Iterator[Result]:
        for number, word in enumerate(file.text().split()):
            yield Result({"word": word}, key=f"{file.path}-{number}")


class Shelf(Sink):
    """Stores files, in groups."""

    def open(self) -> None:
        self.folder = Path("somewhere")
        if not self.folder.is_dir():
            raise FolderError(f"{self.folder} is no folder: make it")

    def write(self, file: DataFile) -> Stored:
        try:
            file.save_to(self.folder / file.name)
        except OSError as error:
            raise RetryLater(10, "the shelf is full") from error
        self.log.info("stored %s", file.name)
        return Stored(str(self.folder / file.name), unchanged=False)

    def flush(self) -> None: ...


class Watches:
    """Observes; takes the arguments that it wants."""

    @hookimpl
    def openmsi_file_failed(self, file: DataFile, error: str) -> None: ...
