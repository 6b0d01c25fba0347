"""What a stranger with the right to produce, and a careless plugin, try against real commands on a real Kafka."""

from __future__ import annotations

import json

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.kafka.test_letters import Bench
from tests.plugin_fakes import extractor

pytestmark = pytest.mark.kafka

ESCAPE = "\x1b]0;mine\x07\x1b[2J"
WANDERING = '''
import os, tempfile
from openmsi_core import Extractor

class Good(Extractor):
    """Goes to another folder, and closes what is not its own."""

    def extract(self, file):
        os.chdir(tempfile.gettempdir())
        return {"bytes": len(file.read_bytes())}
'''


@pytest.fixture
def bench(kafka_broker, make_topic, tmp_path) -> Bench:
    return Bench(kafka_broker, make_topic, tmp_path)


def forged(bench: Bench, **more: object) -> bytes:
    told = {
        "what": "rejected",
        "why": {"message": f"no{ESCAPE}", "class": ESCAPE, "traceback": f"{ESCAPE}\nline"},
        "run": "openmsi-choosy",
        "topic": bench.topic,
        "at": f"2026{ESCAPE}",
        "positions": {"0": {"first": 0, "last": 0, "records": 1}},
        "file": {"id": "00" * 16, "path": "a"},
    }
    return json.dumps(told | more).encode()


def test_forged_letters_stop_no_command_and_hide_no_true_letter(bench, tmp_path) -> None:
    """Escapes, other topics, offsets nobody has, other files' ids, paths that lead out, a resolution of nothing."""
    bench.send(bad=b"no", good=b"ok")
    bench.run(code=4)
    far = {"0": {"first": 1 << 40, "last": 1 << 41, "records": 9}}
    nowhere = {"9999": {"first": 0, "last": 0, "records": 1}}
    deep = b"[" * 900 + b"]" * 900
    put = [
        forged(bench),
        forged(bench, positions=far),
        forged(bench, positions=nowhere),
        forged(bench, file={"id": "00" * 16, "path": "../../etc/passwd"}),
        forged(bench, topic="another"),
        forged(bench, file=None),
        forged(bench)[:-1] + b',"deep":' + deep + b"}",
        json.dumps({"what": "resolved", "letter": "0-999999999"}).encode(),
        json.dumps({"what": "resolved", "letter": ESCAPE}).encode(),
        b"\xff" * 1000,
        None,
    ]
    bench.put(f"{bench.topic}.dlq", *((value, 0) for value in put))
    told = bench.dlq("list", "--all")
    assert "\x1b" not in told.stdout + told.stderr
    assert any(" bad " in line for line in told.stdout.splitlines())
    ids = [each["id"] for each in bench.listed()]
    for each in (ids[1], ids[2], ids[5]):  # escapes, offsets nobody has, another topic
        shown = bench.openmsi("dlq", "show", each, "--topic", bench.topic, code=2 if is_of_another(bench, each) else 0)
        assert "\x1b" not in shown.stdout + shown.stderr
    (tmp_path / "mended").touch()
    retried = bench.dlq("retry", "--all", code=4)
    assert "1 letters resolved" in retried.stderr
    assert "\x1b" not in retried.stdout + retried.stderr
    assert bench.paths() == ["bad", "good"]


def is_of_another(bench: Bench, letter: str) -> bool:
    return next(each for each in bench.listed() if each["id"] == letter)["topic"] != bench.topic


def test_the_name_of_a_group_cannot_move_the_cursor_of_who_describes_a_topic(bench) -> None:
    bench.send(good=b"ok")
    consumer = Consumer({"bootstrap.servers": bench.broker.bootstrap, "group.id": f"g{ESCAPE}"})
    consumer.commit(offsets=[TopicPartition(bench.topic, 0, 0)], asynchronous=False)
    consumer.close()
    told = bench.openmsi("topics", "describe", bench.topic).stdout
    assert "\\x1b[2J" in told
    assert "\x1b" not in told


def test_saving_to_a_folder_whose_name_a_file_has_is_told(bench, tmp_path) -> None:
    bench.send(bad=b"no", good=b"ok")
    bench.run(code=4)
    (tmp_path / "file").write_text("mine")
    for place in ("file", "file/", "file/deeper", "missing/x"):
        told = bench.dlq("save", "0-0", "--to", f"{tmp_path}/{place}", code=2)
        assert "ame another" in told.stderr, told.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_a_plugin_may_go_to_another_folder_while_the_state_folder_was_named_relative_to_the_first(
    bench, tmp_path
) -> None:
    extractor(tmp_path / "site", "wandering-package", "wandering", WANDERING)
    bench.send(**{f"f{number}": bytes([number]) * 9_000_000 for number in range(1, 4)})
    bench.environment["OPENMSI_STATE"] = "state-here"
    words = ["--topic", bench.topic, "--output-topic", bench.results, "--until-caught-up"]
    bench.openmsi("run", "wandering", *words)
    assert bench.paths() == ["f1", "f2", "f3"]
