"""How far the groups of a topic have come, and which file each of them has been waiting for longest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from openmsi_core.errors import BadRecord
from openmsi_core.files.decoding import decode
from openmsi_core.kafka.admin import Admin, TopicFacts
from openmsi_core.kafka.reading import TopicReader
from openmsi_core.model import Record
from openmsi_core.receiving import unfinished


@dataclass(frozen=True, slots=True)
class Standing:
    """One group on one partition. ``lag`` is how many offsets lie behind its reading, ``unfinished`` how many files.

    ``oldest`` is the path of the file that has been unfinished for longest, or the offset where it is not known;
    ``since_ms`` when its first record was written, epoch milliseconds. "" and None when there is none.
    """

    group: str
    partition: int
    committed: int
    lag: int
    unfinished: int = 0
    oldest: str = ""
    since_ms: int | None = None


def standings(kafka: Mapping[str, str], admin: Admin, facts: TopicFacts) -> Sequence[Standing]:
    """Every group that committed on the topic, by its name and partition. Raises BrokerError."""
    found = [
        _standing(group, partition, *commit, high=facts.ends[partition][1])
        for group, commits in sorted(admin.groups(facts.name).items())
        for partition, commit in sorted(commits.items())
        if partition in facts.ends
    ]
    waiting = [one for one in found if one.unfinished and facts.ends[one.partition][0] <= one.committed]
    if not waiting:
        return found
    with TopicReader(kafka, facts.name) as reader:
        return [_with_oldest(one, reader) if one in waiting else one for one in found]


def _standing(group: str, partition: int, committed: int, metadata: str, *, high: int) -> Standing:
    known = unfinished.decode(metadata)
    # H is where reading stood, the committed offset only where the oldest unfinished file begins
    read = max(committed, known.below) if known is not None else committed
    return Standing(group, partition, committed, max(0, high - read), len(known.offsets) if known is not None else 0)


def _with_oldest(one: Standing, reader: TopicReader) -> Standing:
    """The commit stands at the first record of the file that was unfinished first."""
    ranges = {one.partition: (one.committed, one.committed + 1)}
    record = next((record for record in reader.between(ranges) if record is not None), None)
    oldest = f"offset {one.committed}" if record is None else _path_of(record)
    since_ms = record.timestamp_ms if record is not None and record.timestamp_ms >= 0 else None
    return Standing(one.group, one.partition, one.committed, one.lag, one.unfinished, oldest, since_ms)


def _path_of(record: Record) -> str:
    try:
        version = decode(record.value).version
    except BadRecord:
        version = None
    return str(version.path) if version is not None else f"offset {record.position.offset}"
