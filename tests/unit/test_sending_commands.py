"""What `upload` and `watch` say, count and end with; how they wait for a broker; what may go with a file."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from openmsi_core.cli.sending import Teller, exit_code, said, summary
from openmsi_core.errors import BrokerUnreachable, UsageError
from openmsi_core.observe.progress import reporter
from openmsi_core.ports import RecordSink
from openmsi_core.sending.manner import Manner
from openmsi_core.sending.reports import Ending, Report, Tally, say
from openmsi_core.sending.seen import Facts, Seen
from openmsi_core.wiring.connecting import reached
from tests.sending_fakes import FakeSink


def _report(ending: Ending, *, again: bool = False) -> Report:
    seen = Seen("/in/f\n", b"f\n\xe9", Facts(3, 1, 1, 0))
    return Report(seen, ending, 3, sha256=b"\xab" * 32, reason="because", is_tried_again=again)


@pytest.mark.parametrize(
    ("tally", "number", "ends", "code"),
    [
        (Tally(sent=1), 0, True, 0),
        (Tally(failed=1), 0, True, 4),
        (Tally(left_out=1), 0, True, 4),
        (Tally(failed=1), signal.SIGTERM, False, 0),
        (Tally(), signal.SIGINT, False, 130),
        (Tally(), signal.SIGTERM, True, 130),
    ],
)
def test_the_exit_code_says_how_it_ended(tally: Tally, number: int, ends: bool, code: int) -> None:
    assert exit_code(tally, number, ends=ends) == code


def test_the_summary_is_one_line() -> None:
    assert summary(Tally(1234, 5_000, 2, 3)) == "1,234 files sent, 5,000 bytes, 2 not sent, 3 places left out"


@pytest.mark.parametrize("text", ["novalue", "=x"])
def test_metadata_that_is_no_pair_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="operator=Curie"):
        said((text,))
    assert said(("a=b=c", "n=7")) == {"a": "b=c", "n": "7"}


@pytest.mark.parametrize(("user", "text"), [({"k": "v" * 50_000}, "at most"), ({"k": "\udce9"}, "UTF-8")])
def test_metadata_that_cannot_go_with_a_file_is_refused_before_any_is_sent(user: dict[str, str], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        Manner(user=user)


def test_every_ending_is_one_json_line_with_a_name_that_machines_can_undo(capsys: pytest.CaptureFixture[str]) -> None:
    with reporter("sent", quiet=True) as progress:
        teller = Teller(progress, as_json=True)
        teller.report(_report(Ending.SENT))
        teller.report(_report(Ending.CHANGED, again=True))
        teller.report(_report(Ending.REFUSED))
        teller.complain("/in/\x1b", "Permission denied")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["state"] for line in lines] == ["sent", "again", "failed", "failed"]
    assert all(line.keys() - {"path_b64"} == lines[0].keys() - {"path_b64"} for line in lines)
    assert (lines[0]["path"], lines[0]["path_b64"]) == ("f\n\\xe9", "Zgrp")
    assert lines[3]["path"] == "/in/\\x1b"


@pytest.mark.parametrize(
    ("report", "level", "text"),
    [
        (_report(Ending.SENT), "INFO", "sent f\\x0a\\xe9, 3 bytes, sha256 abababababab"),
        (_report(Ending.CHANGED, again=True), "INFO", "not sent yet: f\\x0a\\xe9: because"),
        (_report(Ending.CHANGED), "WARNING", "not sent: f\\x0a\\xe9: because"),
        (_report(Ending.REFUSED, again=True), "WARNING", "not sent: f\\x0a\\xe9: because; tried again later"),
    ],
)
def test_the_log_says_what_became_of_a_file(
    report: Report, level: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    say(report)
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [(level, text)]


class _Door:
    """Connects at the ``number``-th try."""

    def __init__(self, number: int, stop: threading.Event) -> None:
        self.left = number
        self.stop = stop
        self.closed = 0

    @contextmanager
    def __call__(self) -> Iterator[RecordSink]:
        self.left -= 1
        if self.left > 0:
            raise BrokerUnreachable("nobody answers")
        yield FakeSink()
        self.closed += 1


def test_a_service_waits_for_its_broker_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("openmsi_core.wiring.connecting._PAUSE", 0.001)
    caplog.set_level("INFO")
    stop = threading.Event()
    door = _Door(5, stop)
    with ExitStack() as stack:
        assert isinstance(reached(lambda: stack.enter_context(door()), stop, waits=True), FakeSink)
    assert door.closed == 1
    assert [each.getMessage() for each in caplog.records] == [
        "waiting for the broker: nobody answers",
        "the broker answers",
    ]


def test_a_command_with_an_end_does_not_wait_for_a_broker() -> None:
    stop = threading.Event()
    with ExitStack() as stack, pytest.raises(BrokerUnreachable):
        reached(lambda: stack.enter_context(_Door(2, stop)()), stop, waits=False, within=0.0)


def test_a_stop_ends_the_wait_for_a_broker() -> None:
    stop = threading.Event()
    timer = threading.Timer(0.05, stop.set)
    timer.start()
    with ExitStack() as stack:
        assert reached(lambda: stack.enter_context(_Door(10**9, stop)()), stop, waits=True) is None
    timer.join()
