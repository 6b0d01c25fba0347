"""Settings: `openmsi.toml`, the environment and flags become frozen values, or one error that lists every problem.

Precedence: command line, environment, file, default. ``${VAR}`` and ``${file:PATH}`` expand in every value of the file
and of the command line; ``$$`` is a dollar sign.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from openmsi_core.errors import SettingsError
from openmsi_core.settings.including import gathered
from openmsi_core.settings.problems import Problems
from openmsi_core.settings.reading import Keys, find
from openmsi_core.settings.tables import (
    Document,
    KafkaOptions,
    Origin,
    RunSettings,
    Settings,
    Table,
    WatchSettings,
)
from openmsi_core.settings.values import (
    broker_address,
    expanded,
    flat,
    is_reference,
    kafka_variables,
    misspelt,
    spelled,
)

COMMAND_LINE = "the command line"

Also = Callable[[Mapping[str, Any], Mapping[Keys, Origin]], Iterable[str]]


def load(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    kafka: Mapping[str, str] | None = None,
    also: Also = lambda _, __: (),
) -> Settings:
    """The settings of ``path``, or of the first `openmsi.toml` found; ``kafka`` are options from the command line.

    ``also`` looks at the whole table, as it was written with references expanded, and answers with the problems that
    only others know. Raises SettingsError that names every problem, each with its file and line.
    """
    environ = os.environ if environ is None else environ
    file = path or find(environ)
    table, places = gathered(file) if file else ({}, {})
    loading = _Loading(environ, Problems(file, places))
    document = loading.document(table, kafka or {}, also)
    return Settings(
        kafka=KafkaOptions(document.kafka),
        watch=document.watch,
        run=document.run,
        state=document.state,
        crypto=document.crypto,
        file=file,
        origins=loading.origins,
    )


def run_settings(settings: Settings, name: str, given: Mapping[str, object]) -> RunSettings:
    """The run called ``name`` from the file with ``given`` on top, or a run of the plugin ``name``.

    Raises SettingsError, also when nothing says which topic.
    """
    known = settings.run.get(name)
    base: dict[str, object] = {"plugin": name, "group": f"openmsi-{name}"}
    if known is not None:
        base = known.model_dump(by_alias=True, exclude_unset=True)
    run = _validated(RunSettings, base, given, f"run {name}")
    _need_topic(run.topic, "run", name)
    return run


def try_settings(plugin: str, given: Mapping[str, object]) -> RunSettings:
    """A run of ``plugin`` without a topic, for files that lie here. Raises SettingsError."""
    return _validated(RunSettings, {"plugin": plugin}, given, f"try {plugin}")


def watch_settings(settings: Settings, name: str, given: Mapping[str, object]) -> WatchSettings:
    """The watch called ``name`` with ``given`` on top, or a watch of the folder ``name``.

    Raises SettingsError, also when nothing says which topic.
    """
    known = settings.watch.get(name)
    base = known.model_dump(by_alias=True, exclude_unset=True) if known is not None else {"path": name}
    watch = _validated(WatchSettings, base, given, f"watch {name}")
    _need_topic(watch.topic, "watch", name)
    return watch


class _Loading:
    """Goes through one configuration, collecting problems and where each value comes from."""

    def __init__(self, environ: Mapping[str, str], problems: Problems) -> None:
        self.origins: dict[Keys, Origin] = {}
        self._environ = environ
        self._problems = problems

    def document(self, table: Mapping[str, Any], given: Mapping[str, str], also: Also) -> Document:
        """The table of the file with the environment and then the command line on top. Raises SettingsError."""
        for text in misspelt(self._environ):
            self._problems.add("", text)
        whole: dict[str, Any] = self._with_references(
            {key: value for key, value in table.items() if key != "kafka"}, ()
        )
        whole["kafka"] = self._kafka(table.get("kafka", {}), given)
        if state := self._environ.get("OPENMSI_STATE"):
            whole["state"] = state
            self.origins["state",] = Origin("OPENMSI_STATE")
        _name_runs(whole)
        document = self._validated(whole)
        for text in also(whole, self.origins):
            self._problems.add("", text)
        if document is None or self._problems.said:
            raise self._problems.as_error()
        return document

    def _validated(self, whole: Mapping[str, Any]) -> Document | None:
        try:
            return Document.model_validate(whole)
        except ValidationError as error:
            for each in error.errors(include_url=False):
                self._problems.add_invalid(each)
            return None

    def _kafka(self, table: object, given: Mapping[str, str]) -> dict[str, str]:
        if not isinstance(table, dict):
            self._problems.add_at(("kafka",), "'kafka' must be a table, [kafka], of librdkafka options")
            table = {}
        options: dict[str, str] = {}
        for name, value in flat(table):
            self._take(options, name, value, self._problems.where(("kafka", name)))
        for name, (variable, text) in kafka_variables(self._environ).items():
            self.origins["kafka", name] = Origin(variable)
            try:
                options[name] = broker_address(text, variable) if variable == "OPENMSI_BROKER" else text
            except SettingsError as error:
                self._problems.add("", str(error))
        for name, text in given.items():
            self._take(options, name, text, COMMAND_LINE)
        return options

    def _take(self, options: dict[str, str], name: str, value: object, where: str) -> None:
        self.origins["kafka", name] = Origin(where, literal=where != COMMAND_LINE and not is_reference(value))
        try:
            options[name] = expanded(spelled(value), self._environ)
        except SettingsError as error:
            self._problems.add(where, f"'kafka.{name}': {error}")

    def _with_references(self, value: Any, keys: Keys) -> Any:
        """``value`` with references expanded; its origins are noted on the way."""
        if isinstance(value, dict):
            if keys:
                self.origins[keys] = Origin(self._problems.where(keys))
            return {key: self._with_references(each, (*keys, key)) for key, each in value.items()}
        where = self._problems.where(keys)
        if isinstance(value, list):
            self.origins[keys] = Origin(where, literal=not any(is_reference(each) for each in value))
            return [self._expanded(each, keys, where) for each in value]
        self.origins[keys] = Origin(where, literal=not is_reference(value))
        return self._expanded(value, keys, where)

    def _expanded(self, value: Any, keys: Keys, where: str) -> Any:
        if isinstance(value, dict):
            return {key: self._expanded(each, (*keys, key), where) for key, each in value.items()}
        if isinstance(value, list):
            return [self._expanded(each, keys, where) for each in value]
        if not isinstance(value, str):
            return value
        try:
            return expanded(value, self._environ)
        except SettingsError as error:
            self._problems.add(where, f"{'.'.join(keys)!r}: {error}")
            return value


def _name_runs(whole: dict[str, Any]) -> None:
    """Every run has a plugin and a group: by default those of its name."""
    runs = whole.get("run")
    if not isinstance(runs, dict):
        return  # what it is instead is a problem that the tables name
    for name, run in runs.items():
        if isinstance(run, dict):
            runs[name] = {"plugin": name, "group": f"openmsi-{name}"} | run


def _validated(model: type[Table], base: Mapping[str, object], given: Mapping[str, object], whose: str) -> Table:
    merged = dict(base) | {key: value for key, value in given.items() if value not in (None, ())}
    problems = Problems(None, {})
    try:
        return model.model_validate(merged)
    except ValidationError as error:
        for each in error.errors(include_url=False):
            problems.add_invalid(each, model)
        raise problems.as_error(whose) from error


def _need_topic(topic: str, command: str, name: str) -> None:
    if not topic:
        raise SettingsError(
            f'{command} {name}: no topic is named. Give --topic T, or write topic = "T" under [{command}.{name}] in '
            "openmsi.toml."
        )


def sources(settings: Settings, keys: Sequence[str]) -> str:
    """Where the value at ``keys`` comes from, for a person."""
    origin = settings.origins.get(tuple(keys))
    return origin.where if origin is not None else "default"


def place(origins: Mapping[Keys, Origin], keys: Keys) -> str:
    """Where the value at ``keys`` was given, or the table around it; "" when nobody gave any of them."""
    found = (origins[keys[:depth]] for depth in range(len(keys), 0, -1) if keys[:depth] in origins)
    return next((origin.where for origin in found), "")
