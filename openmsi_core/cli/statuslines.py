"""What `openmsi status` says, for people and for programs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from openmsi_core.model import shown

if TYPE_CHECKING:
    from openmsi_core.sending.arrivals import Arrival, Arrivals, RunShare, Shared
    from openmsi_core.sending.verifying import Verdict
    from openmsi_core.wiring import Status

MOST = 20
MOST_JSON = 1000
_STALE_SECONDS = 60.0


def answer(found: Status) -> str:
    """The one line that answers the question."""
    arrivals, about = found.arrivals, found.about
    at = f" at {', '.join(arrivals.needed)}" if arrivals.needed else ""
    where = f"{shown(str(about.root))} -> {about.topic}: "
    if not arrivals.files:
        return f"{where}there is nothing to send{_presence(found)}"
    if arrivals.is_complete:
        return f"{where}all {arrivals.files:,} files arrived{shown(at)}{_presence(found)}"
    arrived = arrivals.stages_by_name()["delivered"].files
    rest = [f"{shared.files:,} {name}" for name, shared in _rest(arrivals)]
    return f"{where}{arrived:,} of {arrivals.files:,} files arrived{shown(at)}; {', '.join(rest)}{_presence(found)}"


def text(found: Status, failed: Sequence[Arrival], runs: Sequence[RunShare]) -> Iterator[str]:
    """The answer, and below it what is not as it should be."""
    yield answer(found)
    arrivals = found.arrivals
    if not arrivals.is_complete:
        for name, shared in _rest(arrivals):
            oldest = f", the oldest since {_instant_ns(shared.since_ns)}: {shared.oldest}" if shared.oldest else ""
            yield f"  {name:10} {shared.files:,} files, {shared.bytes:,} bytes{oldest}"
        for each in failed[:MOST]:
            yield from _why(each)
        if arrivals.stages_by_name()["failed"].files > MOST:
            yield "    ... `--files` lists all"
        for run in runs:
            last = f", the last at {shown(run.at)}" if run.at else ""
            yield f"  {shown(run.run)}: {run.arrived:,} arrived, {run.failed:,} failed{last}"
    if arrivals.skipped:
        yield f"  {arrivals.skipped:,} files were there before the watch and are not sent (--new-only)"
    if found.left_out:
        yield f"  {found.left_out:,} places in the folder cannot be looked at or sent; `openmsi watch` says which"
    for caveat in found.caveats:
        yield f"  {shown(caveat)}"
    if found.caveats and found.read_ns is not None and time.time() - found.read_ns / 1e9 > _STALE_SECONDS:
        yield f"  receipts were read last at {_instant_ns(found.read_ns)}"


def as_json(found: Status, failed: Sequence[Arrival], runs: Sequence[RunShare]) -> dict[str, object]:
    """Everything about one folder."""
    arrivals, about = found.arrivals, found.about
    stages = arrivals.stages_by_name()
    return {
        "folder": shown(str(about.root)),
        "topic": about.topic,
        "arrived": arrivals.is_complete,
        "files": arrivals.files,
        "counts": {name: shared.files for name, shared in stages.items()},
        "bytes": {name: shared.bytes for name, shared in stages.items()},
        "oldest": {
            name: {**shared.oldest.as_json(), "since": _instant_ns(shared.since_ns)}
            for name, shared in stages.items()
            if shared.oldest is not None
        },
        "runs": {
            each.run: {"arrived": each.arrived, "failed": each.failed, "at": each.at or None, "needed": each.is_needed}
            for each in runs
        },
        "failed": [file_json(each) for each in failed],
        "skipped": arrivals.skipped,
        "left_out": found.left_out,
        "watched": found.is_watched,
        "receipts_read": _instant_ns(found.read_ns) if found.read_ns is not None else None,
        "caveats": list(found.caveats),
    }


def file_line(arrival: Arrival) -> str:
    """One file for a person."""
    where = ", ".join(
        f"{each.run} {each.outcome}" + (f" -> {each.location}" if each.location else "") + _reason(each.reason)
        for each in arrival.answers
    )
    said = ": ".join(part for part in (where, arrival.reason) if part)
    line = f"{arrival.stage:10} {_instant_ns(arrival.since_ns)}  {arrival.path}"
    return shown(f"{line}  {said}" if said else line)


def file_json(arrival: Arrival) -> dict[str, object]:
    """One file for a program."""
    return {
        **arrival.path.as_json(),
        "state": arrival.stage,
        "size": arrival.size,
        "since": _instant_ns(arrival.since_ns),
        "id": arrival.id or None,
        "sha256": arrival.sha256 or None,
        "reason": arrival.reason,
        "runs": {
            each.run: {
                "outcome": each.outcome,
                "location": each.location,
                "reason": each.reason,
                "plugin": each.plugin,
                "at": each.at,
                "sha256": each.sha256 or None,
            }
            for each in arrival.answers
        },
    }


def verdict_line(verdict: Verdict) -> str:
    """One file that was compared, for a person."""
    return shown(f"{verdict.what:10} {verdict.path}{_reason(verdict.reason)}")


def verdict_json(verdict: Verdict) -> dict[str, object]:
    """One file that was compared, for a program."""
    return {
        **verdict.path.as_json(),
        "verified": verdict.what,
        "here": verdict.here or None,
        "there": dict(verdict.there),
        "reason": verdict.reason,
    }


def verified(counts: Mapping[str, int]) -> str:
    """The line under all that was compared."""
    words = {
        "equal": "equal here and there",
        "differs": "DIFFER",
        "gone": "no longer here and there as they were sent",
        "not-there": "without a receipt of a run that has them",
        "unreadable": "unreadable here",
    }
    said = [f"{counts[name]:,} {word}" for name, word in words.items() if counts.get(name)]
    return f"  digests: {', '.join(said) or 'nothing to compare'}"


def _rest(arrivals: Arrivals) -> list[tuple[str, Shared]]:
    return [(name, each) for name, each in arrivals.stages_by_name().items() if each.files and name != "delivered"]


def _presence(found: Status) -> str:
    return "" if found.is_watched else " (no watch is running here)"


def _why(arrival: Arrival) -> Iterator[str]:
    said = [
        f"{each.run}: {'another content arrived' if each.differs else each.outcome}{_reason(each.reason)}"
        for each in arrival.answers
        if each.outcome not in {"done", "superseded"} or each.differs
    ]
    for why in said or [arrival.reason]:
        yield shown(f"    {arrival.path}: {why}")


def _reason(text: str) -> str:
    return f": {text}" if text else ""


def _instant_ns(nanoseconds: int) -> str:
    """UTC, to the second; a broken clock can write any time."""
    try:
        at = datetime.fromtimestamp(nanoseconds / 1e9, UTC)
    except (ValueError, OverflowError, OSError):
        return "?"
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
