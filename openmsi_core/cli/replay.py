"""``openmsi replay NAME --where ...``: chosen files of a topic through a plugin again."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from openmsi_core.cli.common import cipher_choice, crypto_choices, isolation_choices, settings_choices, verbosity
from openmsi_core.cli.layers import given_options
from openmsi_core.cli.options import PluginCommand, plugin_flags
from openmsi_core.cli.run import must_be_known, named, say
from openmsi_core.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_SOME_FAILED

if TYPE_CHECKING:
    from openmsi_core.receiving.choosing import Where
    from openmsi_core.receiving.jobs import Counts, Ended, RunFacts
    from openmsi_core.receiving.survey import Found
    from openmsi_core.settings import Settings
    from openmsi_core.wiring import ReplayReport

CONDITIONS = ("path", "after", "before", "plugin-version", "outcome")


@click.command(cls=PluginCommand, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.argument("name")
@click.option(
    "--where", "conditions", multiple=True, required=True, metavar="KEY=VALUE", help="Which files; see above."
)
@click.option("--topic", help="The topic to read files from.")
@click.option("--output-topic", help="Where results go; without it they are not published.")
@click.option("--group", help="The group whose receipts count and are written; by default openmsi-NAME.")
@click.option("--workers", type=int, help="How many threads run the plugin.")
@click.option("--delivery", type=click.Choice(["exactly-once", "at-least-once"]), help="[default: exactly-once]")
@isolation_choices
@click.option("--bare", is_flag=True, default=None, help="Publish the plugin's values without the envelope.")
@click.option("--force", is_flag=True, help="Also files that have a later version on their path.")
@click.option("--dry-run", is_flag=True, help="List what would be run, and run nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: one JSON object a file and line.")
@crypto_choices
@settings_choices
@verbosity
@click.pass_context
def replay(
    ctx: click.Context, /, name: str, settings: Settings, quiet: bool, serve_keys: str | None, **given: Any
) -> int:
    """Run a plugin again on chosen whole files of a topic. Where its group stands is neither read nor changed.

    --where may be repeated; a file must meet every condition, and one value of those that are given twice.

    \b
    path=GLOB            the path, as in --include
    after=TIME           sent at that time or later, as in 2026-01-01T00:00Z
    before=TIME          sent before that time
    plugin-version=GLOB  last handled by that version of the plugin
    outcome=OUTCOME      what became of it last: done, rejected, failed ...

    \b
    Example: openmsi replay xrd-extractor --where 'path=2026/**' --where plugin-version=1.2
    """
    from openmsi_core.settings import run_settings
    from openmsi_core.wiring import choose_files, replay_plugin

    where, as_json = _where(given.pop("conditions")), given.pop("as_json")
    force, is_dry = given.pop("force"), given.pop("dry_run")
    if name not in settings.run:
        must_be_known(name, settings)
    chosen = run_settings(settings, name, named(given))
    values = given_options(settings, name, chosen, plugin_flags("replay", chosen.plugin, ctx.args))
    choice = cipher_choice(settings, chosen.crypto, "0s" if is_dry else serve_keys)
    common: dict[str, Any] = {"force": force, "choice": choice}
    if is_dry:
        report = choose_files(chosen, settings.kafka, settings.state, values, where, **common)
        _list(report, as_json=as_json)
        return _exit_code(report)
    task = partial(replay_plugin, chosen, settings.kafka, settings.state, values, where, **common)
    report = _told(task, quiet=quiet)
    click.echo(_summary(report), err=True)
    return _exit_code(report)


def _told(task: Callable[..., ReplayReport], *, quiet: bool) -> ReplayReport:
    """Run the replay, telling how it goes."""
    from openmsi_core.observe.progress import reporter

    with reporter("replayed", quiet=quiet) as progress:

        def announce(facts: RunFacts, counts: Counts, durable: Sequence[Ended]) -> None:
            for ended in durable:
                say(facts, ended)
            progress.update(files=counts.files, bytes=counts.bytes, note=f"{counts.letters:,} dead letters")

        return task(announce=announce)


def _exit_code(report: ReplayReport) -> int:
    if report.signal:
        return EXIT_INTERRUPTED if report.signal == signal.SIGINT else EXIT_DONE
    return EXIT_SOME_FAILED if report.counts.letters or report.still_open else EXIT_DONE


def _where(conditions: Sequence[str]) -> Where:
    """What --where says. Raises UsageError."""
    from openmsi_core.receiving.choosing import Where

    given: dict[str, list[str]] = {name: [] for name in CONDITIONS}
    for text in conditions:
        key, equals, value = text.partition("=")
        if not equals or not value or key not in given:
            raise click.UsageError(f"--where {text!r}: it is KEY=VALUE, and KEY one of {', '.join(CONDITIONS)}")
        given[key].append(value)
    after, before = (_instant(key, given[key]) for key in ("after", "before"))
    outcomes = [each for text in given["outcome"] for each in text.split(",")]
    _refuse_unknown(outcomes)
    return Where(tuple(given["path"]), after, before, tuple(outcomes), tuple(given["plugin-version"]))


def _instant(key: str, values: Sequence[str]) -> int | None:
    """Epoch milliseconds of a moment, which says its zone."""
    from openmsi_core.settings.units import moment_of

    if not values:
        return None
    if len(values) > 1:
        raise click.UsageError(f"--where {key}=... is given twice")
    try:
        return moment_of(values[0])
    except ValueError as error:
        raise click.UsageError(f"--where {key}=...: {error}") from error


def _refuse_unknown(outcomes: Sequence[str]) -> None:
    from openmsi_core.model import What

    known = sorted(str(each) for each in What if each not in {What.NOT_WANTED, What.BAD_RECORD, What.EARLY})
    for each in outcomes:
        if each not in known:
            raise click.UsageError(f"--where outcome={each}: it is one of {', '.join(known)}")


def _list(report: ReplayReport, *, as_json: bool) -> None:
    """What would be run, and what would end as superseded."""
    chosen = report.chosen
    for would, files in (("run", chosen.running), ("superseded", chosen.superseded)):
        for found in files:
            _tell(found, would, as_json=as_json)
    count, old = len(chosen.running), len(chosen.superseded)
    click.echo(f"{count:,} files would be run, {old:,} have a later version{_skipped(report)}", err=True)


def _tell(found: Found, would: str, *, as_json: bool) -> None:
    version, first = found.version, found.span.first
    sent = datetime.fromtimestamp(found.sent_ms / 1000, UTC).isoformat(timespec="milliseconds")
    if as_json:
        position = {"topic": first.topic, "partition": first.partition, "offset": first.offset}
        facts = {**version.path.as_json(), "size": version.size, "id": version.id.hex(), "sent": sent}
        click.echo(json.dumps(facts | {"position": position, "would": would}))
    else:
        text = f"{version.path}  {version.size:,} bytes  sent {sent}  {first}  {would}"
        click.echo(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def _summary(report: ReplayReport) -> str:
    counts = report.counts
    return (
        f"{counts.files:,} files done again, {counts.unchanged:,} of them unchanged, {counts.results:,} results, "
        f"{counts.letters:,} dead letters, {len(report.chosen.superseded):,} superseded, {report.still_open:,} not "
        f"finished{_skipped(report)}"
    )


def _skipped(report: ReplayReport) -> str:
    headless, unfinished = report.chosen.headless, report.chosen.unfinished
    return f"; skipped: {headless:,} without their beginning, {unfinished:,} without their end"
