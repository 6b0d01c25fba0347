"""What commands share: where the broker is, which configuration, how much is said."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openmsi_core.errors import SettingsError

if TYPE_CHECKING:
    from openmsi_core.settings import Settings
    from openmsi_core.wiring import Choice

Command = Callable[..., Any]


def settings_choices(command: Command) -> Command:
    """Adds --config, --broker and -X; passes ``settings``, loaded with them on top."""

    @click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="The configuration file.")
    @click.option("--broker", metavar="HOST:PORT", help="The Kafka broker; or OPENMSI_BROKER, or the configuration.")
    @click.option("-X", "extra", metavar="KEY=VALUE", multiple=True, help="Any librdkafka option; may be repeated.")
    @functools.wraps(command)
    def with_settings(*args: Any, config: Path | None, broker: str | None, extra: tuple[str, ...], **more: Any) -> Any:
        from openmsi_core.settings import broker_address, load

        given = dict(_pair(text) for text in extra)
        if broker is not None:
            given["bootstrap.servers"] = broker_address(broker, "--broker")
        return command(*args, settings=load(config, kafka=given), **more)

    return with_settings


def kafka_choices(command: Command) -> Command:
    """Like `settings_choices`, but passes ``kafka``, the options for librdkafka alone."""

    @settings_choices
    @functools.wraps(command)
    def with_kafka(*args: Any, settings: Settings, **more: Any) -> Any:
        return command(*args, kafka=dict(settings.kafka), **more)

    return with_kafka


def crypto_choices(command: Command) -> Command:
    """Adds --crypto and --serve-keys; passes both as they were given."""
    command = click.option(
        "--serve-keys", metavar="TIME", help="With --crypto: how long keys are handed out at the end. [default: 60s]"
    )(command)
    return node_choice(command)


def node_choice(command: Command) -> Command:
    """Adds --crypto; passes ``crypto``."""
    return click.option("--crypto", metavar="NODE", help="Seal and open with this node: its name, or its folder.")(
        command
    )


def cipher_choice(settings: Settings, node: str | None, serve_keys: str | None) -> Choice:
    """How a command encrypts. Raises SettingsError."""
    from openmsi_core.settings import seconds_of
    from openmsi_core.wiring import chosen

    choice = chosen(settings.crypto, node)
    if serve_keys is None:
        return choice
    try:
        return replace(choice, serve_seconds=float(str(seconds_of(serve_keys))))
    except ValueError as error:
        raise SettingsError(f"--serve-keys: {error}") from error


def reading_choice(settings: Settings, node: str | None) -> Choice:
    """How a command opens that only looks: it hands out no keys at its end."""
    from openmsi_core.wiring import chosen

    return replace(chosen(settings.crypto, node), serve_seconds=0.0)


def verbosity(command: Command) -> Command:
    """Adds -q, -v and --json-logs, configures logging; passes ``quiet``: no progress, no summary.

    Nothing but JSON goes between lines of JSON, so --json-logs is quiet too.
    """

    @click.option("-q", "--quiet", is_flag=True, help="Say nothing but warnings and errors.")
    @click.option("-v", "--verbose", is_flag=True, help="Say everything.")
    @click.option("--json-logs", is_flag=True, help="Log as one JSON object a line.")
    @functools.wraps(command)
    def with_logging(*args: Any, quiet: bool, verbose: bool, json_logs: bool, **more: Any) -> Any:
        from openmsi_core.observe.logs import configure

        configure(-1 if quiet else int(verbose), as_json=json_logs)
        return command(*args, quiet=quiet or json_logs, **more)

    return with_logging


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise SettingsError(f"-X {text!r} is not KEY=VALUE, as in -X security.protocol=SSL")
    return name.strip(), value
