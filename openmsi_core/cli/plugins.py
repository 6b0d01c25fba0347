"""``openmsi plugins``: what is installed, without importing any of it."""

from __future__ import annotations

import gc
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from openmsi_core.plugins.catalogue import Entry


@click.command()
@click.option("--kind", type=click.Choice(["extractor", "sink", "processor", "hook"]), help="Only this kind.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def plugins(kind: str | None, as_json: bool) -> None:
    """List the installed plugins. None of them is imported, so a broken one is a line and no failure.

    \b
    Example: openmsi plugins --kind extractor
    """
    from openmsi_core.plugins.catalogue import catalogue

    gc.disable()  # parsing makes many objects at once, and collecting is a tenth of the time
    try:
        entries = catalogue(kind=kind)
    finally:
        gc.enable()
    if as_json:
        for entry in entries:
            click.echo(json.dumps({name: getattr(entry, name) for name in entry.__dataclass_fields__}))
        return
    if not entries:
        click.echo(f"no {kind or 'plugin'} is installed", err=True)
        return
    for line in table(entries):
        click.echo(line)


def table(entries: Sequence[Entry]) -> list[str]:
    """The table for people: what is wrong with a plugin stands where its summary would."""
    rows = [("KIND", "NAME", "PACKAGE", "STATUS", "SUMMARY")]
    for each in entries:
        about = each.summary if each.status == "ok" else "; ".join(filter(None, [each.detail, each.summary]))
        rows.append((each.kind, each.name, f"{each.package} {each.version}", each.status, about))
    rows = [tuple(_printable(text) for text in row) for row in rows]  # type: ignore[misc] # five stay five
    widths = [max(len(row[at]) for row in rows) for at in range(4)]
    return ["  ".join([*(row[at].ljust(widths[at]) for at in range(4)), row[4]]).rstrip() for row in rows]


def _printable(text: str) -> str:
    """``text`` as a terminal may see it. `model.shown` does it too, and costs 10 ms of import."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
