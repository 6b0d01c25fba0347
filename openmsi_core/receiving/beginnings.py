"""What became of records and files whose beginning this run has not read."""

from __future__ import annotations

from collections.abc import Mapping

from openmsi_core.files.opened import Span
from openmsi_core.model import Outcome, What
from openmsi_core.receiving.jobs import Assignment, Ended

_NAMED = 100


def cut_of(assignment: Assignment, topic: str) -> Ended | None:
    """The outcome of records that retention removed before they were read; None when there are none.

    They hold the watermark until it is recorded.
    """
    start = assignment.watermark.start
    if start.cut is None:
        return None
    first, last = start.cut
    assignment.watermark.begin(first)
    span = Span(topic, {assignment.partition: (first, last, 0)})
    began = [offset for offset in sorted(start.listed) if offset <= last][:_NAMED]
    known = f"; files that were not finished began at {', '.join(map(str, began))}" if began else ""
    removed = f"retention removed the offsets {first} to {last} before they were read"
    reason = f"{removed}{known}. Send again the files of that time"
    return Ended(Outcome(What.BEGINNING_LOST, reason=reason), ((assignment, first),), span)


def why_headless(span: Span, assigned: Mapping[int, Assignment]) -> tuple[What, str]:
    """Why the first record of a version did not come."""
    where = [(assigned[partition], run[0]) for partition, run in span.runs.items()]
    if any(assignment.watermark.start.cut for assignment, _ in where):
        return What.BEGINNING_LOST, "retention removed its first records before they were read"
    if any(_began_before(assignment, first) for assignment, first in where):
        return What.HEADLESS, "its first record lies before the offset at which this run began"
    return What.INCOMPLETE, "its first record never came"


def _began_before(assignment: Assignment, first: int) -> bool:
    """True when a version began before the run did; ``first`` is the first of its records that came."""
    start = assignment.watermark.start
    return start.is_asked or (start.offset > 0 and first < assignment.high)
