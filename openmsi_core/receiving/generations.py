"""Versions of a path that OpenMSIStream sent: their chunks lie on all partitions, so they become whole in any order."""

from __future__ import annotations

import logging
import random
from collections import OrderedDict

from openmsi_core.errors import TopicError
from openmsi_core.files.events import Whole
from openmsi_core.model import Chunk

_log = logging.getLogger(__name__)

_REMEMBERED = 100_000
_PATIENCE_SECONDS = 60.0

OVERTAKEN = "a version of this path with a later time of change became whole before it"


class Generations:
    """Remembers the newest whole version of each path, for a hundred thousand paths and this process alone.

    Native versions of a path lie in one partition, in their order; here the later time of change is the newer one.
    """

    def __init__(self) -> None:
        self.is_scattered = False
        self._is_mixed = False
        self._is_said = False
        self._newest: OrderedDict[bytes, int] = OrderedDict()
        # two members that both wait for the other's partitions must not give up in the same moment
        self._patience = _PATIENCE_SECONDS * (1 + random.random())

    def saw(self, chunk: Chunk) -> None:
        """Note whether files may lie on several partitions, and whether there are others."""
        self._is_mixed = self._is_mixed or chunk.sha512 is None
        self.is_scattered = self.is_scattered or (chunk.sha512 is not None and not (chunk.last and chunk.sequence == 0))

    def is_overtaken(self, whole: Whole) -> bool:
        """True when a newer version of its path is whole already; else it is the newest now."""
        version = whole.version
        if not version.extra.get("format"):
            return False
        newest = self._newest.pop(version.path.key, version.mtime_ns)
        self._newest[version.path.key] = max(newest, version.mtime_ns)
        if len(self._newest) > _REMEMBERED:
            self._newest.popitem(last=False)
        return version.mtime_ns < newest

    def must_be_alone(self, topic: str, ours: int, partitions: int, shared_seconds: float) -> None:
        """Raises TopicError when other members keep partitions on which our files have chunks.

        ``ours`` of ``partitions`` are, for ``shared_seconds``; a member that was killed keeps its for a while. Where
        there are native files too it is only said, once: a stray record must not stop these.
        """
        if not self.is_scattered or ours >= partitions or shared_seconds <= self._patience:
            return
        text = (
            f"{topic} holds files of OpenMSIStream, whose chunks lie on all of its {partitions} partitions, and "
            f"this run has {ours} of them: other runs of its group have the rest, so no such file can become whole. "
            "Start one run for each group on such a topic."
        )
        if not self._is_mixed:
            raise TopicError(text)
        if not self._is_said:
            self._is_said = True
            _log.error("%s", text)
