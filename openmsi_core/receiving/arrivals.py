"""What the records of a file come to while it goes on."""

from __future__ import annotations

from dataclasses import dataclass

from openmsi_core.files.events import HeadCame, Whole
from openmsi_core.receiving.jobs import Assignment


@dataclass(frozen=True, slots=True)
class Arrived:
    """A whole file that the run wants."""

    whole: Whole
    assignments: tuple[Assignment, ...]


@dataclass(frozen=True, slots=True)
class Begun:
    """The beginning of a file that the run wants; whether it will be whole nobody knows."""

    head: HeadCame
    assignments: tuple[Assignment, ...]
