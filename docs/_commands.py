"""What the site has beside the pages: the page of commands, made from the commands, and a place for every page.

mkdocs calls this. The page of commands is complete and never stale, because nobody writes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from openmsi_core.cli import openmsi

PAGE = "reference/commands.md"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """mkdocs' event: decisions, and pages that the list in mkdocs.yml does not name yet, get a place."""
    nav: list[Any] = list(config.nav or [])
    docs = Path(config.docs_dir)
    pages = sorted(path.relative_to(docs).as_posix() for path in docs.glob("**/*.md"))
    known = set(_pages(nav))
    decisions = [page for page in pages if page.startswith("adr/")]
    more = [page for page in pages if page not in known and page not in decisions]
    config.nav = [*nav, {"Decisions": decisions}, *([{"More": more}] if more else [])]
    return config


def _pages(entry: object) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    for each in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from _pages(each)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """mkdocs' event: the page is one more file."""
    files.append(File.generated(config, PAGE, content=page()))
    return files


def page() -> str:
    """Every command with its flags."""
    intro = "# Commands\n\nMade from the commands themselves: what `openmsi COMMAND --help` says.\n\n"
    return intro + "\n".join(_sections(openmsi, "openmsi", click.Context(openmsi, info_name="openmsi")))


def _sections(group: click.Group, name: str, above: click.Context) -> Iterator[str]:
    for word in group.list_commands(above):
        command = group.get_command(above, word)
        if command is None or command.hidden:
            continue
        path = f"{name} {word}"
        context = click.Context(command, info_name=word, parent=above, max_content_width=100, terminal_width=100)
        yield f"## {path}\n\n```text\n{command.get_help(context)}\n```\n"
        if isinstance(command, click.Group):
            yield from _sections(command, path, context)
