"""`openmsi doctor` where no broker is needed; tests/kafka/test_doctor.py has the rest."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections import namedtuple

import pytest

from openmsi_core.cli import main
from openmsi_core.kafka.process import free_port
from openmsi_core.settings import load
from openmsi_core.wiring import machine
from openmsi_core.wiring.doctor import Verdict, uses
from openmsi_core.wiring.machine import machine_findings
from tests.plugin_fakes import install


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def lines(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_machine_on_which_all_is_well_has_only_fine_lines(capsys, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)  # the clock of whoever runs the tests does not count
    assert main(["doctor", "--offline", "--json"]) == 0
    told = lines(capsys)
    assert {each["check"] for each in told} == {"python", "libraries", "disk", "plugins"}
    assert {each["verdict"] for each in told} == {"ok"}
    assert main(["doctor", "--offline"]) == 0
    assert "ok    python: " in capsys.readouterr().out


def test_no_broker_and_one_that_is_away_are_told_with_what_to_do(capsys) -> None:
    assert main(["doctor", "--json"]) == 2
    assert "OPENMSI_BROKER" in lines(capsys)[-1]["todo"]


@pytest.mark.timeout(60)
def test_a_broker_that_is_away_is_exit_code_3(capsys) -> None:
    assert main(["doctor", "--json", "--broker", f"127.0.0.1:{free_port()}"]) == 3
    last = lines(capsys)[-1]
    assert (last["check"], last["verdict"]) == ("broker", "wrong")
    assert "Check the address" in last["todo"]


def test_a_state_folder_that_cannot_be_written_or_that_others_write_to_is_told(tmp_path) -> None:
    (tmp_path / "file").touch()
    settings = load(environ={"OPENMSI_STATE": str(tmp_path / "file" / "state")})
    (bad,) = [each for each in machine_findings(settings) if each.verdict is Verdict.WRONG]
    assert (bad.check, bad.exit_code) == ("state folder", 2)
    state = tmp_path / "open"
    state.mkdir()
    state.chmod(0o777)
    told = [each for each in machine_findings(load(environ={"OPENMSI_STATE": str(state)})) if "others" in each.text]
    assert told[0].todo == f"chmod go-w {state}"


def test_a_full_disk_is_told_before_a_run_stands_still(monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - as shutil has it
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage(10**12, 10**12 - 10**9, 10**9))
    (bad,) = [each for each in machine_findings(load(environ={})) if each.verdict is Verdict.WRONG]
    assert bad.check == "disk"
    assert "1.0 GB free" in bad.text


@pytest.mark.parametrize(("answer", "verdict"), [("yes", "ok"), ("no", "note"), ("", None)])
def test_the_clock_is_what_systemd_says_of_it(tmp_path, monkeypatch, answer, verdict) -> None:
    fake = tmp_path / "bin" / "timedatectl"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\necho {answer}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    found = [each.verdict for each in machine_findings(load(environ={})) if each.check == "clock"]
    assert found == ([verdict] if verdict else [])


def test_plugins_that_cannot_run_and_runs_and_watches_without_one_are_told(tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    points = {"openmsi.extractors": {"late": "late:Good"}}
    install(tmp_path / "site", "package-late", points, {"late.py": "x = 1\n"}, requires=["openmsi>=99"])
    file = tmp_path / "openmsi.toml"
    file.write_text('[run.a]\nplugin = "dsk"\ntopic = "t"\n[watch.b]\npath = "gone"\ntopic = "t"\n')
    told = {each.check: each for each in machine_findings(load(file, environ={})) if each.verdict is Verdict.WRONG}
    assert set(told) == {"plugin package-late/late", "run a", "watch b"}
    assert "disk" in told["run a"].text
    sys.modules.pop("late", None)


def test_what_a_configuration_does_with_its_topics(tmp_path) -> None:
    file = tmp_path / "openmsi.toml"
    file.write_text(
        '[run.a]\nplugin = "disk"\ntopic = "t"\noutput-topic = "o"\nheartbeat-topic = "h"\n'
        '[watch.b]\npath = "x"\ntopic = "t"\nchunk = "1MiB"\n'
    )
    found = uses(load(file, environ={}), ("extra",))
    assert set(found) == {"t", "t.dlq", "t.receipts", "o", "h", "extra"}
    assert (found["t"].reads, found["t"].writes, found["t"].chunk) == ({"openmsi-a"}, True, 1 << 20)
    assert found["h"].writes
    assert not found["h"].carries_files


@pytest.fixture
def nodes(tmp_path) -> None:
    """A root of trust, and nodes of several kinds, made by the command itself."""
    pytest.importorskip("kafkacrypto", reason="openmsi[crypto] is not installed")
    folder = ["--folder", str(tmp_path / "nodes")]
    assert main(["crypto", "init", str(tmp_path / "nodes")]) == 0
    for name, *more in (
        ("good", "--role", "both", "--topic", "t", "--topic", "o"),
        ("soon", "--role", "both", "--topic", "t", "--valid", "10d"),
        ("deaf", "--role", "producer", "--topic", "t"),
        ("other", "--role", "both", "--topic", "elsewhere"),
    ):
        assert main(["crypto", "add", name, *more, *folder]) == 0


def test_nodes_that_cannot_do_what_is_needed_are_told(tmp_path, nodes, capsys) -> None:
    from openmsi_core.wiring.sealing import encryption_findings

    text = f'[crypto]\nfolder = "{tmp_path}/nodes"\n[run.ok]\nplugin = "disk"\ntopic = "t"\noutput-topic = "o"\n'
    text += 'crypto = "good"\n'
    for name in ("soon", "deaf", "other", "gone", "good"):
        text += f'[watch.{name}]\npath = "{name}"\ntopic = "t"\ncrypto = "{name}"\n'
    file = tmp_path / "openmsi.toml"
    file.write_text(text)
    settings = load(file, environ={})
    told = {each.check: f"{each.verdict}: {each.text}" for each in encryption_findings(settings)}
    assert told["run ok"].startswith("ok: ")
    assert told["watch soon"].startswith("note: ")
    assert "does not allow to open" in told["watch deaf"]
    assert "does not allow for t" in told["watch other"]
    assert told["watch gone"].startswith("wrong: there is no node gone")
    assert any("shares the node good with " in each.text for each in encryption_findings(settings))
    year = 365 * 24 * 3600
    later = {each.check: each.text for each in encryption_findings(settings, now=time.time() + year)}
    assert "ended on" in later["watch soon"]


def test_where_nothing_is_encrypted_nothing_is_said_of_it() -> None:
    from openmsi_core.wiring.sealing import encryption_findings

    assert list(encryption_findings(load(environ={}))) == []
