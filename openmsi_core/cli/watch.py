"""``openmsi watch``: a folder to a topic, for ever."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openmsi_core.cli.common import (
    cipher_choice,
    conclude,
    crypto_choices,
    observing_choices,
    settings_choices,
    verbosity,
)
from openmsi_core.errors import FolderError

if TYPE_CHECKING:
    from openmsi_core.settings import Settings


@click.command()
@click.argument("folder", metavar="DIR")
@click.option("--topic", help="The topic to send to.")
@click.option("--include", multiple=True, metavar="GLOB", help="Only files that match; may be repeated.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Not the files that match; may be repeated.")
@click.option("--settle", metavar="TIME", help="A file that stood still so long is finished. [default: 3s]")
@click.option("--rescan", metavar="TIME", help="How often the folder is looked through. [default: 5s]")
@click.option("--new-only", is_flag=True, default=None, help="Not what is there at the very first start.")
@click.option("--once", is_flag=True, default=None, help="Send what is there and not sent yet, then end.")
@click.option(
    "--polling", is_flag=True, default=None, help="Events cannot be trusted; network mounts are found anyway."
)
@click.option("--sidecar", metavar="SUFFIX", help="NAME + SUFFIX is JSON that goes with NAME, as .meta.json does.")
@click.option("--bytes", "bytes", metavar="START-END", help="Only these bytes of each file, as 0-64KiB for its head.")
@click.option("--rename", metavar="TEMPLATE", help="The path to arrive under, as {folder}/{stem}-xrd7{suffix}.")
@click.option("--chunk-size", "chunk", metavar="SIZE", help="Bytes in one record. [default: 512KiB]")
@click.option("--meta", multiple=True, metavar="KEY=VALUE", help="Goes with each file; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file on standard output.")
@observing_choices
@crypto_choices
@settings_choices
@verbosity
def watch(folder: str, *, settings: Settings, quiet: bool, as_json: bool, serve_keys: str | None, **given: Any) -> int:
    """Send the files of a folder: what is there and was not sent yet, what comes, and what changes.

    DIR is a folder, or the name of a [watch.NAME] in the configuration. What was sent is remembered, so after a
    restart it goes on where it stopped. Patterns match the path below DIR; one without a slash matches the name.

    \b
    Example: openmsi watch D:/data/xrd --topic xrd-raw --exclude "*.tmp"
    """
    from openmsi_core.cli.sending import Teller, exit_code, said, summary
    from openmsi_core.observe.progress import reporter
    from openmsi_core.settings import watch_settings
    from openmsi_core.wiring import watch_folder

    if folder not in settings.watch and not Path(folder).is_dir():
        raise FolderError(_no_folder(folder, Path(folder), sorted(settings.watch)))
    given["meta"] = said(given["meta"]) or None
    chosen = watch_settings(settings, folder, {key.replace("_", "-"): value for key, value in given.items()})
    if not chosen.path.is_dir():
        raise FolderError(_no_folder(folder, chosen.path, sorted(settings.watch)))
    with reporter("sent", quiet=quiet or not _is_terminal()) as progress:
        teller = Teller(progress, as_json=as_json)
        choice = cipher_choice(settings, chosen.crypto, serve_keys)
        done = watch_folder(chosen, settings.kafka, settings.state, report=teller.report, choice=choice)
    conclude(summary(done.tally), quiet=quiet)
    return exit_code(done.tally, done.signal, ends=chosen.once)


def _no_folder(name: str, path: Path, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean the watch {close[0]!r}?" if close else "create it, or watch another one"
    what = "is no folder" if path.exists() else "does not exist"
    return f"{path.absolute()} {what}, and no [watch.{name}] is configured; {hint}"


def _is_terminal() -> bool:
    import sys

    return sys.stderr.isatty()
