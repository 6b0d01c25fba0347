"""Plugins in processes of their own, with real processes."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from datetime import date
from pathlib import Path

import psutil
import pytest

from openmsi_core.errors import (
    FolderError,
    PluginError,
    PluginFailed,
    Reject,
    RetryLater,
    SettingsError,
    WorkLost,
)
from openmsi_core.plugins.isolation import process
from openmsi_core.plugins.isolation.frames import Frame, file_of, frame_of, portable, receive, send
from openmsi_core.testing.files import data_file
from openmsi_core.wiring.building import Built, Isolation
from tests.isolated import forget, installed, isolated
from tests.kafka.processes import openmsi, wait_for

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and sessions of POSIX")


@pytest.fixture(autouse=True)
def plugins(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(installed(tmp_path / "packages"))
    yield
    forget()


def test_a_file_in_memory_gives_the_same_as_in_a_thread(tmp_path) -> None:
    file = data_file(b"content", "a/b\udcff \n.txt", user={"sample": "S1", "number": 1.5}, workdir=tmp_path)
    (in_a_thread,) = Built("extracts", {}, Isolation()).probe.handle(file).results
    with isolated("extracts", tmp_path) as runner:
        (result,) = runner.handle(file).results
    file.release()
    here = in_a_thread.value | {"path": 0, "pid": 0, "mtime": in_a_thread.value["mtime"].isoformat()}
    assert result.value | {"path": 0, "pid": 0} == here
    assert result.value["pid"] != os.getpid()


def test_a_spooled_file_goes_by_its_path_and_not_through_the_pipe(tmp_path) -> None:
    spooled = tmp_path / "00000001.raw"
    spooled.write_bytes(b"x" * 1000)
    file = data_file(spooled)
    assert frame_of(file).data == b""
    with isolated("extracts", tmp_path) as runner:
        (result,) = runner.handle(file).results
    assert result.value["path"] == str(spooled)
    assert spooled.exists()


FATES = {
    "segfault": ("crashed", "SIGSEGV"),
    "exit": ("crashed", "exit code 3"),
    "killed": ("crashed", "SIGKILL (the system may have had no memory left)"),
    "memory": ("out-of-memory", "MiB, plugin-memory allows 256 MiB"),
    "print": ("too-much-output", "it printed or logged more than"),
}


def test_whatever_a_plugin_does_to_its_process_is_told_and_the_next_file_runs(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(process, "MAX_PRINTED", 1 << 20)
    told = {}
    with isolated("extracts", tmp_path, timeout=60.0) as runner:
        for word in FATES:
            with pytest.raises(PluginFailed) as caught:
                runner.handle(data_file(b"1", word))
            told[word] = caught.value
            (result,) = runner.handle(data_file(b"12", "well")).results
            assert result.value["size"] == 2
    for word, (what, text) in FATES.items():
        assert told[word].what == what, word
        assert f"while it handled {word}: " in str(told[word])
        assert text in str(told[word])
    assert 'suffering.py", line' in told["segfault"].traceback, "where it crashed"
    assert list(tmp_path.glob("child-*")) == [], "what the dead left on disk"


def test_a_plugin_that_hangs_is_ended_and_its_traceback_says_where(tmp_path) -> None:
    with isolated("extracts", tmp_path, timeout=1.0) as runner:
        with pytest.raises(
            PluginFailed, match="while it handled hang: it took longer than plugin-timeout, 1 s"
        ) as hung:
            runner.handle(data_file(b"1", "hang"))
        assert runner.handle(data_file(b"12", "well")).results
    assert hung.value.what == "timed-out"
    assert "in suffer" in hung.value.traceback


def test_what_a_plugin_raises_is_raised_here(tmp_path) -> None:
    with isolated("extracts", tmp_path) as runner:
        pid = runner.pid
        with pytest.raises(Reject, match="no xrdMeasurement element") as rejected:
            runner.handle(data_file(b"", "reject"))
        with pytest.raises(RetryLater, match="the server is away") as later:
            runner.handle(data_file(b"", "later"))
        with pytest.raises(PluginFailed, match="1/0") as failed:
            runner.handle(data_file(b"", "raise"))
        with pytest.raises(PluginFailed, match="EOF"):
            runner.handle(data_file(b"", "input"))
        assert runner.pid == pid, "none of these is a reason for a new process"
    assert later.value.seconds == 7.5
    assert (failed.value.what, failed.value.error) == ("failed", "ZeroDivisionError")
    assert "in suffer" in failed.value.traceback
    assert "in suffer" in rejected.value.__notes__[0]


def test_a_child_that_closes_its_pipe_is_no_riddle(tmp_path) -> None:
    with isolated("extracts", tmp_path) as runner:
        with pytest.raises(PluginFailed, match=r"it closed its pipe|exit code"):
            runner.handle(data_file(b"", "closes"))
        assert runner.handle(data_file(b"", "well")).results


def test_results_of_a_processor_come_one_by_one_and_a_crash_in_the_middle_is_told(tmp_path) -> None:
    with isolated("processes", tmp_path) as runner:
        found = list(runner.handle(data_file(b"a\nb\n", "x")).results)
        assert [(each.value, each.key) for each in found] == [({"line": "a"}, "0"), ({"line": "b"}, "1")]
        results = iter(runner.handle(data_file(b"a\nsegfault\n", "x")).results)
        assert next(results).value == {"line": "a"}
        with pytest.raises(PluginFailed, match="SIGSEGV"):
            next(results)
        assert next(iter(runner.handle(data_file(b"c", "x")).results)).value == {"line": "c"}


def test_results_without_end_that_nobody_reads_any_more_do_not_harm_the_next_file(tmp_path) -> None:
    with isolated("processes", tmp_path) as runner:
        endless = iter(runner.handle(data_file(b"", "endless")).results)
        assert [len(next(endless).value) for _ in range(3)] == [100_000] * 3
        assert next(iter(runner.handle(data_file(b"c", "x")).results)).value == {"line": "c"}
        del endless


def test_what_cannot_be_opened_is_told_at_the_start(tmp_path) -> None:
    with pytest.raises(PluginFailed, match="1/0"), isolated("extracts", tmp_path, {"open_with": "raise"}):
        pytest.fail("it was opened")
    died = pytest.raises(PluginFailed, match="while it was opened: it was ended by SIGSEGV")
    with died, isolated("extracts", tmp_path, {"open_with": "segfault"}):
        pytest.fail("it was opened")
    (tmp_path / "a file").touch()
    with pytest.raises(FolderError), isolated("disk", tmp_path, {"folder": str(tmp_path / "a file" / "below")}):
        pytest.fail("it was opened")


def test_a_plugin_that_observes_is_refused_with_the_reason(tmp_path) -> None:
    with pytest.raises(PluginError, match=r"observes what happens \(openmsi_closing\).*isolate = thread"):
        Built("observes", {}, Isolation("process"))
    assert Built("observes", {}, Isolation()).probe


def test_options_that_cannot_travel_are_refused() -> None:
    assert portable({"to": Path("a"), "day": date(2026, 1, 2), "list": [1, "x"]}) == {
        "to": "a",
        "day": "2026-01-02",
        "list": [1, "x"],
    }
    with pytest.raises(SettingsError, match="object is no text, number, list or table"):
        portable({"to": object()})


@posix
def test_secrets_are_not_in_the_command_line_of_the_child(tmp_path) -> None:
    with isolated("extracts", tmp_path, {"password": "tell nobody"}) as runner:
        (result,) = runner.handle(data_file(b"1", "x")).results
        line = Path(f"/proc/{runner.pid}/cmdline")
        assert not line.exists() or b"tell nobody" not in line.read_bytes()
    assert result.value["secret"] == len("tell nobody")


@posix
def test_signals_to_the_child_are_left_to_the_run(tmp_path) -> None:
    with isolated("extracts", tmp_path) as runner:
        pid = runner.pid
        assert pid is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(pid, number)
        (result,) = runner.handle(data_file(b"1", "x")).results
        assert result.value["pid"] == pid


@posix
def test_a_child_that_hangs_is_ended_with_its_programs_when_the_run_ends(tmp_path, caplog) -> None:
    caplog.set_level(logging.INFO, "openmsi.plugin.extracts")
    caught: list[BaseException] = []

    def handle() -> None:
        try:
            runner.handle(data_file(b"1", "program"))
        except PluginFailed as error:
            caught.append(error)

    built = Built("extracts", {}, Isolation("process"))
    with built.runners(1, tmp_path) as (runner,):
        runner.open()
        thread = threading.Thread(target=handle)
        thread.start()
        wait_for(lambda: "program" in caplog.text, 10)
        program = int(caplog.text.split("program ")[1].split()[0])
    thread.join(10)
    assert not thread.is_alive()
    assert "the run ended" in str(caught[0])
    wait_for(lambda: not _runs(program), 5)
    with pytest.raises(PluginFailed, match="the run has ended"):
        runner.handle(data_file(b"1", "x"))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


@posix
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_a_run_that_is_killed_takes_a_child_that_hangs_with_it(tmp_path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from openmsi_core.testing.files import data_file\n"
        "from openmsi_core.wiring.building import Built, Isolation\n"
        "with Built('extracts', {}, Isolation('process')).runners(1, Path(sys.argv[2])) as (runner,):\n"
        "    runner.open()\n"
        "    print(runner.pid, flush=True)\n"
        "    runner.handle(data_file(b'', 'hang'))\n"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "packages"), str(tmp_path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        child = int(run.stdout.readline())
        assert _runs(child)
        run.kill()
        wait_for(lambda: not _runs(child), 10)


def test_a_child_that_ends_between_two_files_costs_no_file(tmp_path, caplog) -> None:
    with isolated("extracts", tmp_path) as runner:
        assert runner._child is not None
        runner._child.process.kill()
        runner._child.process.wait()
        assert runner.handle(data_file(b"1", "x")).results
    assert "ended between two files" in caplog.text


@pytest.mark.parametrize("writes_more", [False, True])
def test_what_was_written_and_not_flushed_when_the_process_died_is_said_to_be_lost(tmp_path, writes_more) -> None:
    with isolated("stores", tmp_path, {"to": str(tmp_path / "names")}) as runner:
        runner.handle(data_file(b"", "x"))
        assert runner._child is not None
        runner._child.process.kill()
        runner._child.process.wait()
        if writes_more:
            runner.handle(data_file(b"", "y"))
        with pytest.raises(WorkLost):
            runner.flush()
        runner.handle(data_file(b"", "x"))
        runner.flush()
        runner.flush()
    assert (tmp_path / "names").read_text().split() == ["y", "x"][not writes_more :]


def test_a_process_that_cannot_be_watched_is_not_left_unwatched(tmp_path, monkeypatch) -> None:
    def denied(_: int) -> None:
        raise psutil.AccessDenied

    with isolated("extracts", tmp_path) as runner:
        with monkeypatch.context() as patched:
            patched.setattr(process.psutil, "Process", denied)
            with pytest.raises(PluginFailed, match="SIGSEGV"):
                runner.handle(data_file(b"", "segfault"))
            with pytest.raises(PluginFailed, match="could not be watched"):
                runner.handle(data_file(b"", "hang"))
        assert runner.handle(data_file(b"", "x"))


def test_what_a_plugin_prints_and_logs_arrives_in_the_log_of_the_run(tmp_path, caplog) -> None:
    caplog.set_level(logging.INFO)
    with isolated("extracts", tmp_path) as runner:
        runner.handle(data_file(b"", "talks"))
    assert ("openmsi.plugin.extracts", logging.INFO, "printed") in caplog.record_tuples
    assert ("openmsi.plugin.extracts", logging.WARNING, "logged") in caplog.record_tuples


def test_a_frame_that_is_cut_off_is_an_end_and_one_that_is_too_long_is_refused(tmp_path) -> None:
    with (tmp_path / "pipe").open("w+b") as pipe:
        send(pipe, Frame({"say": "done"}, b"12345"))
        pipe.seek(0)
        with pytest.raises(ValueError, match="at most 10"):
            receive(pipe, 10)
        pipe.truncate(20)
        pipe.seek(0)
        assert receive(pipe) is None


def test_a_file_is_the_same_after_the_pipe(tmp_path) -> None:
    file = data_file(b"x", "a/\udcff", user={"n": 1}, workdir=tmp_path)
    there = file_of(frame_of(file), tmp_path)
    assert (there.version, there.position, there.received) == (file.version, file.position, file.received)
    assert there.read_bytes() == b"x"


def test_try_tells_a_crash_as_the_outcome_of_its_file(tmp_path) -> None:
    for name in ("well.txt", "segfault.txt"):
        (tmp_path / name).write_text("x")
    path = os.pathsep.join([str(tmp_path / "packages"), os.environ.get("PYTHONPATH", "")])
    words = ("try", "extracts", "segfault.txt", "well.txt", "--json", "--isolate", "process")
    result = openmsi(*words, folder=tmp_path, PYTHONPATH=path)
    assert result.returncode == 4, result.stderr
    crashed, done = map(json.loads, result.stdout.splitlines())
    assert (crashed["outcome"], done["outcome"]) == ("crashed", "done")
    assert "SIGSEGV" in crashed["reason"]
    refused = openmsi("try", "extracts", "well.txt", "--plugin-timeout", "3s", folder=tmp_path, PYTHONPATH=path)
    assert refused.returncode == 2
    assert 'write isolate = "process" too' in refused.stderr
