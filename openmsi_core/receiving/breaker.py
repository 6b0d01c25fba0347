"""The circuit breaker: many dead letters in a row stop the run before it pours a whole topic into them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from openmsi_core.errors import BreakerOpen
from openmsi_core.model import What
from openmsi_core.receiving.jobs import Ended

_COUNTED = frozenset(
    {
        *(What.REJECTED, What.FAILED, What.RETRIES_EXHAUSTED, What.TOO_MANY_RESULTS),
        *(What.CRASHED, What.TIMED_OUT, What.OUT_OF_MEMORY, What.TOO_MUCH_OUTPUT),
    }
)


class Breaker:
    """Counts files in a row that the plugin did not take. ``limit`` 0 switches it off; ``patience`` is seconds.

    Letters of the present row are withheld for up to ``patience``, so that a run that stops can leave them
    uncommitted and begins with the same files when it is started again. Bad records do not count: they are no
    judgement of the plugin.
    """

    def __init__(self, limit: int, patience: float, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._patience = patience
        self._clock = clock
        self._row = 0
        self._is_open = False
        self._withheld: deque[tuple[float, Ended]] = deque()

    def saw(self, ended: Ended) -> None:
        """Take note of one outcome."""
        if ended.outcome.what is What.DONE:
            if self._is_open:  # what ends well while the run stops changes nothing
                return
            self._row = 0
            self._withheld.clear()
        elif ended.outcome.what in _COUNTED and self._limit:
            self._row += 1
            self._withheld.append((self._clock(), ended))
            self._is_open = self._is_open or self._row >= self._limit

    def dropped(self, ended: Sequence[Ended]) -> None:
        """These were never written, because their partition was taken away: whoever has it now comes to them again."""
        if self._is_open:
            return
        gone = {id(each) for each in ended}
        left = [each for each in self._withheld if id(each[1]) not in gone]
        self._row -= len(self._withheld) - len(left)
        self._withheld = deque(left)

    @property
    def is_open(self) -> bool:
        """True when the run must stop."""
        return self._is_open

    @property
    def in_a_row(self) -> int:
        """How many failures there were since the last file that ended well."""
        return self._row

    def withheld(self) -> set[int]:
        """The ids of the outcomes that must not be written yet."""
        if self.is_open:
            return {id(ended) for _, ended in self._withheld}
        oldest = self._clock() - self._patience
        while self._withheld and self._withheld[0][0] <= oldest:
            self._withheld.popleft()
        return {id(ended) for _, ended in self._withheld}

    def release(self) -> None:
        """The run ends for another reason: nothing is withheld any more, unless the breaker is open."""
        if not self.is_open:
            self._withheld.clear()

    def error(self) -> BreakerOpen:
        """What to raise when it is open: how many files, and the last reason."""
        _, last = self._withheld[-1]
        path = last.version.path if last.version else "?"
        return BreakerOpen(
            f"{self._row} files in a row became dead letters, the last one {path} at {last.span.first}: "
            f"{last.outcome.reason}. The last {len(self._withheld)} of them are not committed: mend the plugin or what "
            "it needs and start the run again, or raise `breaker`."
        )
