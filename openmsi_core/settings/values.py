"""How values are written: references, variables of the environment, librdkafka's dotted names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from openmsi_core.errors import SettingsError

_PREFIX = "OPENMSI_KAFKA__"
_PLUGIN_PREFIX = "OPENMSI_PLUGIN__"
_VARIABLES = ("OPENMSI_BROKER", "OPENMSI_CONFIG", "OPENMSI_STATE")
_REFERENCE = re.compile(r"\$\$|\$\{([^{}]*)\}|\$\{")
_WITH_UNDERSCORE = {"log.level": "log_level"}  # librdkafka's only name that has one


def expanded(text: str, environ: Mapping[str, str]) -> str:
    """``text`` with ``${VAR}`` and ``${file:PATH}`` replaced and ``$$`` as a dollar sign. Raises SettingsError.

    >>> expanded("${HOST}:9092 costs $$5", {"HOST": "broker"})
    'broker:9092 costs $5'
    """

    def replaced(match: re.Match[str]) -> str:
        if match.group() == "$$":
            return "$"
        name = match.group(1)
        if not name:
            raise SettingsError("a reference is written ${VARIABLE} or ${file:PATH}, and a dollar sign $$")
        if name.startswith("file:"):
            return _content(name.removeprefix("file:"))
        if name not in environ:
            raise SettingsError(f"the environment has no {name}: set it, or write $${{{name}}} if that text is meant")
        return environ[name]

    return _REFERENCE.sub(replaced, text)


def is_reference(value: object) -> bool:
    """True when ``value`` asks for something that stands elsewhere."""
    return isinstance(value, str) and any(match.group() != "$$" for match in _REFERENCE.finditer(value))


def flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """The options of ``[kafka]`` under librdkafka's dotted names.

    >>> dict(flat({"bootstrap": {"servers": "x"}, "linger.ms": 5}))
    {'bootstrap.servers': 'x', 'linger.ms': 5}
    """
    for key, value in table.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def spelled(value: object) -> str:
    """A TOML value as librdkafka takes it: always text. Raises SettingsError for what has no such spelling.

    >>> spelled(True), spelled(5), spelled(["a:1", "b:1"])
    ('true', '5', 'a:1,b:1')
    """
    match value:
        case bool():
            return str(value).lower()
        case str() | int() | float():
            return str(value)
        case list() if all(isinstance(each, str) for each in value):
            return ",".join(value)
    raise SettingsError("librdkafka takes text, numbers, true and false, and lists of texts")


def kafka_variables(environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Kafka options that the environment gives: by their name, the variable and the value.

    >>> kafka_variables({"OPENMSI_KAFKA__SASL_USERNAME": "alice"})
    {'sasl.username': ('OPENMSI_KAFKA__SASL_USERNAME', 'alice')}
    """
    found = {}
    for variable, value in environ.items():
        if variable.startswith(_PREFIX):
            name = variable.removeprefix(_PREFIX).lower().replace("_", ".")
            found[_WITH_UNDERSCORE.get(name, name)] = (variable, value)
    if environ.get("OPENMSI_BROKER"):
        found["bootstrap.servers"] = ("OPENMSI_BROKER", environ["OPENMSI_BROKER"])
    return found


def variable_of(plugin: str, option: str) -> str:
    """The variable of the environment that gives one option of a plugin; its package does not count.

    >>> variable_of("my-package/xrd-extractor", "keep-empty")
    'OPENMSI_PLUGIN__XRD_EXTRACTOR__KEEP_EMPTY'
    """
    name = plugin.rpartition("/")[2]
    return f"{_PLUGIN_PREFIX}{_as_variable(name)}__{_as_variable(option)}"


def option_variables(environ: Mapping[str, str], plugin: str) -> dict[str, tuple[str, str]]:
    """The options of a plugin that the environment gives: by their name, the variable and its text.

    >>> option_variables({"OPENMSI_PLUGIN__DISK__FOLDER": "/data", "OPENMSI_PLUGIN__S3__BUCKET": "b"}, "disk")
    {'folder': ('OPENMSI_PLUGIN__DISK__FOLDER', '/data')}
    """
    prefix = variable_of(plugin, "")
    given = {variable: text for variable, text in environ.items() if variable.startswith(prefix)}
    return {variable.removeprefix(prefix).lower(): (variable, text) for variable, text in given.items()}


def _as_variable(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def misspelt(environ: Mapping[str, str]) -> Iterator[str]:
    """Problems with variables that are nearly one of ours, and would be overlooked in silence.

    >>> list(misspelt({"OPENMSI_BROKR": "b:9092", "OPENMSI_OF_SOMEBODY_ELSE": "1"}))
    ['the variable OPENMSI_BROKR means nothing; did you mean OPENMSI_BROKER?']
    """
    names = {variable.removeprefix("OPENMSI_"): variable for variable in _VARIABLES}
    for variable in environ:
        if not variable.startswith("OPENMSI_") or variable in _VARIABLES or _is_well_formed(variable):
            continue
        name = variable.removeprefix("OPENMSI_")
        close = [names[each] for each in difflib.get_close_matches(name, names, n=1, cutoff=0.8)]
        if name.startswith("KAFKA_"):
            close = [_PREFIX + name.removeprefix("KAFKA_")]
        if name.startswith(("PLUGIN_", "PLUGINS_")):
            close = [f"{_PLUGIN_PREFIX}NAME__OPTION"]
        if close:
            yield f"the variable {variable} means nothing; did you mean {close[0]}?"


def _is_well_formed(variable: str) -> bool:
    plugin, underscores, option = variable.removeprefix(_PLUGIN_PREFIX).partition("__")
    return variable.startswith(_PREFIX) or (
        variable.startswith(_PLUGIN_PREFIX) and bool(plugin and underscores and option)
    )


def broker_address(text: str, whose: str) -> str:
    """``text`` when it is HOST:PORT, or several of them with commas. Raises SettingsError."""
    for address in text.split(","):
        host, colon, port = address.strip().rpartition(":")
        if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise SettingsError(f"{whose} {text!r} is not HOST:PORT, as in broker.lab:9092")
    return text


def _content(name: str) -> str:
    try:
        return Path(name).expanduser().read_text("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise SettingsError(f"the file {name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"the file {name} is not UTF-8 text") from error
