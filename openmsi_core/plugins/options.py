"""What a plugin can be told: one pydantic model gives flags, help, variables, tables, a schema, checks and a digest.

The only importer of pydantic besides the settings.
"""

from __future__ import annotations

import difflib
import enum
import hashlib
import json
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, SecretBytes, SecretStr, ValidationError
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo

from openmsi_core.errors import SettingsError

_DIGITS = 8
Keys = tuple[str, ...]
_REFERENCE = r"^\$\{[^{}]+\}$"
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


def of_text(flag: Flag, text: str) -> object:
    """What a variable of the environment says: lists and tables are written in JSON, anything else as it is.

    Raises ValueError.
    """
    if (flag.is_many and text.lstrip().startswith("[")) or flag.kind == "table":
        return json.loads(text)
    return [text] if flag.is_many else text


def parse(
    options: type[PluginOptions],
    values: Mapping[str, object],
    whose: str,
    where: Callable[[Keys], str] = lambda _: "",
) -> PluginOptions:
    """The options with ``values``, whose names may have dashes. Raises SettingsError with every problem at once.

    ``where`` says where the value at some keys stands, as written; () is the table of them all.
    """
    parsed, problems = checked(options, values)
    if parsed is None:
        raise SettingsError(report([placed(where(keys), text) for keys, text in problems], whose))
    return parsed


def checked(
    options: type[PluginOptions], values: Mapping[str, object]
) -> tuple[PluginOptions | None, list[tuple[Keys, str]]]:
    """The options with ``values``, or None and every problem: the keys at which it stands, and what it is."""
    plain: dict[str, object] = {}
    written: dict[str, str] = {}
    problems: list[tuple[Keys, str]] = []
    for name, value in values.items():
        field = name.replace("-", "_")
        if field in plain:
            problems.append(((name,), f"{_dashed(field)!r} is given twice, with a dash and with an underscore"))
        plain[field], written[field] = value, name
    try:
        parsed = options.model_validate(plain)
    except ValidationError as error:
        for each in error.errors(include_url=False, include_input=False):
            first, *rest = (str(part) for part in each["loc"] or ("",))
            keys = (written[first], *rest) if first in written else ()
            problems.append((keys, _problem(each["type"], each["loc"], each["msg"], options)))
        return None, problems
    return (None if problems else parsed), problems


def check_defaults(options: type[PluginOptions], whose: str) -> None:
    """Raises SettingsError when a default value is not what its own type allows. Options that are needed are left."""
    try:
        options.model_validate({})
    except ValidationError as error:
        wrong = [each for each in error.errors(include_url=False, include_input=False) if each["type"] != "missing"]
        if wrong:
            said = [f"the default of {'.'.join(map(str, each['loc']))!r}: {each['msg']}" for each in wrong]
            raise SettingsError(report(said, whose)) from error


def schema_of(options: type[PluginOptions], name: str) -> dict[str, Any]:
    """The JSON Schema of a plugin's options table in the configuration file; its ``$defs`` have ``name.`` in front.

    Nothing is required there, because flags and variables may give it; a secret is a reference to one. Raises
    SettingsError when a type has no schema.
    """
    name = re.sub(r"[^\w.-]", ".", name, flags=re.ASCII)  # what a reference may hold as it is
    try:
        schema = options.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
    except PydanticUserError as error:
        raise SettingsError(f"options of {name}: they have no JSON Schema: {error.message}") from error
    properties = {_dashed(field): each for field, each in schema.get("properties", {}).items()}
    for flag in flags_of(options):
        properties[flag.name].pop("title", None)  # made up from the name
        if flag.is_secret and flag.kind == "text" and not flag.is_many:
            properties[flag.name] = {"description": flag.help, "type": "string", "pattern": _REFERENCE}
        elif flag.kind in {"int", "float", "bool"} and not flag.is_many:
            properties[flag.name] = _or_reference(properties[flag.name])
    definitions = {f"{name}.{key}": each for key, each in schema.get("$defs", {}).items()}
    shown = {key: each for key, each in schema.items() if key not in {"required", "title", "$defs"}}
    return shown | {"properties": properties} | ({"$defs": definitions} if definitions else {})


def _or_reference(schema: dict[str, Any]) -> dict[str, Any]:
    """A number or a switch may also be a reference to one."""
    kept = {key: schema.pop(key) for key in ("description", "default") if key in schema}
    return {"anyOf": [schema, {"type": "string", "pattern": _REFERENCE}]} | kept


def report(problems: list[str], whose: str) -> str:
    """All problems with the options of something as the text of one error."""
    if len(problems) == 1:
        return f"options of {whose}: {problems[0]}"
    return "\n  ".join([f"options of {whose}: {len(problems)} problems", *problems])


def placed(where: str, text: str) -> str:
    """``text`` with the place in front, if there is one."""
    return f"{where}: {text}" if where else text


def options_hash(options: PluginOptions) -> str:
    """Eight hexadecimal digits that change when an option does; secrets do not count."""
    plain = options.model_dump(mode="json")
    for name in type(options).model_fields:
        if isinstance(getattr(options, name), set | frozenset):  # whose order changes from process to process
            plain[name] = sorted(plain[name], key=repr)
    text = json.dumps(plain, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:_DIGITS]


def _flag(name: str, field: FieldInfo) -> Flag:
    kind, is_many, choices = _shape(field.annotation)
    return Flag(
        field=name,
        kind=kind,
        help=" ".join((field.description or "").split()),
        default=None if field.is_required() else _default(name, field),
        is_required=field.is_required(),
        is_many=is_many,
        choices=choices,
        is_secret=_is_secret(field.annotation),
    )


def _default(name: str, field: FieldInfo) -> object:
    try:
        return field.get_default(call_default_factory=True)
    except Exception as error:
        raise SettingsError(f"the default of {name!r} cannot be made: {type(error).__name__}: {error}") from error


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
        has_flag = flag is not None and flag.is_on_command_line
        return f"{name!r} is needed ({f'--{name}' if has_flag else 'in the configuration or the environment'})"
    return f"{name!r}: {message}" if name else message


def _dashed(name: str) -> str:
    return name.replace("_", "-")
