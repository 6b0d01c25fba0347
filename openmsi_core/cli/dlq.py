"""``openmsi dlq``: dead letters, and the way back from them."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openmsi_core.cli.common import (
    cipher_choice,
    isolation_choices,
    node_choice,
    reading_choice,
    settings_choices,
    verbosity,
)
from openmsi_core.cli.layers import given_options
from openmsi_core.cli.letters import facts_shown, line, safe, say_foreign
from openmsi_core.cli.options import typed_flags
from openmsi_core.errors import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_SOME_FAILED,
    FolderError,
    SettingsError,
    UsageError,
)

if TYPE_CHECKING:
    from openmsi_core.receiving.letters import Letter, Letters
    from openmsi_core.settings import RunSettings, Settings
    from openmsi_core.wiring import Retried

log = logging.getLogger(__name__)

_LIMITS = ("plugin-timeout", "plugin-memory")


@click.group()
def dlq() -> None:
    """List and show dead letters, save their files, and hand them to their plugin again.

    \b
    Example: openmsi dlq list --topic xrd-raw
             openmsi dlq retry 0-17 --topic xrd-raw
    """


@dlq.command("list")
@click.option("--topic", required=True, help="The data topic.")
@click.option("--run", "group", metavar="GROUP", help="Only those of this run, named by its group.")
@click.option("--all", "everything", is_flag=True, help="Also those that are resolved.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@node_choice
@settings_choices
def list_(
    topic: str, *, group: str | None, everything: bool, as_json: bool, crypto: str | None, settings: Settings
) -> None:
    """List the dead letters of a topic that are not resolved: ID, time, what, path, run, reason.

    \b
    Example: openmsi dlq list --topic xrd-raw
    """
    from openmsi_core.wiring import letters_in

    choice = reading_choice(settings, crypto)
    letters = letters_in(settings.kafka, topic, keeps_resolved=everything, choice=choice)
    for letter in letters:
        if group is None or letter.run == group:
            click.echo(json.dumps(letter.as_json()) if as_json else line(letter))
    say_foreign(letters, topic)


@dlq.command()
@click.argument("letter")
@click.option("--topic", required=True, help="The data topic.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@node_choice
@settings_choices
def show(letter: str, topic: str, as_json: bool, crypto: str | None, settings: Settings) -> None:
    """Show everything about one dead letter, with the traceback, and whether its bytes are still in the topic.

    \b
    Example: openmsi dlq show 0-17 --topic xrd-raw
    """
    from openmsi_core.wiring import show_letter

    told = show_letter(settings.kafka, topic, letter, reading_choice(settings, crypto))
    click.echo(json.dumps(told) if as_json else "\n".join(facts_shown(told)))


@dlq.command()
@click.argument("letter")
@click.option("--topic", required=True, help="The data topic.")
@click.option("--to", metavar="PLACE", help="A folder, or the name of the file to write.")
@click.option("--as-test", metavar="DIR", help="The folder with the plugin's tests: the file becomes one of them.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@node_choice
@settings_choices
def save(letter: str, topic: str, to: str | None, *, settings: Settings, **given: Any) -> None:
    """Save the file of a dead letter, whole and verified; for a bad record, the record as it is.

    With --as-test it goes to DIR/data, and into the list of files that the contract class of the plugin must reject:
    its tests fail until the plugin does.

    \b
    Examples: openmsi dlq save 0-17 --topic xrd-raw --to broken.xrdml
              openmsi dlq save 0-17 --topic xrd-raw --as-test tests
    """
    from openmsi_core.model import shown
    from openmsi_core.wiring import save_as_test, save_letter

    as_test, common = given["as_test"], {"force": given["force"], "choice": reading_choice(settings, given["crypto"])}
    if to is not None and as_test is None:
        saved = save_letter(settings.kafka, settings.state, topic, letter, _place(to), **common)
        click.echo(shown(str(saved)))
    elif as_test is not None and to is None:
        told = save_as_test(settings.kafka, settings.state, topic, letter, Path(as_test), **common)
        click.echo(shown(f"{told.sample} must be rejected, says {told.test} now. Run its tests, and mend the plugin."))
    else:
        raise click.UsageError("say where: --to PLACE, or --as-test DIR")


def _place(to: str) -> Path:
    place = Path(to)
    if to.endswith(("/", os.sep)):
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FolderError(f"the folder {to} cannot be made: {error.strerror}. Name another place: --to.") from error
    return place


@dlq.command(context_settings={"ignore_unknown_options": True})
@click.argument("letters", nargs=-1, type=click.UNPROCESSED)
@click.option("--topic", required=True, help="The data topic.")
@click.option("--all", "everything", is_flag=True, help="All letters with a file that are not resolved.")
@click.option("--run", "group", metavar="GROUP", help="With --all: only those of this run, named by its group.")
@click.option("--plugin", metavar="NAME", help="The run or plugin to use; by default the run that has their group.")
@click.option("--output-topic", help="Where results go, unless the configured run says so.")
@click.option("--group", "as_group", help="The group of the letters' run, where it is not openmsi-NAME.")
@click.option("--delivery", type=click.Choice(["exactly-once", "at-least-once"]), help="[default: exactly-once]")
@isolation_choices
@click.option("--force", is_flag=True, help="Also files that have a later version, and letters that are resolved.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a letter and line.")
@node_choice
@settings_choices
@verbosity
def retry(letters: tuple[str, ...], topic: str, settings: Settings, quiet: bool, **chosen: Any) -> int:
    """Hand the files of dead letters to their plugin again. What ends well is published once, and is resolved.

    The plugin and its options are those of the configured run with the letter's group; or name it with --plugin, and
    give its own options as flags. What fails again stays as it is: nothing is published, and the exit code is 4.

    \b
    Examples: openmsi dlq retry 0-17 0-18 --topic xrd-raw
              openmsi dlq retry --all --topic xrd-raw --plugin xrd-extractor --output-topic xrd-metadata
    """
    from openmsi_core.wiring import letters_in, retry_letters

    name = chosen["plugin"]
    given = {"topic": topic, "output-topic": chosen["output_topic"], "group": chosen["as_group"]}
    given |= {name: chosen[name.replace("-", "_")] for name in ("delivery", "isolate", *_LIMITS)}
    ids, flags = _ids_and_flags(letters, name, settings)
    if bool(ids) == chosen["everything"]:
        raise click.UsageError("name letters by their IDs, or give --all")
    choice = reading_choice(settings, chosen["crypto"])
    known = letters_in(settings.kafka, topic, keeps_resolved=bool(ids), choice=choice)
    say_foreign(known, topic)
    wanted = _named(ids, known, topic, force=chosen["force"]) if ids else _all(known, topic, chosen["group"])
    serving = cipher_choice(settings, chosen["crypto"], None)
    runs = {group: _run_of(group, name, settings, given) for group in sorted({each.run for each in wanted})}
    told = _Told(as_json=chosen["as_json"])
    for group, (run_name, run) in runs.items():
        values = given_options(settings, run_name, run, flags)
        mine = [letter for letter in wanted if letter.run == group]
        number = retry_letters(
            run, settings.kafka, settings.state, values, mine, told=told.take, force=chosen["force"], choice=serving
        )
        if number:
            return EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_DONE
    if not quiet:
        click.echo(f"{told.resolved:,} letters resolved, {told.failed:,} failed again", err=True)
    return EXIT_SOME_FAILED if told.failed else EXIT_DONE


class _Told:
    """Tells how each letter fared, and counts."""

    def __init__(self, *, as_json: bool) -> None:
        self.resolved = 0
        self.failed = 0
        self._as_json = as_json

    def take(self, retried: Retried) -> None:
        self.resolved += retried.is_resolved
        self.failed += not retried.is_resolved
        letter, outcome = retried.letter, retried.outcome
        what = outcome.what if outcome is not None else "not-whole"
        if self._as_json:
            path = letter.path.as_json() if letter.path is not None else {"path": None}
            facts = {"id": letter.id, **path, "outcome": what, "resolved": retried.is_resolved}
            facts |= {"location": outcome.location if outcome else "", "reason": retried.reason}
            click.echo(json.dumps(facts))
            return
        where = f" -> {outcome.location}" if outcome is not None and outcome.location else ""
        why = f": {retried.reason}" if retried.reason else ""
        click.echo(safe(f"{letter.id}  {letter.subject} {what}{where}{why}"))


def _ids_and_flags(words: Sequence[str], name: str | None, settings: Settings) -> tuple[list[str], dict[str, object]]:
    """The IDs among the words, and the plugin's own flags when it is named."""
    from openmsi_core.receiving.letters import place_in

    if name is not None:
        plugin = settings.run[name].plugin if name in settings.run else name
        flags, rest = typed_flags("run", plugin, words)
    else:
        flags, rest = {}, list(words)
    for word in rest:
        if place_in(word) is None:
            hint = " A plugin's own options need --plugin NAME." if word.startswith("-") else ""
            raise click.UsageError(f"{word!r} is no ID of a dead letter: they look like 0-17.{hint}")
    return list(dict.fromkeys(rest)), flags


def _named(ids: Sequence[str], known: Letters, topic: str, *, force: bool) -> list[Letter]:
    """The letters with these IDs. Raises UsageError when one is not there, or needs nothing."""
    found = []
    for each in ids:
        letter = known.unresolved.get(each) or known.resolved.get(each)
        if letter is None or letter.topic != topic:
            raise UsageError(f"there is no dead letter {each} in {topic}.dlq. `openmsi dlq list` shows what there is.")
        if letter.resolved is not None and not force:
            raise UsageError(f"letter {each} is resolved already. --force hands its file to the plugin once more.")
        found.append(letter)
    return found


def _all(known: Letters, topic: str, group: str | None) -> list[Letter]:
    """All letters that have a file; the others are counted."""
    mine = [each for each in known if each.topic == topic and (group is None or each.run == group)]
    files = [each for each in mine if each.file_id]
    if len(files) < len(mine):
        log.warning("%d letters are about records that belong to no file; they stay", len(mine) - len(files))
    return files


def _run_of(group: str, name: str | None, settings: Settings, given: dict[str, Any]) -> tuple[str, RunSettings]:
    """The run whose letters these are, and its name. Raises SettingsError when nothing says which."""
    from openmsi_core.settings import run_settings

    if name is not None:
        run = run_settings(settings, name, given)
        if run.group != group:
            raise SettingsError(
                f"these letters are of the run {group}, {name} has the group {run.group}. Give --group {group}, or "
                f"with --all --run {run.group}."
            )
        _refuse_no_output(run, name)
        return name, run
    topic = given["topic"]
    names = [key for key, run in settings.run.items() if run.group == group and run.topic in {"", topic}]
    if len(names) != 1:
        where = settings.file or "openmsi.toml"
        found = f"the runs {', '.join(names)} of {where} have" if names else f"no run of {where} has"
        raise SettingsError(
            f"{found} the group {group} and the topic {topic}. Name one, or a plugin and its options: --plugin NAME; "
            "or choose other letters with --run GROUP."
        )
    return names[0], run_settings(settings, names[0], given)


def _refuse_no_output(run: RunSettings, name: str) -> None:
    """An extractor gives a result for every file: without a topic for it the letter would be resolved for nothing."""
    from openmsi_core.plugins.catalogue import find

    if run.output_topic is None and find(run.plugin).kind == "extractor":
        raise SettingsError(f"the results of {name} would go nowhere: give --output-topic.")
