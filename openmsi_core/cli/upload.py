"""``openmsi upload``: files and folders to a topic, now."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openmsi_core.cli.common import cipher_choice, conclude, crypto_choices, settings_choices, verbosity
from openmsi_core.errors import EXIT_INTERRUPTED, EXIT_SOME_FAILED, UsageError

if TYPE_CHECKING:
    from openmsi_core.sending.seen import Seen
    from openmsi_core.settings import Settings
    from openmsi_core.wiring import Receipts


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option("--topic", required=True, help="The topic to send to.")
@click.option("--name", metavar="PATH", help="With - as a PATH: what standard input is sent as.")
@click.option("--wait", "runs", multiple=True, metavar="RUN", help="Wait for receipts of this run; may be repeated.")
@click.option("--timeout", default="10min", show_default=True, metavar="TIME", help="How long --wait waits.")
@click.option("--chunk-size", default="512KiB", show_default=True, metavar="SIZE", help="Bytes in one record.")
@click.option("--meta", multiple=True, metavar="KEY=VALUE", help="Goes with each file; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file (and a receipt) on standard output.")
@crypto_choices
@settings_choices
@verbosity
def upload(paths: tuple[Path, ...], *, topic: str, settings: Settings, quiet: bool, as_json: bool, **given: Any) -> int:
    """Send files or folders, and wait until the broker has acknowledged all of them.

    A file is sent under its name; the files of a folder with their paths relative to that folder. What was sent
    before is sent again: `openmsi watch DIR --once` sends only what is new. A PATH of - is standard input. With --wait
    it ends with 4 when a run failed on a file, or said nothing of one in time.

    \b
    Examples: openmsi upload scan.xrdml results/ --topic xrd-raw --meta operator=Curie --wait disk
              tar c results/ | openmsi upload - --name results.tar --topic xrd-raw
    """
    from openmsi_core.cli.sending import Teller, exit_code, said, summary
    from openmsi_core.observe.progress import reporter
    from openmsi_core.wiring import Receipts, upload_files

    chunk, meta, seconds = chunk_of(given["chunk_size"]), said(given["meta"]), _seconds_of(given["timeout"])
    if given["runs"] and given["crypto"]:
        raise click.UsageError(
            "--wait reads receipts, and those of an encrypted topic are sealed: leave one of them out"
        )
    with ExitStack() as stack:
        files, piped = _piped(paths, given["name"], stack)
        progress = stack.enter_context(reporter("sent", quiet=quiet))
        teller = Teller(progress, as_json=as_json)
        runs = [settings.run[name].group if name in settings.run else name for name in given["runs"]]
        receipts = Receipts(settings.kafka, topic, runs, seconds, teller.reply) if runs else None
        done = upload_files(
            files, topic, settings.kafka, chunk=chunk, meta=meta, report=teller.report, complain=teller.complain,
            piped=piped, progress=None if quiet else teller, receipts=receipts,
            choice=cipher_choice(settings, given["crypto"], given["serve_keys"]),
        )  # fmt: skip
    done.tally.left_out = teller.complaints
    conclude(summary(done.tally), quiet=quiet)
    code = exit_code(done.tally, done.signal, ends=True)
    return code if receipts is None or code == EXIT_INTERRUPTED else _answered(receipts, code, quiet=quiet)


def _answered(receipts: Receipts, code: int, *, quiet: bool) -> int:
    """Say how the wait for receipts ended; the exit code."""
    waiting = receipts.waiting
    if receipts.stuck:
        click.echo(f"openmsi: {receipts.stuck}", err=True)
    if waiting.left or waiting.failed:
        click.echo(f"{waiting.failed:,} failed, {waiting.left:,} unanswered in time", err=True)
        return EXIT_SOME_FAILED
    if not quiet:
        click.echo("all of them arrived", err=True)
    return code


def _piped(paths: tuple[Path, ...], name: str | None, stack: ExitStack) -> tuple[list[Path], Seen | None]:
    """The paths that are files and folders, and standard input, read to its end, if it is one of them."""
    from openmsi_core.sending.piped import kept_aside

    files = [path for path in paths if str(path) != "-"]
    if len(files) == len(paths):
        if name is not None:
            raise click.UsageError("--name is what standard input is sent as; give - as a PATH")
        return files, None
    if name is None or len(files) < len(paths) - 1:
        raise click.UsageError("- is standard input, once, and needs a name: --name scan.xrdml")
    if any(not path.is_dir() and path.absolute().name == name for path in files):
        raise click.UsageError(f"standard input and a file would both be sent as {name}")
    return files, stack.enter_context(kept_aside(sys.stdin.buffer, name))


def _seconds_of(text: str) -> float:
    from openmsi_core.settings import seconds_of

    try:
        return float(str(seconds_of(text)))
    except ValueError as error:
        raise UsageError(f"--timeout: {error}") from error


def chunk_of(text: str) -> int:
    """The bytes of --chunk-size. Raises UsageError."""
    from openmsi_core.files.wire import MAX_CHUNK, MIN_CHUNK
    from openmsi_core.settings import bytes_of

    try:
        size = int(str(bytes_of(text)))
    except ValueError as error:
        raise UsageError(f"--chunk-size: {error}") from error
    if not MIN_CHUNK <= size <= MAX_CHUNK:
        raise UsageError(f"--chunk-size {text}: a record carries 16 KiB to 8 MiB")
    return size
