"""Following receipts: from the topic into the book in small stretches, and sending again what did not arrive."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import pytest

from openmsi_core.errors import BrokerUnreachable, FolderError, TopicError
from openmsi_core.sending.again import Again
from openmsi_core.sending.entries import State
from openmsi_core.sending.following import Beyond, Following, read_on
from openmsi_core.sending.goals import Forever
from openmsi_core.sending.ledger import Ledger
from openmsi_core.sending.ledgers import ABOUT, SEEN, About, Presence, about_in, is_watched, known_ledgers
from openmsi_core.sending.receiptbook import Lost, ReceiptBook
from openmsi_core.sending.receipttables import fact_in
from openmsi_core.sending.watching import Rules, Watch
from tests.fakes import Log, LogReader
from tests.receipts_fakes import entry, id_of, ledger_at, told
from tests.sending_fakes import FakeSink, arrived


def _taken(file: Path) -> list[bytes]:
    with ReceiptBook(file) as book:
        return [row[0] for row in book.db.execute("SELECT id FROM receipts ORDER BY id")]


def test_reading_goes_on_where_it_ended(tmp_path: Path) -> None:
    file = ledger_at(tmp_path, *(entry(b"%d" % n, n) for n in range(1, 5)))
    log = Log(2)
    log.put(told(b"1", 1), b"garbage", partition=0)
    log.put(told(b"2", 2), partition=1)
    with ReceiptBook(file) as book:
        assert read_on(LogReader(log, "t.receipts"), book, "id") == 1
    log.put(told(b"3", 3), partition=0)
    reader = LogReader(log, "t.receipts")
    with ReceiptBook(file) as book:
        assert read_on(reader, book, "id") == 0
    assert [(each.partition, each.offset) for each in reader.read] == [(0, 2)]
    assert _taken(file) == [id_of(1), id_of(2), id_of(3)]


def test_what_retention_took_is_passed_over_and_a_shorter_log_is_read_from_its_beginning(tmp_path: Path) -> None:
    file = ledger_at(tmp_path, *(entry(b"%d" % n, n) for n in range(1, 5)))
    log = Log(1)
    log.put(told(b"1", 1), told(b"2", 2), told(b"3", 3))
    with ReceiptBook(file) as book:
        read_on(LogReader(log, "t.receipts", lows={0: 2}), book)
    assert _taken(file) == [id_of(3)]
    log.partitions[0] = [told(b"4", 4)]
    with ReceiptBook(file) as book:
        read_on(LogReader(log, "t.receipts"), book)
    assert _taken(file) == [id_of(3), id_of(4)]


def test_a_stop_keeps_what_was_taken_and_reads_the_rest_another_time(tmp_path: Path) -> None:
    file = ledger_at(tmp_path, *(entry(b"%d" % n, n) for n in range(1, 4)))
    log = Log(1)
    log.put(told(b"1", 1), told(b"2", 2), told(b"3", 3))
    reader = LogReader(log, "t.receipts")
    with ReceiptBook(file) as book:
        read_on(reader, book, stop=lambda: len(reader.read) == 2)
        assert book.places("") == {0: 2}
    with ReceiptBook(file) as book:
        read_on(LogReader(log, "t.receipts"), book)
    assert _taken(file) == [id_of(1), id_of(2), id_of(3)]


def _beyond(log: Log, stuck: str = "") -> Beyond:
    return Beyond(lambda: contextlib.nullcontext(LogReader(log, "t.receipts")), lambda: "id", lambda: stuck)


def test_a_follower_hands_over_what_did_not_arrive_and_ends_when_it_is_told(tmp_path: Path) -> None:
    file = ledger_at(tmp_path, entry(b"a", 1))
    log = Log(1)
    log.put(told(b"a", 1, "incomplete"))
    stop = threading.Event()
    heard: list[Lost] = []

    def lost(versions: list[Lost]) -> None:
        heard.extend(versions)
        stop.set()

    thread = threading.Thread(target=Following(file, _beyond(log), lost, stop).run)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert heard == [Lost(b"a", id_of(1), "openmsi-disk", "because of incomplete", 1)]


def test_a_topic_that_is_missing_is_said_once_and_sending_does_not_mind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openmsi_core.sending.following.PAUSE", 0.001)
    file = ledger_at(tmp_path, entry(b"a", 1))
    stop = threading.Event()
    tries: list[int] = []

    def reader() -> contextlib.AbstractContextManager[LogReader]:
        tries.append(1)
        if len(tries) < 4:
            raise TopicError("the topic t.receipts does not exist")
        stop.set()
        return contextlib.nullcontext(LogReader(Log(1), "t.receipts"))

    Following(file, Beyond(reader, lambda: "id", lambda: ""), lambda _: None, stop).run()
    assert len(tries) == 4
    assert [each.getMessage().count("t.receipts does not exist") for each in caplog.records] == [1]
    caplog.clear()
    away = Beyond(lambda: (_ for _ in ()).throw(BrokerUnreachable("nobody")), lambda: "", lambda: "")  # type: ignore[arg-type]
    Following(file, away, lambda _: None, stop).once()
    assert "nobody" in caplog.text


def test_a_transaction_that_nobody_ends_is_said_once_a_minute_passed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = ledger_at(tmp_path, entry(b"a", 1))
    log = Log(1)
    now = [0.0]
    monkeypatch.setattr("openmsi_core.sending.following.time.monotonic", lambda: now[0])
    following = Following(file, _beyond(log, "a transaction is open"), lambda _: None, threading.Event())
    with ReceiptBook(file) as book:
        for seconds, lines in ((0, 0), (59, 0), (61, 1), (90, 1), (200, 1)):
            now[0] = float(seconds)
            following.look(LogReader(log, "t.receipts"), book, "id")
            assert len(caplog.records) == lines, seconds


def _lost(number: int = 1, file_id: bytes = id_of(1)) -> Lost:
    return Lost(b"a", file_id, "openmsi-disk", "records stopped", number)


def test_what_did_not_arrive_is_forgotten_so_that_it_is_sent_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a").write_bytes(b"content")
    with Ledger(tmp_path / "l.sqlite", root=tmp_path, topic="t") as ledger:
        ledger.put(entry(b"a", 1))
        again = Again(ledger)
        again.lost([_lost(file_id=id_of(2))])  # about a version that is not the present one
        again()
        assert ledger.entry(b"a") is not None
        again.lost([_lost(), _lost()])
        again()
        assert ledger.entry(b"a") is None
    assert [each.getMessage() for each in caplog.records] == [
        "a did not arrive whole at openmsi-disk: records stopped; it is sent again (1 of 3)"
    ]


@pytest.mark.parametrize(
    ("number", "is_there", "text"), [(4, True, "sent again 3 times"), (1, False, "no longer here")]
)
def test_a_file_that_never_arrives_or_is_gone_stays_as_it_is_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, number: int, is_there: bool, text: str
) -> None:
    if is_there:
        (tmp_path / "a").write_bytes(b"content")
    with Ledger(tmp_path / "l.sqlite", root=tmp_path, topic="t") as ledger:
        ledger.put(entry(b"a", 1))
        again = Again(ledger)
        for _ in range(3):
            again.lost([_lost(number)])
            again()
        assert ledger.entry(b"a") is not None
    assert len(caplog.records) == 1
    assert text in caplog.text


@pytest.mark.parametrize("state", [State.SENDING, State.FAILED, State.SKIPPED])
def test_what_was_not_sent_is_not_sent_again_for_a_receipt(tmp_path: Path, state: State) -> None:
    (tmp_path / "a").write_bytes(b"content")
    with Ledger(tmp_path / "l.sqlite", root=tmp_path, topic="t") as ledger:
        ledger.put(entry(b"a", 1, state))
        again = Again(ledger)
        again.lost([_lost()])
        again()
        assert ledger.entry(b"a") is not None


def test_a_watch_sends_a_file_again_up_to_three_times_when_it_does_not_arrive(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The whole of it but for Kafka: each version is answered with `incomplete`, four versions are sent in all."""
    root = tmp_path / "in"
    root.mkdir()
    (root / "a").write_bytes(b"content")
    sink, stop, answers = FakeSink(), threading.Event(), Log(1)
    answered: set[bytes] = set()
    began, given_up = time.monotonic(), [0.0]
    with Ledger(tmp_path / "l.sqlite", root=root, topic="t") as ledger:
        again = Again(ledger)
        following = Following(ledger.file, _beyond(answers), again.lost, stop)

        def aside() -> None:
            entry = ledger.entry(b"a")
            if entry is not None and entry.state is State.SENT and entry.id not in answered:
                ledger.flush()
                answered.add(entry.id)
                answers.put(told(b"a", int.from_bytes(entry.id, "big"), "incomplete"))
                following.once()
                again()
            if not given_up[0] and "not any more" in caplog.text:
                given_up[0] = time.monotonic()
            # half a second is ten settle times, in which a fifth version would be sent
            if (given_up[0] and time.monotonic() - given_up[0] > 0.5) or time.monotonic() - began > 60:
                stop.set()

        Watch(ledger, sink, Forever(), Rules(settle=0.0, interval=0.001), stop, aside=aside).run()
    assert arrived(sink).whole == {"a": [b"content"] * 4}
    assert len(answered) == 4


def test_a_ledger_says_what_it_is_about_and_whether_its_watch_is_there(tmp_path: Path) -> None:
    state = tmp_path / "state"
    now = [0]
    with Ledger(state / "ledgers" / "l.sqlite", root=tmp_path, topic="t") as ledger:
        about = About(ledger.file, tmp_path / "caf\udce9", "t", ("*.dat",), ("*.tmp",), ("disk",))
        ledger.set_fact(ABOUT, about.as_text())
        presence = Presence(ledger, lambda: now[0])
        presence()
        first = fact_in(ledger.file, SEEN)
        presence()
        assert fact_in(ledger.file, SEEN) == first
        now[0] += 21 * 10**9
        presence()
        assert int(fact_in(ledger.file, SEEN)) > int(first)
        assert is_watched(first, int(first) + 59 * 10**9)
        assert not is_watched(first, int(first) + 61 * 10**9)
        presence.end()
        assert not is_watched(fact_in(ledger.file, SEEN), int(first))
    assert about_in(ledger.file) == about
    (state / "ledgers" / "broken.sqlite").write_bytes(b"garbage" * 1000)
    (state / "ledgers" / "older.sqlite").write_bytes(ledger_at(tmp_path / "other", entry(b"a", 1)).read_bytes())
    assert known_ledgers(state) == [about]


def test_a_watch_that_cannot_say_that_it_is_there_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    class Full(Ledger):
        def set_fact(self, name: str, value: str) -> None:
            raise FolderError("no space left")

    presence = Presence(Full(tmp_path / "l.sqlite", root=tmp_path, topic="t"))
    presence()
    presence.end()
    assert caplog.text.count("no space left") == 2
