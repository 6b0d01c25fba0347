"""``openmsi new``: a plugin package of one's own, made from the template."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(["extractor", "sink", "processor"]),
    default="extractor",
    show_default=True,
    help="What it does: metadata of files, storing files, many results of a file.",
)
@click.option("--folder", type=click.Path(path_type=Path), help="Where to put it; by default ./NAME.")
def new(name: str, kind: str, folder: Path | None) -> None:
    """Make a plugin package with tests that pass, to begin your own from.

    NAME is the package's name and the plugin's, lower-case words with dashes between.

    \b
    Examples: openmsi new line-count
              openmsi new lab-store --kind sink
    """
    from openmsi_core.plugins.template import make

    place = folder or Path(name)
    made = make(name, kind, place)
    click.echo(f"{place} has the {kind} {name} in it. Your science goes into {made}. Next:")
    click.echo(f"  cd {place}")
    click.echo('  pip install -e ".[test]"')
    click.echo("  python -m pytest")
