"""What is wrong with a configuration, in the words of somebody who has its file open."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from openmsi_core.errors import SettingsError
from openmsi_core.settings.reading import Keys
from openmsi_core.settings.tables import CryptoSettings, Document, RunSettings, WatchSettings, is_secret

_TABLES: Mapping[str, type[BaseModel]] = {"run": RunSettings, "watch": WatchSettings, "crypto": CryptoSettings}


def _report(problems: Sequence[str], whose: str) -> str:
    """All problems as the text of one error."""
    if len(problems) == 1:
        return f"{whose}: {problems[0]}" if whose else problems[0]
    return "\n  ".join([f"{whose or 'the configuration'} has {len(problems)} problems", *problems])


class Problems:
    """Collects what is wrong, each with its place."""

    def __init__(self, file: Path | None, places: Mapping[Keys, str]) -> None:
        self.said: list[str] = []
        self._file = file
        self._places = places

    def add(self, where: str, text: str) -> None:
        """Something is wrong at ``where`` (may be empty)."""
        self.said.append(f"{where}: {text}" if where else text)

    def add_at(self, keys: Keys, text: str) -> None:
        """Something is wrong with what stands at ``keys``."""
        self.add(self.where(keys), text)

    def add_invalid(self, error: Mapping[str, Any], model: type[BaseModel] = Document) -> None:
        """One of pydantic's errors."""
        keys = tuple(str(part) for part in error["loc"])
        self.add_at(keys, _said(error, keys, model))

    def where(self, keys: Keys) -> str:
        """File and line of what stands at ``keys``, or of the table around it; "" when there is no file."""
        if self._file is None:
            return ""
        depths = range(len(keys), 0, -1)
        return next((self._places[keys[:depth]] for depth in depths if keys[:depth] in self._places), f"{self._file}:1")

    def as_error(self, whose: str = "") -> SettingsError:
        """Everything that was added as one error."""
        return SettingsError(_report(self.said, whose))


def _said(error: Mapping[str, Any], keys: Keys, model: type[BaseModel]) -> str:
    name = ".".join(keys)
    if error["type"] == "extra_forbidden":
        known = _known_at(keys, model)
        close = difflib.get_close_matches(keys[-1].replace("_", "-"), known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
        if keys[0] == "run" and len(keys) == 3 and not close:
            hint += f"; the plugin's own options stand in [run.{keys[1]}.options]"
        return f"there is no setting {name!r}; {hint}"
    if error["type"] == "missing":
        return f"{name!r} is needed"
    given = error["input"]
    if error["type"] in {"dict_type", "model_type", "mapping_type"}:
        return f"{name!r} must be a table, [{name}]"
    text = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if error["type"] == "value_error":  # ours: it says itself what was written
        return f"{name!r}: {text}" if name else text
    is_plain = isinstance(given, str | int | float) and not any(is_secret(key) for key in keys)
    return f"{name!r} {text}" + (f", not {given!r}" if is_plain else "")


def _known_at(keys: Keys, model: type[BaseModel]) -> list[str]:
    if model is Document and len(keys) > 1:
        model = _TABLES.get(keys[0], Document)
    return sorted(field.alias or name for name, field in model.model_fields.items())
