"""Dead letters as they stand in ``T.dlq``: which are there, and which are resolved.

Whatever lies in that topic is read without trust: a record that is neither a letter nor says that one is resolved is
counted and passed over.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from openmsi_core.errors import PathRefused
from openmsi_core.files.jsonable import dumps
from openmsi_core.model import FileVersion, Outcome, Outgoing, Record, RelativePath
from openmsi_core.receiving.envelopes import MAX_LETTER_BYTES
from openmsi_core.receiving.jobs import RunFacts

RESOLVED = "resolved"

_ID = re.compile(r"(0|[1-9]\d{0,8})-(0|[1-9]\d{0,18})", re.ASCII)
_MAX_PARTITIONS = 100_000
_MAX_VALUE = 4 * MAX_LETTER_BYTES  # no letter of ours is longer; thousands of records that are would fill the memory


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter. ``told`` is its JSON without traceback and copied record, which only `dlq show` needs.

    ``positions`` has for each partition the first and the last offset and the number of the records it is about;
    ``file_id`` is empty when it is about a record that belongs to no file. ``resolved`` is what resolved it.
    """

    id: str
    told: Mapping[str, Any]
    positions: Mapping[int, tuple[int, int, int]]
    file_id: bytes = b""
    path: RelativePath | None = None
    resolved: Mapping[str, Any] | None = None

    @property
    def what(self) -> str:
        """Its outcome; a newer openmsi may know others than `What`."""
        return str(self.told["what"])

    @property
    def run(self) -> str:
        """The group of the run that wrote it."""
        return str(self.told["run"])

    @property
    def topic(self) -> str:
        """The topic where its records are."""
        return str(self.told["topic"])

    @property
    def reason(self) -> str:
        """Why."""
        return str(self.told["why"].get("message", ""))

    @property
    def subject(self) -> str:
        """The path, or where its first record stands; control characters are escaped."""
        if self.path is not None:
            return str(self.path)
        partition = min(self.positions, default=0)
        first = self.positions[partition][0] if self.positions else 0
        return f"{self.topic}[{partition}]@{first}"

    def as_json(self) -> dict[str, Any]:
        """The letter with ``id``, ``path``, ``reason`` and ``resolved`` beside what it says itself."""
        path = self.path.as_json() if self.path is not None else {"path": None}
        own = {"id": self.id, **path, "reason": self.reason, "resolved": self.resolved}
        return {**own, **self.told, **own}  # in this order, and whatever a forged one says of itself


@dataclass(frozen=True, slots=True)
class Resolution:
    """The record that says that a letter is resolved."""

    letter: str
    told: Mapping[str, Any]


def place_in(letter: str) -> tuple[int, int] | None:
    """Partition and offset of a letter's ID; None when it is none.

    >>> place_in("0-17")
    (0, 17)
    >>> place_in("17") is None
    True
    """
    found = _ID.fullmatch(letter)
    return (int(found[1]), int(found[2])) if found is not None else None


def read_letter(record: Record, *, whole: bool = False) -> Letter | Resolution | None:
    """What a record of ``T.dlq`` is; None when it is neither. With ``whole`` nothing is left out of `Letter.told`."""
    told = _object(record.value) if len(record.value or b"") <= _MAX_VALUE else None
    if told is None:
        return None
    if told.get("what") == RESOLVED:
        letter = told.get("letter")
        known = isinstance(letter, str) and place_in(letter) is not None
        return Resolution(str(letter), told) if known else None
    positions = _positions(told.get("positions"))
    texts = [told.get(name) for name in ("what", "run", "topic", "at")]
    if positions is None or not isinstance(told.get("why"), dict) or not all(isinstance(each, str) for each in texts):
        return None
    file = told.get("file")
    file_id, path = _file(file) if isinstance(file, dict) else (b"", None)
    if file and not file_id:
        return None
    if not whole:
        told.pop("record", None)
        told["why"].pop("traceback", None)
    return Letter(f"{record.position.partition}-{record.position.offset}", told, positions, file_id, path)


class Letters:
    """The letters of one topic: `unresolved` by ID, and how many records were `foreign`.

    What is kept is bounded by the letters that are not resolved, unless ``keeps_resolved``: then `resolved` has the
    others. ``ends`` are the ends of the log that will be read.
    """

    def __init__(self, ends: Mapping[int, tuple[int, int]], *, keeps_resolved: bool = False) -> None:
        self.unresolved: dict[str, Letter] = {}
        self.resolved: dict[str, Letter] = {}
        self.foreign = 0
        self._ends = ends
        self._next = {partition: low for partition, (low, _) in ends.items()}
        self._early: dict[str, Resolution] = {}  # of letters that stand in a partition which is not read so far
        self._keeps_resolved = keeps_resolved

    @classmethod
    def of(
        cls, records: Iterable[Record | None], ends: Mapping[int, tuple[int, int]], *, keeps_resolved: bool = False
    ) -> Letters:
        """Everything that ``records`` say."""
        letters = cls(ends, keeps_resolved=keeps_resolved)
        for record in records:
            if record is not None:
                letters.take(record)
        return letters

    def take(self, record: Record) -> None:
        """One record of the log."""
        self._next[record.position.partition] = record.position.offset + 1
        found = read_letter(record)
        if found is None:
            self.foreign += 1
        elif isinstance(found, Resolution):
            self._resolve(found)
        else:
            self.unresolved[found.id] = found
            if (early := self._early.pop(found.id, None)) is not None:
                self._resolve(early)

    def __iter__(self) -> Iterator[Letter]:
        """All that are kept, in the order of their IDs."""
        return iter(sorted([*self.unresolved.values(), *self.resolved.values()], key=_order))

    def _resolve(self, resolution: Resolution) -> None:
        letter = self.unresolved.pop(resolution.letter, None)
        if letter is not None:
            if self._keeps_resolved:
                self.resolved[letter.id] = Letter(
                    letter.id, letter.told, letter.positions, letter.file_id, letter.path, resolution.told
                )
            return
        place = place_in(resolution.letter)
        if place is None:
            return
        partition, offset = place
        if self._next.get(partition, 0) <= offset < self._ends.get(partition, (0, 0))[1]:
            self._early[resolution.letter] = resolution


def resolved(letter: Letter, version: FileVersion, outcome: Outcome, run: RunFacts, now: datetime) -> Outgoing:
    """The record that resolves ``letter``; it lies in ``T.dlq`` beside it, and its key is the ID."""
    told = {
        "what": RESOLVED,
        "letter": letter.id,
        "outcome": outcome.what,
        "run": run.group,
        "plugin": {"name": run.plugin.name, "package": run.plugin.package, "version": run.plugin.version},
        "file": {"id": version.id.hex(), **version.path.as_json()},
        "topic": run.topic,
        "at": now.isoformat(),
    }
    return Outgoing(run.letters_topic, letter.id.encode("ascii"), dumps(told))


def _order(letter: Letter) -> tuple[int, int]:
    return place_in(letter.id) or (0, 0)


def _object(value: bytes | None) -> dict[str, Any] | None:
    try:
        told = json.loads(value or b"")
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _positions(told: object) -> dict[int, tuple[int, int, int]] | None:
    if not isinstance(told, dict) or not 0 < len(told) <= _MAX_PARTITIONS:
        return None
    found = {}
    for number, run in told.items():
        if not re.fullmatch(r"\d{1,9}", number, re.ASCII) or not isinstance(run, dict):
            return None
        counts = [_count(run.get(name)) for name in ("first", "last", "records")]
        if min(counts) < 0 or counts[0] > counts[1]:
            return None
        found[int(number)] = (counts[0], counts[1], counts[2])
    return found


def _count(value: object) -> int:
    """An offset or a number of records; -1 when it is none."""
    return value if type(value) is int and 0 <= value < 1 << 62 else -1


def _file(told: Mapping[str, Any]) -> tuple[bytes, RelativePath | None]:
    """The id (empty unless it is one) and the path, if there is a possible one."""
    try:
        file_id = bytes.fromhex(told.get("id", ""))
    except (TypeError, ValueError):
        file_id = b""
    return (file_id if len(file_id) == 16 else b""), _path(told)


def _path(told: Mapping[str, Any]) -> RelativePath | None:
    raw, text = told.get("path_b64"), told.get("path")
    try:
        if isinstance(raw, str):
            return RelativePath.from_key(base64.b64decode(raw, validate=True))
        return RelativePath.parse(text) if isinstance(text, str) else None
    except (PathRefused, ValueError, binascii.Error):
        return None
