"""``openmsi plugins``: what is installed, without importing any of it."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--kind", type=click.Choice(["extractor", "sink", "processor", "hook"]), help="Only this kind.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def plugins(kind: str | None, as_json: bool) -> None:
    """List the installed plugins. None of them is imported, so a broken one is a line and no failure.

    \b
    Example: openmsi plugins --kind extractor
    """
    from openmsi_core.plugins.catalogue import catalogue

    entries = catalogue(kind=kind)
    if as_json:
        for entry in entries:
            facts = {name: getattr(entry, name) for name in entry.__dataclass_fields__}
            click.echo(json.dumps(facts))
        return
    rows = [("KIND", "NAME", "PACKAGE", "STATUS", "SUMMARY")]
    rows += [(each.kind, each.name, f"{each.package} {each.version}", each.status, each.summary) for each in entries]
    widths = [max(len(row[at]) for row in rows) for at in range(4)]
    for row in rows:
        click.echo("  ".join([*(row[at].ljust(widths[at]) for at in range(4)), row[4]]).rstrip())
