"""`openmsi config check`: runs and watches that would get in each other's way, and its answer for machines."""

from __future__ import annotations

import json

import pytest

from openmsi_core.cli import main


def checked(tmp_path, capsys, text: str) -> list[str]:
    file = tmp_path / "openmsi.toml"
    file.write_text(text)
    code = main(["config", "check", "--json", str(file)])
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(file)
    assert told["ok"] == (code == 0) == (not told["problems"])
    return told["problems"]


def test_two_named_runs_of_one_plugin_and_their_own_ports_are_fine(tmp_path, capsys) -> None:
    text = (
        '[run.a]\nplugin = "disk"\ntopic = "t"\nmetrics-port = 1\n[run.b]\nplugin = "disk"\ntopic = "t"\n'
        'metrics-port = 2\n[run.c]\nplugin = "disk"\ntopic = "t"\nmetrics-port = 0\n[watch.d]\npath = "x"\n'
        "metrics-port = 0\n"
    )
    assert checked(tmp_path, capsys, text) == []


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ('[run.a]\nplugin="disk"\ntopic="t"\ngroup="g"\n[run.b]\nplugin="file-info"\ntopic="t"\ngroup="g"\n',
         8, "share its group g with run a"),
        ('[watch.a]\npath = "x"\ntopic = "t"\n[watch.b]\npath = "./x"\ntopic = "t"\n', 5, "the same folder"),
        ('[run.a]\nplugin = "disk"\nmetrics-port = 9\n[watch.b]\npath = "x"\nmetrics-port = 9\n', 6, "port 9 too"),
        ('[run.a]\nplugin = "disk"\ntopic = "t"\noutput-topic = "t"\n', 4, "the topic that it reads"),
        ('[watch.a]\npath = "x"\ntopic = "t.dlq"\n', 3, "another use"),
        ('[run.a]\nplugin = "disk"\nhooks = ["nobody"]\n', 3, "nobody"),
    ],
)  # fmt: skip
def test_what_could_not_work_together_is_told_with_its_line(tmp_path, capsys, text, line, why) -> None:
    (problem,) = checked(tmp_path, capsys, text)
    assert problem.startswith(f"{tmp_path / 'openmsi.toml'}:{line}: ")
    assert why in problem


def test_what_cannot_be_read_is_told_in_json_too(tmp_path, capsys) -> None:
    problems = checked(tmp_path, capsys, "[run.a]\nworkrs = 1\nplugn = 2\n")
    assert any("did you mean 'workers'" in each for each in problems)
    assert main(["config", "check", str(tmp_path / "openmsi.toml")]) == 2
    assert "did you mean 'plugin'" in capsys.readouterr().err
