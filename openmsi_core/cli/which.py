"""``openmsi which FILE...``: the plugins that would take a file, without importing any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openmsi_core.cli.plugins import printable
from openmsi_core.errors import EXIT_DONE, EXIT_SOME_FAILED

if TYPE_CHECKING:
    from openmsi_core.plugins.suiting import Suited


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file and line.")
def which(files: tuple[Path, ...], as_json: bool) -> int:
    """Say which installed plugins would take each file, by its name and its first 4 KiB. Imports none of them.

    The exit code is 4 when no plugin takes one of the files.

    \b
    Example: openmsi which scan.xrdml
    """
    from openmsi_core.plugins.catalogue import catalogue
    from openmsi_core.plugins.suiting import suited

    entries = catalogue()
    is_left = False
    for file in files:
        found = suited(file, entries)
        is_left = is_left or not any(each.is_taken for each in found)
        if as_json:
            told = [{"name": each.name, "kind": each.kind, "takes": each.is_taken, "why": each.why} for each in found]
            click.echo(json.dumps({"file": str(file), "plugins": told}))
        else:
            _tell(file, found)
    return EXIT_SOME_FAILED if is_left else EXIT_DONE


def _tell(file: Path, found: tuple[Suited, ...]) -> None:
    click.echo(printable(f"{file}:{'' if any(each.is_taken for each in found) else ' no installed plugin takes it'}"))
    width = max((len(each.name) for each in found), default=0)
    for each in found:
        click.echo(
            printable(f"  {each.kind:9}  {each.name:{width}}  {'' if each.is_taken else 'not taken: '}{each.why}")
        )
