"""What commands share: where the broker is, which configuration, how much is said."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from openmsi_core.errors import SettingsError

Command = Callable[..., Any]


def settings_choices(command: Command) -> Command:
    """Adds --config, --broker and -X; passes ``settings``, loaded with them on top."""

    @click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="The configuration file.")
    @click.option("--broker", metavar="HOST:PORT", help="The Kafka broker; or OPENMSI_BROKER, or the configuration.")
    @click.option("-X", "extra", metavar="KEY=VALUE", multiple=True, help="Any librdkafka option; may be repeated.")
    @functools.wraps(command)
    def wrapped(*args: Any, config: Path | None, broker: str | None, extra: tuple[str, ...], **more: Any) -> Any:
        from openmsi_core.settings import load

        given = dict(_pair(text) for text in extra)
        if broker is not None:
            given["bootstrap.servers"] = _checked(broker)
        return command(*args, settings=load(config, kafka=given), **more)

    return wrapped


def kafka_choices(command: Command) -> Command:
    """Like `settings_choices`, but passes ``kafka``, the options for librdkafka alone."""

    @settings_choices
    @functools.wraps(command)
    def wrapped(*args: Any, settings: Any, **more: Any) -> Any:
        return command(*args, kafka=dict(settings.kafka), **more)

    return wrapped


def verbosity(command: Command) -> Command:
    """Adds -q, -v and --json-logs, configures logging, passes ``quiet``."""

    @click.option("-q", "--quiet", is_flag=True, help="Say nothing but warnings and errors.")
    @click.option("-v", "--verbose", is_flag=True, help="Say everything.")
    @click.option("--json-logs", is_flag=True, help="Log as one JSON object a line.")
    @functools.wraps(command)
    def wrapped(*args: Any, quiet: bool, verbose: bool, json_logs: bool, **more: Any) -> Any:
        from openmsi_core.observe.logs import configure

        configure(-1 if quiet else int(verbose), as_json=json_logs)
        return command(*args, quiet=quiet, **more)

    return wrapped


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SettingsError(f"-X {text!r} is not KEY=VALUE, as in -X security.protocol=SSL")
    return name.strip(), value


def _checked(broker: str) -> str:
    for address in broker.split(","):
        host, colon, port = address.strip().rpartition(":")
        if not colon or not host or not port.isdigit():
            raise SettingsError(f"--broker {broker!r} is not HOST:PORT, as in broker.lab:9092")
    return broker
