"""``openmsi config``: check and show the configuration, without a broker."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openmsi_core.errors import EXIT_DONE, EXIT_USAGE, OpenmsiError, SettingsError

if TYPE_CHECKING:
    from openmsi_core.settings import RunSettings, Settings


@click.group()
def config() -> None:
    """Check and show the configuration, and describe it for editors. Needs no broker.

    \b
    Example: openmsi config check openmsi.toml
    """


_FILE = click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))


@config.command()
@_FILE
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def check(file: Path | None, as_json: bool) -> int:
    """Read the configuration and say every problem at once. Exit code 2: it is not usable.

    Kafka's options are shown to librdkafka, the options of each run, also those of the environment, to its plugin;
    runs and watches that would get in each other's way are named.

    \b
    Example: openmsi config check openmsi.toml
    """
    from openmsi_core.cli.checking import problems_of
    from openmsi_core.cli.layers import configuration_problems
    from openmsi_core.settings import find, load

    try:
        settings = load(file, also=configuration_problems)
    except SettingsError as error:
        if not as_json:
            raise
        name, problems = file or find(), [line.strip() for line in str(error).split("\n")]
    else:
        name, problems = settings.file, list(problems_of(settings))
    if as_json:
        told = {"file": str(name) if name else None, "ok": not problems, "problems": problems}
        click.echo(json.dumps(told))
    elif problems:
        raise SettingsError("\n  ".join([f"{name or 'the configuration'}: not usable", *problems]))
    else:
        click.echo(f"{name or 'no file, only defaults'}: ok")
    return EXIT_USAGE if problems else EXIT_DONE


@config.command()
@_FILE
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def show(file: Path | None, as_json: bool) -> None:
    """Show every setting and where it comes from; secrets are hidden.

    \b
    Example: openmsi config show
    """
    from openmsi_core.settings import load

    settings = load(file)
    rows = list(_shown(settings))
    if as_json:
        told = [{"name": ".".join(keys), "value": value, "from": source} for keys, value, source in rows]
        click.echo(json.dumps({"file": str(settings.file) if settings.file else None, "settings": told}))
        return
    for keys, value, source in rows:
        click.echo(f"{'.'.join(keys)} = {json.dumps(value, ensure_ascii=False)}    # {source}")


@config.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--to",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("openmsi.toml"),
    show_default=True,
    help="The file to write.",
)
@click.option("--force", is_flag=True, help="Replace the file when it is there.")
def import_(file: Path, to: Path, force: bool) -> None:
    """Make an openmsi.toml of a configuration file of OpenMSIStream, and say what became of each line.

    \b
    Example: openmsi config import lab.config
    """
    from openmsi_core.kafka.config import refusal
    from openmsi_core.settings.importing import imported

    made = imported(file, refusal)
    if to.exists() and not force:
        raise SettingsError(f"{to} is there already: name another file with --to, or replace it with --force.")
    try:
        to.unlink(missing_ok=True)
        with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            out.write(made.text)
    except OSError as error:
        raise SettingsError(f"{to} cannot be written: {error.strerror}. Name another file with --to.") from error
    for line in made.lines:
        click.echo(f"{file.name}:{line.number} [{line.section}] {line.name}: {line.told}")
    if made.has_secrets:
        click.echo(
            f"{to} holds secrets as plain text; ${{VARIABLE}} or ${{file:PATH}} would keep them elsewhere.", err=True
        )
    click.echo(f"{to}: written; `openmsi config check {to}` looks at it", err=True)


@config.command()
@click.option("--timeout", default=10.0, show_default=True, metavar="SECONDS", help="For importing one plugin.")
def schema(timeout: float) -> None:
    """Print the JSON Schema of openmsi.toml, with the options of every installed plugin.

    Editors complete and check with it: give it a file, and begin openmsi.toml with the line "#:schema ./FILE". Each
    plugin is imported in a process of its own; of one that cannot be, any options are allowed.

    \b
    Example: openmsi config schema > openmsi.schema.json
    """
    from openmsi_core.model import shown
    from openmsi_core.plugins.catalogue import catalogue
    from openmsi_core.plugins.probing import probe_all
    from openmsi_core.settings import schema_with

    probed = probe_all([entry for entry in catalogue() if entry.kind != "hook"], timeout)
    options = {}
    for each in probed:
        entry = each.entry
        if each.schema is not None:
            options[entry.qualified] = each.schema
            if entry.status != "ambiguous":
                options[entry.name] = each.schema
        elif entry.status != "shadowed":
            click.echo(f"openmsi: {shown(f'{entry.qualified}: {entry.status}: {entry.detail}')}", err=True)
    click.echo(json.dumps(schema_with(options), indent=2))


def _shown(settings: Settings) -> Iterator[tuple[tuple[str, ...], Any, str]]:
    """The keys of each setting, its value if it may be seen, and where it comes from."""
    from openmsi_core.settings import sources

    plain: list[tuple[tuple[str, ...], Any]] = [(("state",), str(settings.state))]
    plain += [(("kafka", name), _hidden((name,), value)) for name, value in settings.kafka.items()]
    for name, watch in settings.watch.items():
        plain += [(("watch", name, key), value) for key, value in watch.model_dump(mode="json", by_alias=True).items()]
    for name, run in settings.run.items():
        table = run.model_dump(mode="json", by_alias=True, exclude={"options"})
        plain += [(("run", name, key), value) for key, value in table.items()]
    yield from ((keys, value, sources(settings, keys)) for keys, value in plain)
    for name, run in settings.run.items():
        yield from _shown_options(settings, name, run)


def _shown_options(settings: Settings, name: str, run: RunSettings) -> Iterator[tuple[tuple[str, ...], Any, str]]:
    """The plugin's options of one run: those of the file, and those that a variable gives instead."""
    from openmsi_core.settings import option_variables, sources

    options = run.model_dump(mode="json")["options"]
    variables = option_variables(os.environ, run.plugin)
    secrets = _secret_options(run.plugin, {*options, *variables})
    for keys, value in _leaves(options, ()):
        field = keys[0].replace("-", "_")
        if field not in variables:
            whole = ("run", name, "options", *keys)
            yield whole, _hidden(keys, value, is_secret=field in secrets), sources(settings, whole)
    for field, (variable, text) in variables.items():
        keys = (field.replace("_", "-"),)
        yield ("run", name, "options", *keys), _hidden(keys, text, is_secret=field in secrets), variable


def _secret_options(plugin: str, options: Collection[str]) -> frozenset[str]:
    """The secret options of a plugin; all of them when the plugin cannot say which."""
    from openmsi_core.plugins.loader import options_of
    from openmsi_core.plugins.options import flags_of

    if not options:
        return frozenset()
    try:
        return frozenset(flag.field for flag in flags_of(options_of(plugin)) if flag.is_secret)
    except OpenmsiError:
        return frozenset(name.replace("-", "_") for name in options)


def _leaves(table: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _hidden(keys: tuple[str, ...], value: Any, *, is_secret: bool = False) -> Any:
    from openmsi_core import settings

    return settings.HIDDEN if is_secret or any(settings.is_secret(key) for key in keys) else value
