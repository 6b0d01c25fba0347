"""Dead letters as a person reads them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from openmsi_core.receiving.letters import Letter, Letters


def line(letter: Letter) -> str:
    """One letter in one line."""
    mark = "resolved  " if letter.resolved is not None else ""
    when = str(letter.told["at"])[:19]
    return safe(f"{letter.id}  {when}  {mark}{letter.what}  {letter.subject}  {letter.run}  {letter.reason}")


def facts_shown(told: dict[str, Any]) -> list[str]:
    """For a person: one fact a line, the traceback at the end."""
    why, there = told["why"], told["bytes"]
    facts = {name: told.get(name) for name in ("id", "what", "path", "run", "topic", "at", "tries", "reason")}
    facts["class"] = why.get("class")
    for name in ("plugin", "file", "positions", "record", "resolved"):
        facts[name] = json.dumps(told[name]) if told.get(name) else None
    lines = [f"{name:10} {value}" for name, value in facts.items() if value not in (None, "")]
    if there["there"]:
        until = f"at least until {there['until']}" if there["until"] else "and retention takes none of them"
        lines.append(f"{'bytes':10} in the topic, {until}")
    else:
        gone = f": retention removed {', '.join(there['removed'])}" if there["removed"] else ""
        lines.append(f"{'bytes':10} not all in the topic any more{gone}")
    return [safe(line) for line in [*lines, *str(why.get("traceback") or "").splitlines()]]


def say_foreign(letters: Letters, topic: str) -> None:
    """Say that there are records which are none of ours."""
    if letters.foreign:
        click.echo(f"{letters.foreign:,} records of {topic}.dlq are no dead letters of openmsi", err=True)


def safe(text: str) -> str:
    """One line that no terminal minds, and that UTF-8 can carry."""
    from openmsi_core.model import shown

    return shown(text).encode("utf-8", "backslashreplace").decode("utf-8")
