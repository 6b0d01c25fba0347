"""Receipts and `openmsi status` on a real Apache Kafka with real processes: the whole circle, and kills."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from confluent_kafka import Producer

from openmsi_core.kafka.heldback import held_back
from openmsi_core.sending.entries import State
from openmsi_core.sending.ledger import Ledger, ledger_file
from openmsi_core.sending.ledgers import ABOUT, About
from tests.kafka.oracle import digests, values
from tests.kafka.processes import Command, openmsi, wait_for
from tests.receipts_fakes import entry, id_of, told

pytestmark = pytest.mark.kafka


class Place:
    """A topic, a watched folder and an archive, with one state folder for watch and status."""

    def __init__(self, broker, topic: str, folder: Path) -> None:
        self.broker, self.topic, self.folder = broker, topic, folder
        self.root = folder / "instrument"
        self.root.mkdir()
        self.state = folder / "state"
        self.archive = folder / "archive"
        self.address = ["--broker", broker.bootstrap]

    def watch(self, *words: str) -> Command:
        named = ("watch", str(self.root), "--topic", self.topic, "--settle", "0.2s", "--rescan", "0.5s")
        return Command(self.folder / "watch", *named, *words, *self.address, state=self.state)

    def disk(self, *words: str, name: str = "disk") -> Command:
        named = ("run", "disk", "--topic", self.topic, "--folder", str(self.archive))
        return Command(self.folder / name, *named, *words, *self.address)

    def openmsi(self, *words: str, within: float = 120) -> subprocess.CompletedProcess[str]:
        return openmsi(*words, *self.address, folder=self.folder, within=within)

    def status(self, *words: str, code: int | None = None) -> dict[str, object]:
        done = self.openmsi("status", str(self.root), "--json", *words)
        assert done.returncode in ({0, 4} if code is None else {code}), done.stderr
        facts: dict[str, object] = json.loads(done.stdout.splitlines()[0])
        return facts

    def receipts(self) -> list[dict[str, object]]:
        return [json.loads(value) for _, value in values(self.broker.bootstrap, f"{self.topic}.receipts")]

    def publish(self, *values_: bytes, commit: bool = True, timeout_ms: int = 60_000) -> Producer:
        """Receipts in a transaction, which is left open unless ``commit``."""
        settings = {"bootstrap.servers": self.broker.bootstrap, "transactional.id": f"forger-{random.random()}"}
        producer = Producer(settings | {"transaction.timeout.ms": str(timeout_ms)})
        producer.init_transactions(20)
        producer.begin_transaction()
        for value in values_:
            producer.produce(f"{self.topic}.receipts", value, b"key")
        assert producer.flush(20) == 0
        if commit:
            producer.commit_transaction(20)
        return producer


@pytest.fixture
def place(kafka_broker, make_topic, tmp_path) -> Place:
    return Place(kafka_broker, make_topic(2), tmp_path)


@pytest.mark.timeout(240)
def test_the_circle_from_the_folder_to_the_archive_and_back(place) -> None:
    for number in range(40):
        (place.root / f"{number}.dat").write_bytes(os.urandom(number * 1000))
    with place.watch() as watch:
        watch.until(lambda: place.state.exists() and place.status()["counts"]["sent"] == 40, 90)
        facts = place.status(code=4)
        assert facts["watched"] is True
        assert facts["runs"] == {}
        with place.disk() as disk:
            disk.until(lambda: place.status()["arrived"], 90)
            assert disk.end() == 0
        (place.root / "7.dat").write_bytes(b"changed")
        (place.root / "new.dat").write_bytes(b"new")
        watch.until(lambda: place.status()["counts"]["sent"] == 2, 60)
        assert watch.end() == 0
    with place.disk("--until-caught-up") as disk:
        assert disk.wait(60) == 0
    facts = place.status("--files", code=0)  # the sender is stopped: the receipts are read all the same
    done = place.openmsi("status", str(place.root), "--verify")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        f"{place.root} -> {place.topic}: all 41 files arrived at openmsi-disk (no watch is running here)",
        "  digests: 41 equal here and there",
    ]
    assert digests(place.archive) == digests(place.root)
    (place.archive / "new.dat").write_bytes(b"bad")
    done = place.openmsi("status", str(place.root), "--verify", "-q")
    assert done.returncode == 4
    assert "differs    new.dat: " in done.stdout


@pytest.mark.timeout(300)
def test_kills_of_sender_receiver_and_status_leave_the_answer_right(place) -> None:
    rng = random.Random(6)
    for number in range(300):
        (place.root / f"{number:03d}.dat").write_bytes(rng.randbytes(rng.randrange(3000)))
    status = [sys.executable, "-m", "openmsi_core", "status", str(place.root), *place.address]
    environment = os.environ | {"OPENMSI_STATE": str(place.state)}
    for round_ in range(6):
        (place.root / f"more-{round_}.dat").write_bytes(rng.randbytes(100))
        with place.watch() as watch, place.disk(name=f"disk-{round_}") as disk:
            watch.until(lambda: any(place.state.glob("ledgers/*.sqlite")), 60)
            with subprocess.Popen(
                status, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as looks:
                time.sleep(rng.uniform(0.3, 4.0))  # the instant of the kill is what is varied
                looks.kill()
            for each in (watch, disk):
                each.process.send_signal(signal.SIGKILL)
                each.process.wait(10)
    with place.watch() as watch, place.disk(name="last"):
        watch.until(lambda: place.status()["arrived"], 120)
        facts = place.status(code=0)
        assert watch.end() == 0
    assert facts["counts"] == {"waiting": 0, "sending": 0, "sent": 0, "delivered": 306, "failed": 0}
    assert digests(place.archive) == digests(place.root)
    oracle = {each["path"] for each in place.receipts() if each["outcome"] == "done"}
    assert len(oracle) == 306


@pytest.mark.timeout(240)
def test_a_file_that_a_run_never_had_whole_is_sent_again_and_then_arrives(place) -> None:
    (place.root / "a.dat").write_bytes(b"content")
    (place.root / "b.dat").write_bytes(b"content of b")
    with place.watch() as watch:
        watch.until(lambda: place.state.exists() and place.status()["counts"]["sent"] == 2, 90)
        listed = place.openmsi("status", str(place.root), "--files", "--json")
        first = next(file for file in map(json.loads, listed.stdout.splitlines()) if file.get("path") == "a.dat")
        assert watch.end() == 0
    number = int(first["id"], 16)
    place.publish(told(b"a.dat", number, "incomplete", sha256="", reason="its records stopped coming"))
    facts = place.status(code=4)
    assert facts["counts"]["failed"] == 1
    assert facts["failed"][0]["runs"]["openmsi-disk"]["outcome"] == "incomplete"
    with place.watch() as watch:
        watch.until(lambda: "it is sent again (1 of 3)" in watch.output, 60)
        watch.until(lambda: watch.output.count("sent a.dat") == 2, 60)
        with place.disk() as disk:
            disk.until(lambda: place.status()["arrived"], 90)
        assert watch.end() == 0
    assert watch.output.count("sent b.dat") == 1
    assert digests(place.archive) == digests(place.root)


@pytest.mark.timeout(240)
def test_a_transaction_that_nobody_ends_is_said_with_what_to_do(place, monkeypatch) -> None:
    (place.root / "a.dat").write_bytes(b"content")
    assert place.openmsi("watch", str(place.root), "--topic", place.topic, "--once", "--settle", "0.1s").returncode == 0
    name, options = f"{place.topic}.receipts", place.broker.plain()
    assert held_back(options, name, 10.0) == ()
    before = time.time()
    producer = place.publish(told(b"x", 99), commit=False)
    (held,) = held_back(options, name, 10.0)
    assert (held.partition, held.high - held.stable) == (0, 1)
    assert held.since_ms is not None
    assert before - 5 < held.since_ms / 1000 < time.time() + 5
    assert not held.is_stuck(time.time())
    assert held.is_stuck(time.time() + 130)
    assert place.status(code=4)["caveats"] == []  # a transaction of a moment is nothing to speak of
    monkeypatch.setenv("PYTHONPATH", f"{place.folder / 'site'}{os.pathsep}{Path(__file__).resolve().parents[2]}")
    (place.folder / "site").mkdir()
    (place.folder / "site" / "sitecustomize.py").write_text(
        "import openmsi_core.kafka.heldback as it\nit.STUCK_SECONDS = 0.0\n"  # so that the test takes no two minutes
    )
    (caveat,) = place.status(code=4)["caveats"]
    assert "nobody ends: 1 offsets from" in caveat
    assert f"kafka-transactions.sh --bootstrap-server {place.broker.bootstrap} abort --topic {name}" in caveat
    assert f"--partition 0 --start-offset {held.stable}" in caveat
    with place.disk("--until-caught-up") as disk:  # its receipt lies behind the open transaction
        assert disk.wait(90) == 0
    assert place.status(code=4)["counts"]["sent"] == 1
    producer.abort_transaction(20)
    assert held_back(options, name, 10.0) == ()
    assert place.status(code=0)["arrived"] is True


@pytest.mark.timeout(240)
def test_upload_waits_for_the_receipts_of_named_runs_and_says_which_did_not_come(place) -> None:
    (place.root / "a.dat").write_bytes(b"content")
    late = place.openmsi(
        "upload", str(place.root), "--topic", place.topic, "--wait", "disk", "--timeout", "2s", "--json"
    )
    assert late.returncode == 4
    assert [json.loads(line)["state"] for line in late.stdout.splitlines()] == ["sent", "unanswered"]
    assert "0 failed, 1 unanswered in time" in late.stderr
    piped = os.urandom(2_000_000)
    with place.disk() as disk:
        arguments = [sys.executable, "-m", "openmsi_core", "upload", "-", str(place.root), "--name", "run 7/piped.bin"]
        done = subprocess.run(
            [*arguments, "--topic", place.topic, "--wait", "disk", "--json", *place.address],
            input=piped, capture_output=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert disk.end() == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["state"] for each in lines] == ["sent", "sent", "delivered", "delivered"]
    assert sorted(Path(each["location"]).name for each in lines[2:]) == ["a.dat", "piped.bin"]
    assert (place.archive / "run 7" / "piped.bin").read_bytes() == piped
    missing = place.openmsi("upload", str(place.root), "--topic", f"{place.topic}.dlq", "--wait", "disk")
    assert missing.returncode == 2


def _made(place: Place, count: int) -> None:
    """A folder with so many files, a ledger that calls all of them sent, and a receipt for each."""
    file = ledger_file(place.state, place.root, place.topic)
    with Ledger(file, root=place.root, topic=place.topic) as ledger:
        ledger.set_fact(ABOUT, About(file, place.root, place.topic).as_text())
        for number in range(1, count + 1):
            folder = place.root / f"{number // 1000:03d}"
            folder.mkdir(exist_ok=True)
            here = folder / f"{number}.dat"
            here.touch()
            row = entry(str(here.relative_to(place.root)).encode(), number, State.SENT, size=0)
            os.utime(here, ns=(row.mtime_ns, row.mtime_ns))
            ledger.put(row)
            ledger.flush_if_due()
    producer = Producer({"bootstrap.servers": place.broker.bootstrap, "linger.ms": 20, "transactional.id": "many"})
    producer.init_transactions(20)
    producer.begin_transaction()
    for number in range(1, count + 1):
        key = f"{number // 1000:03d}/{number}.dat".encode()
        producer.produce(f"{place.topic}.receipts", told(key, number), key + b"\0openmsi-disk")
        producer.poll(0)
    producer.commit_transaction(60)


class Stopwatch:
    """Seconds by the clock, and processor time of the child processes that ended meanwhile."""

    def __enter__(self) -> None:
        self._began = time.monotonic(), self._used()

    def __exit__(self, *_: object) -> None:
        self.clock, self.processor = time.monotonic() - self._began[0], self._used() - self._began[1]

    def __str__(self) -> str:
        return f"{self.clock:.2f} s ({self.processor:.2f} s of processor time)"

    def _used(self) -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime


@pytest.mark.slow
@pytest.mark.timeout(480)
def test_the_answer_for_a_hundred_thousand_files_reads_only_what_is_new(place) -> None:
    count = int(os.environ.get("OPENMSI_TEST_STATUS_FILES", "100000"))
    _made(place, count)
    first, again = Stopwatch(), Stopwatch()
    with first:
        place.status(code=0)
    with again:
        done = place.openmsi("status", str(place.root))
    assert done.stdout == (
        f"{place.root} -> {place.topic}: all {count:,} files arrived at openmsi-disk (no watch is running here)\n"
    )
    print(f"status of {count:,} files: {first} with all receipts to be read, {again} after that")
    (place.root / "000" / "1.dat").write_bytes(b"changed")
    place.publish(told(b"000/2.dat", 2, "failed"))
    facts = place.status(code=4)
    assert facts["counts"] == {"waiting": 1, "sending": 0, "sent": 0, "delivered": count - 2, "failed": 1}
    assert facts["failed"][0]["id"] == id_of(2).hex()
    assert again.processor < first.processor, "what was read once was read again"


def test_status_without_a_broker_says_what_it_knows(place) -> None:
    (place.root / "a.dat").write_bytes(b"content")
    assert place.openmsi("watch", str(place.root), "--topic", place.topic, "--once", "--settle", "0.1s").returncode == 0
    with place.disk("--until-caught-up") as disk:
        assert disk.wait(60) == 0
    away = ["--broker", "127.0.0.1:9"]
    done = openmsi("status", str(place.root), *away, folder=place.folder)
    assert done.returncode == 4
    assert "0 of 1 files arrived; 1 sent" in done.stdout
    assert "receipts could not be read now: no broker answers at 127.0.0.1:9" in done.stdout
    assert place.status(code=0)["arrived"] is True
    assert openmsi("status", str(place.root), *away, folder=place.folder).returncode == 0  # receipts are kept here


def test_status_shows_again_and_again_until_it_is_interrupted(place) -> None:
    (place.root / "a.dat").write_bytes(b"content")
    with place.watch() as watch:
        watch.until(lambda: "sent a.dat" in watch.output, 60)
        named = ("status", str(place.root), "--watch")
        with Command(place.folder / "status", *named, *place.address, state=place.state) as status:
            status.until(lambda: "0 of 1 files arrived; 1 sent" in status.output, 60)
            with place.disk() as disk:
                disk.until(lambda: "all 1 files arrived at openmsi-disk" in status.output, 90)
            assert status.end(signal.SIGINT) == 130
        wait_for(lambda: "a.dat done" in disk.output, 10)
        assert watch.end() == 0


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write everywhere")
@pytest.mark.parametrize("is_watched", [False, True])
def test_somebody_who_may_only_read_the_ledger_gets_the_answer_too(place, is_watched) -> None:
    (place.root / "a.dat").write_bytes(b"content")
    less = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    status = [*less, sys.executable, "-m", "openmsi_core", "status", str(place.root), "--json", *place.address]
    with ExitStack() as stack:
        if is_watched:
            watch = stack.enter_context(place.watch())
            watch.until(lambda: "sent a.dat" in watch.output, 60)
        else:
            place.openmsi("watch", str(place.root), "--topic", place.topic, "--once", "--settle", "0.1s")
        with place.disk("--until-caught-up") as disk:
            assert disk.wait(90) == 0
        ledgers = place.state / "ledgers"
        before = {file: file.stat().st_mode for file in [ledgers, *ledgers.iterdir()]}
        try:
            for file in before:
                file.chmod(0o555 if file.is_dir() else 0o444)
            done = subprocess.run(
                status,
                env=os.environ | {"OPENMSI_STATE": str(place.state)},
                capture_output=True,
                check=False,
                timeout=90,
            )
        finally:
            for file, mode in before.items():
                file.chmod(mode)
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(done.stdout)
    assert (facts["arrived"], facts["caveats"], facts["watched"]) == (True, [], is_watched)
