"""What assembly answers to a record: what became of the version that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass

from openmsi_core.files.content import Content
from openmsi_core.files.opened import Span
from openmsi_core.model import FileVersion, What


@dataclass(frozen=True, slots=True)
class Whole:
    """A version that is all there; its digest matches."""

    version: FileVersion
    content: Content
    span: Span


@dataclass(frozen=True, slots=True)
class Broken:
    """A version that can never be whole, or was dropped."""

    file_id: bytes
    version: FileVersion | None
    span: Span
    what: What
    reason: str


@dataclass(frozen=True, slots=True)
class Aborted:
    """A version that its sender gave up."""

    file_id: bytes
    version: FileVersion | None
    span: Span


@dataclass(frozen=True, slots=True)
class Ignored:
    """A version that nobody wanted, all of whose records came; its bytes were not kept, nor its digest checked."""

    version: FileVersion
    span: Span


@dataclass(frozen=True, slots=True)
class HeadCame:
    """The first bytes of a version whose other records are still to come: told once, and nothing of it is verified."""

    version: FileVersion
    data: bytes
    span: Span


Event = Whole | Broken | Aborted | Ignored | HeadCame
