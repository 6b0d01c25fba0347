"""Settings: `openmsi.toml`, the environment and flags become frozen values, or one error that lists every problem.

Precedence: command line, environment, file, default. Strings stay strings. ``${VAR}`` and ``${file:PATH}`` expand in
every value; ``$$`` is a dollar sign.
"""

from __future__ import annotations

import difflib
import itertools
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import BaseModel, ValidationError

from openmsi_core.errors import SettingsError
from openmsi_core.settings.tables import RunSettings, Settings, Table, WatchSettings

FILE_NAME = "openmsi.toml"
_SECRET = re.compile(r"password|secret|\.key\.pem|token|jaas", re.IGNORECASE)


def load(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    kafka: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of ``path``, or of the first `openmsi.toml` found; ``kafka`` are options from the command line.

    Raises SettingsError that names every problem, each with its file and line.
    """
    environ = os.environ if environ is None else environ
    file = path or find(environ)
    text = _read(file) if file else ""
    table = _parsed(file, text)
    problems: list[str] = []
    expanded = _expanded(table, environ, problems, ())
    expanded["kafka"] = _flat(expanded.get("kafka", {})) | _from_environment(environ) | dict(kafka or {})
    if environ.get("OPENMSI_STATE"):
        expanded["state"] = environ["OPENMSI_STATE"]
    for name, run in _tables(expanded, "run"):
        expanded["run"][name] = {"plugin": name, "name": name} | run
    try:
        settings = Settings.model_validate(expanded)
    except ValidationError as error:
        problems += [_problem(each, file, text) for each in error.errors()]
    if problems:
        raise SettingsError("; ".join(problems))
    return settings


def find(environ: Mapping[str, str]) -> Path | None:
    """The configuration file: OPENMSI_CONFIG, the current folder, the user's configuration folder."""
    named = environ.get("OPENMSI_CONFIG")
    if named:
        return Path(named)
    places = [Path(FILE_NAME), Path(platformdirs.user_config_dir("openmsi")) / FILE_NAME]
    return next((place for place in places if place.is_file()), None)


def is_secret(name: str) -> bool:
    """True for options whose values are never shown."""
    return _SECRET.search(name) is not None


def run_settings(settings: Settings, name: str, given: Mapping[str, object]) -> RunSettings:
    """The run called ``name`` from the file with ``given`` on top, or a run of the plugin ``name``.

    Raises SettingsError.
    """
    known = settings.run.get(name)
    base: dict[str, object] = {"plugin": name, "name": name}
    if known is not None:
        base = known.model_dump(by_alias=True, exclude_unset=True) | {"plugin": known.plugin, "group": known.group}
    return _validated(RunSettings, base, given, f"run {name}")


def watch_settings(settings: Settings, name: str, given: Mapping[str, object]) -> WatchSettings:
    """The watch called ``name`` with ``given`` on top, or a watch of the folder ``name``. Raises SettingsError."""
    known = settings.watch.get(name)
    base = known.model_dump(by_alias=True, exclude_unset=True) if known is not None else {"path": name}
    return _validated(WatchSettings, base, given, f"watch {name}")


def _validated(model: type[Table], base: Mapping[str, object], given: Mapping[str, object], whose: str) -> Table:
    merged = dict(base) | {key: value for key, value in given.items() if value not in (None, ())}
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        raise SettingsError(f"{whose}: " + "; ".join(_problem(each, None, "") for each in error.errors())) from error


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"the configuration file {file} cannot be read: {error}. Name another with --config."
        ) from error


def _parsed(file: Path | None, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is not TOML: {error}. A Windows path needs single quotes: 'D:\\data'.") from error


def _flat(table: object, prefix: str = "") -> dict[str, str]:
    """Dotted keys as librdkafka spells them: ``{"bootstrap": {"servers": "x"}}`` is ``bootstrap.servers``."""
    if not isinstance(table, dict):
        raise SettingsError("[kafka] must be a table of librdkafka options")
    out: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = str(value).lower() if isinstance(value, bool) else str(value)
    return out


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    found = {
        name.removeprefix("OPENMSI_KAFKA__").lower().replace("_", "."): value
        for name, value in environ.items()
        if name.startswith("OPENMSI_KAFKA__")
    }
    if environ.get("OPENMSI_BROKER"):
        found["bootstrap.servers"] = environ["OPENMSI_BROKER"]
    return found


def _expanded(value: Any, environ: Mapping[str, str], problems: list[str], where: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {key: _expanded(each, environ, problems, (*where, key)) for key, each in value.items()}
    if isinstance(value, list):
        return [_expanded(each, environ, problems, where) for each in value]
    if not isinstance(value, str):
        return value

    def replaced(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return "$"
        try:
            return Path(name[5:]).read_text("utf-8").strip() if name.startswith("file:") else environ[name]
        except (KeyError, OSError):
            problems.append(
                f"{'.'.join(where)} asks for ${{{name}}}, which is not there: set it, or write $$ for a dollar"
            )
            return ""

    return re.sub(r"\$\$|\$\{([^}]+)\}", replaced, value)


def _tables(table: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    inner = table.get(name, {})
    return [(key, each) for key, each in inner.items() if isinstance(each, dict)] if isinstance(inner, dict) else []


def _problem(error: Mapping[str, Any], file: Path | None, text: str) -> str:
    where = [str(part) for part in error["loc"]]
    at = f"{file}:{_line_of(text, where)}: " if file else ""
    name = ".".join(where)
    if error["type"] == "extra_forbidden":
        known = _known_at(where[:-1])
        close = difflib.get_close_matches(where[-1], known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
        return f"{at}there is no setting {name!r}; {hint}"
    if error["type"] == "missing":
        return f"{at}{name!r} is needed (--{where[-1]})"
    return f"{at}{name!r}: {error['msg'].removeprefix('Value error, ')}"


def _known_at(where: list[str]) -> list[str]:
    model: type[BaseModel] = Settings
    if where[:1] in (["run"], ["watch"]):
        model = RunSettings if where[0] == "run" else WatchSettings
    return sorted(field.alias or name.replace("_", "-") for name, field in model.model_fields.items())


def _line_of(text: str, where: list[str]) -> int:
    """The line on which the deepest part of ``where`` is written that can be found; 1 when none is."""
    table: list[str] = []
    best, line = (0, 1), 0
    for raw in text.splitlines():
        line += 1
        header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", raw)
        key = re.match(r"\s*([\w.\"'-]+)\s*=", raw)
        if header:
            table = [part.strip(" \"'") for part in header.group(1).split(".")]
            here = table
        elif key:
            here = table + [part.strip("\"'") for part in key.group(1).split(".")]
        else:
            continue
        depth = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(here, where, strict=False)))
        if depth > best[0]:
            best = (depth, line)
    return best[1]
