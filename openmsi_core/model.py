"""The nouns: frozen values that the rooms hand to one another. Nothing here reads, writes, waits or logs."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from openmsi_core.errors import PathRefused

MAX_PART_BYTES = 255
MAX_PATH_BYTES = 4096

_SURROGATE = re.compile("[\udc80-\udcff]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True, order=True)
class RelativePath:
    """Where a file stands below the root it was sent from; a path that leaves its root cannot be built.

    ``parts`` are text; bytes that are not UTF-8 stand in it as lone surrogates (PEP 383), so every name that a
    POSIX file system allows goes through unharmed. Everything but ``/``, NUL, ``.``, ``..`` and the empty part
    is legal here; a sink that cannot store a name escapes it.

    Raises PathRefused.
    """

    parts: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise PathRefused("a path needs at least one part")
        for part in self.parts:
            _check_part(part)
        if len(self.key) > MAX_PATH_BYTES:
            raise PathRefused(f"a path may have {MAX_PATH_BYTES:,} bytes, this one has {len(self.key):,}")

    @classmethod
    def parse(cls, text: str) -> RelativePath:
        """The path whose parts are joined by ``/`` in ``text``.

        >>> RelativePath.parse("run 7/scan.xrdml").parts
        ('run 7', 'scan.xrdml')
        """
        return cls(tuple(text.split("/")))

    @classmethod
    def from_key(cls, key: bytes) -> RelativePath:
        """The path whose record key is ``key``."""
        return cls.parse(key.decode("utf-8", "surrogateescape"))

    @property
    def key(self) -> bytes:
        """The bytes that stand for this path as a record key: parts joined by ``/``."""
        return self.text.encode("utf-8", "surrogateescape")

    @property
    def text(self) -> str:
        """The parts joined by ``/``, bytes that are not UTF-8 as lone surrogates."""
        return "/".join(self.parts)

    @property
    def name(self) -> str:
        """The last part."""
        return self.parts[-1]

    def as_json(self) -> dict[str, str]:
        r"""The path as fields of a JSON object: ``path``, and ``path_b64`` when it is not UTF-8.

        >>> RelativePath.from_key(b"caf\xe9").as_json()
        {'path': 'caf\\xe9', 'path_b64': 'Y2Fm6Q=='}
        """
        if _SURROGATE.search(self.text) is None:
            return {"path": self.text}
        return {"path": _escape(_SURROGATE, self.text), "path_b64": base64.b64encode(self.key).decode("ascii")}

    def __str__(self) -> str:
        """For people and terminals: control characters and bytes that are not UTF-8 are escaped."""
        return _escape(_SURROGATE, _escape(_CONTROL, self.text))


def _check_part(part: str) -> None:
    if part in {"", ".", ".."}:
        raise PathRefused(f"{part!r} cannot be a part of a path: it would name another folder")
    if "/" in part or "\0" in part:
        raise PathRefused(f"a part of a path has a slash or a NUL in it: {part!r}")
    try:
        length = len(part.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError as error:
        raise PathRefused(f"a part of a path is not text that UTF-8 can carry: {part!r}") from error
    if length > MAX_PART_BYTES:
        raise PathRefused(f"a part of a path may have {MAX_PART_BYTES} bytes, this one has {length:,}")


def _escape(pattern: re.Pattern[str], text: str) -> str:
    def spelled(match: re.Match[str]) -> str:
        code = ord(match.group())
        if 0xDC80 <= code <= 0xDCFF:
            return f"\\x{code - 0xDC00:02x}"
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"

    return pattern.sub(spelled, text)


def shown(text: str) -> str:
    r"""``text`` as a terminal may see it: control characters are escaped.

    >>> shown("a\x1b[2J")
    'a\\x1b[2J'
    """
    return _escape(_SURROGATE, _escape(_CONTROL, text))


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where one record stands."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


@dataclass(frozen=True, slots=True)
class Record:
    """One message as Kafka keeps it. ``timestamp_ms`` is epoch milliseconds, -1 when the broker has none."""

    position: Position
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class FileVersion:
    """One state of one file: the unit that is sent, received, stored and failed.

    ``size`` and ``chunk`` are bytes (``chunk``: payload of every record but the last); ``mtime_ns`` and
    ``sent_ns`` are epoch nanoseconds; ``span`` is the selected byte range of the source, if not all of it was
    sent; ``extra`` holds metadata keys this openmsi does not know; ``sha256`` is None until the last record
    came. ``memory`` is about how many bytes all this takes here beyond the usual, 0 when nobody counted.
    """

    id: bytes
    path: RelativePath
    size: int
    chunk: int
    mtime_ns: int
    mode: int = 0o644
    sent_ns: int = 0
    source: str = ""
    user: Mapping[str, str | int | float] = field(default_factory=dict)
    span: tuple[int, int] | None = None
    extra: Mapping[str, object] = field(default_factory=dict)
    sha256: bytes | None = None
    memory: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of bytes of one file version, as one record carries it.

    ``version`` is there on the first record only; ``last`` carries ``sha256``; ``abort`` says that the sender
    gives this version up. ``checksum`` is one of the record: two records with one sequence number are the
    same exactly if it is equal. Where ``sha512`` is there, OpenMSIStream sent it: each of its records carries the
    version and the whole file's digest, and the size is what it can be at most until ``last``.
    """

    file_id: bytes
    sequence: int
    offset: int
    payload: bytes
    version: FileVersion | None = None
    last: bool = False
    sha256: bytes | None = None
    size: int | None = None
    abort: bool = False
    checksum: int = 0
    sha512: bytes | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """One result of a processor. ``value`` must be JSON (str, numbers, lists, dicts); ``key`` defaults to the path."""

    value: object
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """What a sink did with a file: where it stands now; ``unchanged`` when an equal one was there already."""

    location: str
    unchanged: bool = False


class What(StrEnum):
    """What became of a file version, or of a record that belongs to none."""

    DONE = "done"
    NOT_WANTED = "not-wanted"
    ABORTED = "aborted"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"
    FAILED = "failed"
    CRASHED = "crashed"
    TIMED_OUT = "timed-out"
    OUT_OF_MEMORY = "out-of-memory"
    TOO_MUCH_OUTPUT = "too-much-output"
    RETRIES_EXHAUSTED = "retries-exhausted"
    INCOMPLETE = "incomplete"
    UNREADABLE = "unreadable"
    DIGEST_MISMATCH = "digest-mismatch"
    CONTRADICTORY = "contradictory"
    BAD_RECORD = "bad-record"
    BEGINNING_LOST = "beginning-lost"
    HEADLESS = "headless"
    TOO_MANY_RESULTS = "too-many-results"
    EARLY = "early"

    @property
    def is_letter(self) -> bool:
        """True when a person must look at it: it becomes a dead letter."""
        return self not in {What.DONE, What.NOT_WANTED, What.ABORTED, What.SUPERSEDED, What.HEADLESS, What.EARLY}


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be produced: a result, a receipt or a dead letter. ``partition`` -1: as its key says."""

    topic: str
    key: bytes | None
    value: bytes
    partition: int = -1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file version in one run.

    ``error`` is the class of the failure, ``reason`` its text, ``traceback`` where it was raised; ``tries``
    counts calls of the plugin; ``results`` are ready to be produced.
    """

    what: What
    results: Collection[Outgoing] = ()
    location: str = ""
    unchanged: bool = False
    reason: str = ""
    error: str = ""
    traceback: str = ""
    tries: int = 0


@dataclass(frozen=True, slots=True)
class PluginFacts:
    """Which plugin did it: name, distribution, its version, a digest of its options; what it needs of a file."""

    name: str
    kind: str
    package: str
    version: str
    options_hash: str = ""
    head: int = 0  # bytes of a file that are enough for it, 0: all
    early: bool = False  # what it makes of them is published at once


@dataclass(frozen=True, slots=True)
class Commit:
    """What a checkpoint says of one partition: read on from ``offset``; ``metadata`` says what is unfinished above."""

    partition: int
    offset: int
    metadata: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A partition that was just assigned to us: its commit (None: there is none) and the ends of its log.

    ``since`` is the first offset at or after the moment that the run was told to begin at, ``high`` when there is
    none. ``is_new``: there is no commit, though the group has some on other partitions, so the partition was added
    while the group existed. ``is_refused``: the broker would not let us read at the commit.
    """

    partition: int
    committed: int | None
    metadata: str
    low: int
    high: int
    since: int | None = None
    is_new: bool = False
    is_refused: bool = False
