"""Dead letters, the way back and replay on a real Apache Kafka, with real processes."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from openmsi_core.kafka.reading import TopicReader, read
from tests.kafka.oracle import values
from tests.kafka.processes import Command, openmsi, wait_for
from tests.plugin_fakes import extractor

pytestmark = pytest.mark.kafka

PICKY = '''
import os, pathlib, time
from openmsi_core import Extractor, Reject

class Good(Extractor):
    """Takes a file when it begins with ok, or once the folder of the test has a file `mended`."""

    def extract(self, file):
        here = pathlib.Path(os.environ["HOME"])
        if (here / "slow").exists():
            time.sleep(0.05)
        if file.read_bytes()[:2] != b"ok" and not (here / "mended").exists():
            raise Reject("it does not begin with ok")
        return {"bytes": file.size}
'''


class Bench:
    """One topic with its results, and a plugin called picky that only this test has."""

    def __init__(self, broker, make_topic, folder: Path, partitions: int = 2) -> None:
        self.broker, self.folder = broker, folder
        self.topic, self.results = make_topic(partitions), make_topic(1)
        self.source = folder / "source"
        self.source.mkdir()
        extractor(folder / "site", "picky-package", "picky", PICKY)
        (folder / "openmsi.toml").write_text(
            f'[run.choosy]\nplugin = "picky"\ntopic = "{self.topic}"\noutput-topic = "{self.results}"\n'
        )
        path = f"{Path(__file__).resolve().parents[2]}{os.pathsep}{folder / 'site'}"
        self.environment = {"PYTHONPATH": path, "OPENMSI_BROKER": broker.bootstrap}

    def openmsi(self, *words: str, code: int = 0, within: float = 90):
        done = openmsi(*words, folder=self.folder, within=within, **self.environment)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def send(self, **files: bytes) -> None:
        for name, content in files.items():
            (self.source / name).write_bytes(content)
        self.openmsi("upload", *(str(self.source / name) for name in files), "--topic", self.topic)

    def run(self, code: int = 0) -> None:
        self.openmsi("run", "choosy", "--until-caught-up", code=code)

    def dlq(self, command: str, *words: str, code: int = 0):
        return self.openmsi("dlq", command, *words, "--topic", self.topic, code=code)

    def listed(self, *words: str) -> list[dict]:
        return [json.loads(line) for line in self.dlq("list", "--json", *words).stdout.splitlines()]

    def published(self, suffix: str = "") -> list[dict]:
        topic = self.topic + suffix if suffix else self.results
        return [json.loads(value) for _, value in values(self.broker.bootstrap, topic)]

    def paths(self) -> list[str]:
        return sorted(result["file"]["path"] for result in self.published())

    def put(self, topic: str, *records: tuple[bytes | None, int]) -> None:
        producer = Producer({"bootstrap.servers": self.broker.bootstrap})
        for value, partition in records:
            producer.produce(topic, value, b"key", partition)
        assert producer.flush(20) == 0


@pytest.fixture
def bench(kafka_broker, make_topic, tmp_path) -> Bench:
    return Bench(kafka_broker, make_topic, tmp_path)


def test_a_rejected_file_is_listed_shown_saved_retried_and_then_hidden(bench, tmp_path) -> None:
    bad = b"no" + os.urandom(3_000_000)
    bench.send(good=b"ok", bad=bad, worse=b"no")
    bench.run(code=4)
    letters = {each["path"]: each for each in bench.listed()}
    assert sorted(letters) == ["bad", "worse"]
    letter = letters["bad"]["id"]
    assert letters["bad"]["what"] == "rejected"
    assert letters["bad"]["run"] == "openmsi-choosy"
    line = next(line for line in bench.dlq("list").stdout.splitlines() if line.startswith(f"{letter} "))
    assert "rejected" in line
    assert "it does not begin with ok" in line
    told = json.loads(bench.dlq("show", letter, "--json").stdout)
    assert "Reject" in told["why"]["traceback"]
    assert told["bytes"]["there"]
    assert told["bytes"]["until"]
    bench.dlq("save", letter, "--to", str(tmp_path))
    assert (tmp_path / "bad").read_bytes() == bad
    assert "--force" in bench.dlq("save", letter, "--to", str(tmp_path), code=2).stderr

    before = values(kafka := bench.broker.bootstrap, f"{bench.topic}.dlq")
    assert "does not begin" in bench.dlq("retry", letter, code=4).stdout
    assert values(kafka, f"{bench.topic}.dlq") == before, "a failing retry must not pile up letters"
    assert bench.paths() == ["good"]

    (tmp_path / "mended").touch()
    bench.dlq("retry", letter)
    assert bench.paths() == ["bad", "good"]
    receipts = [each["outcome"] for each in bench.published(".receipts") if each["path"] == "bad"]
    assert receipts == ["rejected", "done"]
    assert [each["path"] for each in bench.listed()] == ["worse"]
    everything = {each["path"]: each["resolved"] for each in bench.listed("--all")}
    assert everything["bad"]["letter"] == letter
    assert everything["worse"] is None
    assert "resolved already" in bench.dlq("retry", letter, code=2).stderr
    bench.dlq("retry", "--all")
    assert bench.listed() == []
    assert bench.paths() == ["bad", "good", "worse"]
    bench.run()
    assert bench.paths() == ["bad", "good", "worse"], "the group's own run must not do them again"


def test_a_retry_with_a_plugin_of_its_own_flags_and_without_transactions(bench, tmp_path) -> None:
    bench.send(bad=b"no", good=b"ok")
    words = ["--until-caught-up", "--topic", bench.topic, "--output-topic", bench.results]
    bench.openmsi("run", "picky", *words, code=4)
    assert "no run of" in bench.dlq("retry", "0-0", code=2).stderr
    assert "--output-topic" in bench.dlq("retry", "0-0", "--plugin", "picky", code=2).stderr
    (tmp_path / "mended").touch()
    more = ["--output-topic", bench.results, "--delivery", "at-least-once"]
    told = bench.dlq("retry", "0-0", "--plugin", "picky", "--json", *more)
    assert json.loads(told.stdout)["resolved"]
    assert bench.paths() == ["bad", "good"]
    assert bench.listed() == []


def test_another_plugin_may_take_the_file_of_a_letter_with_its_options_as_flags(bench, tmp_path) -> None:
    bench.send(bad=b"no" + bytes(70_000))
    bench.run(code=4)
    sink = ["--plugin", "disk", "--folder", str(tmp_path / "archive")]
    assert "give --group openmsi-choosy" in bench.dlq("retry", "0-0", *sink, code=2).stderr.lower()
    told = bench.dlq("retry", "0-0", *sink, "--group", "openmsi-choosy", "--json")
    assert json.loads(told.stdout)["location"]
    assert (tmp_path / "archive" / "bad").read_bytes() == b"no" + bytes(70_000)
    assert bench.listed() == []
    assert bench.published() == []


def test_an_older_version_ends_as_superseded_unless_forced(bench, tmp_path) -> None:
    bench.send(file=b"no: old")
    bench.run(code=4)
    bench.send(file=b"ok: new")
    bench.run()
    (tmp_path / "mended").touch()
    told = bench.dlq("retry", "0-0", "--json")
    assert json.loads(told.stdout)["outcome"] == "superseded"
    assert [result["file"]["size"] for result in bench.published()] == [7]
    assert bench.listed() == []
    outcomes = [each["outcome"] for each in bench.published(".receipts")]
    assert outcomes == ["rejected", "done", "superseded"]
    keys = [key for key, _ in values(bench.broker.bootstrap, f"{bench.topic}.receipts")]
    assert keys[1] != keys[2], "compaction must not lose the newer one's receipt"
    bench.dlq("retry", "0-0", "--force")
    assert len(bench.published()) == 2


def test_bytes_that_retention_removed_are_told_with_their_offsets(bench, tmp_path) -> None:
    bench.send(bad=b"no" + bytes(2_000_000))
    bench.run(code=4)
    ((partition, run),) = bench.listed()[0]["positions"].items()
    admin = AdminClient({"bootstrap.servers": bench.broker.bootstrap})
    (cut,) = admin.delete_records([TopicPartition(bench.topic, int(partition), run["last"])]).values()
    cut.result(20)
    gone = f"{bench.topic}[{partition}]@{run['first']} to {run['last'] - 1}"
    told = json.loads(bench.dlq("show", "0-0", "--json").stdout)
    assert told["bytes"] == {"there": False, "removed": [gone], "until": None}
    assert gone in bench.dlq("save", "0-0", "--to", str(tmp_path / "x"), code=4).stderr
    assert not (tmp_path / "x").exists()
    assert gone in bench.dlq("retry", "0-0", code=4).stdout
    assert [each["id"] for each in bench.listed()] == ["0-0"]


def test_foreign_records_and_bad_records_are_no_trouble(bench, tmp_path) -> None:
    bench.put(bench.topic, (b"garbage \xff", 0))
    bench.send(bad=b"no")
    bench.run(code=4)
    rubbish = [
        b"",
        None,
        b"\xff",
        b"[1]",
        b"{}",
        b"[" * 100_000,
        b'{"what":"resolved","letter":"0-77"}',
        b"x" * 900_000,
    ]
    bench.put(f"{bench.topic}.dlq", *((value, 0) for value in rubbish))
    letters = {each["what"]: each for each in bench.listed()}
    assert sorted(letters) == ["bad-record", "rejected"]
    listed = bench.dlq("list")
    assert f"{bench.topic}[0]@0" in listed.stdout
    assert "7 records" in listed.stderr
    assert json.loads(bench.dlq("show", letters["bad-record"]["id"], "--json").stdout)["record"]["value_bytes"] == 9
    bench.dlq("show", letters["bad-record"]["id"])
    bench.dlq("save", letters["bad-record"]["id"], "--to", str(tmp_path / "raw"))
    assert (tmp_path / "raw").read_bytes() == b"garbage \xff"
    assert "belongs to no file" in bench.dlq("retry", letters["bad-record"]["id"], code=4).stdout
    assert "no dead letter" in bench.dlq("show", "0-9999", code=2).stderr
    assert "no dead letter" in bench.dlq("show", "7-0", code=2).stderr
    bench.openmsi("topics", "peek", f"{bench.topic}.dlq", "--json")
    (tmp_path / "mended").touch()
    bench.dlq("retry", "--all")
    assert [each["what"] for each in bench.listed()] == ["bad-record"]


def test_a_reader_reads_the_stretches_it_is_asked_for_again_and_again(kafka_broker, make_topic) -> None:
    topic = make_topic(2)
    producer = Producer({"bootstrap.servers": kafka_broker.bootstrap, "transactional.id": f"test-{os.getpid()}"})
    producer.init_transactions(20)
    for round_ in range(5):  # the markers of transactions are offsets without a record; every second one is aborted
        producer.begin_transaction()
        for number in range(20):
            producer.produce(topic, b"%d-%d" % (round_, number), None, number % 2, timestamp=1_000_000 + round_)
        if round_ % 2:
            producer.flush(20)
            producer.abort_transaction(20)
        else:
            producer.commit_transaction(20)
    with TopicReader(kafka_broker.plain(), topic) as reader:
        assert reader.ends() == {0: (0, 55), 1: (0, 55)}
        for _ in range(3):
            whole = [record for record in reader.between(reader.ends()) if record is not None]
            assert len(whole) == 60
            part = [record for record in reader.between({0: (3, 7), 1: (22, 24)}) if record is not None]
            assert sorted((each.position.partition, each.position.offset) for each in part) == [
                *((0, offset) for offset in range(3, 7)),
                *((1, offset) for offset in range(22, 24)),
            ]
            abandoned = reader.between(reader.ends())
            assert next(each for each in abandoned if each is not None)
            abandoned.close()
            assert [each for each in reader.between({0: (10, 12)}) if each is not None] == [], "marker, then aborted"
            assert list(reader.between({0: (5, 5)})) == []
        began = time.monotonic()
        for offset in [*range(9), *range(22, 32)]:
            (record,) = (each for each in reader.between({offset % 2: (offset, offset + 1)}) if each is not None)
            assert record.position.offset == offset
            reader.ends()
        assert time.monotonic() - began < 8, "the client slept before each fetch"
        since = reader.since(1_000_002)
        # a marker is as young as its transaction
        assert {number: 10 <= offset <= 22 for number, offset in since.items()} == {0: True, 1: True}
        assert reader.since(10**13) == {0: 55, 1: 55}
    assert len(list(read(kafka_broker.plain(), topic, 7))) == 7


def test_replay_by_path_time_outcome_and_version(bench, tmp_path) -> None:
    bench.send(**{"a.txt": b"ok", "b.txt": b"no", "c.dat": b"ok"})
    bench.run(code=4)
    moment = time.time()
    wait_for(lambda: time.time() > moment + 0.05, 5)
    bench.send(**{"d.dat": b"ok", "a.txt": b"ok newer"})
    bench.run()
    group = bench.openmsi("topics", "describe", bench.topic, "--json").stdout

    def would(*conditions: str) -> dict[str, list[str]]:
        words = [word for each in conditions for word in ("--where", each)]
        told = bench.openmsi("replay", "choosy", *words, "--dry-run", "--json").stdout.splitlines()
        found: dict[str, list[str]] = {"run": [], "superseded": []}
        for each in map(json.loads, told):
            found[each["would"]].append(each["path"])
        return {would: sorted(paths) for would, paths in found.items() if paths}

    iso = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment - 3600))
    exact = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 1000):03d}Z"
    assert would("path=*.dat") == {"run": ["c.dat", "d.dat"]}
    assert would("path=*.txt") == {"run": ["a.txt", "b.txt"], "superseded": ["a.txt"]}
    assert would(f"after={exact}") == {"run": ["a.txt", "d.dat"]}
    assert would(f"before={exact}", "path=c.dat", "path=d.dat") == {"run": ["c.dat"]}
    assert would(f"before={iso}") == {}
    assert would("outcome=rejected") == {"run": ["b.txt"]}
    assert would("outcome=done,rejected", "path=b.*") == {"run": ["b.txt"]}
    assert would("plugin-version=1.*", "path=d.*") == {"run": ["d.dat"]}
    assert would("plugin-version=2") == {}
    assert len(bench.published()) == 4, "a dry run runs nothing"

    failing = bench.openmsi("replay", "choosy", "--where", "outcome=rejected", code=4)
    assert "1 dead letters" in failing.stderr
    (tmp_path / "mended").touch()
    done = bench.openmsi("replay", "choosy", "--where", "outcome=rejected")
    assert "1 files done again" in done.stderr
    assert bench.paths() == ["a.txt", "a.txt", "b.txt", "c.dat", "d.dat"]
    told = bench.openmsi("replay", "choosy", "--where", "path=a.txt").stderr
    assert "1 files done again" in told
    assert "1 superseded" in told
    sizes = [result["file"]["size"] for result in bench.published() if result["file"]["path"] == "a.txt"]
    assert sizes == [2, 8, 8]
    assert bench.openmsi("topics", "describe", bench.topic, "--json").stdout == group, "the group did not move"


@pytest.mark.timeout(300)
def test_a_retry_killed_at_any_instant_leaves_all_of_a_file_or_nothing(bench, tmp_path) -> None:
    seed = int(os.environ.get("OPENMSI_TEST_SEED", random.randrange(1 << 30)))
    print(f"seed {seed}")
    chance = random.Random(seed)
    bench.send(**{f"{number:02d}": b"no%d" % number for number in range(40)})
    bench.openmsi("run", "choosy", "--until-caught-up", "-q", code=5)  # the circuit breaker: 20 in a row
    toml = tmp_path / "openmsi.toml"
    toml.write_text(toml.read_text() + "breaker = 0\n")
    bench.run(code=4)
    assert len(bench.listed()) == 40
    (tmp_path / "mended").touch()
    (tmp_path / "slow").touch()
    quick = ["-X", "transaction.timeout.ms=1000"]
    words = ["dlq", "retry", "--all", "--topic", bench.topic, "--config", str(toml), *quick]
    hits = 0
    for number in range(6):
        # HOME is where the plugin looks for the files of the test
        environment = bench.environment | {"HOME": str(tmp_path)}
        with Command(tmp_path / f"kill-{number}", *words, **environment) as victim:
            victim.until(lambda victim=victim: " done" in victim.output, 30)
            time.sleep(chance.random() * 0.25)  # the instant of the kill is what is tried
            victim.process.send_signal(signal.SIGKILL)
            victim.process.wait(10)
            hits += victim.process.returncode == -signal.SIGKILL
        done = set(bench.paths())
        assert len(bench.paths()) == len(done)
        left = {each["path"] for each in bench.listed()}
        assert left | done == {f"{number:02d}" for number in range(40)}
        assert not left & done, "a file is published exactly when its letter is resolved"
    assert hits >= 3
    bench.openmsi(*words)
    assert bench.listed() == []
    assert bench.paths() == [f"{number:02d}" for number in range(40)]
    receipts = [each["path"] for each in bench.published(".receipts") if each["outcome"] == "done"]
    assert sorted(receipts) == bench.paths()


def test_two_who_retry_the_same_letters_publish_each_file_once(bench, tmp_path) -> None:
    bench.send(**{f"bad{number:02d}": b"no" for number in range(15)})
    bench.run(code=4)
    assert len(bench.listed()) == 15
    (tmp_path / "mended").write_text("")
    (tmp_path / "slow").write_text("")
    words = ["dlq", "retry", "--all", "--topic", bench.topic]
    environment = {**bench.environment, "HOME": str(tmp_path), "OPENMSI_CONFIG": str(tmp_path / "openmsi.toml")}
    with (
        Command(tmp_path / "one", *words, **environment) as one,
        Command(tmp_path / "other", *words, **environment) as other,
    ):
        codes = {one.wait(90), other.wait(90)}
    said = f"{one.output}\n\n{other.output}"
    assert codes <= {0, 3}, said  # the earlier one may have been told to leave it to the later one
    assert 0 in codes, said
    assert bench.paths() == [f"bad{number:02d}" for number in range(15)]
    assert bench.listed() == []
