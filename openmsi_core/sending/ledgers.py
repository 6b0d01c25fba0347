"""Which ledgers there are, and what each is about: the watch says it there, so that `status` needs no configuration."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from openmsi_core.errors import FolderError
from openmsi_core.sending.ledger import Ledger
from openmsi_core.sending.receipttables import fact_in

ABOUT = "watch"
SEEN = "watch-seen-ns"

_EVERY_NS = 20 * 1_000_000_000
_SEEN_NS = 60 * 1_000_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class About:
    """What the ledger at ``file`` is about: the folder, the topic, which files of it, and the runs that must have them.

    ``runs`` are names as the user wrote them; none: see `openmsi_core.sending.arrivals`.
    """

    file: Path
    root: Path
    topic: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()

    def as_text(self) -> str:
        """As a fact of the ledger."""
        told: dict[str, object] = {"root": str(self.root), "topic": self.topic, "include": self.include}
        return json.dumps(told | {"exclude": self.exclude, "runs": self.runs})


def about_in(file: Path) -> About | None:
    """What the ledger at ``file`` says it is about; None when it says nothing. Raises FolderError."""
    text = fact_in(file, ABOUT)
    try:
        told = json.loads(text)
        patterns = {name: tuple(str(each) for each in told[name]) for name in ("include", "exclude", "runs")}
        return About(file, Path(str(told["root"])), str(told["topic"]), **patterns)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def known_ledgers(state: Path) -> list[About]:
    """The ledgers below our state folder that say what they are about, by folder and topic."""
    found = []
    for file in (state / "ledgers").glob("*.sqlite"):
        try:
            about = about_in(file)
        except FolderError as error:
            _log.warning("left out: %s", error)
        else:
            found += [about] if about is not None else []
    return sorted(found, key=lambda about: (str(about.root), about.topic))


class Presence:
    """Says in the ledger that its watch is there: at every call, but at most every twenty seconds.

    A ledger that cannot be written now is none of its business: whoever has something to write there says so.
    """

    def __init__(self, ledger: Ledger, steady_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._ledger = ledger
        self._steady_ns = steady_ns
        self._due_ns = 0

    def __call__(self) -> None:
        """Still there."""
        now_ns = self._steady_ns()
        if now_ns >= self._due_ns:
            self._due_ns = now_ns + _EVERY_NS
            self._say(str(time.time_ns()))

    def end(self) -> None:
        """Gone."""
        self._say("")

    def _say(self, text: str) -> None:
        try:
            self._ledger.set_fact(SEEN, text)
        except FolderError as error:
            _log.info("`openmsi status` will not know whether this watch is there: %s", error)


def is_watched(seen: str, now_ns: int) -> bool:
    """True when a watch said less than a minute ago that it is there; ``seen`` is what it said."""
    return seen.isdecimal() and 0 <= now_ns - int(seen) < _SEEN_NS
