"""Files whose plugin needs only their beginning: called early, counted late.

What the plugin makes of a beginning is held until its file is whole and verified; it ends with the file, whatever
becomes of that. An early plugin's results are published at once, and only that it is done is held.

Nothing of this outlives the process: the version is unfinished until its end, so whoever goes on begins it anew. And
what is held may be dropped for want of room: then the plugin is called again when the file is whole.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from datetime import datetime

from openmsi_core.files.content import InMemory
from openmsi_core.files.datafile import DataFile
from openmsi_core.model import Outcome, What
from openmsi_core.receiving.arrivals import Arrived, Begun
from openmsi_core.receiving.dispatch import Dispatch
from openmsi_core.receiving.jobs import Ended, Job, RunFacts
from openmsi_core.receiving.outcomes import Outcomes
from openmsi_core.receiving.pace import Room
from openmsi_core.receiving.results import let_go, memory_of, size_of, with_digest

_OWN_BYTES = 1000  # of an outcome that is held, beside what it says


@dataclass(slots=True, eq=False)
class _Beginning:
    """One beginning: with its worker, or with its outcome; ``arrived`` once its file is whole."""

    job: Job
    outcome: Outcome | None = None
    arrived: Arrived | None = None


class Heads:
    """Beginnings that were handed to the plugin and whose files did not end yet. The poll loop calls it.

    ``bytes`` is what their outcomes hold in memory, ``spooled`` on disk; a quarter of ``room`` at most.
    """

    def __init__(
        self, run: RunFacts, dispatch: Dispatch, outcomes: Outcomes, room: Room, opened: Container[bytes]
    ) -> None:
        self.bytes = 0
        self.spooled = 0
        self._run = run
        self._dispatch = dispatch
        self._outcomes = outcomes
        self._room = room
        self._opened = opened
        self._known: dict[bytes, _Beginning] = {}  # the oldest first

    def began(self, begun: Begun, received: datetime) -> None:
        """Hand a beginning to the plugin."""
        head = begun.head
        file = DataFile(
            head.version, head.span.first, received, InMemory([head.data]), self._run.workdir, complete=False
        )
        job = Job(file, head.span, begun.assignments, len(head.data) + head.version.memory, 0)
        self._known[head.version.id] = _Beginning(job)
        self._dispatch.add(job)

    def came(self, arrived: Arrived) -> bool:
        """The file is whole: True when its beginning is dealt with, or is just now."""
        beginning = self._known.get(arrived.whole.version.id)
        if beginning is None:
            return False
        arrived.whole.content.discard()
        beginning.arrived = arrived
        if beginning.outcome is not None:
            self._leave(arrived.whole.version.id, beginning)
            self._outcomes.add(_final(beginning.outcome, arrived))
        return True

    def answered(self, ended: Ended | None) -> Ended | None:
        """What a worker's answer ends: the same, unless it is about a beginning, which ends with its file."""
        beginning = self._known.get(ended.file_id) if ended is not None else None
        if ended is None or beginning is None:
            return ended
        outcome = ended.outcome
        if beginning.arrived is not None:
            del self._known[ended.file_id]
            return _final(outcome, beginning.arrived)
        if self._run.plugin.early and outcome.results:
            early = Outcome(What.EARLY, results=with_digest(outcome.results, None), tries=outcome.tries)
            tied = beginning.job.assignments
            self._outcomes.add(Ended(early, (), ended.span, ended.version, ended.file_id, tied=tied))
            outcome = replace(outcome, results=())
        beginning.outcome = outcome
        self._count(outcome, 1)
        self._make_room()
        return None

    def forget(self, file_id: bytes) -> None:
        """The file ended otherwise, or will never: nothing of its beginning counts."""
        beginning = self._known.get(file_id)
        if beginning is None:
            return
        self._leave(file_id, beginning)
        if beginning.outcome is not None:
            let_go(beginning.outcome.results)
        else:
            beginning.job.is_void = True
            self._dispatch.drop_dead()

    def drop_dead(self) -> None:
        """Forget those whose partition was taken away."""
        for file_id, each in list(self._known.items()):
            owners = each.arrived.assignments if each.arrived is not None else each.job.assignments
            is_open = each.arrived is not None or file_id in self._opened
            if not is_open or not all(owner.alive for owner in owners):
                self.forget(file_id)

    def _make_room(self) -> None:
        """Drop the oldest outcomes that are held while there are too many."""
        while self.bytes > self._room.memory // 4 or self.spooled > self._room.disk // 4:
            held = (file_id for file_id, each in self._known.items() if self._is_held(each))
            self.forget(next(held))  # there is one: what is not held is not counted

    def _is_held(self, beginning: _Beginning) -> bool:
        return beginning.outcome is not None and not self._is_published(beginning.outcome)

    def _is_published(self, outcome: Outcome) -> bool:
        """True for what cannot be made again, because it is out already; it holds nothing."""
        return self._run.plugin.early and outcome.what is What.DONE

    def _leave(self, file_id: bytes, beginning: _Beginning) -> None:
        del self._known[file_id]
        if beginning.outcome is not None:
            self._count(beginning.outcome, -1)

    def _count(self, outcome: Outcome, sign: int) -> None:
        if self._is_published(outcome):
            return
        memory = memory_of(outcome.results)
        self.bytes += sign * (memory + len(outcome.reason) + len(outcome.traceback) + _OWN_BYTES)
        self.spooled += sign * (0 if memory else size_of(outcome.results))


def _final(outcome: Outcome, arrived: Arrived) -> Ended:
    """The outcome of a beginning as that of its file, whose digest is known now."""
    version, span = arrived.whole.version, arrived.whole.span
    outcome = replace(outcome, results=with_digest(outcome.results, version.sha256))
    offsets = tuple((assignment, span.runs[assignment.partition][0]) for assignment in arrived.assignments)
    return Ended(outcome, offsets, span, version, version.id)
