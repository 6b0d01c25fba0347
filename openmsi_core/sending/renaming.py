"""Renaming: under which path a file arrives, from a template."""

from __future__ import annotations

import string
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath

from openmsi_core.errors import PathRefused, UsageError
from openmsi_core.model import RelativePath
from openmsi_core.sending.seen import Facts

_NAMES = ("path", "folder", "name", "stem", "suffix", "mtime")
_EXAMPLE = '"{folder}/{stem}-xrd7{suffix}"'


@dataclass(frozen=True, slots=True)
class Renaming:
    """Paths from a ``template``, "" for none: ``{path}``, or ``{folder}`` with ``{name}`` or with ``{stem}`` and
    ``{suffix}``; ``{mtime:%Y-%m-%d}`` is the time of change, in UTC. What is needed to keep two files from getting one
    path must be in it.

    Raises UsageError.
    """

    template: str = ""

    def __post_init__(self) -> None:
        if not self.template:
            return
        try:
            fields = [field for _, field, _, _ in string.Formatter().parse(self.template) if field is not None]
        except ValueError as error:
            raise UsageError(f"rename {self.template!r} is no template: {error}; as in {_EXAMPLE}") from error
        unknown = sorted(set(fields) - set(_NAMES))
        if unknown:
            raise UsageError(
                f"rename {self.template!r}: {{{unknown[0]}}} means nothing; there are "
                f"{', '.join(f'{{{name}}}' for name in _NAMES)}"
            )
        names = {"name"} <= set(fields) or {"stem", "suffix"} <= set(fields)
        if "path" not in fields and not ("folder" in fields and names):
            raise UsageError(
                f"rename {self.template!r} could give two files one path: it needs {{path}}, or {{folder}} with "
                f"{{name}} or with {{stem}} and {{suffix}}, as in {_EXAMPLE}"
            )
        try:
            self.renamed(RelativePath(("folder", "name.dat")), Facts(0, 0, 0, 0))
        except PathRefused as error:
            raise UsageError(str(error)) from error

    def renamed(self, path: RelativePath, facts: Facts) -> RelativePath:
        """The path under which a file arrives. Raises PathRefused when that cannot be one, UsageError for a format."""
        if not self.template:
            return path
        whole = PurePosixPath(path.text)
        folder = "/".join(path.parts[:-1])
        seconds = max(0, min(facts.mtime_ns // 10**9, 253402300799))  # up to the year 9999
        try:
            text = self.template.format(
                path=path.text, folder=folder, name=whole.name, stem=whole.stem, suffix=whole.suffix,
                mtime=datetime.fromtimestamp(seconds, UTC),
            )  # fmt: skip
        except (ValueError, AttributeError, IndexError, KeyError) as error:
            raise UsageError(f"rename {self.template!r} is no template: {error}; as in {_EXAMPLE}") from error
        try:
            return RelativePath(tuple(part for part in text.split("/") if part))
        except PathRefused as error:
            raise PathRefused(f"renamed by {self.template!r} its path cannot be sent: {error}") from error
