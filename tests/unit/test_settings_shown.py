"""`openmsi config`: what is checked without a broker, what is shown, and what never is."""

from __future__ import annotations

import json
import sys

import pytest

from openmsi_core.cli import main
from openmsi_core.settings import load
from tests.plugin_fakes import extractor

KEYED = '''
from pydantic import SecretStr
from openmsi_core import Extractor, PluginOptions

class Good(Extractor):
    """Needs a key."""

    class Options(PluginOptions):
        api_key: SecretStr
        """The key."""

    def extract(self, file):
        return {}
'''


def write(folder, text):
    file = folder / "openmsi.toml"
    file.write_text(text, "utf-8")
    return file


@pytest.fixture
def keyed(tmp_path, monkeypatch):
    """An installed extractor called `keyed` that has a secret option."""
    monkeypatch.syspath_prepend(str(tmp_path))
    extractor(tmp_path, "package-keyed", "keyed", KEYED)
    yield "keyed"
    sys.modules.pop("package_keyed", None)


def test_secrets_are_never_shown(tmp_path, capsys) -> None:
    file = write(
        tmp_path,
        '[kafka]\nbootstrap.servers = "b:1"\nsasl.password = "hush"\nssl.key.password = "hush"\n'
        '[run.x]\ntopic = "t"\n[run.x.options]\nsecret-key = "hush"\nbucket = "b"\nauth = {token = "hush"}\n',
    )
    assert main(["config", "show", str(file)]) == 0
    assert main(["config", "show", "--json", str(file)]) == 0
    settings = load(file, environ={})
    out = capsys.readouterr().out + repr(settings) + repr(settings.kafka) + repr(settings.run)
    assert "b:1" in out
    assert "hush" not in out


def test_show_says_where_each_value_comes_from(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("OPENMSI_BROKER", "env:1")
    file = write(tmp_path, '[kafka]\nbootstrap.servers = "b:1"\nclient.id = "x"\n[run.x]\ntopic = "t"\n')
    assert main(["config", "show", "--json", str(file)]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = {row["name"]: (row["value"], row["from"]) for row in told["settings"]}
    assert told["file"] == str(file)
    assert rows["kafka.bootstrap.servers"] == ("env:1", "OPENMSI_BROKER")
    assert rows["kafka.client.id"] == ("x", f"{file}:3")
    assert rows["run.x.topic"] == ("t", f"{file}:5")
    assert rows["run.x.workers"] == (None, "default")
    assert rows["state"][1] == "OPENMSI_STATE"


def test_config_check_says_ok(tmp_path, capsys) -> None:
    good = write(tmp_path, '[kafka]\nbootstrap.servers = "127.0.0.1:1"\n[run.disk]\ntopic = "t"\n')
    assert main(["config", "check", str(good)]) == 0
    assert capsys.readouterr().out == f"{good}: ok\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[kafka]\nbootstrap.servers = "127.0.0.1:1"\nacks = "1"\n', "acks"),
        ('[kafka]\nbootstrap.servers = "127.0.0.1:1"\nclient.idd = "1"\n', "did you mean client.id?"),
        ('[run.x]\ntopic = "t"\nplugin = "nowhere"\n', "run x: "),
        ('[run.disk]\ntopic = "t"\n[run.disk.options]\nfoldr = "x"\n', "did you mean 'folder'?"),
    ],
)
def test_config_check_asks_librdkafka_and_the_plugins_too(tmp_path, capsys, text, said) -> None:
    assert main(["config", "check", str(write(tmp_path, text))]) == 2
    assert said in capsys.readouterr().err


def test_every_problem_stands_on_its_own_line_of_the_message(tmp_path, capsys) -> None:
    file = write(tmp_path, "a = 1\nb = 2\n")
    assert main(["config", "check", str(file)]) == 2
    first, *rest = capsys.readouterr().err.splitlines()
    assert first == "openmsi: error: the configuration has 2 problems"
    assert [line.startswith(f"  {file}:{number}: ") for number, line in enumerate(rest, start=1)] == [True, True]


@pytest.mark.parametrize("command", [["config", "check"], ["run", "x", "--broker", "127.0.0.1:1", "--config"]])
def test_a_plugins_secret_that_stands_in_the_file_is_refused(tmp_path, capsys, keyed, command) -> None:
    file = write(tmp_path, f'[run.x]\nplugin = "{keyed}"\ntopic = "t"\n[run.x.options]\napi-key = "hush"\n')
    assert main([*command, str(file)]) == 2
    said = capsys.readouterr().err
    assert f"{file}:5: api-key is a secret" in said
    assert "hush" not in said


def test_a_plugins_secret_that_is_referred_to_is_taken(tmp_path, capsys, keyed, monkeypatch) -> None:
    monkeypatch.setenv("XRD_KEY", "hush")
    file = write(tmp_path, f'[run.x]\nplugin = "{keyed}"\ntopic = "t"\n[run.x.options]\napi-key = "${{XRD_KEY}}"\n')
    assert main(["config", "check", str(file)]) == 0
    assert main(["config", "show", str(file)]) == 0
    assert "hush" not in capsys.readouterr().out
