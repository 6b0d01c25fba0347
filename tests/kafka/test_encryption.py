"""Encryption on a real Apache Kafka, with real processes: keys, restarts, kills, late keys, eavesdroppers."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import msgpack
import pytest
from confluent_kafka import Producer

from openmsi_core.crypto import blobs
from openmsi_core.crypto.certificates import Role
from openmsi_core.crypto.provisioning import add_node, make_root
from openmsi_core.kafka import admin, keytopics
from openmsi_core.ports import NotYet, Opened
from openmsi_core.wiring.encrypting import Choice, encryption
from tests.crypto_fakes import need_library
from tests.kafka.oracle import digests, values
from tests.kafka.processes import Command, openmsi, wait_for

pytestmark = pytest.mark.kafka

READABLE_SECONDS = 5.0  # acceptance: the first record is readable so soon after both sides are up
SLACK = float(os.environ.get("OPENMSI_TEST_SLACK", "3"))  # tests share their machine; the figure is printed


@pytest.fixture(autouse=True)
def library() -> None:
    need_library()


class Lab:
    """A topic family with key topics, a folder of nodes, and the commands that use them."""

    def __init__(self, tmp_path: Path, broker: str, topic: str) -> None:
        self.folder, self.broker, self.topic = tmp_path, broker, topic
        self.keys = tmp_path / "keys"
        make_root(self.keys)
        self.out = tmp_path / "out"
        self._count = 0

    def node(self, name: str, role: str = "both", **more) -> Path:
        add_node(self.keys, name, Role(role), [self.topic], **more)
        return self.keys / name

    def of(self, *arguments: str, node: str | None = None) -> list[str]:
        crypto = ["--crypto", str(self.keys / node)] if node else []
        return [*arguments, "--topic", self.topic, "--broker", self.broker, *crypto]

    def start(self, *arguments: str, node: str) -> Command:
        self._count += 1
        return Command(self.folder / f"{arguments[0]}-{self._count}", *self.of(*arguments, node=node))

    def sink(self, node: str, *more: str) -> Command:
        return self.start("run", "disk", "--folder", str(self.out), *more, node=node)

    def upload(self, *paths: Path, node: str, serve: str = "30s") -> Command:
        return self.start("upload", *map(str, paths), "--serve-keys", serve, node=node)

    def do(self, *arguments: str, node: str | None = None, within: float = 60):
        return openmsi(*self.of(*arguments, node=node), folder=self.folder, within=within)

    def file(self, name: str, data: bytes | None = None) -> Path:
        path = self.folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(200_000) if data is None else data)
        return path

    def arrived(self) -> dict[bytes, str]:
        found = digests(self.out) if self.out.is_dir() else {}
        return {name: each for name, each in found.items() if not name.startswith(b".")}

    def has(self, *paths: Path) -> bool:
        wanted = {hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
        return wanted <= set(self.arrived().values())


@pytest.fixture
def lab(kafka_broker, make_topic, tmp_path) -> Lab:
    topic = make_topic(2)
    keytopics.create_key_topics(admin.connected(kafka_broker.plain()), topic)
    return Lab(tmp_path, kafka_broker.bootstrap, topic)


@contextmanager
def opening(lab: Lab, node: str, **more):
    """What a process of ours would open with, in this process."""
    choice = Choice(node=str(lab.keys / node), serve_seconds=0, **more)
    stopping = threading.Event()
    with encryption(choice, {"bootstrap.servers": lab.broker}, [lab.topic], [lab.topic], stopping) as crypt:
        yield crypt


def until_opened(sealer, topic: str, data: bytes, within: float) -> bytes:
    found = []

    def opens() -> bool:
        answer = sealer.open_value(topic, data)
        assert isinstance(answer, Opened | NotYet), answer
        found[:] = [answer.data] if isinstance(answer, Opened) else []
        return bool(found)

    wait_for(opens, within)
    return found[0]


@pytest.mark.parametrize("order", ["sender-first", "receiver-first"])
@pytest.mark.parametrize("way", ["direct", "controller"])
def test_the_first_record_is_readable_soon_in_both_orders_directly_and_through_a_controller(lab, order, way) -> None:
    lab.node("sender")
    lab.node("receiver", through_controller=way == "controller")
    with ExitStack() as stack:
        if way == "controller":
            lab.node("controller", "controller")
            command = ["crypto", "run-controller", str(lab.keys / "controller"), "--broker", lab.broker]
            controller = stack.enter_context(Command(lab.folder / "controller", *command))
            controller.until(lambda: "passes on" in controller.output, 60)
        if order == "sender-first":
            sender = stack.enter_context(opening(lab, "sender"))
            sealed = sender.sealer.seal_value(lab.topic, b"first")
            receiver = stack.enter_context(opening(lab, "receiver"))
        else:
            receiver = stack.enter_context(opening(lab, "receiver"))
            sender = stack.enter_context(opening(lab, "sender"))
            sealed = sender.sealer.seal_value(lab.topic, b"first")
        began = time.monotonic()
        assert until_opened(receiver.sealer, lab.topic, sealed, READABLE_SECONDS * SLACK) == b"first"
        print(f"{way}, {order}: readable after {time.monotonic() - began:.2f} s")


def test_files_letters_receipts_and_results_are_sealed_and_come_back_with_a_node(lab, kafka_broker, tmp_path) -> None:
    output = f"{lab.topic}.results"
    assert openmsi("topics", "create", output, "--plain", "--broker", lab.broker, folder=tmp_path).returncode == 0
    for name in ("sender", "runner", "reader", "plain"):
        lab.node(name)
    good = lab.file("secret-name.xrdml", b"SECRET-CONTENT " * 100)
    forged = {"plain": b"OMSI forged and plain", "broken": b"\x01\x93broken", "empty": b""}
    producer = Producer({"bootstrap.servers": lab.broker})
    for value in forged.values():
        producer.produce(lab.topic, value, b"k", 0)
    producer.flush(10)
    with lab.upload(good, node="sender") as upload:
        upload.until(lambda: "handing out" in upload.output)
        command = ["run", "file-info", "--output-topic", output, "--until-caught-up", "--serve-keys", "20s"]
        with lab.start(*command, node="runner") as run:
            run.until(lambda: "handing out" in run.output, 90)
            listed = lab.do("dlq", "list", "--json", node="reader")
            letters = [json.loads(line) for line in listed.stdout.splitlines()]
            assert [each["what"] for each in letters] == ["unreadable"] * 3, listed.stderr
            reasons = " ".join(each["reason"] for each in letters)
            assert "it is plain, not sealed, and this topic is encrypted" in reasons
            assert "cut off or damaged" in reasons
            shown = lab.do("dlq", "show", letters[0]["id"], "--json", node="reader")
            assert json.loads(shown.stdout)["what"] == "unreadable", shown.stderr
            peek = ["topics", "peek", output, "--json", "--broker", lab.broker, "--crypto", str(lab.keys / "reader")]
            told = openmsi(*peek, folder=tmp_path)
            assert json.loads(told.stdout)["file"]["path"] == "secret-name.xrdml", told.stderr
            blind = openmsi(*peek[:-2], folder=tmp_path)
            assert "secret" not in blind.stdout.lower()
            assert "bad" in json.loads(blind.stdout)
    names = [lab.topic, f"{lab.topic}.dlq", f"{lab.topic}.receipts", output]
    for topic in names:
        raw = values(lab.broker, topic)
        assert raw, topic
        for key, value in raw:
            if value in forged.values():
                continue
            assert value[:1] == b"\x01", topic
            assert key is None or key[:1] == b"\x01", topic
    assert_nothing_in(kafka_broker.folder, [b"secret-name", b"SECRET-CONTENT", b"file-info"], [lab.topic])


def assert_nothing_in(folder: Path, words: list[bytes], topics: list[str]) -> None:
    """No word stands in the broker's own files of these topics."""
    files = [each for topic in topics for each in folder.rglob(f"{topic}*/*.log")]
    assert files
    for each in files:
        data = each.read_bytes()
        assert not [word for word in words if word in data], each


def test_an_eavesdropper_on_the_wire_sees_no_name_no_path_no_content(lab, tmp_path) -> None:
    """Everything that client and broker say to one another passes a proxy that keeps it."""
    from openmsi_core.testing.brokers import RealKafka
    from tests.kafka.eavesdropping import Eavesdropper

    own = RealKafka(tmp_path / "own")
    with Eavesdropper(own.port) as ear:
        own._settings = {
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{ear.port},CONTROLLER://127.0.0.1:{own._control}"
        }
        with own:
            lab.broker = f"127.0.0.1:{ear.port}"
            making = admin.connected({"bootstrap.servers": lab.broker})
            admin.create_family(making, lab.topic, 2)
            keytopics.create_key_topics(making, lab.topic)
            lab.node("sender")
            lab.node("receiver")
            wanted = lab.file("secret-name.txt", b"SECRET-CONTENT " * 1000)
            with lab.sink("receiver") as sink, lab.upload(wanted, node="sender", serve="10s") as upload:
                sink.until(lambda: lab.has(wanted), 60)
                assert upload.wait(60) == 0
            heard = ear.heard()
            assert len(heard) > 20_000
            assert lab.topic.encode() in heard  # that is visible
            for word in (b"secret-name", b"SECRET-CONTENT"):
                assert word not in heard


def test_a_plain_installation_and_a_sealed_topic_tell_one_another(lab) -> None:
    """A receiver without a node finds only bad records; it never takes what is sealed for a file."""
    lab.node("sender")
    wanted = lab.file("a.txt")
    with lab.upload(wanted, node="sender", serve="0s") as upload:
        assert upload.wait(60) == 0
    done = openmsi(*lab.of("run", "disk", "--folder", str(lab.out), "--until-caught-up"), folder=lab.folder, within=90)
    assert done.returncode == 4, done.stderr
    assert not lab.arrived()


def test_either_side_restarts_and_a_keyring_reads_without_its_sender(lab) -> None:
    for name in ("sender", "receiver"):
        lab.node(name)
    config = lab.folder / "openmsi.toml"
    config.write_text('[crypto]\nkeyring = "file"\n')
    first, second, third = lab.file("1.bin"), lab.file("2.bin"), lab.file("3.bin")
    more = ("--config", str(config))
    with lab.sink("receiver", *more) as sink, lab.upload(first, node="sender", serve="60s") as upload:
        sink.until(lambda: lab.has(first), 60)
        assert upload.end(signal.SIGINT, 20) in {0, 130}
        assert sink.end(within=20) == 0
    with lab.upload(second, node="sender", serve="0s") as upload:  # it is gone before a receiver asks
        assert upload.wait(60) == 0
    with lab.sink("receiver", *more) as sink, lab.upload(third, node="sender", serve="60s"):
        sink.until(lambda: lab.has(second, third), 60)  # the successor hands out what its predecessor sealed with
        sink.end(signal.SIGKILL)
    shutil.rmtree(lab.out)
    again = ["--group", "another", *more]
    with lab.sink("receiver", *again) as sink:  # no sender is up: the keys are in the keyring
        sink.until(lambda: lab.has(first, second, third), 30)


def test_killed_right_after_the_first_flush_everything_is_readable_when_the_sender_is_back(lab) -> None:
    lab.node("sender")
    lab.node("receiver")
    files = []
    for number in range(3):
        files.append(lab.file(f"{number}.bin"))
        with lab.upload(files[-1], node="sender", serve="60s") as upload:
            upload.until(lambda: "sent " in upload.output, 60)
            upload.process.kill()
            upload.process.wait(10)
    with lab.sink("receiver") as sink, lab.upload(lab.file("last.bin"), node="sender", serve="60s"):
        sink.until(lambda: lab.has(*files), 60)


def test_keys_that_rotate_in_the_middle_of_a_file_and_a_kill_at_a_rotation_lose_nothing(lab) -> None:
    sender = lab.node("sender")
    lab.node("receiver")
    config = sender / "sender.config"
    config.write_text(config.read_text().replace("[sender]\n", "[sender]\ncrypto_ratchet_interval : 1\n"))
    big = lab.file("big.bin", os.urandom(120_000_000))
    folder = big.parent
    watch = ["watch", str(folder), "--settle", "0.1s", "--chunk-size", "16KiB", "-X", "linger.ms=20"]
    with lab.sink("receiver") as sink:
        with lab.start(*watch, node="sender") as first:
            first.until(lambda: len(indices(lab)) >= 2, 90)
            first.process.kill()
            first.process.wait(10)
        with lab.start(*watch, node="sender"):
            sink.until(lambda: lab.has(big), 90)
    print("key indices in one file:", len(indices(lab)))


def indices(lab: Lab) -> set[object]:
    return {blobs.parsed(value).index for _, value in values(lab.broker, lab.topic)}


def test_a_key_that_comes_late_holds_its_partition_alone_and_nothing_is_lost(lab, kafka_broker) -> None:
    """One sender is gone for a while: what it sealed is parked and others' files go on; also over a kill."""
    late_seconds = float(os.environ.get("OPENMSI_TEST_LATE", "15"))
    for name in ("late", "other", "receiver"):
        lab.node(name)
    parked = [lab.file(f"late-{number}.bin") for number in range(5)]
    with lab.upload(*parked, node="late", serve="0s") as upload:
        assert upload.wait(60) == 0
    with ExitStack() as stack:
        sink = stack.enter_context(lab.sink("receiver"))
        others = lab.folder / "others"
        others.mkdir()
        stack.enter_context(lab.start("watch", str(others), "--settle", "0.1s", node="other"))
        ends, number = time.monotonic() + late_seconds, 0
        while time.monotonic() < ends:
            path = others / f"{number}.bin"
            path.write_bytes(os.urandom(50_000))
            number += 1
            sink.until(partial(lab.has, path), 60)
            if number == 3:  # killed while records are parked
                sink.process.kill()
                sink.process.wait(10)
                sink = stack.enter_context(lab.sink("receiver"))
        assert not lab.has(parked[0])
        stack.enter_context(lab.upload(lab.file("again.bin"), node="late", serve="60s"))
        sink.until(lambda: lab.has(*parked), 60)
        assert "lost" not in sink.output
    assert not values(lab.broker, f"{lab.topic}.dlq")


def test_a_key_that_never_comes_ends_as_a_dead_letter_after_its_time(lab) -> None:
    for name in ("gone", "receiver", "reader"):
        lab.node(name)
    with lab.upload(lab.file("a.bin", b"x" * 100), node="gone", serve="0s") as upload:
        assert upload.wait(60) == 0
    config = lab.folder / "openmsi.toml"
    config.write_text('[crypto]\nunreadable-after = "3s"\n')
    with lab.sink("receiver", "--config", str(config)) as sink:
        sink.until(lambda: "no key came for it" in sink.output, 60)
        listed = lab.do("dlq", "list", "--json", node="reader")
        assert json.loads(listed.stdout)["what"] == "unreadable", listed.stderr


def test_a_controller_may_be_late_go_away_and_find_topics_that_are_made_later(lab, kafka_broker) -> None:
    lab.node("sender")
    lab.node("receiver", through_controller=True)
    add_node(lab.keys, "controller", Role.CONTROLLER, ["^t-.*"])
    command = ["crypto", "run-controller", str(lab.keys / "controller"), "--broker", lab.broker]
    with opening(lab, "sender") as sender, opening(lab, "receiver") as receiver:
        sealed = sender.sealer.seal_value(lab.topic, b"x")
        ends = time.monotonic() + 8
        while time.monotonic() < ends:  # 8 s without a controller: nothing comes
            assert isinstance(receiver.sealer.open_value(lab.topic, sealed), NotYet)
            time.sleep(0.1)  # as often as a stream would look
        with Command(lab.folder / "controller", *command) as controller:
            assert until_opened(receiver.sealer, lab.topic, sealed, 30) == b"x"
            assert controller.end(within=30) == 0
        with Command(lab.folder / "controller", *command) as controller:
            controller.until(lambda: "passes on" in controller.output, 60)
            later = Lab(lab.folder / "later", lab.broker, f"{lab.topic}-later")
            making = admin.connected(kafka_broker.plain())
            admin.create_family(making, later.topic, 1)
            keytopics.create_key_topics(making, later.topic)
            later.keys = lab.keys
            for name in ("s2", "r2"):
                add_node(lab.keys, name, Role.BOTH, [later.topic], through_controller=True)
            with opening(later, "s2") as one, opening(later, "r2") as two:
                sealed = one.sealer.seal_value(later.topic, b"y")
                assert until_opened(two.sealer, later.topic, sealed, 30) == b"y"


def test_eight_senders_and_two_receivers_of_a_group_each_with_a_node(lab) -> None:
    files = [lab.file(f"{number}.bin", os.urandom(300_000)) for number in range(8)]
    for name in ("one", "two", *(f"s{number}" for number in range(8))):
        lab.node(name)
    with ExitStack() as stack:
        one, two = (stack.enter_context(lab.sink(name)) for name in ("one", "two"))
        for number, path in enumerate(files):
            stack.enter_context(lab.upload(path, node=f"s{number}", serve="90s"))
        one.until(lambda: lab.has(*files), 120)
        assert two.process.poll() is None
    print("8 senders arrived")


def test_what_is_missing_is_one_clear_message_each(lab, kafka_broker, make_topic) -> None:
    lab.node("n")
    lab.node("reads", "consumer")
    lab.node("ends", seconds=1, now=time.time() - 10)
    path = lab.file("a.bin")
    bare = Lab(lab.folder / "bare", lab.broker, make_topic(1))
    bare.keys = lab.keys
    add_node(lab.keys, "bare", Role.BOTH, [bare.topic])
    copy = shutil.copytree(lab.keys / "n", lab.folder / "n")
    with opening(lab, "n"):
        busy = lab.do("upload", str(path), node="n")
    shutil.copy(lab.keys / "n" / "n.home", copy)
    copied = openmsi(*lab.of("upload", str(path)), "--crypto", str(copy), folder=lab.folder)
    said = {
        "in use by process": busy,
        "was copied, or restored": copied,
        "there is no node": lab.do("upload", str(path), node="nobody"),
        "has not the role of a producer": lab.do("upload", str(path), node="reads"),
        "its chain has expired": lab.do("upload", str(path), node="ends"),
        "not for": lab.do("upload", str(path), node="bare"),
        "for the exchange of keys are missing": bare.do("upload", str(path), node="bare"),
    }
    for why, done in said.items():
        assert done.returncode == 2, (why, done.stderr)
        assert why in done.stderr
        assert done.stderr.count("openmsi: error:") == 1
        assert "Traceback" not in done.stderr


def test_forged_messages_in_the_key_topics_do_no_harm(lab) -> None:
    lab.node("sender")
    lab.node("receiver")
    producer = Producer({"bootstrap.servers": lab.broker})
    for ending in (*keytopics.ENDINGS,):
        for value in (b"", b"\xc1", os.urandom(500), msgpack.packb([b"x"] * 5), None):
            producer.produce(f"{lab.topic}{ending}", value, os.urandom(20), 0)
    for name in keytopics.SHARED:
        producer.produce(name, os.urandom(50), b"k", 0)
    producer.flush(10)
    path = lab.file("a.bin")
    with lab.sink("receiver") as sink, lab.upload(path, node="sender", serve="60s"):
        sink.until(lambda: lab.has(path), 60)
