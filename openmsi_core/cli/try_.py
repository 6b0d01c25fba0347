"""``openmsi try NAME FILE...``: a plugin on local files, without Kafka, through the same path after reassembly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from openmsi_core.errors import EXIT_SOME_FAILED


class _TryCommand(click.Command):
    """Shows the plugin's own flags under the command's."""

    def get_help(self, ctx: click.Context) -> str:
        """The help of the command, and of the plugin that is named on the command line."""
        from openmsi_core.cli.options import help_of

        name = ctx.params.get("name")
        text = super().get_help(ctx)
        return f"{text}\n\n{help_of('try', name)}" if name else text


@click.command("try", cls=_TryCommand, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.argument("name", is_eager=True)
@click.argument("files", nargs=-1, type=click.UNPROCESSED)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file.")
@click.pass_context
def try_(ctx: click.Context, /, name: str, files: tuple[str, ...], as_json: bool) -> int:
    """Run a plugin on local files, without Kafka.

    \b
    Example: openmsi try xrd-extractor scan.xrdml
    """
    from openmsi_core.cli.options import plugin_flags
    from openmsi_core.wiring import try_plugin

    first_flag = next((at for at, text in enumerate(files) if text.startswith("-")), len(files))
    paths, flags = files[:first_flag], [*files[first_flag:], *ctx.args]
    if not paths:
        raise click.UsageError("name at least one file, before the plugin's options")
    failed = 0
    for told in try_plugin(name, [_existing(path) for path in paths], plugin_flags("try", name, flags)):
        failed += told["outcome"] != "done"
        _tell(told, as_json=as_json)
    return EXIT_SOME_FAILED if failed else 0


def _existing(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise click.UsageError(f"there is no file {text!r}")
    return path


def _tell(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False).encode("utf-8", "backslashreplace").decode("utf-8"))
        return
    click.echo(f"{told['path']}: {told['outcome']}")
    if told["location"]:
        click.echo(f"  stored at {told['location']}")
    for result in told["results"]:
        click.echo("  " + json.dumps(result, indent=2, ensure_ascii=False).replace("\n", "\n  "))
    if told["reason"]:
        click.echo(f"  {told['error']}: {told['reason']}")
        if told["traceback"] and told["outcome"] != "rejected":
            click.echo("  " + told["traceback"].replace("\n", "\n  ").rstrip())
