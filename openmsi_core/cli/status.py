"""``openmsi status``: did everything arrive?"""

from __future__ import annotations

import json
import signal
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from openmsi_core.cli.common import settings_choices, verbosity
from openmsi_core.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_SOME_FAILED

if TYPE_CHECKING:
    from openmsi_core.settings import Settings
    from openmsi_core.wiring import Lookout, Status

_EVERY_SECONDS = 2.0


@click.command()
@click.argument("folder", metavar="[DIR]", required=False)
@click.option("--topic", help="Only what is sent to this topic.")
@click.option("--run", "runs", multiple=True, metavar="NAME", help="A run that must have each file; may be repeated.")
@click.option("--files", "lists", is_flag=True, help="A line for each file.")
@click.option("--watch", "repeats", is_flag=True, help="Show it again every two seconds, until Ctrl-C.")
@click.option("--verify", "verifies", is_flag=True, help="Read the files again and compare digests.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a folder (and, with --files, a file) and line.")
@settings_choices
@verbosity
def status(
    folder: str | None, *, topic: str | None, runs: tuple[str, ...], settings: Settings, quiet: bool, **given: bool
) -> int:
    """Did everything arrive? How far the files of a watched folder are, on their way to their runs.

    DIR is a folder that is or was watched on this computer, or the name of a [watch.NAME]; without it, all of them. The
    watch need not run. Ends with 0 when everything arrived, with 4 when not.

    \b
    Example: openmsi status D:/data/xrd
    """
    from openmsi_core.cli import statuslines as lines
    from openmsi_core.wiring import Lookout, ledgers_of

    as_json, lists, verifies = given["as_json"], given["lists"], given["verifies"]
    if given["repeats"] and (lists or verifies):
        raise click.UsageError("--watch shows the whole; --files and --verify are for one look")
    with ExitStack() as stack:
        lookouts = [
            stack.enter_context(Lookout(about, settings.kafka, runs)) for about in ledgers_of(settings, folder, topic)
        ]
        if given["repeats"]:
            return _repeated(lookouts, as_json=as_json)
        complete = True
        for lookout in lookouts:
            found = lookout.look()
            complete &= found.arrivals.is_complete
            for arrival in lookout.files() if lists else ():
                click.echo(json.dumps(lines.file_json(arrival)) if as_json else lines.file_line(arrival))
            click.echo(_told(lookout, found, as_json=as_json, briefly=quiet))
            if verifies:
                complete &= _verified(lookout, as_json=as_json, quiet=quiet)
    return EXIT_DONE if complete else EXIT_SOME_FAILED


def _told(lookout: Lookout, found: Status, *, as_json: bool, briefly: bool) -> str:
    """The answer, and what belongs to it; what nobody asked for is not looked up."""
    from openmsi_core.cli import statuslines as lines
    from openmsi_core.sending.arrivals import Stage

    arrivals = found.arrivals
    if not as_json and (briefly or arrivals.is_complete):
        return lines.answer(found) if briefly else "\n".join(lines.text(found, (), ()))
    has_failed = arrivals.stages[Stage.FAILED].files > 0
    failed = list(lookout.files((Stage.FAILED,), lines.MOST_JSON)) if has_failed else []
    if as_json:
        return json.dumps(lines.as_json(found, failed, lookout.runs()))
    return "\n".join(lines.text(found, failed, lookout.runs()))


def _repeated(lookouts: list[Lookout], *, as_json: bool) -> int:
    from openmsi_core.observe.screen import screen
    from openmsi_core.wiring import signals_set

    stop = threading.Event()
    with signals_set(stop.set) as last, screen(sys.stdout) as shown:
        while not stop.is_set():
            looked = [(lookout, lookout.look()) for lookout in lookouts]
            shown.show("\n".join(_told(*each, as_json=as_json, briefly=False) for each in looked))
            stop.wait(_EVERY_SECONDS)
    return EXIT_INTERRUPTED if last[0] == signal.SIGINT else EXIT_DONE


def _verified(lookout: Lookout, *, as_json: bool, quiet: bool) -> bool:
    """Read and compare; True when nothing differs."""
    from openmsi_core.cli import statuslines as lines
    from openmsi_core.observe.progress import reporter
    from openmsi_core.wiring import verify

    counts: dict[str, int] = {}
    size = 0
    with reporter("verified", quiet=quiet) as progress:
        for number, verdict in enumerate(verify(lookout), 1):
            counts[verdict.what] = counts.get(verdict.what, 0) + 1
            size += verdict.size
            progress.update(files=number, bytes=size)
            if as_json:
                click.echo(json.dumps(lines.verdict_json(verdict)))
            elif verdict.what not in {"equal", "not-there"}:
                click.echo(lines.verdict_line(verdict))
    if not as_json:
        click.echo(lines.verified(counts))
    return not counts.get("differs", 0)
