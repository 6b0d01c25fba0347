"""The poll loop and its workers with plugins in processes of their own."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import pytest

from openmsi_core.receiving.pace import Pace
from openmsi_core.wiring.building import Built, Isolation
from tests.fakes import Log, values_of
from tests.isolated import forget, installed
from tests.rig import RUN, Rig


@pytest.fixture(autouse=True)
def plugins(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(installed(tmp_path / "packages"))
    yield
    forget()


def ran(tmp_path, log, name, values=None, **more) -> Rig:
    """A finished run of one worker on ``log``."""
    work = tmp_path / "work"
    work.mkdir()
    built = Built(name, values or {}, Isolation("process", more.pop("timeout", 30.0), 256 * 1024 * 1024))
    with ExitStack() as stack:
        (runner,) = stack.enter_context(built.runners(1, work))
        pace = Pace(longest=0.05, housekeeping=0.0, stop_wait=5.0)
        rig = Rig(tmp_path, log, None, call=lambda *_, **__: runner, pace=pace, **more)
        assert rig.run() == 0
    assert log.commits[0].offset == len(log.partitions[0])
    return rig


def test_files_on_which_the_process_dies_are_dead_letters_and_the_others_have_results(tmp_path) -> None:
    log = Log()
    names = ["a", "segfault", "b", "reject", "c", "exit", "d"]
    for name in names:
        log.put(*values_of(name, b"1"))
    rig = ran(tmp_path, log, "extracts")
    letters = {letter["file"]["path"]: letter for letter in rig.letters()}
    assert {name: (letter["what"], letter["tries"]) for name, letter in letters.items()} == {
        "segfault": ("crashed", 3),
        "exit": ("crashed", 3),
        "reject": ("rejected", 1),
    }
    assert "while it handled segfault" in letters["segfault"]["why"]["message"]
    assert "suffering.py" in letters["segfault"]["why"]["traceback"]
    assert letters["reject"]["why"]["class"] == "Reject"
    assert sorted(result["file"]["path"] for result in rig.results()) == ["a", "b", "c", "d"]


def test_a_sink_that_dies_before_its_flush_loses_no_file_and_blames_no_neighbour(tmp_path) -> None:
    log, good = Log(), [f"good-{number}" for number in range(12)]
    for at, name in enumerate([*good[:6], "segfault", *good[6:], "flush-segfault"]):
        log.put(*values_of(name, b"1" * at))
    rig = ran(tmp_path, log, "stores", {"to": str(tmp_path / "names")})
    letters = {letter["file"]["path"]: (letter["what"], letter["tries"]) for letter in rig.letters()}
    assert letters == {"segfault": ("crashed", 3), "flush-segfault": ("crashed", 3)}
    done = {receipt["path"] for receipt in rig.receipts() if receipt["outcome"] == "done"}
    assert done == set(good)
    assert set((tmp_path / "names").read_text().split()) == set(good), "what counts was flushed"


def test_results_without_end_are_too_many_and_the_next_file_runs(tmp_path) -> None:
    log = Log()
    log.put(*values_of("endless", b"1"), *values_of("x", b"a\nb\n"))
    rig = ran(tmp_path, log, "processes", run=replace(RUN, max_results=1_000_000, workdir=tmp_path))
    (letter,) = rig.letters()
    assert (letter["what"], letter["file"]["path"]) == ("too-many-results", "endless")
    assert len(rig.results()) == 2
