"""When things are due in a run, and how much may wait in it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """When things are due. Seconds, bytes and counts.

    A checkpoint is due when nothing moved for ``quiet``, after ``longest`` at the latest, or at so many ``files`` or
    bytes of ``results``. ``breaker``: so many dead
    letters in a row stop the run, and are withheld for ``breaker_patience`` before they are written; 0: never.
    ``headless_after``: a version whose first record did not come is given up so long after its last one.
    ``unreadable_after``: a sealed record whose key did not come is given up.
    ``keys``: a run that should end waits so long for the keys of sealed records.
    ``silence``: a run that should end gives up after so long without an answer of the broker.
    ``sharing``: a member that has not all partitions has caught up when so long no others came, because those of a
    member that was killed come only after its session timeout.
    """

    quiet: float = 0.02
    longest: float = 1.0
    files: int = 4096
    results: int = 64 * 1024 * 1024
    stall_before_pause: float = 10.0
    housekeeping: float = 1.0
    incomplete_after: float = 24 * 3600.0
    silence: float = 60.0
    unreadable_after: float = 24 * 3600.0
    keys: float = 0.0
    headless_after: float = 10.0
    revoke_wait: float = 5.0
    stop_wait: float = 3.0
    sharing: float = 12.0
    breaker: int = 20
    breaker_patience: float = 10.0


@dataclass(frozen=True, slots=True)
class Room:
    """What may wait in this process. Bytes in memory and on disk, and files."""

    memory: int = 48 * 1024 * 1024
    disk: int = 10 * 1024**3
    files: int = 16_384
