"""A plugin's options as flags of the command that runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from openmsi_core.plugins.options import Flag

_TYPES: Mapping[str, click.ParamType[Any]] = {
    "bool": click.BOOL,
    "int": click.INT,
    "float": click.FLOAT,
    "path": click.Path(),
    "text": click.STRING,
}


def plugin_flags(command: str, plugin: str, arguments: Sequence[str]) -> dict[str, object]:
    """The options that ``arguments`` give to ``plugin``, only those that were given.

    Raises PluginError, and click's errors for a flag that the plugin does not have.
    """
    context = click.Context(_parser(command, plugin), info_name=f"openmsi {command} {plugin}")
    parsed, rest, _ = _parser(command, plugin).make_parser(context).parse_args(list(arguments))
    if rest:
        raise click.UsageError(f"{' '.join(rest)!r} is too much; `openmsi {command} {plugin} --help` lists the flags.")
    values: dict[str, object] = {}
    for parameter in _parser(command, plugin).params:
        if parameter.name in parsed:
            values[parameter.name] = parameter.type_cast_value(context, parsed[parameter.name])
    return values


def help_of(command: str, plugin: str) -> str:
    """The plugin's flags, as the help of ``openmsi run NAME`` shows them."""
    parser = _parser(command, plugin)
    context = click.Context(parser, info_name=f"openmsi {command} {plugin}")
    formatter = context.make_formatter()
    rows = [row for row in (each.get_help_record(context) for each in parser.params) if row is not None]
    with formatter.section(f"Options of {plugin}"):
        formatter.write_dl(rows or [("(none)", "")])
    return formatter.getvalue()


def _parser(command: str, plugin: str) -> click.Command:
    from openmsi_core.plugins.loader import options_of
    from openmsi_core.plugins.options import flags_of

    params = [_option(flag) for flag in flags_of(options_of(plugin)) if not flag.is_secret]
    return click.Command(command, params=list(params), add_help_option=False)


def _option(flag: Flag) -> click.Option:
    text = flag.help + (" [required]" if flag.is_required else f" [default: {flag.default}]")
    if flag.kind == "bool" and not flag.is_many:
        return click.Option([f"--{flag.name}/--no-{flag.name}", flag.field], help=text, default=None)
    kind = click.Choice(flag.choices) if flag.choices else _TYPES[flag.kind]
    return click.Option([f"--{flag.name}", flag.field], type=kind, multiple=flag.is_many, help=text, default=None)
