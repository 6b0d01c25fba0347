"""`openmsi upload` and `openmsi watch` as real processes on a real little broker, with kills."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from openmsi_core.kafka import admin
from openmsi_core.kafka.embedded import embedded
from tests.kafka.oracle import values
from tests.kafka.processes import Command, openmsi
from tests.sending_fakes import Arrived, FakeSink, arrived

HOSTILE = (b"with space", b"new\nline", b"quote'\"", "\u00e9\u20ac".encode(), b"not utf-8 \xe9\xff", b"a:b\\c")


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with embedded() as running:
        yield running.address


@pytest.fixture
def topic(broker: str, request: pytest.FixtureRequest) -> str:
    name = f"t{hashlib.sha256(request.node.name.encode()).hexdigest()[:12]}"
    admin.create_family(admin.connected({"bootstrap.servers": broker}), name, 3, 1)
    return name


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


def _found(broker: str, topic: str) -> Arrived:
    sink = FakeSink()
    for key, value in values(broker, topic):
        assert key is not None
        assert value is not None
        sink.records.append((0, key, value))
    return arrived(sink)


def _sent_rows(state: Path) -> dict[bytes, bytes]:
    """Path and digest of what the ledger calls sent, read by SQLite alone."""
    (file,) = (state / "ledgers").glob("*.sqlite")
    with contextlib.closing(sqlite3.connect(file)) as db:
        return dict(db.execute("SELECT path, sha256 FROM files WHERE state = 'sent'").fetchall())


def test_upload_prints_one_json_object_a_file_and_nothing_else(
    broker: str, topic: str, tmp_path: Path, root: Path
) -> None:
    for name in HOSTILE:
        folder = root / os.fsdecode(name)
        folder.mkdir()
        (folder / os.fsdecode(name)).write_bytes(name)
    (root / "empty").write_bytes(b"")
    (root / "big.bin").write_bytes(os.urandom(1_300_000))
    done = openmsi(
        "upload", str(root), "--topic", topic, "--broker", broker, "--json", "--meta", "who=me", folder=tmp_path
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(HOSTILE) + 2
    found = _found(broker, topic)
    for line in lines:
        assert line["state"] == "sent"
        assert isinstance(line["offset"], int)
        (file,) = [each for each in root.rglob("*") if each.is_file() and _shown(each, root) == line["path"]]
        content = file.read_bytes()
        assert line["sha256"] == hashlib.sha256(content).hexdigest()
        assert line["size"] == len(content)
        assert found.whole[str(file.relative_to(root))] == [content]
    assert not found.aborted
    assert not found.unfinished


def _shown(file: Path, root: Path) -> str:
    raw = os.fsencode(file.relative_to(root))
    return raw.decode("utf-8", "backslashreplace")


def test_upload_of_a_missing_path_or_topic_is_one_sentence_and_code_2(broker: str, tmp_path: Path, root: Path) -> None:
    for arguments in (["nosuch", "--topic", "t"], [str(root), "--topic", "nosuch"]):
        done = openmsi("upload", *arguments, "--broker", broker, folder=tmp_path)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1, done.stderr
        assert "nosuch" in done.stderr


def test_watch_once_sends_what_is_new_and_the_second_time_nothing(
    broker: str, topic: str, tmp_path: Path, root: Path
) -> None:
    (root / "a.dat").write_bytes(b"a")
    (root / "a.tmp").write_bytes(b"t")
    watch = ("watch", str(root), "--topic", topic, "--broker", broker, "--once", "--settle", "0.2s", "--json")
    for expected in (["a.dat"], [], ["a.dat", "b.dat"]):
        if expected == ["a.dat", "b.dat"]:
            (root / "a.dat").write_bytes(b"changed")
            (root / "b.dat").write_bytes(b"b")
        done = openmsi(*watch, "--exclude", "*.tmp", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert sorted(json.loads(line)["path"] for line in done.stdout.splitlines()) == expected
    assert _found(broker, topic).whole == {"a.dat": [b"a", b"changed"], "b.dat": [b"b"]}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_watch_stops_on_a_signal_and_goes_on_at_the_next_start(
    broker: str, topic: str, tmp_path: Path, root: Path, number: int, code: int
) -> None:
    arguments = ("watch", str(root), "--topic", topic, "--broker", broker, "--settle", "0.2s")
    (root / "first").write_bytes(b"1")
    with Command(tmp_path / "w", *arguments) as watch:
        watch.until(lambda: "sent first" in watch.output)
        assert watch.end(number) == code
        assert "Traceback" not in watch.output
    (root / "second").write_bytes(b"2")
    with Command(tmp_path / "w", *arguments) as watch:
        watch.until(lambda: "sent second" in watch.output)
        assert watch.end() == 0
    assert _found(broker, topic).whole == {"first": [b"1"], "second": [b"2"]}


def test_watch_stopped_in_mid_file_gives_it_up_and_sends_it_anew(
    broker: str, topic: str, tmp_path: Path, root: Path
) -> None:
    content = os.urandom(60_000_000)
    (root / "big").write_bytes(content)
    arguments = ("watch", str(root), "--topic", topic, "--broker", broker, "--settle", "0.1s")
    with Command(tmp_path / "w", *arguments) as watch:
        watch.until(lambda: bool(values(broker, topic)))
        assert watch.end() == 0
    with Command(tmp_path / "w", *arguments) as watch:
        watch.until(lambda: "sent big" in watch.output)
        watch.end()
    found = _found(broker, topic)
    assert found.whole == {"big": [content]}
    assert found.unfinished == []


def test_a_second_watch_of_the_same_folder_is_refused(broker: str, topic: str, tmp_path: Path, root: Path) -> None:
    arguments = ("watch", str(root), "--topic", topic, "--broker", broker, "--settle", "0.1s")
    (root / "f").write_bytes(b"1")
    with Command(tmp_path / "w", *arguments) as watch:
        watch.until(lambda: "sent f" in watch.output)
        second = openmsi(*arguments, folder=tmp_path, OPENMSI_STATE=str(tmp_path / "w" / "state"))
        assert second.returncode == 2
        assert f"process {watch.process.pid}" in second.stderr


def test_a_named_watch_comes_from_the_configuration(broker: str, topic: str, tmp_path: Path, root: Path) -> None:
    (root / "keep.dat").write_bytes(b"k")
    (root / "drop.tmp").write_bytes(b"d")
    (tmp_path / "openmsi.toml").write_text(
        f'[kafka]\nbootstrap.servers = "{broker}"\n[watch.xrd]\npath = "{root}"\ntopic = "{topic}"\n'
        'exclude = ["*.tmp"]\nsettle = "100ms"\n'
    )
    done = openmsi("watch", "xrd", "--once", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(_found(broker, topic).whole) == {"keep.dat"}
    done = openmsi("watch", "xrdd", "--once", folder=tmp_path)
    assert done.returncode == 2
    assert "xrd" in done.stderr


@pytest.mark.parametrize("after", [1, 5, 40])
def test_a_sender_killed_in_mid_file_sends_it_whole_at_the_next_start_and_gives_the_half_up(
    broker: str, topic: str, tmp_path: Path, root: Path, after: int
) -> None:
    content = os.urandom(60_000_000)
    (root / "big").write_bytes(content)
    arguments = ("watch", str(root), "--topic", topic, "--broker", broker, "--settle", "0.1s")
    with Command(tmp_path / "w", *arguments) as watch:
        watch.until(lambda: len(values(broker, topic)) >= after)
        watch.end(signal.SIGKILL)
    with Command(tmp_path / "w", *arguments) as watch:
        watch.until(lambda: "sent big" in watch.output)
        watch.end()
    found = _found(broker, topic)
    assert found.whole["big"][-1] == content
    assert found.unfinished == []


def test_what_the_ledger_calls_sent_is_whole_in_the_topic_whenever_the_sender_is_killed(
    broker: str, topic: str, tmp_path: Path, root: Path
) -> None:
    contents = {f"{number}".encode(): os.urandom(3_000) for number in range(4_000)}
    for name, content in contents.items():
        (root / name.decode()).write_bytes(content)
    arguments = ("watch", str(root), "--topic", topic, "--broker", broker, "--settle", "0.1s", "-q")
    for least in (1, 1_500, 3_000):
        with Command(tmp_path / "w", *arguments) as watch:
            watch.until(lambda: len(values(broker, topic)) >= least)  # noqa: B023 - called in this round only
            watch.end(signal.SIGKILL)
        whole = _found(broker, topic).whole
        for path, digest in _sent_rows(tmp_path / "w" / "state").items():
            assert digest in {hashlib.sha256(each).digest() for each in whole[path.decode()]}
    done = openmsi(*arguments, "--once", folder=tmp_path, OPENMSI_STATE=str(tmp_path / "w" / "state"))
    assert done.returncode == 0, done.stderr
    whole = _found(broker, topic).whole
    assert {path.encode(): versions[0] for path, versions in whole.items()} == contents
    assert all(version == versions[0] for versions in whole.values() for version in versions)
    assert len(_sent_rows(tmp_path / "w" / "state")) == len(contents)


def test_a_file_that_grows_while_it_is_sent_arrives_in_its_last_state_and_never_mixed(
    broker: str, topic: str, tmp_path: Path, root: Path
) -> None:
    first = os.urandom(60_000_000)
    (root / "big").write_bytes(first)
    arguments = ("watch", str(root), "--topic", topic, "--broker", broker, "--settle", "0.3s", "--rescan", "0.2s")
    with Command(tmp_path / "w", *arguments) as watch:
        watch.until(lambda: bool(values(broker, topic)))
        with (root / "big").open("ab") as out:
            out.write(b"more")
        watch.until(lambda: "60,000,004 bytes" in watch.output)
        watch.end()
    found = _found(broker, topic)
    assert found.whole["big"][-1] == first + b"more"
    assert set(map(len, found.whole["big"])) <= {60_000_000, 60_000_004}
    assert found.unfinished == []
