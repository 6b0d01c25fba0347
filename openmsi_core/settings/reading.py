"""A TOML file as a table, and the line on which each of its keys stands."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import platformdirs

from openmsi_core.errors import SettingsError

FILE_NAME = "openmsi.toml"

Keys = tuple[str, ...]


def find(environ: Mapping[str, str] | None = None) -> Path | None:
    """The configuration file, if there is one: OPENMSI_CONFIG, the current folder, the user's configuration folder."""
    named = (os.environ if environ is None else environ).get("OPENMSI_CONFIG")
    if named:
        return Path(named)
    places = [Path(FILE_NAME), platformdirs.user_config_path("openmsi", appauthor=False) / FILE_NAME]
    return next((place for place in places if place.is_file()), None)


def read(file: Path) -> tuple[dict[str, Any], dict[Keys, str]]:
    """The table in ``file``, and where its keys stand (``file:line``); those of ``[kafka]`` are dotted as librdkafka's.

    Raises SettingsError.
    """
    try:
        text = file.read_text("utf-8-sig")  # Windows' editors put a mark in front
    except OSError as error:
        raise SettingsError(
            f"the configuration file {file} cannot be read: {error.strerror}. Name another with --config."
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"the configuration file {file} is not UTF-8: {error.reason}. Save it as UTF-8.") from error
    try:
        return tomllib.loads(text), {_as_option(keys): f"{file}:{line}" for keys, line in lines_of(text).items()}
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(_not_toml(file, text, str(error))) from error


def lines_of(text: str) -> dict[Keys, int]:
    r"""The line on which each table and key of a TOML text begins.

    A statement is complete exactly when it is TOML by itself, so the TOML reader tells where each one ends.

    >>> lines_of("[run.a]\noptions = {x = 1}\n\n# no\ntopic.y = '''\nz = 1'''\n")[("run", "a", "topic", "y")]
    5
    """
    lines: dict[Keys, int] = {}
    table: Keys = ()
    statement, began = "", 1
    for number, line in enumerate(text.split("\n"), start=1):
        if not statement:
            began = number
        statement += line + "\n"
        try:
            parsed = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue  # it goes on in the next line
        if statement.lstrip().startswith("["):
            table = next(_paths(parsed))
            _note(lines, (), table, began)
        else:
            for path in _paths(parsed):
                _note(lines, table, path, began)
        statement = ""
    return lines


def _as_option(keys: Keys) -> Keys:
    return ("kafka", ".".join(keys[1:])) if keys[0] == "kafka" and len(keys) > 1 else keys


def _note(lines: dict[Keys, int], table: Keys, path: Keys, line: int) -> None:
    for length in range(1, len(path) + 1):
        lines.setdefault(table + path[:length], line)


def _paths(table: Mapping[str, Any]) -> Iterator[Keys]:
    for key, value in table.items():
        inner = value[0] if isinstance(value, list) and value else value
        if isinstance(inner, dict) and inner:
            yield from ((key, *path) for path in _paths(inner))
        else:
            yield (key,)


def _not_toml(file: Path, text: str, message: str) -> str:
    at = re.search(r" \(at line (\d+), column \d+\)", message)
    said = message.replace(at.group(), "") if at else message
    number = int(at.group(1)) if at else text.count("\n") + 1
    line = text.split("\n")[number - 1] if number <= text.count("\n") + 1 else ""
    hint = " A Windows path needs single quotes: 'D:\\data'." if re.search(r'"[^"]*\\', line) else ""
    return f"{file}:{number}: this is not TOML: {said}.{hint}"
