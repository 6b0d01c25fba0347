"""Which files a replay takes: by path, time, and what the receipts of its run say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from openmsi_core.errors import PathRefused, UsageError
from openmsi_core.files.paths import wanted
from openmsi_core.model import Record, RelativePath
from openmsi_core.receiving.survey import Found

MAX_FILES = 100_000  # chosen at once, at some 700 bytes each


@dataclass(frozen=True, slots=True)
class Where:
    """What a file must be. Epoch milliseconds for times, of its first record; empty and None: all.

    ``paths`` are globs, of which one must match, ``outcomes`` and ``versions`` (of the plugin, globs) what the run's
    newest receipt for the path must say.
    """

    paths: tuple[str, ...] = ()
    after_ms: int | None = None
    before_ms: int | None = None
    outcomes: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()

    @property
    def needs_receipts(self) -> bool:
        """True when receipts decide."""
        return bool(self.outcomes or self.versions)

    def wants_path(self, path: RelativePath) -> bool:
        """True when the path matches."""
        return wanted(path, self.paths, ())

    def wants_time(self, found: Found) -> bool:
        """True when the file's first record is of that time."""
        is_late = self.before_ms is not None and found.sent_ms >= self.before_ms
        return not is_late and (self.after_ms is None or found.sent_ms >= self.after_ms)

    def wants_receipt(self, outcome: str, version: str) -> bool:
        """True when a receipt says what is wanted."""
        is_outcome = not self.outcomes or outcome in self.outcomes
        return is_outcome and (not self.versions or any(fnmatchcase(version, each) for each in self.versions))


def receipted(records: Iterable[Record | None], group: str, where: Where) -> frozenset[bytes]:
    """The ids of the versions whose receipt, the newest for its key, is of ``group`` and says what is wanted.

    What is held is bounded by how many do. Raises UsageError beyond five times `MAX_FILES`.
    """
    matching: dict[bytes, bytes] = {}
    for record in records:
        if record is None or record.key is None:
            continue
        key = hashlib.blake2b(record.key, digest_size=16).digest()  # a key may have a megabyte
        matching.pop(key, None)  # an older one for the same path and run counts no more
        file_id = _wanted_id(record.value, group, where)
        if file_id is not None:
            matching[key] = file_id
            if len(matching) > 5 * MAX_FILES:
                raise too_many(5 * MAX_FILES)
    return frozenset(matching.values())


def too_many(limit: int) -> UsageError:
    """More files match than one replay takes."""
    return UsageError(
        f"more than {limit:,} files match: replay them in parts, as with --where path=... or --where after=... and "
        "--where before=..."
    )


def _wanted_id(value: bytes | None, group: str, where: Where) -> bytes | None:
    try:
        told = json.loads(value or b"")
        if told["run"] != group or not where.wants_receipt(str(told["outcome"]), str(told["version"])):
            return None
        if "path_b64" not in told and not where.wants_path(RelativePath.parse(told["path"])):
            return None
        file_id = bytes.fromhex(told["id"])
        return file_id if len(file_id) == 16 else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, PathRefused):
        return None  # no receipt of ours
