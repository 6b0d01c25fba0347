"""What only importing a plugin tells, found in a child process."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from openmsi_core.plugins.catalogue import catalogue
from openmsi_core.plugins.entry import Entry
from openmsi_core.plugins.probing import Probed, probe, probe_all
from tests.plugin_fakes import GOOD, extractor, install


def probed(folder: Path, source: str, seconds: float = 20.0) -> Probed:
    extractor(folder, "my-good", "good", source)
    path = [str(folder), *sys.path]
    (entry,) = catalogue([str(folder)])
    return probe(entry, seconds, path)


def test_a_good_plugin_tells_its_facts_options_and_schema(tmp_path: Path) -> None:
    found = probed(tmp_path, GOOD)
    assert (found.entry.status, found.noise, found.differences) == ("ok", "", ())
    assert (found.facts["summary"], found.facts["accepts"]) == ("Counts bytes.", ["*.txt"])
    assert [each["name"] for each in found.options] == ["times"]
    assert found.schema is not None
    assert found.schema["properties"]["times"]["description"] == "How often each byte counts."


@pytest.mark.parametrize(
    ("source", "status", "detail"),
    [
        (f"import os, signal\nos.kill(os.getpid(), signal.SIGABRT)\n{GOOD}", "fails on import", "(SIGABRT)"),
        (f"import os\nif True: os._exit(0)\n{GOOD}", "fails on import", "ends the process with exit code 0"),
        (f"import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n{GOOD}", "ok", ""),
        ("Good = 3\n", "broken entry point", "is not a plugin"),
        (GOOD.replace("1\n", "[]\n"), "broken options", "the default of 'times'"),
        (GOOD.replace("times: int = 1", "times: int"), "ok", ""),
        ("import sys\nfor _ in range(200000): print('x' * 1000)\n" + GOOD, "ok", "prints when it is imported: 'xxx"),
    ],
    ids=["aborts", "exits with 0", "leaves a thread", "no class", "wrong default", "needs an option", "prints a lot"],
)
def test_how_importing_ends_is_told_exactly(tmp_path: Path, source: str, status: str, detail: str) -> None:
    entry = probed(tmp_path, source).entry
    assert entry.status == status, entry
    assert detail in entry.detail


def test_one_that_takes_too_long_is_ended_with_what_it_started(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    held = tmp_path / "held by what it started"
    child = (
        f"import fcntl, time\nfile = open({str(held)!r}, 'w')\nfcntl.flock(file, fcntl.LOCK_EX)\n"
        "file.write('held')\nfile.flush()\ntime.sleep(60)"
    )
    start = f"import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {child!r}])\ntime.sleep(60)\n"
    entry = probed(tmp_path, start + GOOD, 6.0).entry
    assert (entry.status, entry.detail) == ("fails on import", "importing it takes longer than 6 s")
    assert held.read_text() == "held"
    with held.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # waits until it has ended: without that the test takes too long


def test_what_could_not_be_read_is_known_then(tmp_path: Path) -> None:
    found = probed(tmp_path, GOOD.replace('("*.txt",)', "tuple(['*.csv'])"))
    assert (found.entry.status, found.facts["accepts"], found.differences) == ("ok", ["*.csv"], ())


def test_a_class_that_is_not_what_its_source_says_is_told_so(tmp_path: Path) -> None:
    assert probed(tmp_path, f"{GOOD}\nGood.accepts = ('*.csv',)\n").differences == ("accepts",)


def test_hooks_are_built_and_their_names_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    hook = "from openmsi_core import hookimpl\nclass Notes:\n  @hookimpl\n  def openmsi_{name}(self): pass\n"
    points = {"openmsi.hooks": {"right": "right_hooks:Notes", "wrong": "wrong_hooks:Notes"}}
    modules = {"right_hooks.py": hook.format(name="closing"), "wrong_hooks.py": hook.format(name="closed")}
    install(tmp_path, "my-hooks", points, modules)
    right, wrong = probe_all([entry for entry in catalogue() if entry.package == "my-hooks"])
    assert (right.entry.status, wrong.entry.status) == ("ok", "fails on import")
    assert "openmsi_closed" in wrong.entry.detail


def test_one_that_cannot_be_loaded_is_not_tried() -> None:
    entry = Entry("sink", "x", "y", "1", "nowhere:X", "incompatible", "it is too new")
    assert probe(entry, 0.0) == Probed(entry)
    assert probe(replace(entry, status="shadowed"), 0.0).entry.status == "shadowed"
