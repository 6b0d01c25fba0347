"""``openmsi plugins``: what is installed, without importing any of it; and a closer look at one."""

from __future__ import annotations

import gc
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openmsi_core.errors import EXIT_DONE, EXIT_USAGE

if TYPE_CHECKING:
    from openmsi_core.plugins.entry import Entry

_FINE = {"ok", "dynamic"}
_TIMEOUT = click.option(
    "--timeout", default=10.0, show_default=True, metavar="SECONDS", help="How long importing one plugin may take."
)


@click.group(invoke_without_command=True)
@click.option("--kind", type=click.Choice(["extractor", "sink", "processor", "hook"]), help="Only this kind.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--check", "checks", is_flag=True, help="Only what is not right; the exit code is 2 if anything is.")
@click.option("--probe", "probes", is_flag=True, help="Import each plugin, in a process of its own.")
@_TIMEOUT
@click.pass_context
def plugins(ctx: click.Context, kind: str | None, as_json: bool, checks: bool, probes: bool, timeout: float) -> int:
    """List the installed plugins. None of them is imported, so a broken one is a line and no failure.

    --probe finds what only importing tells: plugins that crash, hang, end the process, or have a wrong default.

    \b
    Examples: openmsi plugins --kind extractor
              openmsi plugins --check --probe
              openmsi plugins show disk
              openmsi plugins check ./my-plugin
    """
    if ctx.invoked_subcommand is not None:
        return EXIT_DONE
    entries = _entries(kind)
    if probes:
        from openmsi_core.plugins.probing import probe_all

        entries = [each.entry for each in probe_all(entries, timeout)]
    if checks:
        entries = [entry for entry in entries if entry.status not in _FINE]
    if as_json:
        for entry in entries:
            click.echo(json.dumps(as_plain(entry)))
    elif entries:
        for line in table(entries):
            click.echo(line)
    elif not checks:
        click.echo(f"no {kind or 'plugin'} is installed", err=True)
    return EXIT_USAGE if checks and entries else EXIT_DONE


@plugins.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON, with the schema of the options.")
@_TIMEOUT
def show(name: str, as_json: bool, timeout: float) -> None:
    """Show everything about one plugin: what it takes, and each option as flag, variable and line of openmsi.toml.

    NAME is a plugin's name or PACKAGE/NAME. The plugin is imported in a process of its own.

    \b
    Example: openmsi plugins show disk
    """
    from openmsi_core.cli.shown_plugin import description
    from openmsi_core.plugins.catalogue import catalogue, choose
    from openmsi_core.plugins.probing import probe

    entries = catalogue()
    kinds = {each.kind for each in entries if name in {each.name, each.qualified}}
    probed = probe(choose(name, entries, hook=kinds == {"hook"}), timeout)
    if as_json:
        options = [dict(each) for each in probed.options]
        click.echo(json.dumps(as_plain(probed.entry) | {"options": options, "schema": probed.schema}))
        return
    for line in description(probed):
        click.echo(printable(line))


@plugins.command()
@click.argument("path", default=".", type=click.Path(path_type=Path))
@click.option("--no-probe", "is_static", is_flag=True, help="Import nothing.")
@_TIMEOUT
def check(path: Path, is_static: bool, timeout: float) -> int:
    """Check a plugin package before it is published: a folder with pyproject.toml, or a wheel.

    Its plugins are imported in a process of their own. The exit code is 2 when there are problems.

    \b
    Example: openmsi plugins check .
    """
    from openmsi_core.plugins.checking import check as checked

    report = checked(path, None if is_static else timeout)
    for problem in report.problems:
        click.echo(printable(f"problem: {problem}"))
    for note in report.notes:
        click.echo(printable(f"note: {note}"))
    click.echo(f"{report.package}: {_counted(report.plugins, 'plugin')}, {_counted(len(report.problems), 'problem')}")
    return EXIT_USAGE if report.problems else EXIT_DONE


def _counted(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def as_plain(entry: Entry) -> dict[str, Any]:
    """An entry as JSON can hold it."""
    names = [name for name in entry.__dataclass_fields__ if name != "signature"]
    return {name: getattr(entry, name) for name in names} | {"qualified": entry.qualified}


def table(entries: Sequence[Entry]) -> list[str]:
    """The table for people: what is wrong with a plugin stands where its summary would."""
    rows = [("KIND", "NAME", "PACKAGE", "STATUS", "SUMMARY")]
    for each in entries:
        about = "; ".join(filter(None, [each.detail, each.summary]))
        rows.append((each.kind, each.name, f"{each.package} {each.version}", each.status, about))
    rows = [tuple(printable(text) for text in row) for row in rows]  # type: ignore[misc] # five stay five
    widths = [max(len(row[at]) for row in rows) for at in range(4)]
    return ["  ".join([*(row[at].ljust(widths[at]) for at in range(4)), row[4]]).rstrip() for row in rows]


def printable(text: str) -> str:
    """``text`` as a terminal may see it. `model.shown` does it too, and costs 10 ms of import."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def _entries(kind: str | None) -> Sequence[Entry]:
    from openmsi_core.plugins.catalogue import catalogue

    gc.disable()  # parsing makes many objects at once, and collecting is a tenth of the time
    try:
        return catalogue(kind=kind)
    finally:
        gc.enable()
