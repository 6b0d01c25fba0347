"""Verifying: the digest of each file as it is here now, against the digests there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from openmsi_core.model import RelativePath, What
from openmsi_core.sending.arrivals import Answer, Arrival, Stage
from openmsi_core.sending.flight import reason_of
from openmsi_core.sending.reading import open_file

VERIFIED = (Stage.SENT, Stage.DELIVERED, Stage.FAILED)
"""Files in these stages are compared; the others are not there yet."""

_PIECE = 1024 * 1024


class Finding(StrEnum):
    """What came of comparing one file."""

    EQUAL = "equal"  # here and there alike
    DIFFERS = "differs"
    NOT_THERE = "not-there"  # no run says that it has it
    GONE = "gone"  # it is no longer here; what is there is what was sent
    UNREADABLE = "unreadable"  # it cannot be read here


@dataclass(frozen=True, slots=True)
class Verdict:
    """One file: ``here`` its digest now, ``there`` that of each run that has it; ``size`` bytes were read for it."""

    path: RelativePath
    what: Finding
    size: int
    here: str
    there: Mapping[str, str]
    reason: str = ""


def verify(root: Path, arrivals: Iterable[Arrival]) -> Iterator[Verdict]:
    """Read every file below ``root`` and compare it with what was sent, and with what each run says it stored.

    Where the place that a run names is a file on this computer, that is read too.
    """
    for arrival in arrivals:
        yield _verdict(root.joinpath(*arrival.path.parts), arrival)


def _verdict(file: Path, arrival: Arrival) -> Verdict:
    answers = [each for each in arrival.answers if each.outcome == What.DONE]
    there = {each.run: each.sha256 for each in answers}
    try:
        here, size = _digest(file, arrival.span)
    except FileNotFoundError:
        here, size = "", 0
    except OSError as error:
        return Verdict(arrival.path, Finding.UNREADABLE, 0, "", there, reason_of(error))
    wanted = here or arrival.sha256
    reasons = []
    if here and arrival.sha256 and here != arrival.sha256:
        reasons.append("the file here is not what was sent, though its size and time of change are")
    reasons += [f"{each.run} has another content" for each in answers if each.sha256 != wanted]
    for each in answers:
        reason, read = _at_its_place(file, each, wanted)
        size += read
        reasons += [reason] if reason else []
    if reasons:
        return Verdict(arrival.path, Finding.DIFFERS, size, here, there, "; ".join(reasons))
    if not answers:
        return Verdict(arrival.path, Finding.NOT_THERE, size, here, there)
    return Verdict(arrival.path, Finding.EQUAL if here else Finding.GONE, size, here, there)


def _at_its_place(file: Path, answer: Answer, wanted: str) -> tuple[str, int]:
    """What is wrong with the file that stands where the run says, "" for nothing; and how many bytes it has."""
    place = Path(answer.location)
    try:
        if not place.is_absolute() or not place.is_file() or (file.exists() and place.samefile(file)):
            return "", 0
        found, size = _digest(place, None)
    except (OSError, ValueError):  # a name that cannot be one here: it lies on another computer
        return "", 0
    return ("" if found == wanted else f"{answer.location} is not what {answer.run} says it stored"), size


def _digest(file: Path, span: tuple[int, int] | None) -> tuple[str, int]:
    """SHA-256 of a file, or of some of its bytes, and how many they were. Raises OSError."""
    digest, size = hashlib.sha256(), 0
    with open_file(str(file)) as source:
        left = -1
        if span is not None:
            source.seek(span[0])
            left = span[1] - span[0]
        while piece := source.read(_PIECE if left < 0 else min(_PIECE, left)):
            digest.update(piece)
            size += len(piece)
            left -= len(piece) if left > 0 else 0
    return digest.hexdigest(), size
