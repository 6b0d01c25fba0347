"""`openmsi plugins`, `openmsi try`, and a plugin's options as flags."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openmsi_core.cli import main
from tests.plugin_fakes import GOOD, extractor

PICKY = '''
from typing import Literal
from openmsi_core import Extractor, PluginOptions, Reject, RetryLater

class Good(Extractor):
    """Picky."""

    class Options(PluginOptions):
        mode: Literal["take", "reject", "later", "fail", "none"] = "take"
        """What to do."""
        keep_empty: bool = True
        """Keep what is empty."""
        tag: list[str] = []
        """Any number of words."""

    def extract(self, file):
        print("noise")
        mode = self.options.mode
        if mode == "reject":
            raise Reject("not mine\\x1b[2J")
        if mode == "later":
            raise RetryLater(5, "the balance is asleep")
        if mode == "fail":
            raise ValueError("odd")
        return None if mode == "none" else {"tag": self.options.tag, "keep": self.options.keep_empty}
'''


@pytest.fixture
def picky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A plugin called picky; answers a file to try it on."""
    site = tmp_path / "site"
    extractor(site, "my-picky", "picky", PICKY)
    monkeypatch.syspath_prepend(str(site))
    file = tmp_path / "a file.txt"
    file.write_text("abc")
    yield file
    sys.modules.pop("my_picky", None)


def test_plugins_lists_everything_with_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    extractor(tmp_path, "my-bad", "bad", f"raise SystemExit\n{GOOD}", requires=["openmsi>=7"])
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["plugins"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["KIND", "NAME", "PACKAGE", "STATUS", "SUMMARY"]
    assert any(line.startswith("sink") and " disk " in line and " ok " in line for line in lines)
    (bad,) = [line for line in lines if " bad " in line]
    assert "incompatible" in bad
    assert "pip install --upgrade my-bad openmsi" in bad


def test_plugins_as_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "--kind", "sink", "--json"]) == 0
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {entry["kind"] for entry in entries} == {"sink"}
    (disk,) = [entry for entry in entries if entry["name"] == "disk"]
    assert (disk["package"], disk["status"], disk["delivery"]) == ("openmsi", "ok", "idempotent")


def test_try_shows_the_results_of_each_file(picky: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["try", "picky", str(picky), "--tag", "a", "--no-keep-empty", "--tag=b", str(picky), "--json"]) == 0
    printed = capsys.readouterr()
    told = [json.loads(line) for line in printed.out.splitlines()]
    assert [each["outcome"] for each in told] == ["done", "done"]
    assert told[0]["results"][0]["metadata"] == {"tag": ["a", "b"], "keep": False}
    assert told[0]["results"][0]["file"]["size"] == 3
    assert printed.err == "noise\nnoise\n"


@pytest.mark.parametrize(
    ("mode", "outcome", "text"),
    [
        ("reject", "rejected", "Reject: not mine\\x1b[2J"),
        ("later", "retry-later", "RetryLater: the balance is asleep"),
        ("fail", "failed", "ValueError: odd"),
        ("none", "failed", "the plugin picky answered with NoneType"),
    ],
)
def test_try_says_why_a_file_failed_and_exits_with_4(
    picky: Path, capsys: pytest.CaptureFixture[str], mode: str, outcome: str, text: str
) -> None:
    assert main(["try", "picky", str(picky), "--mode", mode]) == 4
    printed = capsys.readouterr().out
    assert printed.startswith(f"{picky}: {outcome}\n")
    assert text in printed
    assert ("Traceback" in printed) == (outcome == "failed")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["piky", "FILE"], "no plugin called 'piky' is installed. Did you mean 'picky'?"),
        (["picky", "FILE", "--mod", "take"], "No such option '--mod'. Did you mean"),
        (["picky", "FILE", "--mode", "x"], "options of picky: 'mode': Input should be 'take'"),
        (["picky"], "name at least one file"),
        (["picky", "nowhere.txt"], "there is no file 'nowhere.txt'"),
        (["picky", "."], "'.' is a folder"),
        (["--mode", "take", "picky", "FILE"], "write the plugin's name before its options"),
    ],
)
def test_what_is_wrong_with_the_command_is_said_in_one_line(
    picky: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    assert main(["try", *[str(picky) if each == "FILE" else each for each in arguments]]) == 2
    printed = capsys.readouterr()
    assert text in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


@pytest.mark.parametrize("command", [["try", "picky"], ["run", "picky"], ["run", "--topic", "disk", "picky"]])
def test_help_lists_the_plugins_own_flags(picky: Path, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    assert main([*command, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Options of picky: --mode [take|reject|later|fail|none] What to do. [default: take]" in text
    assert "--keep-empty / --no-keep-empty Keep what is empty. [default: keep-empty]" in text
    assert "--tag TEXT Any number of words." in text


def test_help_for_something_that_is_no_plugin_is_still_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "archive", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--until-caught-up" in text
    assert "The options of archive cannot be listed: no plugin called 'archive'" in text


def test_try_stores_files_through_a_sink(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scan.txt").write_text("abc")
    arguments = ["try", "disk", "--folder", str(tmp_path / "out"), str(tmp_path / "scan.txt")]
    assert main(arguments) == 0
    assert main([*arguments, "--json"]) == 0
    assert (tmp_path / "out/scan.txt").read_text() == "abc"
    assert (tmp_path / "scan.txt").exists()
    assert f"stored at {tmp_path}/out/scan.txt" in capsys.readouterr().out


def test_a_folder_that_cannot_be_used_is_one_clear_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scan.txt").write_text("abc")
    assert main(["try", "disk", str(tmp_path / "scan.txt"), "--folder", str(tmp_path / "scan.txt")]) == 2
    assert "openmsi: error: files cannot be stored in" in capsys.readouterr().err
