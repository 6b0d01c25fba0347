"""``openmsi try NAME FILE...``: a plugin on local files, without Kafka, through the same path after reassembly."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click

from openmsi_core.cli.common import isolation_choices
from openmsi_core.cli.options import PluginCommand, flags_and_rest
from openmsi_core.cli.run import named
from openmsi_core.errors import EXIT_SOME_FAILED


@click.command("try", cls=PluginCommand, context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("files", nargs=-1, type=click.UNPROCESSED)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file and line.")
@isolation_choices
def try_(name: str, files: tuple[str, ...], as_json: bool, **limits: Any) -> int:
    """Run a plugin on local files, without Kafka. The plugin's own options are flags too.

    \b
    Examples: openmsi try xrd-extractor scan.xrdml
              openmsi try disk scan.xrdml --folder archive
              openmsi try xrd-extractor scan.xrdml --isolate process --plugin-timeout 10s
    """
    from openmsi_core.settings import try_settings
    from openmsi_core.wiring import isolation_of, try_plugin

    values, paths = flags_and_rest("try", name, files)
    if not paths:
        raise click.UsageError("name at least one file")
    failed = 0
    isolation = isolation_of(try_settings(name, named(limits)))
    for told in _quietly(try_plugin(name, [_existing(path) for path in paths], values, isolation)):
        failed += told["outcome"] != "done"
        _tell(told, as_json=as_json)
    return EXIT_SOME_FAILED if failed else 0


def _quietly(answers: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The same answers; what a plugin prints goes to standard error, so that a program can read ours."""
    while True:
        with redirect_stdout(sys.stderr):
            told = next(answers, None)
        if told is None:
            return
        yield told


def _existing(text: str) -> Path:
    path = Path(text)
    if path.is_dir():
        raise click.UsageError(f"{text!r} is a folder; name files")
    if not path.is_file():
        raise click.UsageError(f"there is no file {text!r}")
    return path


def _tell(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(told))
        return
    from openmsi_core.model import shown

    click.echo(f"{shown(told['path'])}: {told['outcome']}")
    if told["location"]:
        click.echo(f"  stored at {shown(told['location'])}")
    for result in told["results"]:
        text = json.dumps(result, indent=2, ensure_ascii=False)
        click.echo("\n".join(f"  {shown(line)}" for line in text.splitlines()))
    if told["reason"]:
        click.echo(f"  {told['error']}: {shown(told['reason'])}")
    if told["traceback"] and told["outcome"] != "rejected":
        click.echo("\n".join(f"  {shown(line)}" for line in told["traceback"].splitlines()))
