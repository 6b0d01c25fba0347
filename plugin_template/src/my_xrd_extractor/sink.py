"""The sink: files on a shelf, by the day they were measured."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from openmsi_core import DataFile, PluginOptions, Sink, Stored


class XRDShelf(Sink):
    """Stores files in a folder for each day."""

    accepts = ("*.xrdml",)
    delivery = "idempotent"

    class Options(PluginOptions):
        """Where."""

        folder: Path
        """The folder that holds the folders for the days; it is made if it is missing."""

    def write(self, file: DataFile) -> Stored:
        """Store one file. It appears whole or not at all: it gets its name when it is complete."""
        folder = self.options.folder.absolute() / f"{file.mtime:%Y-%m-%d}"
        folder.mkdir(parents=True, exist_ok=True)
        # the path in the name keeps two files apart that differ in their folder only
        which = hashlib.sha256(str(file.path).encode("utf-8", "surrogateescape")).hexdigest()[:12]
        target = folder / f"{which}{file.suffix}"
        unfinished = folder / f".{which}.part"
        file.save_to(unfinished)
        os.replace(unfinished, target)
        return Stored(str(target))
