"""What commands share: where the broker is, which configuration, how much is said."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openmsi_core.errors import SettingsError

if TYPE_CHECKING:
    from openmsi_core.settings import Settings
    from openmsi_core.wiring import Choice

log = logging.getLogger(__name__)

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


def isolation_choices(command: Command) -> Command:
    """Adds --isolate, --plugin-timeout and --plugin-memory, None when they are not given."""
    for option in (
        click.option("--plugin-memory", metavar="SIZE", help="With --isolate process: for one file, as 2GiB."),
        click.option("--plugin-timeout", metavar="SPAN", help="With --isolate process: for one file, as 5min."),
        click.option(
            "--isolate",
            type=click.Choice(["thread", "process"]),
            help="Run the plugin in this process, or where a crash or a hang costs one file.  [default: thread]",
        ),
    ):
        command = option(command)
    return command


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


def observing_choices(command: Command) -> Command:
    """Adds the flags with which a program can be observed while it works; passes them as the settings that they are."""

    @click.option("--metrics-port", type=click.IntRange(0, 65535), help="Serve /metrics and /healthz; 0: a free port.")
    @click.option("--metrics-address", metavar="HOST", help="On this address. [default: 127.0.0.1]")
    @click.option("--heartbeat-topic", metavar="TOPIC", help="Publish heartbeats there.")
    @click.option("--heartbeat-every", metavar="TIME", help="So often. [default: 30s]")
    @click.option("--log-topic", metavar="TOPIC", help="Publish log lines there too.")
    @click.option(
        "--stall-after", metavar="TIME", help="No progress for so long is a stall; 0: never. [default: 10min]"
    )
    @functools.wraps(command)
    def with_observers(*args: Any, **more: Any) -> Any:
        return command(*args, **more)

    return with_observers


def verbosity(command: Command) -> Command:
    """Adds -q, -v and --log-format, configures logging; passes ``quiet``: no progress, no summary.

    Nothing but JSON goes between lines of JSON, so that is quiet too.
    """

    @click.option("-q", "--quiet", is_flag=True, help="Say nothing but warnings and errors.")
    @click.option("-v", "--verbose", is_flag=True, help="Say everything.")
    @click.option("--log-format", type=click.Choice(["text", "json"]), help="Lines for a person, or JSON objects.")
    @click.option("--json-logs", is_flag=True, help="The same as --log-format json.")
    @functools.wraps(command)
    def with_logging(
        *args: Any, quiet: bool, verbose: bool, log_format: str | None, json_logs: bool, **more: Any
    ) -> Any:
        from openmsi_core.observe.logs import configure

        as_json = json_logs if log_format is None else log_format == "json"
        configure(-1 if quiet else int(verbose), as_json=as_json)
        return command(*args, quiet=quiet or as_json, **more)

    return with_logging


def conclude(text: str, *, quiet: bool) -> None:
    """The one line at the end: to standard error, or into the log where lines of another kind are not wanted."""
    if quiet:
        log.info("%s", text)
    else:
        click.echo(text, err=True)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise SettingsError(f"-X {text!r} is not KEY=VALUE, as in -X security.protocol=SSL")
    return name.strip(), value
