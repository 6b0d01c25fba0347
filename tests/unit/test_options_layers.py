"""A plugin's options from the file, the environment and flags; what is wrong with them, and where."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openmsi_core.cli import main
from openmsi_core.cli.layers import given_options
from openmsi_core.errors import SettingsError
from openmsi_core.settings import load, run_settings
from tests.plugin_fakes import extractor

RICH = '''
from pydantic import SecretStr
from openmsi_core import Extractor, PluginOptions

class Good(Extractor):
    """Says what it was told."""

    class Options(PluginOptions):
        keep_empty: bool = False
        count: int = 1
        tags: list[str] = []
        labels: dict[str, str] = {}
        word: str = ""
        pin: SecretStr | None = None

    def extract(self, file):
        return self.options.model_dump(mode="json")
'''


@pytest.fixture
def rich(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A plugin called rich is installed; a file to write the configuration to."""
    monkeypatch.syspath_prepend(str(tmp_path))
    extractor(tmp_path, "my-rich", "rich", RICH)
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "openmsi.toml"
    sys.modules.pop("my_rich", None)


def options(file: Path, flags: dict[str, object], run: str = "rich") -> dict[str, object]:
    settings = load(file)
    return given_options(settings, run, run_settings(settings, run, {"topic": "t"}), flags)


def test_a_flag_wins_over_the_environment_and_that_over_the_file(rich: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rich.write_text('[run.rich.options]\nkeep-empty = true\ncount = 2\nword = "file"\n')
    monkeypatch.setenv("OPENMSI_PLUGIN__RICH__COUNT", "3")
    monkeypatch.setenv("OPENMSI_PLUGIN__RICH__WORD", "variable")
    merged = options(rich, {"word": "flag", "keep_empty": False})
    assert {name.replace("-", "_"): value for name, value in merged.items()} == {
        "keep_empty": False,
        "count": "3",
        "word": "flag",
    }


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        ("TAGS", "one", ["one"]),
        ("TAGS", '["one", "two"]', ["one", "two"]),
        ("LABELS", '{"a": "b"}', {"a": "b"}),
        ("KEEP_EMPTY", "true", True),
        ("COUNT", "7", 7),
        ("WORD", "[not json", "[not json"),
        ("PIN", "hush", "**********"),
    ],
)
def test_the_environment_gives_options_to_try_too(
    rich: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    text: str,
    value: object,
) -> None:
    monkeypatch.setenv(f"OPENMSI_PLUGIN__RICH__{option}", text)
    (rich.parent / "a.txt").write_text("x")
    assert main(["try", "my-rich/rich", "a.txt", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["metadata"][option.lower()] == value


def test_every_problem_is_said_at_once_where_it_stands(rich: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rich.write_text('[run.rich]\ntopic = "t"\n[run.rich.options]\ncuont = 2\npin = "hush"\nlabels = {a = 1}\n')
    monkeypatch.setenv("OPENMSI_PLUGIN__RICH__TAGS", "[1")
    monkeypatch.setenv("OPENMSI_PLUGIN__RICH__WRD", "x")
    with pytest.raises(SettingsError) as caught:
        options(rich, {"count": "many"})
    text = str(caught.value)
    assert text.startswith("options of run rich: 6 problems\n")
    for said in (
        f"{rich}:4: there is no option 'cuont', did you mean 'count'?",
        f"{rich}:5: pin is a secret and stands in the file as it is.",
        f"{rich}:6: 'labels.a': Input should be a valid string",
        "OPENMSI_PLUGIN__RICH__TAGS: 'tags' is written in JSON:",
        "OPENMSI_PLUGIN__RICH__WRD: there is no option 'wrd', did you mean 'word'?",
        "\n  'count': Input should be a valid integer",
    ):
        assert said in text, text
    assert "hush" not in text
    assert "many" not in text


def test_what_is_missing_is_said_with_the_line_of_the_run(
    rich: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rich.write_text('[kafka]\nbootstrap.servers = "127.0.0.1:1"\n[run.disk]\ntopic = "t"\n')
    assert main(["run", "disk", "--config", str(rich)]) == 2
    assert f"options of run disk: {rich}:3: 'folder' is needed (--folder)" in capsys.readouterr().err


def test_config_check_says_what_tables_plugins_and_librdkafka_say_all_at_once(
    rich: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rich.write_text(
        '[kafka]\nbootstrap.servers = "b:1"\nacks = "1"\n[watch.a]\npath = "x"\nsettle = "soon"\n'
        '[run.rich]\ntopic = "t"\nwrkers = 2\n[run.rich.options]\ncount = "x"\n[run.b]\nplugin = "rch"\n'
        '[run.rich.options.labels]\na = 1\n[run.c]\nplugin = "disk"\noptions = 3\n'
    )
    monkeypatch.setenv("OPENMSI_PLUGIN__RICH__KEEP_EMPTY", "perhaps")
    assert main(["config", "check", str(rich)]) == 2
    text = capsys.readouterr().err
    assert "the configuration has 8 problems" in text
    for said in (
        f"{rich}:3: Kafka option acks cannot be set",
        f"{rich}:6: 'watch.a.settle': 'soon' is not a span like 3s",
        f"{rich}:9: there is no setting 'run.rich.wrkers'; did you mean 'workers'?",
        f"{rich}:11: 'count': Input should be a valid integer",
        f"{rich}:13: run b: no plugin called 'rch' is installed. Did you mean 'rich'?",
        f"{rich}:15: 'labels.a': Input should be a valid string",
        f"{rich}:18: 'run.c.options' must be a table",
        "OPENMSI_PLUGIN__RICH__KEEP_EMPTY: 'keep-empty': Input should be a valid boolean",
    ):
        assert said in text, text


def test_config_show_hides_what_the_plugin_calls_a_secret(
    rich: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MINE", "hush")
    rich.write_text('[run.rich.options]\npin = "${MINE}"\nword = "seen"\n[run.gone.options]\nwhatever = "${MINE}"\n')
    monkeypatch.setenv("OPENMSI_PLUGIN__RICH__COUNT", "7")
    monkeypatch.setenv("OPENMSI_PLUGIN__GONE__PIN", "hush")
    assert main(["config", "show", str(rich)]) == 0
    out = capsys.readouterr().out
    assert f'run.rich.options.pin = "(hidden)"    # {rich}:2' in out
    assert f'run.rich.options.word = "seen"    # {rich}:3' in out
    assert 'run.rich.options.count = "7"    # OPENMSI_PLUGIN__RICH__COUNT' in out
    assert 'run.gone.options.pin = "(hidden)"    # OPENMSI_PLUGIN__GONE__PIN' in out
    assert "hush" not in out


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("OPENMSI_PLUGIN_RICH_COUNT", "did you mean OPENMSI_PLUGIN__NAME__OPTION?"),
        ("OPENMSI_PLUGIN__RICH", "did you mean OPENMSI_PLUGIN__NAME__OPTION?"),
        ("OPENMSI_PLUGINS__RICH__COUNT", "did you mean OPENMSI_PLUGIN__NAME__OPTION?"),
    ],
)
def test_a_variable_that_is_nearly_an_option_is_no_silence(variable: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(environ={variable: "1"})
    assert f"the variable {variable} means nothing; {said}" in str(caught.value)


def test_help_names_the_variable_of_each_flag(rich: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "rich", "--help"]) == 0
    assert "[env: OPENMSI_PLUGIN__RICH__KEEP_EMPTY]" in " ".join(capsys.readouterr().out.split())
