"""A plugin's options in layers: the configuration file, the environment, flags; and where each of them stands."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from openmsi_core.errors import OpenmsiError, SettingsError, UsageError

if TYPE_CHECKING:
    from openmsi_core.plugins.options import PluginOptions
    from openmsi_core.settings import Keys, Origin, RunSettings, Settings

Origins = Mapping["Keys", "Origin"]


def given_options(settings: Settings, name: str, run: RunSettings, flags: Mapping[str, object]) -> dict[str, object]:
    """The options of the run ``name``: those of the file, over them the environment, over them ``flags``.

    Raises SettingsError with every problem at once, each with the line, the variable or the flag at which it stands,
    and PluginError. A secret that stands in the file itself is a problem too.
    """
    from openmsi_core.plugins.loader import options_of
    from openmsi_core.plugins.options import report

    layers = _Layers(options_of(run.plugin), settings.origins, name, run.plugin)
    values, problems = layers.merged(run.options, flags)
    if problems:
        raise SettingsError(report(problems, f"run {name}"))
    return values


def given_without_file(plugin: str, flags: Mapping[str, object]) -> dict[str, object]:
    """The options that the environment gives, and ``flags`` over them. Raises SettingsError, PluginError."""
    from openmsi_core.plugins.loader import options_of
    from openmsi_core.plugins.options import report

    values, problems = _Layers(options_of(plugin), {}, plugin, plugin).merged({}, flags)
    if problems:
        raise SettingsError(report(problems, plugin))
    return values


def configuration_problems(whole: Mapping[str, Any], origins: Origins) -> Iterator[str]:
    """What librdkafka and the plugins have to say about a configuration, each with its line."""
    from openmsi_core.plugins.options import placed
    from openmsi_core.settings import place

    yield from _kafka_problems(whole["kafka"], origins)
    runs = whole.get("run")
    for name, run in runs.items() if isinstance(runs, dict) else ():
        options = run.get("options", {}) if isinstance(run, dict) else None
        if not isinstance(options, dict) or not isinstance(run["plugin"], str):
            continue  # what it is instead is a problem that the tables name
        try:
            yield from _run_problems(name, run["plugin"], options, origins)
        except OpenmsiError as error:
            yield placed(place(origins, ("run", name, "plugin")), f"run {name}: {error}")


def _run_problems(name: str, plugin: str, options: Mapping[str, object], origins: Origins) -> list[str]:
    from openmsi_core.plugins.loader import options_of

    layers = _Layers(options_of(plugin), origins, name, plugin)
    if not options and not layers.environment:  # they may all come as flags
        return []
    return layers.merged(options, {})[1]


def _kafka_problems(kafka: Mapping[str, str], origins: Origins) -> Iterator[str]:
    from openmsi_core.kafka.admin import check_options
    from openmsi_core.plugins.options import placed
    from openmsi_core.settings import place

    try:
        if kafka:
            check_options(kafka)
    except UsageError as error:
        named = [name for name in kafka if name in str(error)]
        keys: Keys = ("kafka", max(named, key=len)) if named else ("kafka",)
        yield placed(place(origins, keys), str(error))


class _Layers:
    """The options of one run, with what is needed to say where each was given."""

    def __init__(self, model: type[PluginOptions], origins: Origins, run: str, plugin: str) -> None:
        from openmsi_core.settings import option_variables

        self.environment = option_variables(os.environ, plugin)
        self._model, self._origins, self._run = model, origins, run

    def merged(self, file: Mapping[str, object], flags: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
        """All options, later layers over earlier ones, and every problem with its place."""
        from openmsi_core.plugins.options import checked, placed

        variables, problems = self._variables()
        values = _over(_over(dict(file), variables), flags)
        problems += self._plain_secrets(values)
        _, wrong = checked(self._model, values)
        problems += [placed(self._where(keys, flags), text) for keys, text in wrong]
        return values, problems

    def _variables(self) -> tuple[dict[str, object], list[str]]:
        from openmsi_core.plugins.options import flags_of, of_text, placed

        known = {flag.field: flag for flag in flags_of(self._model)}
        values: dict[str, object] = {}
        problems = []
        for name, (variable, text) in self.environment.items():
            try:
                values[name] = of_text(known[name], text) if name in known else text
            except ValueError as error:
                problems.append(placed(variable, f"{name!r} is written in JSON: {error}"))
        return values, problems

    def _where(self, keys: Keys, flags: Mapping[str, object]) -> str:
        from openmsi_core.settings import place

        if keys and keys[0] in flags:
            return ""  # the problem names the flag
        if keys and keys[0] in self.environment:
            return self.environment[keys[0]][0]
        return place(self._origins, ("run", self._run, "options", *keys))

    def _plain_secrets(self, values: Mapping[str, object]) -> list[str]:
        """A problem for each secret that stands in the configuration file itself."""
        from openmsi_core.plugins.options import flags_of

        problems = []
        secrets = {flag.field for flag in flags_of(self._model) if flag.is_secret}
        for keys, origin in self._origins.items():
            is_mine = keys[:3] == ("run", self._run, "options") and len(keys) > 3
            if is_mine and origin.literal and keys[3].replace("-", "_") in secrets and keys[3] in values:
                problems.append(
                    f"{origin.where}: {'.'.join(keys[3:])} is a secret and stands in the file as it is. Write "
                    "${VARIABLE} or ${file:PATH} instead, and keep the secret there."
                )
        return problems


def _over(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, object]:
    """Both, those ``above`` instead of those below, however their dashes are written."""
    fields = {name.replace("-", "_") for name in above}
    return {name: value for name, value in below.items() if name.replace("-", "_") not in fields} | dict(above)
