"""The parts of the docs about commands and plugins that are made from the code: `make reference` writes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from openmsi_core.cli import COMMANDS, openmsi
from openmsi_core.plugins.catalogue import STATUSES, catalogue
from openmsi_core.plugins.loader import load
from openmsi_core.plugins.options import Flag, flags_of
from openmsi_core.settings import variable_of

ROOT = Path(__file__).parents[1]
WIDTH = 100
_COMMANDS_HEAD = """\
# Commands

Made from the code by `make reference`: what `--help` says of each. A plugin's own options stand in
[plugins](plugins.md); `openmsi run NAME --help` lists them too.
"""


def pages() -> dict[Path, str]:
    """Every page that is made, or has parts that are, with the text that it should have."""
    plugins = ROOT / "docs" / "plugins.md"
    return {ROOT / "docs" / "commands.md": commands(), plugins: filled(plugins.read_text("utf-8"))}


def filled(page: str) -> str:
    """A page with what stands between its marks made anew."""
    makers: dict[str, Callable[[], str]] = {"statuses": statuses, "options": options}

    def made(match: re.Match[str]) -> str:
        return f"{match.group(1)}\n{makers[match.group(2)]()}\n{match.group(3)}"

    return re.sub(r"(<!-- made: (\w+) -->)\n.*?\n(<!-- end -->)", made, page, flags=re.DOTALL)


def commands() -> str:
    """The help of every command."""
    parts = [_COMMANDS_HEAD]
    context = click.Context(openmsi, info_name="openmsi", terminal_width=WIDTH, max_content_width=WIDTH)
    for name in sorted(COMMANDS):
        command = openmsi.get_command(context, name)
        assert command is not None
        for called, each in _with_subcommands(name, command):
            own = click.Context(each, info_name=f"openmsi {called}", terminal_width=WIDTH, max_content_width=WIDTH)
            parts.append(f"## `openmsi {called}`\n\n```text\n{_without_trailing_spaces(each.get_help(own))}\n```\n")
    return "\n".join(parts)


def _with_subcommands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    for sub, each in sorted(command.commands.items()) if isinstance(command, click.Group) else ():
        yield from _with_subcommands(f"{name} {sub}", each)


def statuses() -> str:
    rows = [f"| {name} | {meaning} |" for name, meaning in STATUSES.items()]
    return "\n".join(["| status | means |", "|---|---|", *rows])


def options() -> str:
    """The options of the bundled plugins."""
    tables = []
    for entry in catalogue():
        if entry.package == "openmsi" and entry.kind != "hook" and entry.status != "shadowed":
            rows = [_row(entry.name, flag) for flag in flags_of(load(entry).Options)]
            head = ["| flag | variable | default | |", "|---|---|---|---|"] if rows else ["It has no options."]
            tables.append("\n".join([f"### `{entry.name}`", "", entry.summary, "", *head, *rows]))
    return "\n\n".join(tables)


def _row(plugin: str, flag: Flag) -> str:
    default = "needed" if flag.is_required else "none" if flag.default is None else str(flag.default)
    if isinstance(flag.default, bool):
        default = str(flag.default).lower()
    way = f"`--{flag.name}`" if flag.is_on_command_line else "none"
    about = flag.help + (f" One of {', '.join(flag.choices)}." if flag.choices else "")
    return f"| {way} | `{variable_of(plugin, flag.name)}` | {default} | {about.replace('|', chr(92) + '|')} |"


def _without_trailing_spaces(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines())


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")
        print(path.relative_to(ROOT))
