"""``openmsi check NAME``: does a plugin find what it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from openmsi_core.cli.common import settings_choices, verbosity
from openmsi_core.cli.layers import given_options
from openmsi_core.cli.options import PluginCommand, plugin_flags
from openmsi_core.cli.run import must_be_known

if TYPE_CHECKING:
    from openmsi_core.settings import Settings

_NO_TOPIC = "openmsi-check"


@click.command(cls=PluginCommand, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.argument("name")
@click.option("--topic", help="The topic that files would come from, where that decides what is allowed.")
@settings_choices
@verbosity
@click.pass_context
def check(ctx: click.Context, /, name: str, settings: Settings, quiet: bool, topic: str | None) -> int:
    """Try whether a plugin, or a run of the configuration, finds what it needs; without a file and without Kafka.

    For a sink in a bucket: can this account write there, read back, and delete? The plugin's own options are flags too.

    \b
    Examples: openmsi check s3 --bucket archive
              openmsi check disk --folder archive
    """
    from openmsi_core.model import shown
    from openmsi_core.settings import run_settings
    from openmsi_core.wiring.checking import check_plugin

    if name not in settings.run:
        must_be_known(name, settings)
    given = {"topic": topic or _topic_of(name, settings)}
    chosen = run_settings(settings, name, given)
    values = given_options(settings, name, chosen, plugin_flags("check", chosen.plugin, ctx.args))
    for told in check_plugin(chosen.plugin, values, chosen.topic):
        if not quiet:
            click.echo(f"ok: {shown(told)}")
    return 0


def _topic_of(name: str, settings: Settings) -> str:
    run = settings.run.get(name)
    return (run.topic if run is not None else "") or _NO_TOPIC
