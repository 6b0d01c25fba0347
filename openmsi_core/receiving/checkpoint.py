"""The instant at which outcomes become durable: choosing what one checkpoint can say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from openmsi_core.model import Commit
from openmsi_core.receiving.jobs import Assignment, Ended


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What goes together: the outcomes that are recorded as dealt with, and the commits that say so.

    ``held`` are outcomes that no commit could record yet; they wait, and nothing of them is published. ``below`` is
    the H of each commit.
    """

    ended: tuple[Ended, ...]
    held: tuple[Ended, ...]
    commits: tuple[Commit, ...]
    below: tuple[tuple[Assignment, int], ...] = ()


def plan(ended: Sequence[Ended], assignments: Sequence[Assignment], topic_id: str) -> Checkpoint:
    """The largest checkpoint that records every outcome it publishes. Changes nothing.

    Outcomes of dead assignments are left out. A version that lies on several partitions is recorded in all of
    them or in none: what one partition must hold, the others hold too, which is repeated until nothing changes.
    """
    going = [each for each in ended if each.is_alive]
    while True:
        finishing = _finishing(going)
        plans = {each: each.watermark.commit(topic_id, frozenset(finishing[each])) for each in assignments}
        held = {
            id(each)
            for each in going
            for assignment, offset in each.offsets
            if (one := plans.get(assignment)) and (offset in one.held or _last(each, assignment) >= one.below)
        }
        if not held:
            break
        going = [each for each in going if id(each) not in held]
    chosen = {id(each) for each in going}
    return Checkpoint(
        ended=tuple(going),
        held=tuple(each for each in ended if each.is_alive and id(each) not in chosen),
        commits=tuple(one.commit for one in plans.values()),
        below=tuple((assignment, one.below) for assignment, one in plans.items()),
    )


def record(checkpoint: Checkpoint) -> None:
    """Move the watermarks once the checkpoint is durable."""
    for each in checkpoint.ended:
        for assignment, offset in each.offsets:
            assignment.watermark.finish(offset)
    for assignment, below in checkpoint.below:
        assignment.watermark.recorded(below)


def _last(ended: Ended, assignment: Assignment) -> int:
    run = ended.span.runs.get(assignment.partition)
    return run[1] if run is not None else -1


def _finishing(going: Sequence[Ended]) -> Mapping[Assignment, set[int]]:
    found = defaultdict[Assignment, set[int]](set)
    for each in going:
        for assignment, offset in each.offsets:
            found[assignment].add(offset)
    return found
