"""The plainest extractor: what every file has."""

from __future__ import annotations

import mimetypes

from openmsi_core import DataFile, Extractor, PluginOptions


class FileInfo(Extractor):
    """Name, size, digest, time and likely type of any file."""

    class Options(PluginOptions):
        """How much of the content is shown."""

        head: int = 16
        """How many bytes of the beginning to show, in hexadecimal digits."""

    def extract(self, file: DataFile) -> dict[str, object]:
        """What the file is."""
        guess, _ = mimetypes.guess_type(file.name)
        with file.open() as content:
            head = content.read(self.options.head)
        return {
            "name": file.name,
            "suffix": file.suffix,
            "size": file.size,
            "sha256": file.sha256,
            "mtime": file.mtime,
            "media_type": guess,
            "head": head.hex(),
            "is_text": b"\0" not in head,
            "user": dict(file.user),
        }
