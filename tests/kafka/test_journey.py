"""The straight way on a real Apache Kafka, with real processes: watch on one side, receivers on the other."""

from __future__ import annotations

import json
import os
import shutil
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.kafka.oracle import digests, values
from tests.kafka.processes import Command, openmsi, wait_for

pytestmark = pytest.mark.kafka

XRD = Path(__file__).resolve().parents[3] / "shared" / "data" / "xrd"
BIG = int(os.environ.get("OPENMSI_TEST_BIG_MIB", "192")) * 1024 * 1024
MEMORY = 256 * 1024 * 1024


def write_big(path: Path, size: int) -> None:
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for number in range(size >> 20):
            file.write(number.to_bytes(8, "big") + block[8:])


@pytest.fixture
def instrument(tmp_path) -> Path:
    folder = tmp_path / "instrument"
    folder.mkdir()
    if XRD.is_dir():
        shutil.copytree(XRD, folder / "xrd")
    (folder / "small").mkdir()
    for number in range(2000):
        (folder / "small" / f"{number:04d}.txt").write_bytes(os.urandom(number % 5000))
    (folder / "small" / "empty.dat").touch()
    (folder / "name with 'quotes' \"and\" \n newline é€").write_text("x")
    Path(os.fsdecode(os.fsencode(folder) + b"/not-utf8-\xff\xe9")).write_text("y")
    (folder / "scan.xrdml").write_text(
        '<?xml version="1.0"?><xrdMeasurements xmlns="http://www.xrdml.com/XRDMeasurement/1.5">'
        "<xrdMeasurement><usedWavelength><kAlpha1>1.54</kAlpha1></usedWavelength>"
        '<scan scanAxis="Gonio"><dataPoints><positions axis="2Theta"><startPosition>1</startPosition>'
        "<endPosition>2</endPosition></positions><intensities>1 2 3</intensities></dataPoints></scan>"
        "</xrdMeasurement></xrdMeasurements>"
    )
    write_big(folder / "big.raw", BIG)
    return folder


@pytest.mark.timeout(420)
def test_every_file_arrives_once_and_equal_through_watch_two_disk_sinks_and_an_extractor(
    kafka_broker, make_topic, tmp_path, instrument
) -> None:
    topic = make_topic(4)
    results = make_topic(1)
    broker = ["--broker", kafka_broker.bootstrap]
    archive = tmp_path / "archive"
    wanted = digests(instrument)
    extractor = ["run", "xrd-extractor", "--topic", topic, "--output-topic", results, *broker]
    sink = ["run", "disk", "--topic", topic, "--folder", str(archive), *broker]
    with (
        ExitStack() as stack,
        Command(tmp_path / "one", *sink) as one,
        Command(tmp_path / "two", *sink) as two,
        Command(tmp_path / "xrd", *extractor) as xrd,
    ):
        one.until(lambda: "is ours" in one.output and "is ours" in two.output, 60)
        watch = stack.enter_context(
            Command(tmp_path / "watch", "watch", str(instrument), "--topic", topic, "--settle", "0.5s", *broker)
        )
        watch.until(lambda: archive.is_dir() and len(digests_of_names(archive)) == len(wanted), 300)
        scans = [name for name in wanted if name.endswith(b".xrdml")]
        xrd.until(lambda: len(values(kafka_broker.bootstrap, results)) >= len(scans), 60)
        peaks = {each.log.parent.name: each.peak_memory() for each in (one, two, xrd, watch)}
        assert [each.end() for each in (one, two, xrd, watch)] == [0, 0, 0, 0]
    print("peak memory, MiB:", {name: peak >> 20 for name, peak in peaks.items()})
    assert digests(archive) == wanted
    published = [json.loads(value) for _, value in values(kafka_broker.bootstrap, results)]
    assert sorted(os.fsencode(result["file"]["path"]) for result in published) == sorted(scans)
    assert values(kafka_broker.bootstrap, f"{topic}.dlq") == []
    assert max(peaks.values()) < MEMORY
    shares = [text.count(" done ") for text in (one.output, two.output)]
    assert min(shares) > 0, f"one of two processes of the group did nothing: {shares}"


def digests_of_names(folder: Path) -> list[bytes]:
    found = []
    for where, folders, names in os.walk(os.fsencode(folder)):
        folders[:] = [name for name in folders if name != b".openmsi"]
        found += [os.path.join(where, name) for name in names]
    return found


@pytest.mark.timeout(300)
def test_a_receiver_killed_in_mid_file_is_continued_by_one_that_knows_nothing(
    kafka_broker, make_topic, tmp_path
) -> None:
    topic = make_topic(2)
    source = tmp_path / "source"
    source.mkdir()
    write_big(source / "big.raw", BIG)
    for number in range(50):
        (source / f"{number}.txt").write_text(str(number))
    broker = ["--broker", kafka_broker.bootstrap]
    sent = openmsi("upload", str(source), "--topic", topic, *broker, folder=tmp_path, within=240)
    assert sent.returncode == 0, sent.stderr
    archive = tmp_path / "archive"
    sink = ["run", "disk", "--topic", topic, "--folder", str(archive), *broker]
    with Command(tmp_path / "first", *sink) as first:
        first.until(lambda: spooled(archive) > BIG // 4)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(10)
    assert not (archive / "big.raw").exists()
    with Command(tmp_path / "second", *sink, state=tmp_path / "elsewhere") as second:
        second.until((archive / "big.raw").exists, 120)
        wait_for(lambda: len(digests_of_names(archive)) == 51, 60)
        assert second.end() == 0
    assert digests(archive) == digests(source)
    assert values(kafka_broker.bootstrap, f"{topic}.dlq") == []


def spooled(archive: Path) -> int:
    """Bytes that wait in the archive's hidden work folder."""
    total = 0
    for path in archive.glob(".openmsi/**/*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # it was published just now
            continue
    return total
