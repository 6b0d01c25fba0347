"""``openmsi config``: check and show the configuration, without a broker."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click


@click.group()
def config() -> None:
    """Check and show the configuration. Needs no broker."""


_FILE = click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))


@config.command()
@_FILE
def check(file: Path | None) -> None:
    """Read the configuration and say every problem at once.

    \b
    Example: openmsi config check openmsi.toml
    """
    from openmsi_core.kafka.config import checked
    from openmsi_core.settings import find, load

    settings = load(file)
    if settings.kafka:
        checked(settings.kafka)
    click.echo(f"{file or find(os.environ) or 'no file, only defaults'}: ok")


@config.command()
@_FILE
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def show(file: Path | None, as_json: bool) -> None:
    """Show every setting; secrets are hidden."""
    from openmsi_core.settings import is_secret, load

    settings = load(file)
    told = settings.model_dump(mode="json", by_alias=True)
    told["kafka"] = {name: "(hidden)" if is_secret(name) else value for name, value in settings.kafka.items()}
    if as_json:
        click.echo(json.dumps(told))
        return
    for name, value in _flat(told):
        click.echo(f"{name} = {json.dumps(value)}")


def _flat(table: dict[str, object], prefix: str = "") -> list[tuple[str, object]]:
    out: list[tuple[str, object]] = []
    for name, value in table.items():
        if isinstance(value, dict):
            out += _flat(value, f"{prefix}{name}.")
        else:
            out.append((f"{prefix}{name}", value))
    return out
