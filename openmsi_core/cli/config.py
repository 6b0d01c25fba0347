"""``openmsi config``: check and show the configuration, without a broker."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openmsi_core.errors import EXIT_DONE, EXIT_USAGE, SettingsError

if TYPE_CHECKING:
    from openmsi_core.settings import Settings


@click.group()
def config() -> None:
    """Check and show the configuration. Needs no broker.

    \b
    Example: openmsi config check openmsi.toml
    """


_FILE = click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))


@config.command()
@_FILE
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def check(file: Path | None, as_json: bool) -> int:
    """Read the configuration and say every problem at once. Exit code 2: it is not usable.

    Kafka's options are shown to librdkafka, the options of each run to its plugin; runs and watches that would get in
    each other's way are named.

    \b
    Example: openmsi config check openmsi.toml
    """
    from openmsi_core.cli.checking import problems_of
    from openmsi_core.settings import find, load

    try:
        settings = load(file)
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
    from openmsi_core.settings import load, sources

    settings = load(file)
    rows = [(keys, value, sources(settings, keys)) for keys, value in _shown(settings)]
    if as_json:
        told = [{"name": ".".join(keys), "value": value, "from": source} for keys, value, source in rows]
        click.echo(json.dumps({"file": str(settings.file) if settings.file else None, "settings": told}))
        return
    for keys, value, source in rows:
        click.echo(f"{'.'.join(keys)} = {json.dumps(value, ensure_ascii=False)}    # {source}")


def _shown(settings: Settings) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield ("state",), str(settings.state)
    for name, value in settings.kafka.items():
        yield ("kafka", name), _hidden((name,), value)
    for table, named in (("watch", settings.watch), ("run", settings.run)):
        for name, each in named.items():
            plain = each.model_dump(mode="json", by_alias=True)
            options = plain.pop("options", {})
            for key, value in plain.items():
                yield (table, name, key), value
            for keys, value in _leaves(options, ()):
                yield (table, name, "options", *keys), _hidden(keys, value)


def _leaves(table: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _hidden(keys: tuple[str, ...], value: Any) -> Any:
    from openmsi_core.settings import HIDDEN, is_secret

    return HIDDEN if any(is_secret(key) for key in keys) else value
