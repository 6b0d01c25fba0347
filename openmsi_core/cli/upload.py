"""``openmsi upload``: files and folders to a topic, now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from openmsi_core.cli.common import cipher_choice, crypto_choices, settings_choices, verbosity
from openmsi_core.errors import UsageError

if TYPE_CHECKING:
    from openmsi_core.settings import Settings


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option("--topic", required=True, help="The topic to send to.")
@click.option("--chunk-size", default="512KiB", show_default=True, metavar="SIZE", help="Bytes in one record.")
@click.option("--meta", multiple=True, metavar="KEY=VALUE", help="Goes with each file; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file on standard output.")
@crypto_choices
@settings_choices
@verbosity
def upload(
    paths: tuple[Path, ...],
    *,
    topic: str,
    chunk_size: str,
    meta: tuple[str, ...],
    as_json: bool,
    settings: Settings,
    quiet: bool,
    **sealing: str | None,
) -> int:
    """Send files or folders, and wait until the broker has acknowledged all of them.

    A file is sent under its name; the files of a folder with their paths relative to it. What was sent before is sent
    again: `openmsi watch DIR --once` sends only what is new.

    \b
    Example: openmsi upload scan.xrdml results/ --topic xrd-raw --meta operator=Curie
    """
    from openmsi_core.cli.sending import Teller, exit_code, said, summary
    from openmsi_core.observe.progress import reporter
    from openmsi_core.wiring import upload_files

    chunk = chunk_of(chunk_size)
    with reporter("sent", quiet=quiet) as progress:
        teller = Teller(progress, as_json=as_json)
        done = upload_files(
            paths,
            topic,
            settings.kafka,
            chunk=chunk,
            meta=said(meta),
            report=teller.report,
            complain=teller.complain,
            choice=cipher_choice(settings, sealing["crypto"], sealing["serve_keys"]),
        )
    done.tally.left_out = teller.complaints
    if not quiet:
        click.echo(summary(done.tally), err=True)
    return exit_code(done.tally, done.signal, ends=True)


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
