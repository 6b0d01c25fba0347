"""Observers of a run: told of everything, and harmless."""

from __future__ import annotations

from typing import ClassVar

import pytest

from openmsi_core import hookimpl
from openmsi_core.model import Outcome, PluginFacts, What
from openmsi_core.plugins.running import PluginRunner
from openmsi_core.receiving.jobs import Counts, RunFacts
from openmsi_core.testing.files import data_file
from openmsi_core.wiring.observers import Observers
from openmsi_plugins.file_info import FileInfo

FACTS = PluginFacts("watching", "extractor", "tests", "1")
RUN = RunFacts("g", "t", FACTS)


class Watching(FileInfo):
    """An extractor that observes itself."""

    seen: ClassVar[list[object]] = []

    @hookimpl
    def openmsi_starting(self, run):
        self.seen.append(("starting", run))

    @hookimpl
    def openmsi_file_done(self, file, outcome):
        self.seen.append((file.name, file.read_bytes(), outcome.what))

    @hookimpl
    def openmsi_file_failed(self, error):
        self.seen.append(("failed", error))
        raise RuntimeError("an observer that fails")

    @hookimpl
    def openmsi_checkpoint(self, counts):
        self.seen.append(counts)

    @hookimpl
    def openmsi_closing(self, reason):
        self.seen.append(("closing", reason))


def test_a_plugin_observes_its_own_run_and_its_failure_there_harms_nobody(tmp_path, caplog) -> None:
    Watching.seen.clear()
    file = data_file(b"x", "a.txt", workdir=tmp_path)
    observers = Observers(RUN, ())

    def run() -> None:
        with observers.watching([PluginRunner(Watching(), FACTS)]):
            observers.file(file, Outcome(What.DONE))
            observers.file(file, Outcome(What.REJECTED, reason="why"))
            observers.checkpoint(Counts(by_outcome={"done": 1}))
            raise ValueError("the end")

    with pytest.raises(ValueError, match="the end"):
        run()
    assert Watching.seen == [
        ("starting", "g"),
        ("a.txt", b"x", What.DONE),
        ("a.txt", b"x", What.REJECTED),
        ("failed", "why"),
        {"done": 1},
        ("closing", "ValueError: the end"),
    ]
    assert "observer watching#0 failed in openmsi_file_failed" in caplog.text
