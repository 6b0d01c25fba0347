"""What a run and a watch tell about themselves on a real Kafka is what they say at their end."""

from __future__ import annotations

import json
import os
import re
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from openmsi_core.kafka import admin
from openmsi_core.kafka.process import free_port
from openmsi_core.testing.brokers import RealKafka, why_not
from tests.kafka.oracle import digests, values
from tests.kafka.processes import Command, wait_for

pytestmark = pytest.mark.kafka


def scraped(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "outcome" not in sample.labels and "state" not in sample.labels
    }


def health(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            return json.loads(answer.read())["state"]
    except urllib.error.HTTPError as error:
        with error:
            return json.loads(error.read())["state"]


def told(bootstrap: str, topic: str, program: str) -> list[dict]:
    every = [json.loads(value) for _, value in values(bootstrap, topic)]
    return [each for each in every if each["program"] == program]


@pytest.mark.timeout(240)
def test_metrics_heartbeats_and_the_summary_say_the_same_numbers(kafka_broker, make_topic, tmp_path) -> None:
    topic, side = make_topic(3), make_topic(1)
    source, archive = tmp_path / "source", tmp_path / "archive"
    source.mkdir()
    for number in range(300):
        (source / f"{number}.txt").write_bytes(b"x" * (number * 100))
    broker = ["--broker", kafka_broker.bootstrap]
    ports = {"run": free_port(), "watch": free_port()}
    seen = [
        "--heartbeat-topic",
        side,
        "--heartbeat-every",
        "0.5s",
        "--log-topic",
        f"{side}.dlq",
        "--log-format",
        "json",
    ]
    sink = ["run", "disk", "--topic", topic, "--folder", str(archive), *broker, *seen]
    send = ["watch", str(source), "--topic", topic, "--settle", "0.2s", *broker, *seen]
    with (
        Command(tmp_path / "run", *sink, "--metrics-port", str(ports["run"])) as run,
        Command(tmp_path / "watch", *send, "--metrics-port", str(ports["watch"])) as watch,
    ):
        run.until(lambda: archive.is_dir() and len(list(archive.glob("*.txt"))) == 300, 60)
        run.until(lambda: scraped(ports["run"])["openmsi_files_total"] == 300, 20)
        run.until(lambda: health(ports["run"]) == "idle", 20)
        last = {program: scraped(port) for program, port in ports.items()}
        assert watch.end() == 0
        assert run.end() == 0
    assert digests(archive) == digests(source)
    size = sum(path.stat().st_size for path in source.iterdir())
    for command, program in ((run, "run"), (watch, "watch")):
        found = re.search(r"\"text\": \"([\d,]+) files (?:done|sent)", command.output)
        assert found is not None, command.output
        assert int(found.group(1)) == last[program]["openmsi_files_total"] == 300
        assert last[program]["openmsi_file_bytes_total"] == size
        beats = told(kafka_broker.bootstrap, side, program)
        assert [beat["number"] for beat in beats] == list(range(1, len(beats) + 1))
        assert beats[-1]["is_last"]
        assert (beats[-1]["counts"]["files"], beats[-1]["counts"]["bytes"]) == (300, size)
        lines = told(kafka_broker.bootstrap, f"{side}.dlq", program)
        assert sum(" done" in line["text"] or line["text"].startswith("sent ") for line in lines) == 300
    assert last["run"]["openmsi_records_total"] == last["watch"]["openmsi_records_total"]
    assert last["run"]["openmsi_lag_records"] == 0
    assert last["run"]["openmsi_checkpoint_seconds_count"] == last["run"]["openmsi_checkpoints_total"] > 0


@pytest.mark.timeout(240)
def test_health_is_bad_while_a_plugin_hangs_and_the_watchdog_would_act(kafka_broker, make_topic, tmp_path) -> None:
    topic = make_topic(1)
    (tmp_path / "one.txt").write_text("x")
    broker, port = ["--broker", kafka_broker.bootstrap], free_port()
    with Command(tmp_path / "send", "upload", str(tmp_path / "one.txt"), "--topic", topic, *broker) as send:
        assert send.wait(60) == 0
    words = ["run", "hanging", "--topic", topic, *broker, "--metrics-port", str(port), "--stall-after", "1s"]
    with Command(tmp_path / "run", *words, PYTHONPATH=plugin_path(tmp_path)) as run:
        run.until(lambda: "metrics at" in run.output, 30)
        wait_for(lambda: health(port) == "stalled", 60, lambda: run.output)
        run.process.kill()


def plugin_path(tmp_path: Path) -> str:
    """Installs an extractor that never answers; the path on which it is found."""
    import os

    from tests.plugin_fakes import extractor

    body = (
        "import time\nfrom openmsi_core import Extractor\n\n\nclass Good(Extractor):\n    '''Hangs.'''\n\n"
        "    def extract(self, file):\n        time.sleep(600)\n        return {}\n"
    )
    extractor(tmp_path / "plugins", "package-hanging", "hanging", body)
    return os.pathsep.join([str(tmp_path / "plugins"), os.environ.get("PYTHONPATH", "")])


@pytest.mark.timeout(240)
@pytest.mark.skipif(why_not() is not None and not os.environ.get("CI"), reason=f"no real Kafka: {why_not()}")
def test_heartbeats_and_logs_do_not_hold_up_the_end_when_the_broker_is_dead(tmp_path) -> None:
    with RealKafka(tmp_path / "kafka") as kafka:
        made = admin.connected(kafka.plain())
        admin.create_family(made, "t", 1)
        made.create("side", 1, 1, {})
        words = ["--topic", "t", "--broker", kafka.bootstrap, "--heartbeat-topic", "side", "--heartbeat-every", "0.2s"]
        words += ["--log-topic", "side", "--metrics-port", "0"]
        with (
            Command(tmp_path / "run", "run", "disk", "--folder", str(tmp_path / "archive"), *words) as run,
            Command(tmp_path / "watch", "watch", str(tmp_path), "--include", "*.none", *words) as watch,
        ):
            run.until(lambda: "is ours" in run.output and "metrics at" in watch.output, 60)
            kafka.kill()
            for command in (run, watch):
                began = time.monotonic()
                assert command.end(within=15) == 0
                print(f"{command.arguments[0]} ended within {time.monotonic() - began:.1f} s")
                assert time.monotonic() - began < 10
