"""The results of one file as records: in memory while they are few, in a spool file above 8 MiB."""

from __future__ import annotations

import secrets
import struct
import tempfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from openmsi_core.errors import Reject, TooManyResults
from openmsi_core.files.jsonable import dumps
from openmsi_core.files.opened import Span
from openmsi_core.model import FileVersion, Outgoing, Result
from openmsi_core.receiving import envelopes
from openmsi_core.receiving.jobs import RunFacts

IN_MEMORY_BYTES = 8 * 1024 * 1024
MAX_RESULT_BYTES = 950_000  # with key and envelope below the 1 MiB that an untouched broker takes
_HEAD = struct.Struct(">II")
_TO_COME = secrets.token_bytes(32)
"""Stands in an envelope for the digest of a file that is not whole yet."""
_RECORD_MEMORY = 250  # bytes, of one record in memory beside what is in its key and its value


class SpooledResults(Collection[Outgoing]):
    """Results that wait in a file: per record the lengths of key and value as 32 bits each, then both.

    Iterating reads the file and raises OSError; `release` removes it.
    """

    def __init__(self, topic: str, path: Path, count: int, size: int) -> None:
        self.size = size
        self.place: bytes | None = None  # what stands for the digest, which was not known when they were made
        self._topic = topic
        self._path = path
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Outgoing]:
        with self._path.open("rb") as file:
            while head := file.read(_HEAD.size):
                key, value = _HEAD.unpack(head)
                yield _placed(Outgoing(self._topic, file.read(key), file.read(value)), self.place)

    def __contains__(self, outgoing: object) -> bool:
        return any(each == outgoing for each in self)

    def release(self) -> None:
        """Remove the file; nothing happens when it is gone."""
        self._path.unlink(missing_ok=True)


def results_of(version: FileVersion, span: Span, results: Iterable[Result], run: RunFacts) -> Collection[Outgoing]:
    """The records of a plugin's results; none when the run has no output topic.

    Consumes all of ``results``, one at a time. Raises TypeError and ValueError for what JSON cannot hold, Reject for
    what a record cannot hold, TooManyResults above the run's ``max_results`` bytes, OSError when large ones cannot be
    spooled, and whatever the plugin raises while it makes them.
    """
    collected = _Collected(run)
    try:
        for number, one in enumerate(results):
            if run.output_topic is not None:
                collected.add(_encoded(version, span, one, number, run))
        return collected.taken()
    except BaseException:
        collected.drop()
        raise


def with_digest(results: Collection[Outgoing], sha256: bytes | None) -> Collection[Outgoing]:
    """The results of a beginning, with the digest that its file turned out to have; None: said to be not verified."""
    place = _place(sha256) if sha256 is not None else b'"sha256":"","verified":false'
    if isinstance(results, SpooledResults):
        results.place = place
        return results
    return tuple(_placed(each, place) for each in results)


def _placed(one: Outgoing, place: bytes | None) -> Outgoing:
    """Nothing that a plugin or a sender wrote can be taken for the place: in JSON their quotes are escaped."""
    return one if place is None else replace(one, value=one.value.replace(_place(_TO_COME), place, 1))


def _place(sha256: bytes) -> bytes:
    return b'"sha256":"' + sha256.hex().encode("ascii") + b'"'


def size_of(results: Collection[Outgoing]) -> int:
    """How many bytes they have, keys too."""
    return results.size if isinstance(results, SpooledResults) else sum(_size(each) for each in results)


def memory_of(results: Collection[Outgoing]) -> int:
    """About how many bytes of memory they take; 0 when they wait on disk."""
    if isinstance(results, SpooledResults):
        return 0
    return sum(_size(each) + _RECORD_MEMORY for each in results)


def _size(one: Outgoing) -> int:
    return _HEAD.size + len(one.key or b"") + len(one.value)


def let_go(results: Collection[Outgoing]) -> None:
    """Remove what results hold on disk."""
    if isinstance(results, SpooledResults):
        results.release()


def _encoded(version: FileVersion, span: Span, one: Result, number: int, run: RunFacts) -> Outgoing:
    value = one.value
    if not run.bare:
        known = version if version.sha256 is not None else replace(version, sha256=_TO_COME)
        value = envelopes.result(known, envelopes.place_of(span), run.plugin, one, number)
    key, data = version.path.key if one.key is None else one.key.encode("utf-8"), dumps(value)
    if len(key) + len(data) > MAX_RESULT_BYTES:
        raise Reject(
            f"a result of {len(key) + len(data):,} bytes: at most {MAX_RESULT_BYTES:,} fit into one record of Kafka"
        )
    return Outgoing(run.output_topic or "", key, data)


class _Collected:
    """Results that come one by one."""

    def __init__(self, run: RunFacts) -> None:
        self._run = run
        self._few: list[Outgoing] = []
        self._path: Path | None = None
        self._count = self._size = self._waiting = 0

    def add(self, one: Outgoing) -> None:
        self._few.append(one)
        self._count += 1
        self._size += _size(one)
        self._waiting += _size(one) + _RECORD_MEMORY
        if self._size > self._run.max_results:
            raise TooManyResults(
                f"more than {self._run.max_results:,} bytes of results for one file. Raise max-results if that is "
                "what the plugin should give."
            )
        if self._waiting > IN_MEMORY_BYTES:
            self._spill()

    def taken(self) -> Collection[Outgoing]:
        if self._path is None:
            return tuple(self._few)
        self._spill()
        return SpooledResults(self._run.output_topic or "", self._path, self._count, self._size)

    def drop(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _spill(self) -> None:
        if self._path is None:
            with tempfile.NamedTemporaryFile(prefix="results-", dir=self._run.workdir, delete=False) as made:
                self._path = Path(made.name)
        with self._path.open("ab") as file:
            for each in self._few:
                file.write(_HEAD.pack(len(each.key or b""), len(each.value)) + (each.key or b"") + each.value)
        self._few, self._waiting = [], 0
