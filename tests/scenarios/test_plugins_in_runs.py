"""Processors, observers and head plugins in whole runs on the embedded broker, as a person types them."""

from __future__ import annotations

import json
import os
import uuid

import pytest

from tests.isolated import installed
from tests.kafka.processes import openmsi
from tests.plugin_fakes import install

HOOKS = '''
import os, sys
from openmsi_core import hookimpl

print("the hooks were imported", file=sys.stderr)


class Falls:
    """Raises whenever it is told something; SystemExit too."""

    @hookimpl
    def openmsi_starting(self, run):
        raise SystemExit(3)

    @hookimpl
    def openmsi_file_done(self, file):
        raise RuntimeError("over " + file.name)

    @hookimpl
    def openmsi_checkpoint(self, counts):
        counts.clear()
        raise RuntimeError("over")


class Notes:
    """Writes down what it is told."""

    def __init__(self):
        self.path = os.environ["NOTES"]

    def note(self, *words):
        with open(self.path, "a") as out:
            print(*words, file=out)

    @hookimpl
    def openmsi_starting(self, run):
        self.note("starting", run)

    @hookimpl
    def openmsi_file_done(self, file, outcome):
        self.note("done", file.name, len(file.read_bytes()), outcome.what)

    @hookimpl
    def openmsi_file_failed(self, file, error):
        self.note("failed", file.name, error)

    @hookimpl
    def openmsi_closing(self, reason):
        self.note("closing", reason)
'''


@pytest.fixture
def there(embedded_broker, tmp_path):
    """A folder with a configuration, a topic with three files, and plugins of others."""
    topic = f"t-{uuid.uuid4().hex[:8]}"
    packages = tmp_path / "packages"
    installed(packages)
    points = {"openmsi.hooks": {"falls": "my_falls:Falls", "notes": "my_falls:Notes"}}
    install(packages, "my-falls", points, {"my_falls.py": HOOKS})
    more = {
        "PYTHONPATH": os.pathsep.join([str(packages), os.environ.get("PYTHONPATH", "")]),
        "NOTES": str(tmp_path / "notes"),
        "OPENMSI_BROKER": embedded_broker.address,
    }
    for words in ((topic, "--partitions", "2"), (f"{topic}-results", "--partitions", "1", "--plain")):
        assert openmsi("topics", "create", *words, folder=tmp_path, **more).returncode == 0
    (tmp_path / "a.txt").write_text("one\ntwo\none\n")
    (tmp_path / "b.txt").write_text("reject\n")
    (tmp_path / "big.raw").write_bytes(b"0123456789" * 100_000)
    sent = openmsi("upload", "a.txt", "b.txt", "big.raw", "--topic", topic, folder=tmp_path, **more)
    assert sent.returncode == 0, sent.stderr

    def run(*words: str, code: int = 0, hooks: str = ""):
        name = words[0]
        (tmp_path / "openmsi.toml").write_text(
            f'[run.{name}]\ntopic = "{topic}"\noutput-topic = "{topic}-results"\n{hooks}\n'
        )
        ended = openmsi("run", *words, "--until-caught-up", folder=tmp_path, **more)
        assert ended.returncode == code, ended.stderr
        return ended

    def results():
        told = openmsi("topics", "peek", f"{topic}-results", "--json", folder=tmp_path, **more)
        return [json.loads(line) for line in told.stdout.splitlines()]

    return tmp_path, run, results


@pytest.mark.parametrize("isolate", ["thread", "process"])
def test_the_results_of_a_processor_have_their_number_value_and_key(there, isolate) -> None:
    _, run, results = there
    run("processes", "--include", "*.txt", "--isolate", isolate, code=4)
    told = [(each["file"]["path"], each["record"], each["value"]) for each in results()]
    assert sorted(told) == [
        ("a.txt", 0, {"line": "one"}),
        ("a.txt", 1, {"line": "two"}),
        ("a.txt", 2, {"line": "one"}),
    ], "and nothing of the file that was rejected in the middle"


def test_the_bundled_processor_counts_lines(there) -> None:
    _, run, results = there
    run("count-lines", "--most", "1")
    told = {each["file"]["path"]: each["value"] for each in results()}
    assert told == {"a.txt": {"line": "one", "count": 2}, "b.txt": {"line": "reject", "count": 1}}


@pytest.mark.parametrize("isolate", ["thread", "process"])
def test_observers_that_raise_harm_nobody_and_the_others_are_told(there, isolate) -> None:
    folder, run, results = there
    words = ("processes", "--include", "*.txt", "--isolate", isolate)
    ended = run(*words, hooks='hooks = ["falls", "notes", "log-progress"]', code=4)
    assert len(results()) == 3
    assert "observer my-falls/falls failed in openmsi_starting; the run goes on" in ended.stderr
    assert "over a.txt" in ended.stderr
    assert "openmsi-processes ends (stopped): 1 done, 1 not-wanted, 1 rejected" in ended.stderr
    notes = (folder / "notes").read_text().splitlines()
    assert notes[0] == "starting openmsi-processes"
    assert set(notes[1:-1]) == {"done a.txt 12 done", "done b.txt 7 rejected", "failed b.txt no xrdMeasurement element"}
    assert notes[-1] == "closing stopped"


def test_observers_that_nobody_named_are_not_even_imported(there) -> None:
    folder, run, results = there
    ended = run("count-lines")
    assert "the hooks were imported" not in ended.stderr
    assert not (folder / "notes").exists()
    assert results()


@pytest.mark.parametrize("isolate", ["thread", "process"])
def test_a_head_plugin_gets_the_beginning_in_a_run_and_in_try(there, isolate) -> None:
    folder, run, results = there
    run("heads", "--include", "*.raw", "--isolate", isolate)
    wanted = {"head": 65536, "complete": False, "sha256": ""}
    assert [each["metadata"] for each in results()] == [wanted]
    path = os.pathsep.join([str(folder / "packages"), os.environ.get("PYTHONPATH", "")])
    words = ("try", "heads", "big.raw", "--json", "--isolate", isolate)
    tried = json.loads(openmsi(*words, folder=folder, PYTHONPATH=path).stdout)
    assert [each["metadata"] for each in tried["results"]] == [wanted]
    assert (folder / "big.raw").stat().st_size == 1_000_000


@pytest.mark.parametrize("isolate", ["thread", "process"])
def test_the_disk_sink_stores_the_same_from_a_process_of_its_own(there, isolate) -> None:
    folder, run, _ = there
    run("disk", "--folder", "archive", "--isolate", isolate)
    for name in ("a.txt", "b.txt", "big.raw"):
        assert (folder / "archive" / name).read_bytes() == (folder / name).read_bytes()
