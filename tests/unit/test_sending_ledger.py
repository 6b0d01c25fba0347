"""The ledger: what it promises, and that it never needs a person."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from openmsi_core.errors import FolderError
from openmsi_core.sending.entries import Entry, State
from openmsi_core.sending.ledger import Ledger, ledger_file
from openmsi_core.sending.tables import SCHEMA

KEY = b"a/caf\xe9\n.dat"


def _entry(key: bytes = KEY, state: State = State.SENT, mtime_ns: int = 5) -> Entry:
    return Entry(
        key, 10, mtime_ns, state, inode=3, id=b"i" * 16, partition=1, chunk=16384, acknowledged=1, first_offset=7,
        sha256=b"s" * 32, reason="", since_ns=9,
    )  # fmt: skip


def _ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "state" / "l.sqlite", root=tmp_path, topic="t")


def test_a_row_comes_back_after_a_restart_as_it_was(tmp_path: Path) -> None:
    with _ledger(tmp_path) as ledger:
        ledger.put(_entry())
        assert ledger.entry(KEY) == _entry()
    with _ledger(tmp_path) as ledger:
        assert ledger.entry(KEY) == _entry()
        assert ledger.counts() == {State.SENT: 1}


def test_a_version_is_known_by_path_size_and_time_once_it_is_sent_or_skipped(tmp_path: Path) -> None:
    with _ledger(tmp_path) as ledger:
        for state, known in ((State.SENDING, False), (State.FAILED, False), (State.SENT, True), (State.SKIPPED, True)):
            ledger.put(_entry(state=state))
            assert ledger.known(KEY, 10, 5) is known
            ledger.flush()
            assert ledger.known(KEY, 10, 5) is known
        assert not ledger.known(KEY, 11, 5)
        assert not ledger.known(KEY, 10, 6)
        assert not ledger.known(b"other", 10, 5)
        ledger.remove(KEY)
        assert not ledger.known(KEY, 10, 5)
        assert ledger.entry(KEY) is None
        ledger.flush()
        assert ledger.entry(KEY) is None


def test_half_sent_versions_are_named_after_a_restart(tmp_path: Path) -> None:
    with _ledger(tmp_path) as ledger:
        ledger.put(_entry(state=State.SENDING))
        ledger.put(_entry(b"b"))
    with _ledger(tmp_path) as ledger:
        assert ledger.half_sent() == [_entry(state=State.SENDING)]


def test_rows_are_written_by_batches_when_they_are_many_or_late(tmp_path: Path) -> None:
    now = [0]
    ledger = Ledger(tmp_path / "l.sqlite", root=tmp_path, topic="t", clock_ns=lambda: now[0])
    with ledger, contextlib.closing(sqlite3.connect(ledger.file)) as other:

        def written() -> int:
            return int(other.execute("SELECT count(*) FROM files").fetchone()[0])

        ledger.put(_entry())
        ledger.flush_if_due()
        assert written() == 0
        now[0] += 250_000_000
        ledger.flush_if_due()
        assert written() == 1
        for number in range(1000):
            ledger.put(_entry(b"%d" % number))
        ledger.flush_if_due()
        assert written() == 1001


def test_it_is_durable_and_leaves_readers_alone(tmp_path: Path) -> None:
    with _ledger(tmp_path) as ledger:
        db = ledger._rows._db
        assert db is not None
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_it_belongs_to_one_thread(tmp_path: Path) -> None:
    raised: list[BaseException] = []

    def use() -> None:
        try:
            ledger.known(b"x", 1, 1)
        except sqlite3.ProgrammingError as error:
            raised.append(error)

    with _ledger(tmp_path) as ledger:
        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        ledger.put(_entry())
    assert len(raised) == 1
    assert not list((tmp_path / "state").glob("*aside*"))


def test_a_second_process_on_the_folder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from openmsi_core.sending.ledger import Ledger\n"
        f"with Ledger(Path({str(tmp_path / 'state' / 'l.sqlite')!r}), root=Path({str(tmp_path)!r}), topic='t'):\n"
        "    print('in', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"in\n"
        with pytest.raises(FolderError, match=rf"process {other.pid}\b.*already sending .* to topic t"):
            _ledger(tmp_path).__enter__()
        other.kill()
    with _ledger(tmp_path):
        pass  # the lock dies with its process


def test_each_pair_of_folder_and_topic_has_its_own_ledger(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    files = {ledger_file(tmp_path, tmp_path / root, topic) for root in ("a", "b") for topic in ("t", "u")}
    assert len(files) == 4
    assert ledger_file(tmp_path, tmp_path / "link", "t") in files


def _filled(tmp_path: Path) -> Path:
    with _ledger(tmp_path) as ledger:
        for number in range(2000):
            ledger.put(_entry(b"%d" % number))
    return ledger.file


@pytest.mark.parametrize("damage", ["garbage", "truncated", "empty", "header", "not-a-ledger"])
def test_a_damaged_ledger_is_put_aside_and_begun_anew(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = _filled(tmp_path)
    data = file.read_bytes()
    if damage == "not-a-ledger":
        file.unlink()
        with contextlib.closing(sqlite3.connect(file)) as db:
            db.execute("CREATE TABLE recipes (name)")
    else:
        file.write_bytes(
            {"garbage": os.urandom(8192), "truncated": data[:20_000], "empty": b"", "header": b"X" * 100 + data[100:]}[
                damage
            ]
        )
    with _ledger(tmp_path) as ledger:
        assert not ledger.known(b"1", 10, 5)
        ledger.put(_entry())
    with _ledger(tmp_path) as ledger:
        assert ledger.known(KEY, 10, 5)
    if damage != "empty":  # an empty file is what SQLite begins with
        assert "everything is sent again" in caplog.text
        assert len(list((tmp_path / "state").glob("*.aside-*"))) == 1


@pytest.mark.parametrize("schema", [SCHEMA + 1, 99])
def test_a_ledger_of_another_schema_is_put_aside(tmp_path: Path, schema: int, caplog: pytest.LogCaptureFixture) -> None:
    file = _filled(tmp_path)
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute(f"PRAGMA user_version = {schema}")
    with _ledger(tmp_path) as ledger:
        assert ledger.counts() == {}
    assert f"schema {schema}" in caplog.text


@pytest.mark.parametrize("seed", range(30))
def test_flipped_bytes_never_need_a_person(tmp_path: Path, seed: int) -> None:
    file = _filled(tmp_path)
    dice = random.Random(seed)
    data = bytearray(file.read_bytes())
    for _ in range(dice.choice((1, 5, 50))):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    file.write_bytes(data)
    with _ledger(tmp_path) as ledger:
        assert ledger.half_sent() == []
        left = [ledger.entry(b"%d" % number) for number in range(2000)]
        assert set(left) <= {_entry(b"%d" % number) for number in range(2000)} | {None}
        assert ledger.counts() in ({}, {State.SENT: 2000})
        ledger.put(_entry())
    with _ledger(tmp_path) as ledger:
        assert ledger.known(KEY, 10, 5)


def test_no_bit_of_a_row_flips_unseen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with _ledger(tmp_path) as ledger:
        ledger.put(_entry())
    columns = ("path = x'00'", "size = 11", "mtime_ns = 4", "state = 'delivered'", "inode = 1", "id = x'00'",
               "partition = 2", "chunk = 1", "acknowledged = 2", "first_offset = 1", "sha256 = x'00'", "reason = 'r'",
               "since_ns = 1", "sent_as = x'00'", "span_start = 1", "span_stop = 1")  # fmt: skip
    for column in columns:
        with contextlib.closing(sqlite3.connect(ledger.file)) as db, db:
            db.execute(f"UPDATE files SET {column}")  # noqa: S608 - ours
        with _ledger(tmp_path) as again:
            assert again.counts() == {}, column
            again.put(_entry())
    assert caplog.text.count("1 of its rows are not what was written") == len(columns)


def test_damage_that_shows_in_the_middle_of_the_work_is_healed_and_nothing_waiting_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = _filled(tmp_path)
    with _ledger(tmp_path) as ledger:
        ledger.put(_entry())
        with file.open("r+b") as out:
            out.write(os.urandom(file.stat().st_size))
        ledger._rows._db.execute("PRAGMA shrink_memory")  # type: ignore[union-attr]
        for number in range(2000):
            ledger.known(b"%d" % number, 10, 5)
    with _ledger(tmp_path) as ledger:
        assert ledger.known(KEY, 10, 5)
    assert "everything is sent again" in caplog.text


def test_a_state_folder_that_cannot_be_made_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"a file")
    with pytest.raises(FolderError, match=r"state folder .* cannot be used"):
        _ledger(tmp_path).__enter__()


def test_a_topic_that_was_made_anew_gets_everything_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with _ledger(tmp_path) as ledger:
        ledger.put(_entry())
        ledger.belongs_to("")
        ledger.belongs_to("one")
        ledger.belongs_to("one")
        assert ledger.known(KEY, 10, 5)
        ledger.belongs_to("two")
        assert not ledger.known(KEY, 10, 5)
        ledger.put(_entry())
        ledger.belongs_to("two")
        assert ledger.known(KEY, 10, 5)
    assert len(caplog.records) == 1


@pytest.mark.parametrize(("state", "ledgers"), [(0o750, 0o750), (0o700, 0o700), (0o755, 0o700), (None, 0o700)])
def test_a_group_reads_the_ledger_of_a_service_whose_state_it_may_read(tmp_path, state, ledgers) -> None:
    folder = tmp_path / "state"
    if state is not None:
        folder.mkdir()
        folder.chmod(state)
    with Ledger(folder / "ledgers" / "x.sqlite", root=tmp_path, topic="t"):
        assert (folder / "ledgers").stat().st_mode & 0o777 == ledgers
