"""Files that include others: the site's settings in one place, those of each instrument in its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from openmsi_core.errors import SettingsError
from openmsi_core.settings.reading import Keys, read

_INCLUDE = "include"


def gathered(file: Path) -> tuple[dict[str, Any], dict[Keys, str]]:
    """The table of ``file`` with the files that it includes below it, and where each key stands (``file:line``).

    Raises SettingsError: a file that cannot be read, includes itself, or two included ones that contradict each other.
    """
    return _gathered(file, ())


def _gathered(file: Path, above: tuple[Path, ...]) -> tuple[dict[str, Any], dict[Keys, str]]:
    table, places = read(file)
    below: dict[str, Any] = {}
    there: dict[Keys, str] = {}
    for included in _included(file, table, places):
        if included.resolve() in {each.resolve() for each in (*above, file)}:
            raise SettingsError(f"{_at(places, file)}: {included} includes itself. Take one of the two includes out.")
        more, more_places = _gathered(included, (*above, file))
        more.pop(_INCLUDE, None)
        _add(below, more, (), there, more_places)
        there = more_places | there
    _lay(below, table)
    return below, there | places


def _included(file: Path, table: Mapping[str, Any], places: Mapping[Keys, str]) -> Iterator[Path]:
    names = table.get(_INCLUDE, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return  # the tables say what is wrong with it
    for name in names:
        found = sorted(file.parent.glob(name)) if not Path(name).is_absolute() else [Path(name)]
        if not found and not set(name) & set("*?["):
            raise SettingsError(f"{_at(places, file)}: there is no {file.parent / name} to include. Correct its name.")
        yield from found


def _add(
    whole: dict[str, Any], more: Mapping[str, Any], above: Keys, there: Mapping[Keys, str], places: Mapping[Keys, str]
) -> None:
    """Put ``more`` beside what is there already; the two may not contradict each other."""
    for key, value in more.items():
        keys = (*above, key)
        if key not in whole:
            whole[key] = value
        elif isinstance(whole[key], dict) and isinstance(value, dict):
            _add(whole[key], value, keys, there, places)
        elif whole[key] != value:
            name = keys if keys[0] != "kafka" else ("kafka", ".".join(keys[1:]))
            raise SettingsError(
                f"{places.get(name, '')}: {'.'.join(keys)!r} is something else than at {there.get(name, '')}, and "
                "neither file includes the other. Keep one of them."
            )


def _lay(below: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Lay a file over those that it includes."""
    for key, value in over.items():
        if isinstance(below.get(key), dict) and isinstance(value, dict):
            _lay(below[key], value)
        else:
            below[key] = value


def _at(places: Mapping[Keys, str], file: Path) -> str:
    return places.get((_INCLUDE,), str(file))
