"""What a plugin can be told: one pydantic model gives flags, help, checks and a digest."""

from __future__ import annotations

import difflib
import hashlib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from openmsi_core.errors import SettingsError


class PluginOptions(BaseModel):
    """Subclass this inside your plugin as ``Options``; each field becomes a flag and a key of the configuration.

    >>> class Options(PluginOptions):
    ...     keep_empty: bool = False
    >>> Options(keep_empty=True).keep_empty
    True
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


@dataclass(frozen=True, slots=True)
class Flag:
    """How one option looks on the command line: ``kind`` is bool, int, float, path or text."""

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


def flags_of(options: type[PluginOptions]) -> tuple[Flag, ...]:
    """The flags of a plugin's options, in the order they were written. Secrets have none: they never stand in argv."""
    return tuple(_flag(name, field) for name, field in options.model_fields.items())


def parse(options: type[PluginOptions], values: Mapping[str, object], whose: str) -> PluginOptions:
    """The options with ``values`` (dashes or underscores). Raises SettingsError with every problem at once."""
    plain = {name.replace("-", "_"): value for name, value in values.items()}
    try:
        return options.model_validate(plain)
    except ValidationError as error:
        problems = [_problem(each, options) for each in error.errors()]
        raise SettingsError(f"options of {whose}: " + "; ".join(problems)) from error


def options_hash(options: PluginOptions) -> str:
    """Eight hexadecimal digits that change when an option does; secrets do not count."""
    return hashlib.sha256(options.model_dump_json().encode("utf-8")).hexdigest()[:8]


def _flag(name: str, field: FieldInfo) -> Flag:
    kind, is_many, choices = _shape(field.annotation)
    return Flag(
        field=name,
        kind=kind,
        help=field.description or "",
        default=None if field.is_required() else field.get_default(call_default_factory=True),
        is_required=field.is_required(),
        is_many=is_many,
        choices=choices,
        is_secret=field.annotation is SecretStr,
    )


def _shape(annotation: object) -> tuple[str, bool, tuple[str, ...]]:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return "text", False, tuple(str(each) for each in inner)
    if origin in {typing.Union, types.UnionType}:
        return _shape(next(each for each in inner if each is not type(None)))
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return _shape(inner[0])[0] if inner else "text", True, ()
    kinds: dict[object, str] = {bool: "bool", int: "int", float: "float", Path: "path"}
    return kinds.get(annotation, "text"), False, ()


def _problem(error: Mapping[str, typing.Any], options: type[PluginOptions]) -> str:
    name = ".".join(str(part) for part in error["loc"]).replace("_", "-")
    if error["type"] == "extra_forbidden":
        known = [field.replace("_", "-") for field in options.model_fields]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"it knows {', '.join(known) or 'none'}"
        return f"there is no option {name!r}, {hint}"
    if error["type"] == "missing":
        return f"{name!r} is needed (--{name})"
    return f"{name!r}: {error['msg']}"
