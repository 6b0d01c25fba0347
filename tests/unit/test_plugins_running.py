"""A built plugin as the runtime drives it."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import pytest

from openmsi_core import DataFile, Extractor, Processor, Reject, Result, Sink, Stored
from openmsi_core.model import PluginFacts
from openmsi_core.plugins.kinds import Plugin
from openmsi_core.plugins.running import PluginRunner
from openmsi_core.testing.files import data_file

FILE = data_file(b"one\ntwo\n", "a/b.txt")


def runner_of(plugin: Plugin) -> PluginRunner:
    return PluginRunner(plugin, PluginFacts("mine", "kind", "package", "1"))


class Says(Extractor):
    answer: Any = MappingProxyType({})

    def extract(self, file: DataFile) -> Any:
        return self.answer


class Lines(Processor):
    def process(self, file: DataFile) -> Iterator[Result]:
        yield from (Result(line, key=file.name) for line in file.text().splitlines())


class Keeps(Sink):
    accepts = ("*.txt",)

    def write(self, file: DataFile) -> Stored:
        return Stored("there", unchanged=True)


class Flushes(Keeps):
    flushed = 0

    def flush(self) -> None:
        self.flushed += 1


def test_what_an_extractor_says_is_one_result() -> None:
    plugin = Says()
    plugin.answer = {"a": 1}
    assert runner_of(plugin).handle(FILE).results == (Result({"a": 1}),)


def test_an_empty_dict_is_a_result() -> None:
    assert runner_of(Says()).handle(FILE).results == (Result({}),)


def test_the_results_of_a_processor_come_one_by_one() -> None:
    done = runner_of(Lines()).handle(FILE)
    assert tuple(done.results) == (Result("one", "b.txt"), Result("two", "b.txt"))


def test_a_sink_tells_where_it_stored_the_file() -> None:
    done = runner_of(Keeps()).handle(FILE)
    assert (done.location, done.unchanged, done.results) == ("there", True, ())


def test_only_a_sink_with_a_flush_of_its_own_flushes() -> None:
    runner = runner_of(Flushes())
    runner.flush()
    assert (runner.flushes, runner_of(Keeps()).flushes, runner_of(Says()).flushes) == (True, False, False)


class NoYield(Processor):
    def process(self, file: DataFile) -> Any:
        return None


class YieldsPlain(Processor):
    def process(self, file: DataFile) -> Any:
        yield {"a": 1}


class SaysNothing(Sink):
    def write(self, file: DataFile) -> Any:
        return None


class SaysNone(Says):
    answer = None


@pytest.mark.parametrize(
    ("plugin", "text"),
    [
        (SaysNone(), "the plugin mine answered with NoneType from its method extract; it must give a dict"),
        (NoYield(), "NoneType from its method process; it must give results: yield Result"),
        (YieldsPlain(), "dict from its method process; it must give Result"),
        (SaysNothing(), "NoneType from its method write; it must give Stored"),
    ],
)
def test_a_wrong_answer_names_the_plugin_the_method_and_what_it_should_be(plugin: Plugin, text: str) -> None:
    with pytest.raises(TypeError) as caught:
        tuple(runner_of(plugin).handle(FILE).results)
    assert text in str(caught.value)


def test_what_a_plugin_raises_comes_through_unchanged() -> None:
    class Rejects(Extractor):
        def extract(self, file: DataFile) -> dict[str, object]:
            raise Reject("not mine")

    with pytest.raises(Reject, match="not mine"):
        runner_of(Rejects()).handle(FILE)


def test_one_glob_without_its_tuple_is_one_glob() -> None:
    class Careless(Says):
        accepts = "*.txt"  # type: ignore[assignment]

    assert runner_of(Careless()).accepts == ("*.txt",)
    assert runner_of(Keeps()).accepts == ("*.txt",)


def test_a_plugin_can_be_built_without_anything_for_the_authors_tests() -> None:
    plugin = Says()
    assert plugin.options == Says.Options()
    assert plugin.log.name == "openmsi.plugin.Says"
    assert plugin.workdir is None
