"""What a contract knows of the plugin under test: its class, its samples, and what it said of them."""

from __future__ import annotations

import inspect
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from openmsi_core.errors import PluginError
from openmsi_core.model import PluginFacts
from openmsi_core.plugins.catalogue import Entry, find
from openmsi_core.plugins.kinds import Plugin
from openmsi_core.plugins.loader import load
from openmsi_core.plugins.options import options_hash, parse
from openmsi_core.plugins.running import PluginRunner
from openmsi_core.testing.answers import Answer, answer_of
from openmsi_core.testing.checks import check, checks_of
from openmsi_core.testing.contract import children, hostile
from openmsi_core.testing.files import data_file


class Contract:
    """What every kind has in common; subclass the contract of your plugin's kind."""

    plugin: ClassVar[str] = ""
    """The plugin's name, as in ``openmsi run NAME``; ``package/name`` where that is not enough."""
    samples: ClassVar[Mapping[str, Any] | Sequence[str]] = {}
    """Good files, relative to the folder of your test file, and what is expected of each."""
    rejects: ClassVar[Sequence[str]] = ()
    """Files that your plugin must reject."""
    options: ClassVar[Mapping[str, object]] = {}
    """Options to run the plugin with; by default none."""
    waive: ClassVar[Mapping[str, str]] = {}
    """Checks that do not hold for this plugin, each with the reason."""
    time_limit: ClassVar[float] = 10.0
    """Seconds after which a file counts as one that hangs the plugin."""
    kind: ClassVar[str] = ""
    method: ClassVar[str] = ""

    _cached: ClassVar[dict[tuple[type, str], Any]] = {}

    def options_in(self, folder: Path) -> Mapping[str, object]:  # noqa: ARG002 - for who overrides it
        """The options to run with, when they need a fresh folder; override it for a sink that stores files there."""
        return self.options

    # ---- the plugin

    def entry(self) -> Entry:
        """Its line of the catalogue. Fails when there is none."""
        assert self.plugin, f"say which plugin it is: plugin = 'its-name' in {type(self).__name__}"
        try:
            found: Entry = self._once("entry", lambda: find(self.plugin))
        except PluginError as error:
            pytest.fail(f"{error} (a changed pyproject.toml counts after pip install)")
        return found

    def report(self) -> dict[str, Any]:
        """What importing it did, in a child process, once for each contract."""
        return self._child()[0]

    def cls(self) -> type[Plugin]:
        """Its class; imported in a child process first, so that a module that exits or hangs is only a finding."""
        error = self.report()["error"]
        assert not error, f"{self.plugin} cannot be imported: {error}"
        found: type[Plugin] = self._once("class", lambda: load(self.entry()))
        return found

    def runner(self, folder: Path, options: Mapping[str, object]) -> PluginRunner:
        """A new object of it as a run makes one, which is not opened yet."""
        cls, entry = self.cls(), self.entry()
        parsed = parse(cls.Options, options, entry.name)
        facts = PluginFacts(entry.name, entry.kind, entry.package, entry.version, options_hash(parsed))
        return PluginRunner(cls(parsed, logging.getLogger(f"openmsi.plugin.{entry.name}"), folder), facts)

    @contextmanager
    def running(self, folder: Path) -> Iterator[PluginRunner]:
        """A new object of it that was opened, with what `options_in` says of ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        runner = self.runner(folder, self.options_in(folder))
        runner.open()
        try:
            yield runner
        finally:
            runner.close()

    def says(self, source: Path | bytes, name: str | None = None) -> Answer:
        """What a new object of it says of one file, in this process."""
        self.must_survive()
        with tempfile.TemporaryDirectory() as folder, self.running(Path(folder)) as runner:
            return answer_of(runner, data_file(source, name, workdir=Path(folder)))

    # ---- its samples

    def place(self, name: str) -> Path:
        """Where a sample is. Fails when it is not there."""
        path = self.where(name)
        assert path.is_file(), f"there is no sample {path}; samples are named relative to your test file"
        return path

    def where(self, name: str) -> Path:
        """Where a sample should be."""
        return Path(inspect.getfile(type(self))).parent / name

    def good(self) -> list[Path]:
        """The samples. Fails when there are none."""
        names = list(self.samples)
        assert names, (
            f"{type(self).__name__} has no samples: put a small real file beside your tests and name it, as in "
            'samples = {"data/scan.xrdml": {"anode": "Cu"}}'
        )
        return [self.place(name) for name in names]

    def expected(self, name: str) -> Any:
        """What is expected of a sample, None if nothing is said."""
        return self.samples[name] if isinstance(self.samples, Mapping) else None

    def sound(self) -> list[tuple[str, Path, Answer]]:
        """Every sample with what the plugin says of it: name, file, answer. Fails when one has no result."""
        self.good()
        told = [(name, self.place(name), self.says(self.place(name))) for name in self.samples]
        for name, _, answer in told:
            assert answer.what == "result", f"{name} is a good file, and of it {self.told(answer)}"
        return told

    def told(self, answer: Answer) -> str:
        """An answer for a message."""
        return f"{self.method} gave no result; {answer.told()}" if answer.what != "result" else answer.told()

    # ---- in a child process

    def in_child(self) -> dict[str, Answer]:
        """What it says of samples, rejects and hostile input in a child process, once for each contract."""
        self.cls()
        return self._child()[1]

    def must_survive(self) -> None:
        """Fails when the plugin ends or hangs its process on a sample; then nothing is run in this one."""
        for name in [*self.samples, *self.rejects]:
            answer = self.in_child()[name]
            assert answer.what not in {"hung", "ended"}, f"{name}: {answer.told()}"

    def _child(self) -> tuple[dict[str, Any], dict[str, Answer]]:
        found: tuple[dict[str, Any], dict[str, Answer]] = self._once("child", self._ask)
        return found

    def _ask(self) -> tuple[dict[str, Any], dict[str, Answer]]:
        self.entry()
        with tempfile.TemporaryDirectory(prefix="openmsi-contract-") as name:
            folder = Path(name)
            (folder / "out").mkdir()
            there = [each for each in [*self.samples, *self.rejects] if self.where(each).is_file()]
            inputs = {each: (self.where(each), self.where(each).name) for each in there}
            inputs |= hostile.inputs([self.where(each) for each in self.samples if each in there], folder)
            given = list(inputs.values())
            found = children.findings(self.plugin, self.options_in(folder / "out"), given, folder, self.time_limit)
        return found.report, dict(zip(inputs, found.answers, strict=not found.report["error"]))

    def _once(self, what: str, make: Callable[[], Any]) -> Any:
        key = (type(self), what)
        if key not in self._cached:
            self._cached[key] = make()
        return self._cached[key]

    # ---- the contract itself

    @check("waivers", "contract")
    def test_waivers(self) -> None:
        """Each waiver names a check that exists, and says why."""
        known = [each.name for each in checks_of(type(self))]
        for name, reason in self.waive.items():
            assert name in known, f"there is no check {name!r} to waive; there are {', '.join(known)}"
            assert reason.strip(), f"the waiver of {name!r} says no reason: your readers want to know"

    @pytest.fixture(autouse=True)
    def _needs_the_plugin(self, request: pytest.FixtureRequest) -> None:
        there = request.config.pluginmanager.has_plugin("openmsi_core.testing.pytest_plugin")
        assert there, (
            'the contracts need their pytest plugin: write addopts = "-p openmsi_core.testing.pytest_plugin" under '
            "[tool.pytest.ini_options] in pyproject.toml"
        )
