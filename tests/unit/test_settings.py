"""Configuration: what wins, what is refused, and what is said."""

from __future__ import annotations

import pytest

from openmsi_core.cli import main
from openmsi_core.errors import SettingsError
from openmsi_core.settings import bytes_of, load, run_settings, seconds_of, watch_settings


def write(folder, text):
    file = folder / "openmsi.toml"
    file.write_text(text, "utf-8")
    return file


def test_without_any_file_the_defaults_hold(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert dict(load(environ={}).kafka) == {}


def test_dotted_keys_are_librdkafkas_own_names_and_strings_stay_strings(tmp_path) -> None:
    file = write(
        tmp_path,
        '[kafka]\nbootstrap.servers = "b:1"\nsasl.password = "8675309"\nsocket.keepalive.enable = true\n'
        "linger.ms = 7\n'ssl.ca.location' = 'C:\\ca.pem'\n",
    )
    assert dict(load(file, environ={}).kafka) == {
        "bootstrap.servers": "b:1",
        "sasl.password": "8675309",
        "socket.keepalive.enable": "true",
        "linger.ms": "7",
        "ssl.ca.location": "C:\\ca.pem",
    }


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path) -> None:
    file = write(tmp_path, '[kafka]\nbootstrap.servers = "file:1"\nclient.id = "file"\nlinger.ms = "1"\n')
    environ = {"OPENMSI_BROKER": "env:1", "OPENMSI_KAFKA__CLIENT_ID": "env"}
    kafka = load(file, environ=environ, kafka={"bootstrap.servers": "flag:1"}).kafka
    assert (kafka["bootstrap.servers"], kafka["client.id"], kafka["linger.ms"]) == ("flag:1", "env", "1")


def test_variables_and_secret_files_expand_and_a_dollar_can_be_written(tmp_path) -> None:
    (tmp_path / "secret").write_text("s3cret%$\n")
    file = write(
        tmp_path,
        f'[kafka]\nsasl.username = "${{USER_NAME}}"\nsasl.password = "${{file:{tmp_path}/secret}}"\n'
        'client.id = "a$$b"\n',
    )
    kafka = load(file, environ={"USER_NAME": "alice"}).kafka
    assert (kafka["sasl.username"], kafka["sasl.password"], kafka["client.id"]) == ("alice", "s3cret%$", "a$b")


def test_every_problem_is_said_at_once_with_its_line(tmp_path) -> None:
    file = write(
        tmp_path,
        '[kafka]\nsasl.password = "${NOT_THERE}"\n[watch.x]\npath = "a"\ntopc = "t"\nsettle = "soon"\n'
        '[run.y]\ntopic = "t"\nworkers = 0\n[runn.z]\na = 1\n',
    )
    with pytest.raises(SettingsError) as error:
        load(file, environ={})
    text = str(error.value)
    assert text.startswith("the configuration has 5 problems\n")
    for said in (
        "openmsi.toml:2: 'kafka.sasl.password': the environment has no NOT_THERE",
        "openmsi.toml:5: there is no setting 'watch.x.topc'; did you mean 'topic'?",
        "openmsi.toml:6: 'watch.x.settle': 'soon' is not a span like 3s",
        "openmsi.toml:9: 'run.y.workers' should be greater than or equal to 1, not 0",
        "openmsi.toml:10: there is no setting 'runn'; did you mean 'run'?",
    ):
        assert said in text, text


@pytest.mark.parametrize(
    ("text", "said"),
    [("[kafka\n", "is not TOML"), ("a = 1\n", "no setting 'a'"), ("kafka = 3\n", "must be a table")],
)
def test_a_file_that_is_no_configuration_is_said(tmp_path, text, said) -> None:
    with pytest.raises(SettingsError, match=said):
        load(write(tmp_path, text), environ={})


def test_a_file_that_is_missing_is_said_with_its_name(tmp_path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml cannot be read"):
        load(tmp_path / "nowhere.toml", environ={})


def test_a_named_run_of_another_plugin_has_its_own_group(tmp_path) -> None:
    file = write(tmp_path, '[run.archive]\nplugin = "disk"\ntopic = "t"\n[run.archive.options]\nfolder = "x"\n')
    run = run_settings(load(file, environ={}), "archive", {})
    assert (run.plugin, run.group, run.options) == ("disk", "openmsi-archive", {"folder": "x"})


def test_flags_win_over_the_named_run_and_a_run_needs_no_file(tmp_path) -> None:
    file = write(tmp_path, '[run.archive]\nplugin = "disk"\ntopic = "t"\nworkers = 3\n')
    run = run_settings(load(file, environ={}), "archive", {"topic": "u", "workers": None, "include": ()})
    assert (run.topic, run.workers) == ("u", 3)
    plain = run_settings(load(write(tmp_path, ""), environ={}), "disk", {"topic": "t"})
    assert (plain.plugin, plain.group) == ("disk", "openmsi-disk")


def test_a_run_without_a_topic_is_refused_with_the_flag() -> None:
    with pytest.raises(SettingsError, match="Give --topic T"):
        run_settings(load(environ={}), "disk", {})


def test_a_named_watch_is_found_and_flags_win(tmp_path) -> None:
    file = write(tmp_path, '[watch.x]\npath = "D:/data"\ntopic = "t"\nsettle = "1min"\nchunk = "64KiB"\n')
    watch = watch_settings(load(file, environ={}), "x", {"settle": "5s"})
    assert (str(watch.path), watch.settle, watch.chunk) == ("D:/data", 5.0, 65536)


def test_a_chunk_size_outside_the_limits_is_refused() -> None:
    with pytest.raises(SettingsError, match="chunk"):
        watch_settings(load(environ={}), "d", {"topic": "t", "chunk": "1KiB"})


@pytest.mark.parametrize("text", ["", "12 parsecs", "-3s", "1e3"])
def test_sizes_and_spans_that_mean_nothing_are_refused(text) -> None:
    with pytest.raises(ValueError, match="is not a"):
        bytes_of(text)
    with pytest.raises(ValueError, match="is not a"):
        seconds_of(text)


@pytest.mark.parametrize("broker", ["nohost", ":9092", "host:port", "a:1,b", "a:0", "a:70000"])
def test_a_broker_that_is_no_address_is_refused(broker, capsys) -> None:
    assert main(["topics", "list", "--broker", broker]) == 2
    assert "HOST:PORT" in capsys.readouterr().err


def test_an_option_without_a_value_is_refused(capsys) -> None:
    assert main(["topics", "list", "-X", "novalue"]) == 2
    assert "KEY=VALUE" in capsys.readouterr().err


def test_a_command_that_does_not_exist_is_said_with_a_suggestion(capsys) -> None:
    assert main(["uplaod"]) == 2
    assert "'upload'" in capsys.readouterr().err
