"""``openmsi run NAME``: one plugin on the files of a topic."""

from __future__ import annotations

import difflib
import logging
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from openmsi_core.cli.common import (
    cipher_choice,
    conclude,
    crypto_choices,
    isolation_choices,
    observing_choices,
    settings_choices,
    verbosity,
)
from openmsi_core.cli.layers import given_options
from openmsi_core.cli.options import PluginCommand, plugin_flags
from openmsi_core.errors import EXIT_INTERRUPTED, EXIT_SOME_FAILED, PluginError

if TYPE_CHECKING:
    from openmsi_core.receiving.jobs import Counts, Ended, RunFacts
    from openmsi_core.settings import Settings

log = logging.getLogger(__name__)


@click.command(cls=PluginCommand, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.argument("name")
@click.option("--topic", help="The topic to read files from.")
@click.option("--output-topic", help="Where results go; without it they are not published.")
@click.option("--group", help="The consumer group; by default openmsi-NAME.")
@click.option("--include", multiple=True, metavar="GLOB", help="Only files that match; may be repeated.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Not the files that match; may be repeated.")
@click.option(
    "--from",
    "start",
    metavar="WHERE",
    help="Where a group without commits begins: beginning, end, or a moment like 2026-11-24T12:00Z.",
)
@click.option("--until-caught-up", is_flag=True, default=None, help="End at the present end of the topic.")
@click.option("--workers", type=int, help="How many threads run the plugin.")
@click.option("--delivery", type=click.Choice(["exactly-once", "at-least-once"]), help="[default: exactly-once]")
@isolation_choices
@click.option("--bare", is_flag=True, default=None, help="Publish the plugin's values without the envelope.")
@observing_choices
@crypto_choices
@settings_choices
@verbosity
@click.pass_context
def run(ctx: click.Context, /, name: str, settings: Settings, quiet: bool, serve_keys: str | None, **given: Any) -> int:
    """Run one plugin on the files of a topic, until it is stopped.

    The plugin's own options are flags too: `openmsi run disk --help` lists those of disk.

    \b
    Example: openmsi run disk --topic xrd-raw --folder archive
    """
    from openmsi_core.observe.progress import reporter
    from openmsi_core.settings import run_settings
    from openmsi_core.wiring import run_plugin

    if name not in settings.run:
        must_be_known(name, settings)
    chosen = run_settings(settings, name, named(given))
    values = given_options(settings, name, chosen, plugin_flags("run", chosen.plugin, ctx.args))
    with reporter("done", quiet=quiet or not _is_terminal()) as progress:

        def announce(facts: RunFacts, counts: Counts, durable: Sequence[Ended]) -> None:
            for ended in durable:
                say(facts, ended)
            progress.update(files=counts.files, bytes=counts.bytes, note=_note(counts))

        choice = cipher_choice(settings, chosen.crypto, serve_keys)
        report = run_plugin(chosen, settings.kafka, settings.state, values, announce=announce, choice=choice)
    counts = report.counts
    conclude(
        f"{counts.files:,} files done, {counts.unchanged:,} of them unchanged, {counts.results:,} results, "
        f"{counts.letters:,} dead letters, {report.still_open:,} files not finished",
        quiet=quiet,
    )
    if report.signal:
        return EXIT_INTERRUPTED if report.signal == signal.SIGINT else 0
    return EXIT_SOME_FAILED if counts.letters or report.still_open else 0


def must_be_known(name: str, settings: Settings) -> None:
    """Raises PluginError when ``name`` is neither a run of the configuration nor a plugin."""
    from openmsi_core.plugins.catalogue import find

    try:
        find(name)
    except PluginError as error:
        close = difflib.get_close_matches(name, settings.run, n=1)
        hint = f" Did you mean the run {close[0]!r} of {settings.file}?" if close else ""
        raise PluginError(f"{error}{hint}") from error


def named(given: dict[str, Any]) -> dict[str, Any]:
    """Settings' own names, dashed, as in the configuration file."""
    return {("from" if key == "start" else key.replace("_", "-")): value for key, value in given.items()}


def say(facts: RunFacts, ended: Ended) -> None:
    """One line per file."""
    outcome = ended.outcome
    subject = ended.version.path if ended.version else ended.span.first
    where = f" -> {outcome.location}" if outcome.location else ""
    text = f"{subject} {outcome.what}{' (unchanged)' if outcome.unchanged else ''}{where}"
    if outcome.what.is_letter:
        log.warning("%s: %s (dead letter in %s)", text, outcome.reason, facts.letters_topic)
    else:
        level = logging.DEBUG if outcome.what == "not-wanted" else logging.INFO
        log.log(level, "%s%s", text, f": {outcome.reason}" if outcome.reason else "")


def _note(counts: Counts) -> str:
    letters = f"{counts.letters:,} dead letters" if counts.letters else ""
    return ", ".join(filter(None, [letters, f"{counts.lag:,} records behind" if counts.lag else ""]))


def _is_terminal() -> bool:
    import sys

    return sys.stderr.isatty()
