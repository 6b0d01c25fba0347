"""``openmsi doctor``: is everything there that the work needs, and what to do about what is not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from openmsi_core.cli.common import settings_choices

if TYPE_CHECKING:
    from openmsi_core.settings import Settings

_MARKS = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}


@click.command()
@click.option("--topic", "topics", multiple=True, help="Look at this topic too; may be repeated.")
@click.option("--offline", is_flag=True, help="Only what needs no broker.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@settings_choices
def doctor(topics: tuple[str, ...], *, offline: bool, as_json: bool, settings: Settings) -> int:
    """Look at Python, libraries, disk, clock, plugins, encryption, the broker, rights, topics and transactions.

    Each line is ok, worth knowing, or wrong with what to do. The topics are those of the configuration. Exit code 0:
    nothing is wrong; 3: the broker is unreachable or denies something; 2 or 4: something else is wrong.

    \b
    Example: openmsi doctor --topic xrd-raw
    """
    from openmsi_core.model import shown
    from openmsi_core.wiring.doctor import broker_findings
    from openmsi_core.wiring.machine import machine_findings
    from openmsi_core.wiring.sealing import encryption_findings

    worst: list[int] = []
    sources = [machine_findings(settings), encryption_findings(settings)] + (
        [] if offline else [broker_findings(settings, topics)]
    )
    for source in sources:
        for finding in source:
            worst += [finding.exit_code] if finding.exit_code else []
            if as_json:
                click.echo(json.dumps(finding.as_json()))
                continue
            todo = f"\n        do: {shown(finding.todo)}" if finding.todo else ""
            click.echo(f"{_MARKS[finding.verdict]} {shown(finding.check)}: {shown(finding.text)}{todo}")
    return 3 if 3 in worst else max(worst, default=0)
