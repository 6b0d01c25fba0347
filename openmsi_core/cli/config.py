"""``openmsi config``: check and show the configuration, without a broker."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openmsi_core.errors import SettingsError, UsageError

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
def check(file: Path | None) -> None:
    """Read the configuration and say every problem at once.

    Kafka's options are shown to librdkafka, the options of each run to its plugin.

    \b
    Example: openmsi config check openmsi.toml
    """
    from openmsi_core.settings import load

    settings = load(file)
    problems = list(_problems(settings))
    if problems:
        raise SettingsError("\n  ".join([f"{settings.file or 'the configuration'}: not usable", *problems]))
    click.echo(f"{settings.file or 'no file, only defaults'}: ok")


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


def _problems(settings: Settings) -> Iterator[str]:
    from openmsi_core.cli.options import refuse_plain_secrets
    from openmsi_core.kafka.admin import check_options
    from openmsi_core.plugins.loader import options_of
    from openmsi_core.plugins.options import parse

    try:
        if settings.kafka:
            check_options(settings.kafka)
    except UsageError as error:
        yield str(error)
    for name, run in settings.run.items():
        try:
            refuse_plain_secrets(settings, name, run.plugin)
            if run.options:  # without any, they may all come as flags
                parse(options_of(run.plugin), run.options, f"run {name}")
        except UsageError as error:
            yield f"run {name}: {error}"


def _shown(settings: Settings) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield ("state",), str(settings.state)
    for name, value in settings.kafka.items():
        yield ("kafka", name), _hidden((name,), value)
    for key, value in settings.crypto.model_dump(mode="json", by_alias=True).items():
        yield ("crypto", key), value
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
