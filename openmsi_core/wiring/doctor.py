"""What `openmsi doctor` looks at: each answer is a line that is fine, worth knowing, or wrong with what to do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from openmsi_core.errors import OpenmsiError
from openmsi_core.kafka.admin import TopicFacts, faults
from openmsi_core.kafka.examining import Examination, examine
from openmsi_core.settings import Settings

HANGS_AFTER = 120.0
"""A transaction of ours ends or is aborted by the broker within a minute; one that is older hangs."""
CLOCK_SECONDS = 60.0
_DAY_MS = 24 * 3600 * 1000


class Verdict(StrEnum):
    """How a line is meant."""

    OK = "ok"
    NOTE = "note"  # works, and may surprise later
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, and what to do when it is not right."""

    check: str
    verdict: Verdict
    text: str
    todo: str = ""
    exit_code: int = 0

    def as_json(self) -> dict[str, str]:
        """For ``--json``."""
        return {"check": self.check, "verdict": str(self.verdict), "text": self.text, "todo": self.todo}


@dataclass(slots=True)
class Use:
    """What the configuration does with one topic."""

    reads: set[str] = field(default_factory=set)  # groups
    writes: bool = False
    carries_files: bool = False
    chunk: int = 0


def fine(check: str, text: str) -> Finding:
    """Nothing is wrong."""
    return Finding(check, Verdict.OK, text)


def note(check: str, text: str, todo: str = "") -> Finding:
    """Worth knowing."""
    return Finding(check, Verdict.NOTE, text, todo)


def wrong(check: str, text: str, todo: str, exit_code: int = 4) -> Finding:
    """Something must be done."""
    return Finding(check, Verdict.WRONG, text, todo, exit_code)


def uses(settings: Settings, topics: tuple[str, ...] = ()) -> Mapping[str, Use]:
    """The topics that the configuration names, and ``topics``, by what is done with them."""
    found: dict[str, Use] = {}
    for name in topics:
        found.setdefault(name, Use()).carries_files = True
    for watch in settings.watch.values():
        if watch.topic:
            use = found.setdefault(watch.topic, Use())
            use.writes = use.carries_files = True
            use.chunk = max(use.chunk, watch.chunk)
    for run in settings.run.values():
        if run.topic:
            use = found.setdefault(run.topic, Use())
            use.carries_files = True
            use.reads.add(run.group)
            for family in (f"{run.topic}.dlq", f"{run.topic}.receipts"):
                found.setdefault(family, Use()).writes = True
        if run.output_topic:
            found.setdefault(run.output_topic, Use()).writes = True
    observed = (*settings.watch.values(), *settings.run.values())
    for side in {topic for each in observed for topic in (each.heartbeat_topic, each.log_topic) if topic}:
        found.setdefault(side, Use()).writes = True
    return found


def broker_findings(
    settings: Settings, topics: tuple[str, ...] = (), *, now_ms: int | None = None
) -> Iterator[Finding]:
    """Everything about the broker: reached, rights, topics, transactions, clock. Never raises BrokerError."""
    address = settings.kafka.get("bootstrap.servers")
    if not address:
        yield wrong("broker", "no broker is configured", "set OPENMSI_BROKER, or bootstrap.servers under [kafka]", 2)
        return
    try:
        examination = examine(settings.kafka)
        there = set(examination.admin.topics())
        count = examination.brokers()
    except OpenmsiError as error:
        yield wrong("broker", *_halves(error), exit_code=error.exit_code)
        return
    yield fine("broker", f"{address} answers" + (f", {count} brokers" if count else ""))
    now_ms = int(time.time() * 1000) if now_ms is None else now_ms
    used = uses(settings, topics)
    for topic, use in sorted(used.items()):
        try:
            yield from _topic(examination, topic, use, there, now_ms)
        except OpenmsiError as error:
            yield wrong(f"topic {topic}", *_halves(error), exit_code=error.exit_code)
    if any(run.delivery == "exactly-once" for run in settings.run.values()):
        reason = examination.why_no_transactions()
        todo = 'ask for that right, or set delivery = "at-least-once" for the runs'
        yield wrong("transactions", reason, todo, 3) if reason else fine("transactions", "we may use them")


def _halves(error: Exception) -> tuple[str, str]:
    """What happened, and what to do, of one of our errors."""
    happened, _, todo = str(error).partition(". ")
    return happened, todo or "see the message"


def _topic(examination: Examination, topic: str, use: Use, there: set[str], now_ms: int) -> Iterator[Finding]:
    check = f"topic {topic}"
    if topic not in there:
        plain = "" if use.carries_files else " --plain"
        family = topic.removesuffix(".dlq").removesuffix(".receipts")
        todo = f"`openmsi topics create {family if family != topic else topic} --partitions 4{plain}` makes it"
        yield wrong(check, "is missing, or we may not see it", todo)
        return
    facts = examination.admin.facts(topic)
    problems = list(faults(facts, use.chunk)) if use.carries_files else []
    for problem in problems:
        happened, _, todo = problem.partition(": ")
        yield wrong(check, happened, todo)
    lacking = list(_rights(examination, topic, use))
    yield from lacking
    hanging = list(_transactions(examination, facts, now_ms))
    yield from hanging
    yield from _notes(facts, use)
    yield from _clock(examination, facts, now_ms)
    if not problems and not lacking and not hanging:
        yield fine(check, f"{len(facts.ends)} partitions, {_kept(facts)}")


def _rights(examination: Examination, topic: str, use: Use) -> Iterator[Finding]:
    rights = examination.topic_rights(topic)
    wanted = ({"READ"} if use.reads else set()) | ({"WRITE"} if use.writes else set())
    for right in sorted(wanted - rights if rights is not None else ()):
        yield wrong(f"topic {topic}", f"we have no right {right} on it", "ask the broker's administrator for it", 3)
    for group in sorted(use.reads):
        allowed = examination.group_rights(group)
        if allowed is not None and "READ" not in allowed:
            yield wrong(f"group {group}", "we have no right READ on it", "ask the broker's administrator for it", 3)


def _transactions(examination: Examination, facts: TopicFacts, now_ms: int) -> Iterator[Finding]:
    """A last stable offset that stays behind the end hides everything after it from who reads committed records."""
    ends = examination.ends(facts.name, list(facts.ends))
    for partition, (stable, high) in sorted((ends or {}).items()):
        if stable >= high:
            continue
        since = examination.written_at(facts.name, partition, stable)
        if since is not None and now_ms - since > HANGS_AFTER * 1000:
            yield wrong(
                f"topic {facts.name}",
                f"partition {partition} is stuck at offset {stable}: a transaction has been open since {_at(since)} "
                f"and hides {high - stable} offsets",
                "the broker's administrator can abort it: kafka-transactions.sh find-hanging, then abort",
            )


def _notes(facts: TopicFacts, use: Use) -> Iterator[Finding]:
    retention = facts.settings.get("retention.ms")
    if use.carries_files and retention is not None and 0 <= int(retention) < _DAY_MS:
        yield note(
            f"topic {facts.name}",
            f"keeps records for {int(retention) / 3_600_000:.1f} h: a run that is down for longer loses files",
            "raise retention.ms above the longest outage that you expect",
        )


def _clock(examination: Examination, facts: TopicFacts, now_ms: int) -> Iterator[Finding]:
    """A record from the future was stamped by a clock that is ahead of ours."""
    for partition, (low, high) in facts.ends.items():
        if high <= low:
            continue
        at = examination.written_at(facts.name, partition, high - 1)
        if at is not None and (at - now_ms) / 1000 > CLOCK_SECONDS:
            yield wrong(
                "clock",
                f"the newest record of {facts.name}[{partition}] is from {_at(at)}, which is in our future",
                "compare the clocks of this machine and of who writes there; use NTP on both",
            )
            return


def _kept(facts: TopicFacts) -> str:
    retention = facts.settings.get("retention.ms")
    if retention is None:
        return "retention not told"
    return "kept for ever" if int(retention) < 0 else f"kept for {int(retention) / _DAY_MS:.1f} days"


def _at(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
