"""A plugin's options as flags of the command that runs it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from openmsi_core.errors import OpenmsiError

if TYPE_CHECKING:
    from openmsi_core.plugins.options import Flag

_METAVARS = {"int": "INTEGER", "float": "NUMBER", "path": "PATH", "text": "TEXT"}


def plugin_flags(command: str, plugin: str, arguments: Sequence[str]) -> dict[str, object]:
    """The options that ``arguments`` give to ``plugin``, only those that were given.

    Values are text as they were typed (true or false for switches): the plugin's own model checks them, with those
    of the configuration file and all problems at once. Raises PluginError, and click's errors for a flag that the
    plugin does not have.
    """
    values, rest = typed_flags(command, plugin, arguments)
    if rest:
        raise click.UsageError(f"{' '.join(rest)!r} is too much; `openmsi {command} {plugin} --help` lists the flags.")
    return values


def typed_flags(command: str, plugin: str, arguments: Sequence[str]) -> tuple[dict[str, object], list[str]]:
    """The same, and the arguments that are not flags."""
    if plugin.startswith("-"):
        raise click.UsageError(f"write the plugin's name before its options: openmsi {command} NAME {plugin} ...")
    parser = click.Command(command, params=list(plugin_params(plugin)), add_help_option=False)
    context = click.Context(parser, info_name=f"openmsi {command} {plugin}")
    parsed, rest, _ = parser.make_parser(context).parse_args(list(arguments))
    return {str(name): _plain(value) for name, value in parsed.items() if _is_given(value)}, rest


def flags_and_rest(command: str, plugin: str, arguments: Sequence[str]) -> tuple[dict[str, object], list[str]]:
    """The options that the environment and then ``arguments`` give, where no configuration file is read.

    Raises SettingsError with every problem at once, and what `typed_flags` raises.
    """
    from openmsi_core.cli.layers import given_without_file

    flags, rest = typed_flags(command, plugin, arguments)
    return given_without_file(plugin, flags), rest


def plugin_params(plugin: str) -> list[click.Option]:
    """The flags of ``plugin``. Raises PluginError."""
    from openmsi_core.plugins.loader import options_of
    from openmsi_core.plugins.options import flags_of
    from openmsi_core.settings import variable_of

    flags = flags_of(options_of(plugin))
    return [_option(flag, variable_of(plugin, flag.name)) for flag in flags if flag.is_on_command_line]


def plugin_named(command: click.Command, arguments: Sequence[str]) -> str | None:
    """The first argument that is neither an option of ``command`` nor the value of one: the plugin's name."""
    options = [param for param in command.params if isinstance(param, click.Option)]
    with_value = {text for each in options if not each.is_flag and not each.count for text in each.opts}
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            return next(waiting, None)
        if not argument.startswith("-"):
            return argument
        if argument in with_value:
            next(waiting, None)
    return None


class PluginCommand(click.Command):
    """A command whose help lists the flags of the plugin that is named on the command line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember which plugin is meant: ``--help`` is answered before any argument is looked at."""
        ctx.meta[_PLUGIN] = plugin_named(self, args)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The command's options, then the plugin's."""
        super().format_options(ctx, formatter)
        name = ctx.meta.get(_PLUGIN)
        if name is None:
            return
        try:
            params = plugin_params(name)
        except OpenmsiError as error:  # the help of the command is still worth having
            formatter.write_paragraph()
            formatter.write_text(f"The options of {name} cannot be listed: {error}")
            return
        rows = [row for row in (each.get_help_record(ctx) for each in params) if row is not None]
        with formatter.section(f"Options of {name}"):
            formatter.write_dl(rows or [("(none)", "")])


_PLUGIN = "openmsi.plugin"


def _option(flag: Flag, variable: str) -> click.Option:
    text = flag.help + ("  [required]" if flag.is_required else _default(flag))
    text += "  (may be repeated)" if flag.is_many else ""
    text += f"  [env: {variable}]"
    if flag.kind == "bool" and not flag.is_many:
        return click.Option([f"--{flag.name}/--no-{flag.name}", flag.field], help=text, default=None)
    metavar = f"[{'|'.join(flag.choices)}]" if flag.choices else _METAVARS.get(flag.kind, "TEXT")
    return click.Option([f"--{flag.name}", flag.field], metavar=metavar, multiple=flag.is_many, help=text, default=None)


def _default(flag: Flag) -> str:
    if flag.default is None:
        return ""
    if isinstance(flag.default, bool):
        return f"  [default: {'' if flag.default else 'no-'}{flag.name}]"
    default = getattr(flag.default, "value", flag.default)
    return f"  [default: {os.fspath(default) if isinstance(default, os.PathLike) else default}]"


def _is_given(value: object) -> bool:
    return isinstance(value, str | bool) or (isinstance(value, list | tuple) and bool(value))


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
