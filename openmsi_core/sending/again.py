"""Sending again what a run never had whole."""

from __future__ import annotations

import logging
from queue import Empty, SimpleQueue

from openmsi_core.model import RelativePath, shown
from openmsi_core.sending.entries import State
from openmsi_core.sending.ledger import Ledger
from openmsi_core.sending.receiptbook import TRIES, Lost

_SAID = 10_000
_NOT_SENT = frozenset({State.SENDING, State.FAILED, State.SKIPPED})

_log = logging.getLogger(__name__)


class Again:
    """Makes the ledger forget versions that did not arrive, so that the next scan sends their files again.

    `lost` may be called in any thread; calling the object itself does the work, in the ledger's thread. A file is sent
    again three times in a row; one that is no longer there stays as it is, and `openmsi status` tells it.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._queue: SimpleQueue[Lost] = SimpleQueue()
        self._given_up: set[bytes] = set()

    def lost(self, versions: list[Lost]) -> None:
        """These did not arrive; the same one may be told many times."""
        for version in versions:
            self._queue.put(version)

    def __call__(self) -> None:
        """Deal with what was told so far."""
        while True:
            try:
                version = self._queue.get_nowait()
            except Empty:
                return
            self._forget(version)

    def _forget(self, version: Lost) -> None:
        entry = self._ledger.entry(version.key)
        if entry is None or entry.id != version.id or version.id in self._given_up or entry.state in _NOT_SENT:
            return
        path = RelativePath.from_key(version.key)
        said = f"{path} did not arrive whole at {shown(version.run)}: {shown(version.reason)}"
        if version.number > TRIES:
            self._note(version.id)
            _log.error("%s; it was sent again %d times, and is not any more until it changes", said, TRIES)
        elif not self._ledger.root.joinpath(*path.parts).exists():
            self._note(version.id)
            _log.error("%s; it cannot be sent again, because it is no longer here", said)
        else:
            self._ledger.remove(version.key)
            _log.warning("%s; it is sent again (%d of %d)", said, version.number, TRIES)

    def _note(self, file_id: bytes) -> None:
        if len(self._given_up) < _SAID:
            self._given_up.add(file_id)
