"""Configuration: what each table takes, what is refused, and on which line."""

from __future__ import annotations

import pytest

from openmsi_core.errors import SettingsError
from openmsi_core.settings import find, load, run_settings, watch_settings
from openmsi_core.settings.reading import lines_of


def write(folder, text):
    file = folder / "openmsi.toml"
    file.write_text(text, "utf-8")
    return file


def test_the_topic_of_a_table_may_come_from_the_command_line(tmp_path) -> None:
    settings = load(write(tmp_path, '[run.disk]\nworkers = 3\n[watch.x]\npath = "d"\n'), environ={})
    run = run_settings(settings, "disk", {"topic": "t"})
    assert (run.topic, run.workers) == ("t", 3)
    assert watch_settings(settings, "x", {"topic": "t"}).topic == "t"
    with pytest.raises(SettingsError, match=r"under \[watch\.x\]"):
        watch_settings(settings, "x", {})


def test_a_group_is_named_after_its_run_and_nothing_else_names_it(tmp_path) -> None:
    file = write(tmp_path, '[run.a]\nplugin = "disk"\n[run.b]\nplugin = "disk"\ngroup = "mine"\n')
    settings = load(file, environ={})
    assert [settings.run[name].group for name in "ab"] == ["openmsi-a", "mine"]
    assert run_settings(settings, "b", {"topic": "t"}).group == "mine"
    with pytest.raises(SettingsError, match=r"no setting 'run\.c\.name'"):
        load(write(tmp_path, '[run.c]\nname = "x"\n'), environ={})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('workers = "4"', "'run.x.workers' should be a valid integer, not '4'"),
        ("workers = 4.0", "'run.x.workers' should be a valid integer"),
        ("bare = 1", "'run.x.bare' should be a valid boolean"),
        ("topic = 5", "'run.x.topic' should be a valid string"),
        ('topic = "a b"', "'a b' is no topic name"),
        ('topic = ".."', "is no topic name"),
        ('include = "*.txt"', 'a list is needed, as in ["*.txt"]'),
        ('include = ["*.txt", "re:("]', "'re:(' is no pattern: missing )"),
        ('exclude = ["[z-a]"]', "'[z-a]' is no pattern: bad character range"),
        ("include = [1]", "'run.x.include.0' should be a valid string"),
        ('output_topic = "t"', "no setting 'run.x.output_topic'; did you mean 'output-topic'?"),
        (
            'from = "yesterday"',
            "a moment is needed: 'yesterday' is not a moment like 2026",
        ),
        ("incomplete-after = true", "should be a valid number"),
        ("incomplete-after = inf", "should be a finite number"),
        ('memory-limit = "1 MB"', "should be greater than or equal to 16777216"),
        ("options = 3", "'run.x.options' must be a table, [run.x.options]"),
        ('plugin = ""', "'run.x.plugin'"),
    ],
)
def test_a_value_of_another_kind_is_refused_and_not_converted(tmp_path, line, said) -> None:
    file = write(tmp_path, f"[run.x]\n{line}\n")
    with pytest.raises(SettingsError) as error:
        load(file, environ={})
    assert said in str(error.value)
    assert f"{file}:2: " in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("run.x = 3\n", "'run.x' must be a table, [run.x]"),
        ("run = 3\n", "'run' must be a table, [run]"),
        ('[watch.x]\npath = ""\n', "a path cannot be empty"),
        ('[watch.x]\ntopic = "t"\n', "'watch.x.path' is needed"),
    ],
)
def test_a_table_that_is_none_and_a_path_that_is_empty_are_said(tmp_path, text, said) -> None:
    with pytest.raises(SettingsError) as error:
        load(write(tmp_path, text), environ={})
    assert said in str(error.value)


def test_a_path_may_begin_at_home_and_the_environment_names_the_state(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = write(tmp_path, 'state = "~/s"\n[watch.x]\npath = "~/d"\ntopic = "t"\n')
    settings = load(file, environ={})
    assert (settings.state, settings.watch["x"].path) == (tmp_path / "s", tmp_path / "d")
    assert load(file, environ={"OPENMSI_STATE": "/elsewhere"}).state.as_posix() == "/elsewhere"


def test_references_expand_in_lists_and_in_the_options_of_a_plugin(tmp_path) -> None:
    file = write(
        tmp_path,
        '[run.x]\ninclude = ["${KIND}/*"]\n[run.x.options]\nfolder = "${ROOT}/a"\nnested = {list = ["${KIND}"]}\n',
    )
    run = load(file, environ={"KIND": "xrd", "ROOT": "/data"}).run["x"]
    assert run.include == ("xrd/*",)
    assert run.options == {"folder": "/data/a", "nested": {"list": ["xrd"]}}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("${NO}", "the environment has no NO: set it, or write $${NO}"),
        ("${file:/no/where}", "the file /no/where cannot be read: No such file or directory"),
        ("${", "a reference is written ${VARIABLE}"),
        ("${}", "a reference is written ${VARIABLE}"),
    ],
)
def test_a_reference_to_nothing_is_an_error_with_its_line(tmp_path, value, said) -> None:
    file = write(tmp_path, f'[run.x]\ntopic = "t"\n\n[run.x.options]\nkey = "{value}"\n')
    with pytest.raises(SettingsError) as error:
        load(file, environ={})
    assert f"{file}:5: 'run.x.options.key': " in str(error.value)
    assert said in str(error.value)


def test_what_is_typed_after_x_may_refer_to_the_environment(tmp_path) -> None:
    kafka = load(write(tmp_path, ""), environ={"P": "hush"}, kafka={"sasl.password": "${P}"}).kafka
    assert kafka["sasl.password"] == "hush"
    with pytest.raises(SettingsError, match=r"the command line: 'kafka\.sasl\.password'"):
        load(write(tmp_path, ""), environ={}, kafka={"sasl.password": "${P}"})


def test_what_the_environment_says_is_taken_as_it_is() -> None:
    kafka = load(environ={"OPENMSI_KAFKA__SASL_PASSWORD": "a${b}$$", "OPENMSI_KAFKA__LOG_LEVEL": "7"}).kafka
    assert dict(kafka) == {"sasl.password": "a${b}$$", "log_level": "7"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("OPENMSI_BROKR", "did you mean OPENMSI_BROKER?"),
        ("OPENMSI_KAFKA_SASL_PASSWORD", "did you mean OPENMSI_KAFKA__SASL_PASSWORD?"),
    ],
)
def test_a_variable_that_would_be_overlooked_is_refused(name, said) -> None:
    with pytest.raises(SettingsError) as error:
        load(environ={name: "hush"})
    assert said in str(error.value)
    assert "hush" not in str(error.value)


def test_a_broker_in_the_environment_must_be_an_address_too() -> None:
    with pytest.raises(SettingsError, match="OPENMSI_BROKER 'nohost' is not HOST:PORT"):
        load(environ={"OPENMSI_BROKER": "nohost"})


def test_a_list_of_brokers_is_one_option_and_what_has_no_spelling_is_refused(tmp_path) -> None:
    kafka = load(write(tmp_path, '[kafka]\nbootstrap.servers = ["a:1", "b:2"]\n'), environ={}).kafka
    assert kafka["bootstrap.servers"] == "a:1,b:2"
    with pytest.raises(SettingsError, match=r"toml:2: 'kafka\.x': librdkafka takes text"):
        load(write(tmp_path, "[kafka]\nx = 2026-11-24\n"), environ={})


def test_the_file_is_looked_for_in_four_places(tmp_path, monkeypatch) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    for folder in (here, home / "openmsi"):
        folder.mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.chdir(here)
    assert find({}) is None
    users = write(home / "openmsi", "")
    assert find({}) == users
    write(here, "")
    assert str(find({})) == "openmsi.toml"
    assert str(find({"OPENMSI_CONFIG": "named.toml"})) == "named.toml"
    given = write(tmp_path, 'state = "given"\n')
    assert str(load(given, environ={"OPENMSI_CONFIG": "named.toml"}).state) == "given"


def test_a_file_as_windows_editors_leave_it_is_read(tmp_path) -> None:
    file = tmp_path / "openmsi.toml"
    file.write_bytes("\ufeff[kafka]\r\nclient.id = 'é'\r\n".encode())
    assert load(file, environ={}).kafka["client.id"] == "é"
    file.write_bytes(b"[kafka]\nclient.id = '\xe9'\n")
    with pytest.raises(SettingsError, match="is not UTF-8"):
        load(file, environ={})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = 1\nb == 2\n", ":2: this is not TOML: Invalid value."),
        ("a = [1,\n", ":2: this is not TOML:"),
        ('a = 1\n\npath = "D:\\data"\n', "A Windows path needs single quotes"),
    ],
)
def test_what_is_not_toml_is_said_with_its_line(tmp_path, text, said) -> None:
    with pytest.raises(SettingsError) as error:
        load(write(tmp_path, text), environ={})
    assert said in str(error.value)


def test_lines_are_found_whatever_way_a_key_is_written() -> None:
    text = (
        "# [run.no]\n[run . 'a.b']\ntopic = '''\nx = 1\n'''\noptions = { deep = { x = 1 } }\n"
        "include = [\n  '[run.c]',\n]\n\n[[odd]]\nb.c = 1\n"
    )
    lines = lines_of(text)
    assert (lines["run",], lines["run", "a.b"], lines["run", "a.b", "topic"]) == (2, 2, 3)
    assert (lines["run", "a.b", "options", "deep", "x"], lines["run", "a.b", "include"]) == (6, 7)
    assert (lines["odd",], lines["odd", "b", "c"]) == (11, 12)
    assert ("x",) not in lines
    assert ("run", "c") not in lines
