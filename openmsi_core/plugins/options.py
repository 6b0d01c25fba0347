"""What a plugin can be told: one pydantic model gives flags, help, checks and a digest.

The only importer of pydantic besides the settings.
"""

from __future__ import annotations

import difflib
import enum
import hashlib
import json
import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretBytes, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from openmsi_core.errors import SettingsError

_DIGITS = 8
_KINDS: Mapping[object, str] = {bool: "bool", int: "int", float: "float", Path: "path"}


class PluginOptions(BaseModel):
    """Subclass this inside your plugin as ``Options``; each field becomes a flag and a key of the configuration.

    The text under a field, or ``Field(description=...)``, becomes the flag's help. Use ``SecretStr`` for secrets.

    >>> class Options(PluginOptions):
    ...     keep_empty: bool = False
    ...     '''Keep scans without a single count.'''
    >>> Options(keep_empty=True).keep_empty
    True
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_default=True,  # a default that its own type refuses is a bug of the plugin: said at once
        hide_input_in_errors=True,  # a wrong value may be a secret in the wrong place
    )


@dataclass(frozen=True, slots=True)
class Flag:
    """How one option looks on the command line.

    ``kind`` is bool, int, float, path or text, or table for what only the configuration file can say.
    """

    field: str
    kind: str
    help: str
    default: object
    is_required: bool
    is_many: bool
    choices: tuple[str, ...] = ()
    is_secret: bool = False

    @property
    def name(self) -> str:
        """The flag without its two dashes."""
        return self.field.replace("_", "-")

    @property
    def is_on_command_line(self) -> bool:
        """False for secrets, which never stand in argv, and for tables."""
        return not self.is_secret and self.kind != "table"


def flags_of(options: type[PluginOptions]) -> tuple[Flag, ...]:
    """The options of a plugin, in the order they were written."""
    return tuple(_flag(name, field) for name, field in options.model_fields.items())


def parse(options: type[PluginOptions], values: Mapping[str, object], whose: str) -> PluginOptions:
    """The options with ``values``, whose names may have dashes. Raises SettingsError with every problem at once."""
    plain: dict[str, object] = {}
    problems: list[str] = []
    for name, value in values.items():
        field = name.replace("-", "_")
        if field in plain:
            problems.append(f"{_dashed(field)!r} is given twice, with a dash and with an underscore")
        plain[field] = value
    try:
        parsed = options.model_validate(plain)
    except ValidationError as error:
        problems += [_problem(each["type"], each["loc"], each["msg"], options) for each in error.errors()]
        raise SettingsError(_report(whose, problems)) from error
    if problems:
        raise SettingsError(_report(whose, problems))
    return parsed


def options_hash(options: PluginOptions) -> str:
    """Eight hexadecimal digits that change when an option does; secrets do not count."""
    plain = options.model_dump(mode="json")
    for name in type(options).model_fields:
        if isinstance(getattr(options, name), set | frozenset):  # whose order changes from process to process
            plain[name] = sorted(plain[name], key=repr)
    text = json.dumps(plain, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:_DIGITS]


def _report(whose: str, problems: list[str]) -> str:
    if len(problems) == 1:
        return f"options of {whose}: {problems[0]}"
    return "\n  ".join([f"options of {whose}: {len(problems)} problems", *problems])


def _flag(name: str, field: FieldInfo) -> Flag:
    kind, is_many, choices = _shape(field.annotation)
    return Flag(
        field=name,
        kind=kind,
        help=" ".join((field.description or "").split()),
        default=None if field.is_required() else field.get_default(call_default_factory=True),
        is_required=field.is_required(),
        is_many=is_many,
        choices=choices,
        is_secret=_is_secret(field.annotation),
    )


def _shape(annotation: object) -> tuple[str, bool, tuple[str, ...]]:
    """The kind of a type, whether it takes many values, and the only values it takes."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _shape(inner[0])
    if origin is typing.Literal:
        return "text", False, tuple(str(each) for each in inner)
    if origin in {typing.Union, types.UnionType}:
        return _shape(next(each for each in inner if each is not type(None)))
    outer = origin or annotation
    return _shape_of_class(outer, inner) if isinstance(outer, type) else ("text", False, ())


def _shape_of_class(outer: type, inner: tuple[object, ...]) -> tuple[str, bool, tuple[str, ...]]:
    if issubclass(outer, enum.Enum):
        return "text", False, tuple(str(each.value) for each in outer)
    if issubclass(outer, Mapping | BaseModel):
        return "table", False, ()
    if issubclass(outer, Collection) and not issubclass(outer, str | bytes):
        return (_shape(inner[0])[0] if inner else "text"), True, ()
    return _KINDS.get(outer, "text"), False, ()


def _is_secret(annotation: object) -> bool:
    return annotation in {SecretStr, SecretBytes} or any(_is_secret(each) for each in typing.get_args(annotation))


def _problem(kind: str, where: tuple[int | str, ...], message: str, options: type[PluginOptions]) -> str:
    name = ".".join(_dashed(str(part)) for part in where)
    if kind == "extra_forbidden" and len(where) == 1:
        known = [_dashed(field) for field in options.model_fields]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"it knows {', '.join(known) or 'none'}"
        return f"there is no option {name!r}, {hint}"
    if kind == "missing" and len(where) == 1:
        flag = next((flag for flag in flags_of(options) if flag.name == name), None)
        how = f" (--{name})" if flag is not None and flag.is_on_command_line else ""
        return f"{name!r} is needed{how}"
    return f"{name!r}: {message}" if name else message


def _dashed(name: str) -> str:
    return name.replace("_", "-")
