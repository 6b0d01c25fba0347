"""``openmsi broker``: an embedded broker for trying out."""

from __future__ import annotations

import signal
import threading

import click

from openmsi_core.errors import EXIT_INTERRUPTED


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=9092, show_default=True)
def broker(port: int) -> int:
    """Start an embedded broker on this machine, for trying out; Ctrl-C ends it.

    \b
    Example: openmsi broker --port 9092
    """
    from openmsi_core.kafka.embedded import PROMISES_NOT, embedded
    from openmsi_core.wiring import signals_set

    stopped = threading.Event()
    with signals_set(stopped.set) as last, embedded(port) as running:
        click.echo(running.address)
        click.echo(f"For trying out only: {PROMISES_NOT}. Ctrl-C ends it.", err=True)
        while not stopped.wait(0.5):
            running.raise_if_ended()
    return EXIT_INTERRUPTED if last[0] == signal.SIGINT else 0
