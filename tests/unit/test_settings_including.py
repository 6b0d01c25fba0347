"""Files that include others, and where each value came from."""

from __future__ import annotations

import json

import pytest

from openmsi_core.cli import main
from openmsi_core.errors import SettingsError
from openmsi_core.settings import load, sources


def write(folder, **files: str) -> None:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")


def test_what_the_including_file_says_wins_and_each_value_tells_where_it_stands(tmp_path, capsys) -> None:
    write(
        tmp_path,
        openmsi='include = ["site.toml", "conf.d/*.toml"]\n[kafka]\nlinger.ms = 7\n[run.a]\nworkers = 3\n',
        site='[kafka]\nbootstrap.servers = "b:1"\nlinger.ms = 1\n',
        conf__a='\n[run.a]\nplugin = "disk"\ntopic = "t"\nworkers = 2\n',
        conf__b='[watch.b]\npath = "x"\n',
    )
    (tmp_path / "conf").rename(tmp_path / "conf.d")
    settings = load(tmp_path / "openmsi.toml", environ={})
    assert dict(settings.kafka) == {"bootstrap.servers": "b:1", "linger.ms": "7"}
    assert (settings.run["a"].workers, settings.run["a"].topic, set(settings.watch)) == (3, "t", {"b"})
    assert sources(settings, ("run", "a", "topic")) == f"{tmp_path}/conf.d/a.toml:4"
    assert sources(settings, ("run", "a", "workers")) == f"{tmp_path}/openmsi.toml:5"
    assert sources(settings, ("kafka", "bootstrap.servers")) == f"{tmp_path}/site.toml:2"
    assert main(["config", "show", "--json", str(tmp_path / "openmsi.toml")]) == 0
    told = {each["name"]: each["from"] for each in json.loads(capsys.readouterr().out)["settings"]}
    assert told["kafka.linger.ms"] == f"{tmp_path}/openmsi.toml:3"
    assert told["run.a.plugin"] == f"{tmp_path}/conf.d/a.toml:3"


def test_two_included_files_that_contradict_each_other_are_named_both(tmp_path) -> None:
    write(
        tmp_path,
        openmsi='include = ["a.toml", "b.toml"]\n',
        a='[kafka]\nsasl.username = "x"\nclient.id = "same"\n',
        b='[kafka]\nclient.id = "same"\nsasl.username = "y"\n',
    )
    with pytest.raises(SettingsError, match=r"b\.toml:3: 'kafka\.sasl\.username'.*a\.toml:2"):
        load(tmp_path / "openmsi.toml", environ={})


def test_a_problem_in_an_included_file_is_told_with_that_file_and_its_line(tmp_path) -> None:
    write(tmp_path, openmsi='include = ["a.toml"]\n', a="\n[run.a]\nworkrs = 3\n")
    with pytest.raises(SettingsError, match=r"a\.toml:3: .*did you mean 'workers'"):
        load(tmp_path / "openmsi.toml", environ={})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('include = ["gone.toml"]', "no .*gone.toml to include"),
        ('include = ["openmsi.toml"]', "includes itself"),
        ('include = ["loop.toml"]', "includes itself"),
        ('include = "a.toml"', "a list is needed"),
        ("include = [1]", "include"),
        ('include = ["broken.toml"]', r"broken\.toml:1: this is not TOML"),
    ],
)
def test_includes_that_lead_nowhere_are_errors(tmp_path, text, why) -> None:
    write(tmp_path, openmsi=f"{text}\n", loop='include = ["openmsi.toml"]\n', broken="a = \n")
    with pytest.raises(SettingsError, match=why):
        load(tmp_path / "openmsi.toml", environ={})


def test_a_pattern_that_matches_nothing_is_no_error(tmp_path) -> None:
    write(tmp_path, openmsi='include = ["conf.d/*.toml"]\n')
    assert load(tmp_path / "openmsi.toml", environ={}).run == {}
