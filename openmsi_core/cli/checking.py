"""What `openmsi config check` finds beyond the form of each table; needs no broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from openmsi_core.errors import UsageError

if TYPE_CHECKING:
    from openmsi_core.settings import Settings


def problems_of(settings: Settings) -> Iterator[str]:
    """Every problem, with the line that it is about where there is one."""
    for name in settings.run:
        yield from _run_problems(settings, name)
    yield from _topics(settings)
    yield from _collisions(settings)


def _run_problems(settings: Settings, name: str) -> Iterator[str]:
    from openmsi_core.plugins.catalogue import catalogue, find

    run = settings.run[name]
    entries = catalogue() if run.hooks else ()
    for hook in run.hooks:
        try:
            find(hook, entries, hook=True)
        except UsageError as error:
            yield f"{_place(settings, 'run', name, 'hooks')}run {name}: {error}"


def _topics(settings: Settings) -> Iterator[str]:
    from openmsi_core.kafka.admin import refuse_reserved

    for table, named in (("run", settings.run), ("watch", settings.watch)):
        for name, each in named.items():
            try:
                if each.topic:
                    refuse_reserved(each.topic)
            except UsageError as error:
                yield f"{_place(settings, table, name, 'topic')}{table} {name}: {error}"
    for name, run in settings.run.items():
        if run.topic and run.topic == run.output_topic:
            yield (
                f"{_place(settings, 'run', name, 'output-topic')}run {name}: its results would go into the topic that "
                "it reads. Give them a topic of their own."
            )


def _collisions(settings: Settings) -> Iterator[str]:
    """Two that would get in each other's way."""
    groups: dict[tuple[str, str], str] = {}
    for name, run in settings.run.items():
        other = groups.setdefault((run.topic, run.group), name)
        if run.topic and settings.run[other].plugin != run.plugin:
            yield (
                f"{_place(settings, 'run', name, 'group')}run {name}: it would share its group {run.group} with run "
                f"{other}, so each would get only a part of the files. Give it a group of its own."
            )
    folders: dict[tuple[Path, str], str] = {}
    for name, watch in settings.watch.items():
        other = folders.setdefault((watch.path.absolute(), watch.topic), name)
        if other != name:
            yield (
                f"{_place(settings, 'watch', name, 'path')}watch {name}: watch {other} sends the same folder to the "
                "same topic, and only one of them can run. Take one out."
            )
    ports: dict[int, str] = {}
    for table, named in (("run", settings.run), ("watch", settings.watch)):
        for name, each in named.items():
            other = ports.setdefault(each.metrics_port or 0, f"{table} {name}")
            if each.metrics_port and other != f"{table} {name}":
                yield (
                    f"{_place(settings, table, name, 'metrics-port')}{table} {name}: {other} serves its metrics at "
                    f"port {each.metrics_port} too. Choose another one."
                )


def _place(settings: Settings, *keys: str) -> str:
    from openmsi_core.settings import sources

    source = sources(settings, keys)
    return "" if source == "default" else f"{source}: "
