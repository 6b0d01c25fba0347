"""The broker goes away and comes back: nobody ends, nothing is lost, nothing is doubled."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from openmsi_core.kafka import admin
from openmsi_core.testing.brokers import CALM, RealKafka, why_not
from tests.kafka.oracle import digests, values
from tests.kafka.processes import Command, wait_for

pytestmark = pytest.mark.kafka


@pytest.mark.timeout(360)
@pytest.mark.skipif(why_not() is not None and not os.environ.get("CI"), reason=f"no real Kafka: {why_not()}")
def test_a_broker_killed_under_load_and_started_again_costs_time_and_nothing_else(tmp_path) -> None:
    chance = random.Random(7)
    source, archive = tmp_path / "source", tmp_path / "archive"
    source.mkdir()
    with RealKafka(tmp_path / "kafka", settings=CALM) as kafka:
        made = admin.connected(kafka.plain())
        admin.create_family(made, "t", 2)
        made.create("results", 1, 1, {})
        broker = ["--topic", "t", "--broker", kafka.bootstrap]
        with (
            Command(tmp_path / "disk", "run", "disk", "--folder", str(archive), *broker) as disk,
            Command(tmp_path / "info", "run", "file-info", "--output-topic", "results", *broker) as info,
            Command(tmp_path / "watch", "watch", str(source), "--settle", "0.1s", *broker) as watch,
        ):
            for turn in range(3):
                for number in range(60):
                    (source / f"{turn}-{number}.dat").write_bytes(chance.randbytes(chance.randrange(50_000)))
                (source / f"{turn}-big.raw").write_bytes(chance.randbytes(8_000_000))
                time.sleep(1.0 + chance.random())  # the instant of the kill is what is tried
                kafka.kill()
                kafka.start()
            wanted = digests(source)
            disk.until(lambda: digests(archive) == wanted if archive.is_dir() else False, 120)
            info.until(lambda: len(values(kafka.bootstrap, "results")) >= len(wanted), 120)
            assert [each.end(within=15) for each in (watch, disk, info)] == [0, 0, 0]
        told = Counter(json.loads(value)["file"]["path"] for _, value in values(kafka.bootstrap, "results"))
        assert sorted(told) == sorted(name.decode() for name in wanted)
        assert {path: count for path, count in told.items() if count != 1} == {}
        assert values(kafka.bootstrap, "t.dlq") == []


STUCK = '''
import time
from openmsi_core import Extractor

class Stuck(Extractor):
    """Never comes back."""

    def extract(self, file):
        (self.workdir.parent / "in").touch()
        time.sleep(3600)
'''


def install_stuck(folder: Path) -> str:
    """A plugin that never comes back; the PYTHONPATH that has it."""
    site = folder / "site"
    facts = site / "stuck-1.0.dist-info"
    facts.mkdir(parents=True)
    (site / "stuck.py").write_text(STUCK)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: stuck\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[openmsi.extractors]\nstuck = stuck:Stuck\n")
    return os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])


@pytest.mark.skipif(why_not() is not None and not os.environ.get("CI"), reason=f"no real Kafka: {why_not()}")
def test_a_stuck_plugin_and_a_dead_broker_together_do_not_hold_up_the_end(tmp_path) -> None:
    path = install_stuck(tmp_path)
    (tmp_path / "f.txt").write_text("x")
    with RealKafka(tmp_path / "kafka") as kafka:
        admin.create_family(admin.connected(kafka.plain()), "t", 1)
        broker = ["--topic", "t", "--broker", kafka.bootstrap]
        with Command(tmp_path / "send", "upload", str(tmp_path / "f.txt"), *broker) as send:
            assert send.wait(30) == 0
        with Command(tmp_path / "run", "run", "stuck", *broker, PYTHONPATH=path) as run:
            wait_for((tmp_path / "run" / "state" / "spool" / "in").exists, 30, lambda: run.output)
            kafka.kill()
            began = time.monotonic()
            run.end(signal.SIGTERM, within=20)
            assert time.monotonic() - began < 10.5


def test_a_plugin_that_never_comes_back_does_not_hold_up_the_end(kafka_broker, make_topic, tmp_path) -> None:
    path = install_stuck(tmp_path)
    topic, broker = make_topic(1), ["--broker", kafka_broker.bootstrap]
    (tmp_path / "f.txt").write_text("x")
    with Command(tmp_path / "send", "upload", str(tmp_path / "f.txt"), "--topic", topic, *broker) as send:
        assert send.wait(30) == 0
    with Command(tmp_path / "run", "run", "stuck", "--topic", topic, *broker, PYTHONPATH=path) as run:
        spool = tmp_path / "run" / "state" / "spool"
        wait_for((spool / "in").exists, 30, lambda: run.output)
        began = time.monotonic()
        run.end(signal.SIGTERM, within=12)
        assert time.monotonic() - began < 11
    with Command(tmp_path / "again", "run", "file-info", "--topic", topic, "--until-caught-up", *broker) as again:
        assert again.wait(30) == 0
