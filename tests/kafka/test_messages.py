"""What a person sees when something is wrong: one clear message, the right exit code, no traceback."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from pathlib import Path

import pytest

from openmsi_core.kafka import admin
from openmsi_core.kafka.embedded import free_port
from openmsi_core.testing.brokers import make_certificate
from tests.kafka.oracle import values
from tests.kafka.processes import Command, openmsi

pytestmark = pytest.mark.kafka


def options(kafka: dict[str, str]) -> list[str]:
    return [word for name, value in kafka.items() for word in ("-X", f"{name}={value}")]


def refused(done, code: int, *words: str) -> None:
    """The command ended with ``code`` and one message with every one of ``words``."""
    assert done.returncode == code, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("openmsi: error:")]
    assert len(lines) == 1, done.stderr
    message = done.stderr[done.stderr.index("openmsi: error:") :]  # several problems have a line each
    for word in words:
        assert word in message, message
    assert done.stdout == ""


RUN = ("run", "file-info", "--topic")
UPLOAD = ("upload", "f.txt", "--topic")


@pytest.fixture
def place(tmp_path) -> Path:
    (tmp_path / "f.txt").write_text("x")
    return tmp_path


@pytest.mark.parametrize("command", [(*RUN, "t", "--until-caught-up"), (*UPLOAD, "t")], ids=["run", "upload"])
def test_nobody_answers(place, command) -> None:
    began = time.monotonic()
    done = openmsi(*command, "--broker", f"127.0.0.1:{free_port()}", folder=place)
    assert time.monotonic() - began < 25
    refused(done, 3, "no broker answers at 127.0.0.1", "Check the address")


@pytest.mark.parametrize("command", [(*RUN, "t"), ("watch", ".", "--topic", "t")], ids=["run", "watch"])
def test_a_service_waits_for_its_broker_says_so_once_and_can_be_stopped(place, command) -> None:
    with Command(place / "service", *command, "--broker", f"127.0.0.1:{free_port()}") as service:
        service.until(lambda: "waiting for the broker: no broker answers" in service.output, 20)
        assert service.end(within=10) == 0
        assert service.output.count("no broker answers") <= 2


@pytest.mark.parametrize("command", [RUN, UPLOAD], ids=["run", "upload"])
def test_a_wrong_password_is_said_at_once(kafka_broker, place, command) -> None:
    began = time.monotonic()
    done = openmsi(*command, "t", *options(kafka_broker.as_user("alice", "wrong")), folder=place)
    assert time.monotonic() - began < 10
    refused(done, 3, "refuses the user 'alice'", "sasl.password")
    assert "wrong" not in done.stderr


def test_a_certificate_of_somebody_else_is_said(kafka_broker, place) -> None:
    other = make_certificate(place, "other")
    refused(
        openmsi(*RUN, "t", *options(kafka_broker.with_tls(other)), folder=place), 3, "certificate", "ssl.ca.location"
    )


def test_the_right_certificate_works(kafka_broker, make_topic, place) -> None:
    done = openmsi(*UPLOAD, make_topic(1), *options(kafka_broker.with_tls()), folder=place)
    assert done.returncode == 0, done.stderr


def test_plain_on_a_tls_port_is_said(kafka_broker, place) -> None:
    kafka = {"bootstrap.servers": f"127.0.0.1:{kafka_broker.tls_port}"}
    done = openmsi(*RUN, "t", *options(kafka), folder=place)
    assert done.returncode == 3, done.stderr
    refused(done, 3, "security.protocol")


def test_tls_on_a_plain_port_is_said(kafka_broker, place) -> None:
    kafka = kafka_broker.with_tls() | {"bootstrap.servers": kafka_broker.bootstrap}
    refused(openmsi(*RUN, "t", *options(kafka), folder=place), 3, "security.protocol")


@pytest.mark.parametrize("command", [RUN, UPLOAD], ids=["run", "upload"])
def test_a_missing_right_is_named(kafka_broker, make_topic, place, command) -> None:
    topic = make_topic(1)
    done = openmsi(*command, topic, *options(kafka_broker.as_user("alice")), folder=place)
    refused(done, 3, topic, "'alice'", "right")


@pytest.mark.parametrize("command", [RUN, UPLOAD], ids=["run", "upload"])
def test_a_missing_topic_is_said_with_the_command_that_makes_it(kafka_broker, place, command) -> None:
    done = openmsi(*command, "nosuch", "--broker", kafka_broker.bootstrap, folder=place)
    refused(done, 2, "nosuch", "openmsi topics create nosuch")


def test_a_missing_output_topic_is_said(kafka_broker, make_topic, place) -> None:
    done = openmsi(*RUN, make_topic(1), "--output-topic", "no", "--broker", kafka_broker.bootstrap, folder=place)
    refused(done, 2, "output topic no", "--plain")


def test_a_compacted_topic_is_refused(kafka_broker, place) -> None:
    name = f"compacted-{uuid.uuid4().hex[:6]}"
    admin.connected(kafka_broker.plain()).create(name, 1, 1, {"cleanup.policy": "compact"})
    for command in (RUN, UPLOAD):
        refused(openmsi(*command, name, "--broker", kafka_broker.bootstrap, folder=place), 2, "compacted")


def test_a_topic_whose_records_are_too_small_is_refused(kafka_broker, place) -> None:
    name = f"small-{uuid.uuid4().hex[:6]}"
    admin.connected(kafka_broker.plain()).create(name, 1, 1, {"max.message.bytes": "100000"})
    refused(openmsi(*UPLOAD, name, "--broker", kafka_broker.bootstrap, folder=place), 2, "max.message.bytes")


def test_a_misspelt_table_is_said_with_file_and_line_and_a_suggestion(place) -> None:
    (place / "openmsi.toml").write_text('[run.x]\nplugin = "disk"\ntopic = "t"\n[run.x.opttions]\nfolder = "out"\n')
    refused(openmsi("run", "x", folder=place), 2, "openmsi.toml:4", "opttions", "'options'")


def test_a_misspelt_option_of_the_plugin_is_said_with_a_suggestion(place) -> None:
    text = '[kafka]\nbootstrap.servers="127.0.0.1:1"\n[run.disk]\ntopic = "t"\n[run.disk.options]\nfoldr = "out"\n'
    (place / "openmsi.toml").write_text(text)
    refused(openmsi("run", "disk", folder=place), 2, "foldr", "folder")


def test_no_broker_is_named(place) -> None:
    refused(openmsi(*RUN, "t", folder=place), 2, "--broker")


def test_an_output_folder_that_cannot_be_written_is_said_before_anything_is_read(
    kafka_broker, make_topic, place
) -> None:
    (place / "file").write_text("in the way")
    done = openmsi(
        "run", "disk", "--topic", make_topic(1), "--folder", str(place / "file" / "x"),
        "--broker", kafka_broker.bootstrap, folder=place,
    )  # fmt: skip
    refused(done, 2, str(place / "file"))


def test_an_unknown_plugin_is_said_with_a_suggestion(place) -> None:
    refused(openmsi("run", "dsik", "--topic", "t", "--broker", "127.0.0.1:1", folder=place), 2, "dsik", "'disk'")


def test_an_option_that_would_break_a_promise_is_refused_with_the_reason(place) -> None:
    done = openmsi(*UPLOAD, "t", "--broker", "127.0.0.1:1", "-X", "acks=1", folder=place)
    refused(done, 2, "acks", "lost")


def test_an_option_that_librdkafka_does_not_know_is_refused_with_a_suggestion(place) -> None:
    done = openmsi(*UPLOAD, "t", "--broker", "127.0.0.1:1", "-X", "batchsize=1", folder=place)
    refused(done, 2, "batchsize", "batch.size")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_run_and_a_watch_within_ten_seconds(kafka_broker, make_topic, place, number) -> None:
    topic = make_topic(2)
    run = ["run", "disk", "--topic", topic, "--folder", str(place / "out"), "--broker", kafka_broker.bootstrap]
    watch = ["watch", str(place), "--topic", topic, "--exclude", "o*/**", "--broker", kafka_broker.bootstrap]
    with Command(place / "one", *run) as one, Command(place / "two", *watch) as two:
        one.until(lambda: "is ours" in one.output)
        two.until(lambda: "sent f.txt" in two.output)
        expected = 130 if number == signal.SIGINT else 0
        assert one.end(number) == expected, one.output
        assert two.end(number) == expected, two.output


def test_files_that_failed_are_told_by_the_exit_code_and_the_dead_letters(kafka_broker, make_topic, place) -> None:
    topic, broker = make_topic(1), ["--broker", kafka_broker.bootstrap]
    (place / "bad.xrdml").write_text("not xml")
    assert openmsi("upload", "bad.xrdml", "f.txt", "--topic", topic, *broker, folder=place).returncode == 0
    done = openmsi("run", "xrd-extractor", "--topic", topic, "--until-caught-up", *broker, folder=place)
    assert done.returncode == 4, done.stderr
    letters = [json.loads(value) for _, value in values(kafka_broker.bootstrap, f"{topic}.dlq")]
    assert [(letter["what"], letter["file"]["path"]) for letter in letters] == [("rejected", "bad.xrdml")]
    peeked = openmsi("topics", "peek", f"{topic}.dlq", "--json", *broker, folder=place)
    assert [json.loads(line) for line in peeked.stdout.splitlines()] == letters


HOSTILE = [
    b"empty",
    b"with space",
    b"new\nline",
    b"quote'\"",
    "é€".encode(),
    b"not utf-8 \xff\xe9",
    b"a:b\\c",
    b"\x1b[2J",
]


def test_hostile_names_arrive_under_their_own_bytes(kafka_broker, make_topic, place) -> None:
    topic, broker = make_topic(2), ["--broker", kafka_broker.bootstrap]
    source = place / "source"
    source.mkdir()
    for name in HOSTILE:
        Path(os.fsdecode(os.fsencode(source) + b"/" + name)).write_bytes(b"" if name == b"empty" else name)
    sent = openmsi("upload", "source", "--topic", topic, "--json", *broker, folder=place)
    assert sent.returncode == 0, sent.stderr
    assert len([json.loads(line) for line in sent.stdout.splitlines()]) == len(HOSTILE)
    assert "\x1b" not in sent.stderr
    done = openmsi("run", "disk", "--topic", topic, "--folder", "out", "--until-caught-up", *broker, folder=place)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stderr
    assert sorted(set(os.listdir(os.fsencode(place / "out"))) - {b".openmsi"}) == sorted(HOSTILE)


def test_random_bytes_and_paths_that_leave_the_root_become_letters_and_the_next_file_runs(
    kafka_broker, make_topic, place
) -> None:
    from confluent_kafka import Producer

    from tests.unit.test_wire import ENDING, FACTS, raw

    topic, broker = make_topic(1), ["--broker", kafka_broker.bootstrap]
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap})
    producer.produce(topic, os.urandom(500), b"k")
    producer.produce(topic, raw(meta=FACTS | ENDING | {"path": ["..", "..", "x"]}), b"../../x")
    producer.produce(topic, raw(meta=FACTS | ENDING | {"path": ["../../x"]}), b"../../x")
    producer.produce(topic, None, b"tombstone")
    assert producer.flush(10) == 0
    assert openmsi("upload", "f.txt", "--topic", topic, *broker, folder=place).returncode == 0
    out = place / "deep" / "er"
    done = openmsi("run", "disk", "--topic", topic, "--folder", str(out), "--until-caught-up", *broker, folder=place)
    assert done.returncode == 4, done.stderr
    letters = [json.loads(value) for _, value in values(kafka_broker.bootstrap, f"{topic}.dlq")]
    assert [letter["what"] for letter in letters] == ["bad-record"] * 4
    assert (out / "f.txt").read_text() == "x"
    assert not (place / "x").exists()
    assert not (place.parent / "x").exists()


def test_a_file_that_grows_while_it_is_sent_arrives_in_its_last_state(kafka_broker, make_topic, place) -> None:
    topic, broker = make_topic(1), ["--broker", kafka_broker.bootstrap]
    source = place / "source"
    source.mkdir()
    growing = source / "log.txt"
    run = ["run", "disk", "--topic", topic, "--folder", str(place / "out"), *broker]
    watch = ["watch", str(source), "--topic", topic, "--settle", "0.3s", *broker]
    with Command(place / "one", *run) as one, Command(place / "two", *watch) as two, growing.open("wb") as file:
        for number in range(40):
            file.write(os.urandom(400_000))
            file.flush()
            time.sleep(0.05 if number % 10 else 0.5)  # an instrument that writes in bursts
        target = place / "out" / "log.txt"
        one.until(lambda: target.exists() and target.read_bytes() == growing.read_bytes(), 30)
        assert (one.end(), two.end()) == (0, 0)
