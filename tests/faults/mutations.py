"""Seeded defects: each breaks one promise, and the trials of its faults must notice.

Each is a context manager that makes the defect in this process. Trials in this process are wrapped by it; real
processes get it through `launched`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

from openmsi_core.files.assembly import Assembler
from openmsi_core.files.opened import OpenVersion
from openmsi_core.kafka.transaction import Transactional
from openmsi_core.model import Commit, Outgoing
from openmsi_core.receiving import unfinished
from openmsi_core.receiving.watermark import Plan, Watermark

Mutation = Callable[[], AbstractContextManager[Any]]


@contextmanager
def metadata_is_dropped() -> Iterator[None]:
    """A commit does not say what is unfinished above it: P3."""
    with patch.object(unfinished, "decode", lambda _text: None):
        yield


@contextmanager
def digest_is_not_checked() -> Iterator[None]:
    """A file counts as whole whatever its digest: P2."""
    with patch.object(OpenVersion, "digest", lambda opened: opened.promised):
        yield


@contextmanager
def old_partitions_are_remembered() -> Iterator[None]:
    """What was read under an earlier assignment goes on as if nothing had happened: P3."""
    with patch.object(Assembler, "forget_partitions", lambda *_: None):
        yield


@contextmanager
def commits_pass_open_files() -> Iterator[None]:
    """A commit is the next offset, whatever is open before it, and nothing is listed: P1 on the receiving side."""
    with (
        patch.object(Watermark, "low", property(lambda mark: mark.next_offset)),
        patch.object(Watermark, "commit", _careless_commit),
    ):
        yield


def _careless_commit(mark: Watermark, topic_id: str, finishing: frozenset[int] = frozenset()) -> Plan:
    text = unfinished.encode(topic_id, mark.next_offset, [])
    return Plan(Commit(mark.partition, mark.next_offset, text), frozenset(), mark.next_offset)


@contextmanager
def outcomes_and_offsets_come_apart() -> Iterator[None]:
    """Results are committed in one transaction, the offsets after it: P3."""
    whole = Transactional.write

    def write(store: Transactional, outgoing: Iterable[Outgoing], commits: Sequence[Commit], *, size: int = 0) -> None:
        whole(store, outgoing, (), size=size)
        whole(store, (), commits)

    with patch.object(Transactional, "write", write):
        yield


MUTATIONS: dict[str, Mutation] = {
    "metadata-is-dropped": metadata_is_dropped,
    "digest-is-not-checked": digest_is_not_checked,
    "commits-pass-open-files": commits_pass_open_files,
    "outcomes-and-offsets-come-apart": outcomes_and_offsets_come_apart,
    "old-partitions-are-remembered": old_partitions_are_remembered,
}


def applied(name: str) -> AbstractContextManager[Any]:
    """The mutation of that name; nothing for ""."""
    return MUTATIONS[name]() if name else nullcontext()
