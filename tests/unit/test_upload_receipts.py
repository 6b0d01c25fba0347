"""What `openmsi upload` does beside sending: standard input, counting, progress, waiting for receipts."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest

from openmsi_core.errors import FolderError, UsageError
from openmsi_core.observe.progress import reporter
from openmsi_core.sending.expected import Expected
from openmsi_core.sending.piped import kept_aside
from openmsi_core.sending.reports import Ending, Report
from openmsi_core.sending.seen import Facts, Seen
from openmsi_core.sending.uploading import Upload
from openmsi_core.sending.waiting import Reply, Waiting, wait
from tests.fakes import Log, LogReader
from tests.receipts_fakes import DIGEST, id_of, receipt, told
from tests.sending_fakes import FakeSink, arrived


def _sent(key: bytes, number: int, ending: Ending = Ending.SENT) -> Report:
    seen = Seen(f"/in/{key.decode()}", key, Facts(7, 1, 1, 0))
    return Report(seen, ending, 7, id=id_of(number), sha256=DIGEST)


def _waiting(*runs: str) -> tuple[Waiting, list[Reply]]:
    replies: list[Reply] = []
    waiting = Waiting(runs, replies.append)
    waiting.sent(_sent(b"a", 1))
    waiting.sent(_sent(b"b", 2))
    waiting.sent(_sent(b"c", 3, Ending.REFUSED))
    return waiting, replies


def test_each_named_run_must_say_that_it_is_done_with_each_file_that_was_sent() -> None:
    waiting, replies = _waiting("disk", "openmsi-x")
    assert waiting.left == 4
    for each in (
        receipt(b"a", 1), receipt(b"a", 1), receipt(b"a", 1, run="openmsi-other"), receipt(b"z", 9),
        receipt(b"b", 2, "aborted"), receipt(b"b", 2, "rejected"), receipt(b"a", 1, "superseded", "openmsi-x"),
    ):  # fmt: skip
        waiting.hear(each)
    assert [(str(each.path), each.run, each.state) for each in replies] == [
        ("a", "disk", "delivered"), ("b", "disk", "failed"), ("a", "openmsi-x", "delivered"),
    ]  # fmt: skip
    assert (waiting.left, waiting.failed) == (1, 1)
    waiting.give_up()
    assert (replies[-1].state, replies[-1].as_json()["reason"]) == ("unanswered", "no receipt came in time")
    assert replies[1].as_json() == {
        "path": "b", "id": id_of(2).hex(), "state": "failed", "run": "disk", "outcome": "rejected", "location": "",
        "reason": "because of rejected",
    }  # fmt: skip


def test_a_run_that_got_another_content_has_failed() -> None:
    waiting, replies = _waiting("disk")
    from dataclasses import replace

    waiting.hear(replace(receipt(b"a", 1), sha256=b"x" * 32))
    assert (replies[0].state, replies[0].reason) == ("failed", "another content arrived than was sent")


def test_receipts_are_read_from_where_the_topic_ended_before_the_upload_until_none_is_missing() -> None:
    waiting, replies = _waiting("disk")
    log = Log(1)
    log.put(told(b"b", 2))  # of an earlier upload, as far as this one knows
    log.put(told(b"a", 1), b"garbage", None)
    reader = LogReader(log, "t.receipts")
    looks = [0]

    def is_late() -> bool:
        looks[0] += 1
        if looks[0] == 4:
            log.put(told(b"b", 2))
        return looks[0] > 50

    wait(waiting, reader, {0: 1}, threading.Event(), is_late)
    assert waiting.left == 0
    assert [str(each.path) for each in replies] == ["a", "b"]
    assert [each.offset for each in reader.read] == [1, 2, 3, 4]


@pytest.mark.parametrize("is_stopped", [True, False])
def test_waiting_ends_when_it_is_told_or_late(is_stopped: bool) -> None:
    waiting, replies = _waiting("disk")
    stop = threading.Event()
    if is_stopped:
        stop.set()
    wait(waiting, LogReader(Log(1), "t.receipts"), {}, stop, lambda: not is_stopped)
    assert (waiting.left, replies) == (2, [])


def test_standard_input_is_kept_aside_and_sent_under_its_name() -> None:
    sink = FakeSink()
    with kept_aside(io.BytesIO(b"piped" * 10_000), "run 7/scan.tar") as seen:
        file = Path(seen.file)
        Upload(iter([seen]), sink, threading.Event()).run()
    assert arrived(sink).whole == {"run 7/scan.tar": [b"piped" * 10_000]}
    assert not file.parent.exists()


@pytest.mark.parametrize("name", ["", "../x", "/etc/passwd", "a//b"])
def test_a_name_that_cannot_be_sent_is_refused_before_anything_is_read(name: str) -> None:
    stream = io.BytesIO(b"x")
    with pytest.raises(UsageError, match="--name"), kept_aside(stream, name):
        pass
    assert stream.tell() == 0


def test_a_pipe_that_breaks_or_a_full_disk_is_said() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(28, "No space left on device")

    with pytest.raises(FolderError, match=r"No space left.*TMPDIR"), kept_aside(Broken(), "a"):
        pass


def test_what_there_is_to_send_is_counted_unless_it_is_stopped() -> None:
    files = [Seen("/in/a", b"a", Facts(size, 1, 1, 0)) for size in (3, 4)]
    expected = Expected(files, threading.Event())
    expected.run()
    assert expected.total == (2, 7)
    stop = threading.Event()
    stop.set()
    stopped = Expected(files, stop)
    stopped.run()
    assert stopped.total is None


def test_an_upload_tells_how_much_of_a_large_file_the_broker_has(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("openmsi_core.sending.uploading._TELL_SECONDS", 0.0)
    file = tmp_path / "a"
    file.write_bytes(b"x" * 3_000_000)
    from tests.sending_fakes import seen

    told_bytes: list[int] = []
    Upload(iter([seen(file, tmp_path)]), FakeSink(), threading.Event(), moved=told_bytes.append).run()
    assert told_bytes == [*sorted(told_bytes[:-1]), 0]  # it grows, and a file that is whole is not under way
    assert 0 < max(told_bytes) <= 3_000_000


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_a_bar_with_rate_and_remaining_time_and_keeps_the_last_line() -> None:
    out = _Terminal()
    with reporter("sent", stream=out) as progress:
        progress.update(files=1, bytes=500_000)
        progress.update(files=2, bytes=1_000_000, total_files=4, total_bytes=2_000_000, note="1 [not] sent")
    text = out.getvalue()
    assert "sent: 2 of 4 files, 1.0 MB of 2.0 MB, 1 [not] sent" in text
    assert text.rstrip().splitlines()[-1].endswith("sent: 2 of 4 files, 1.0 MB of 2.0 MB, 1 [not] sent")
