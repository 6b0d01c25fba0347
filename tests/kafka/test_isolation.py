"""Plugins in processes of their own, on a real Kafka: what issue 3 of the plan asks for."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.isolated import installed
from tests.kafka.oracle import values
from tests.kafka.processes import Command, openmsi, wait_for

pytestmark = pytest.mark.kafka


@pytest.fixture
def packages(tmp_path) -> str:
    return os.pathsep.join([installed(tmp_path / "packages"), os.environ.get("PYTHONPATH", "")])


def upload(kafka_broker, topic: str, source: Path, folder: Path) -> None:
    sent = openmsi("upload", str(source), "--topic", topic, "--broker", kafka_broker.bootstrap, folder=folder)
    assert sent.returncode == 0, sent.stderr


@pytest.mark.timeout(180)
def test_of_a_hundred_files_three_kill_the_plugin_and_97_have_results(
    kafka_broker, make_topic, tmp_path, packages
) -> None:
    topic, results = make_topic(2), make_topic(1)
    source = tmp_path / "source"
    source.mkdir()
    bad = {"segfault": "crashed", "hang": "timed-out", "memory": "out-of-memory"}
    names = [*bad, *(f"file-{number:02d}.txt" for number in range(97))]
    for number, name in enumerate(names):
        (source / name).write_bytes(os.urandom(9_000_000 if number % 33 == 7 else number * 100))
    upload(kafka_broker, topic, source, tmp_path)
    run = ("run", "extracts", "--topic", topic, "--output-topic", results, "--broker", kafka_broker.bootstrap)
    limits = ("--isolate", "process", "--plugin-timeout", "10s", "--plugin-memory", "256MiB", "--workers", "2")
    ended = openmsi(*run, *limits, "--until-caught-up", folder=tmp_path, within=160, PYTHONPATH=packages)
    assert ended.returncode == 4, ended.stderr
    letters = [json.loads(value) for _, value in values(kafka_broker.bootstrap, f"{topic}.dlq")]
    assert {each["file"]["path"]: each["what"] for each in letters} == bad
    assert len(letters) == 3
    published = [json.loads(value) for _, value in values(kafka_broker.bootstrap, results)]
    assert sorted(each["file"]["path"] for each in published) == sorted(set(names) - set(bad))
    sizes = {each["file"]["path"]: each["metadata"]["size"] for each in published}
    assert sizes == {name: (source / name).stat().st_size for name in names if name not in bad}
    print("tries:", {each["file"]["path"]: each["tries"] for each in letters})


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_whose_plugin_hangs_is_stopped_in_time_and_its_children_with_it(
    kafka_broker, make_topic, tmp_path, packages, number
) -> None:
    topic, source = make_topic(1), tmp_path / "source"
    source.mkdir()
    (source / "program").touch()  # on which the plugin starts a program, and waits for it
    upload(kafka_broker, topic, source, tmp_path)
    run = ("run", "extracts", "--topic", topic, "--broker", kafka_broker.bootstrap, "--isolate", "process")
    with Command(tmp_path / "run", *run, PYTHONPATH=packages) as running:
        running.until(lambda: " program " in running.output)
        children = psutil.Process(running.process.pid).children(recursive=True)
        assert len(children) == 2
        assert running.end(number) == (130 if number == signal.SIGINT else 0)
        wait_for(lambda: not any(each.is_running() for each in children), 5)
    assert values(kafka_broker.bootstrap, f"{topic}.dlq") == [], "the file comes again at the next start"
