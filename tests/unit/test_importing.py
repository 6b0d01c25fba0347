"""Configuration files of OpenMSIStream: twenty of the kinds that are out there."""

from __future__ import annotations

import os
import stat

import pytest
from click.testing import CliRunner

from openmsi_core.cli import openmsi
from openmsi_core.kafka.config import refusal
from openmsi_core.settings import load
from openmsi_core.settings.importing import imported

BROKER = "[broker]\nbootstrap.servers = b.lab:9092\n"


def brought(tmp_path, text: str, environ=None):
    """The settings that a file becomes, and what is told of each option."""
    old, new = tmp_path / "lab.config", tmp_path / "openmsi.toml"
    old.write_text(text, "utf-8")
    made = imported(old, refusal)
    new.write_text(made.text, "utf-8")
    settings = load(new, environ=environ or {})
    return settings, {(line.section, line.name): line for line in made.lines}


KEPT = [
    # 1-12: text of the file, what [kafka] must say, the environment
    (BROKER, {"bootstrap.servers": "b.lab:9092"}, {}),
    ("[broker]\nbootstrap.servers: b.lab:9092\n", {"bootstrap.servers": "b.lab:9092"}, {}),
    (BROKER + "sasl.password = 8675309\n", {"sasl.password": "8675309"}, {}),
    (BROKER + "sasl.password = 1e5\n", {"sasl.password": "1e5"}, {}),
    (BROKER + "sasl.password = 100%sure%(x)s\n", {"sasl.password": "100%sure%(x)s"}, {}),
    (BROKER + "sasl.password = $SECRET\n", {"sasl.password": "from the air"}, {"SECRET": "from the air"}),
    (BROKER + "sasl.password = ${SECRET}\n", {"sasl.password": "s"}, {"SECRET": "s"}),
    (BROKER + "sasl.password = pa$$word$1\n", {"sasl.password": "pa$$word$1"}, {}),
    (BROKER + "sasl.username = \"quoted\" 'and' é\\n\n", {"sasl.username": "\"quoted\" 'and' é\\n"}, {}),
    (BROKER + "[producer]\nlinger.ms = 100\n", {"linger.ms": "100"}, {}),
    (BROKER + "[producer]\nretries=5\n[consumer]\nretries=5\n", {"retries": "5"}, {}),
    (BROKER + "Security.Protocol = SASL_SSL\n", {"security.protocol": "SASL_SSL"}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted", "environ"), KEPT)
def test_options_are_kept_as_text(tmp_path, text, wanted, environ) -> None:
    settings, _ = brought(tmp_path, text, environ)
    assert wanted.items() <= dict(settings.kafka).items()


LEFT_OUT = [
    # 13-18: what follows [broker], the option, what is told of it
    ("[producer]\nkey.serializer = StringSerializer\n", ("producer", "key.serializer"), "a class of OpenMSIStream"),
    ("[consumer]\ngroup.id = create_new\n", ("consumer", "group.id"), "each start got a new group"),
    ("[consumer]\ngroup.id = lab\n", ("consumer", "group.id"), "--group lab"),
    ("[consumer]\nauto.offset.reset = latest\n", ("consumer", "auto.offset.reset"), "--from end"),
    ("[consumer]\nauto.offset.reset = none\n", ("consumer", "auto.offset.reset"), "begins at the beginning"),
    ("[consumer]\nenable.auto.commit = False\n", ("consumer", "enable.auto.commit"), "always false"),
    ("[producer]\nacks = 1\n", ("producer", "acks"), "always all"),
    ("[producer]\nretries = 1\n[consumer]\nretries = 2\n", ("consumer", "retries"), "'1' stands there already"),
    ("[kafkacrypto]\nnode_id = n1\n", ("kafkacrypto", "node_id"), "--crypto"),
    ("[heartbeat]\ntopic_name = hb\n", ("heartbeat", "topic_name"), "heartbeats"),
    ("[s3]\nsecret_key_id = $S\n", ("s3", "secret_key_id"), "AWS_SECRET_ACCESS_KEY"),
    ("[mine]\nx = 1\n", ("mine", "x"), "no part of openmsi has this section"),
]


@pytest.mark.parametrize(("more", "option", "told"), LEFT_OUT)
def test_what_has_no_place_is_left_out_with_the_reason(tmp_path, more, option, told) -> None:
    settings, lines = brought(tmp_path, BROKER + more)
    assert not lines[option].is_kept
    assert told in lines[option].told
    if option[1] != "retries":
        assert option[1] not in settings.kafka


def test_each_option_is_told_with_its_line(tmp_path) -> None:
    _, lines = brought(tmp_path, f"# lab\n\n{BROKER}\n[producer]\nlinger.ms = 5\n")
    assert (lines["broker", "bootstrap.servers"].number, lines["producer", "linger.ms"].number) == (4, 7)


def test_where_s3_is_stands_in_a_run_and_its_secrets_do_not(tmp_path) -> None:
    old = tmp_path / "a.config"
    old.write_text(BROKER + "[s3]\nendpoint_url = http://s3.lab\nregion = us-east-1\naccess_key_id = AKIA\n")
    made = imported(old, refusal)
    assert '[run.s3.options]\nendpoint-url = "http://s3.lab"\nregion = "us-east-1"\n' in made.text
    assert "AKIA" not in made.text


BROKEN = [
    # 19-: text, what is said
    ("", "has no section"),
    ("bootstrap.servers = b:9092\n", "no section headers"),
    ("[broker]\nbootstrap.servers = a:1\nbootstrap.servers = b:1\n", "already exists"),
    ("[broker]\njust words\n", "parsing errors"),
]


@pytest.mark.parametrize(("text", "said"), BROKEN)
def test_a_file_that_is_none_is_refused_with_the_reason(tmp_path, text, said) -> None:
    file = tmp_path / "x.config"
    file.write_text(text)
    done = CliRunner().invoke(openmsi, ["config", "import", str(file), "--to", str(tmp_path / "new.toml")])
    assert done.exit_code != 0
    assert not (tmp_path / "new.toml").exists()
    assert said in str(done.exception)


def test_the_command_writes_a_private_file_says_every_line_and_replaces_nothing_unasked(tmp_path) -> None:
    file, new = tmp_path / "x.config", tmp_path / "new.toml"
    file.write_text(BROKER + "sasl.password = 12\n")
    arguments = ["config", "import", str(file), "--to", str(new)]
    done = CliRunner().invoke(openmsi, arguments)
    assert done.exit_code == 0, done.output
    assert "x.config:2 [broker] bootstrap.servers: [kafka] bootstrap.servers" in done.output
    assert "secrets as plain text" in done.output
    if os.name == "posix":
        assert stat.S_IMODE(new.stat().st_mode) == 0o600
    before = new.read_text()
    again = CliRunner().invoke(openmsi, arguments)
    assert again.exit_code != 0
    assert new.read_text() == before
    assert CliRunner().invoke(openmsi, [*arguments, "--force"]).exit_code == 0
    binary = tmp_path / "b.config"
    binary.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in str(CliRunner().invoke(openmsi, ["config", "import", str(binary), "--force"]).exception)
    assert "cannot be read" in str(CliRunner().invoke(openmsi, ["config", "import", str(tmp_path / "none")]).exception)
