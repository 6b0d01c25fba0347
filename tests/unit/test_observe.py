"""Logs and progress."""

from __future__ import annotations

import io
import json
import logging

import pytest

from openmsi_core.observe.logs import configure
from openmsi_core.observe.progress import _Lines, reporter


@pytest.fixture(autouse=True)
def logging_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("openmsi_core", "openmsi_plugins", "openmsi")}
    yield
    root.handlers[:], root.level = handlers, level
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def test_a_line_has_the_time_in_utc_and_no_control_characters() -> None:
    out = io.StringIO()
    configure(0, stream=out)
    logging.getLogger("openmsi_core.x").info("file %s", "a\x1b[2J\nb")
    (line,) = out.getvalue().splitlines()
    assert line.endswith("Z file a\\x1b[2J\\x0ab")


def fail(text: str) -> None:
    raise ValueError(text)


def test_a_traceback_moves_no_cursor_either() -> None:
    out = io.StringIO()
    configure(0, stream=out)
    try:
        fail("\x1b[2J")
    except ValueError:
        logging.getLogger("openmsi_core.x").exception("failed")
    assert "\nValueError: " in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_json_logs_are_one_object_a_line_with_the_traceback() -> None:
    out = io.StringIO()
    configure(0, as_json=True, stream=out)
    try:
        int("é\udcff")
    except ValueError:
        logging.getLogger("openmsi_core.x").exception("failed")
    told = json.loads(out.getvalue())
    assert (told["level"], told["text"], told["logger"]) == ("error", "failed", "openmsi_core.x")
    assert "ValueError" in told["traceback"]


@pytest.mark.parametrize(("verbosity", "levels"), [(-1, "w"), (0, "iw"), (1, "diw")])
def test_verbosity_says_how_much_is_told_of_ours_and_never_more_than_warnings_of_others(verbosity, levels) -> None:
    out = io.StringIO()
    configure(verbosity, stream=out)
    for name in ("openmsi_core.x", "somebody"):
        logging.getLogger(name).debug("d")
        logging.getLogger(name).info("i")
        logging.getLogger(name).warning("w")
    assert "".join(line[-1] for line in out.getvalue().splitlines()) == levels + "w"


def test_plain_progress_is_a_line_now_and_then_and_one_at_the_end() -> None:
    now = [0.0]
    out = io.StringIO()
    with _Lines("sent", out, lambda: now[0]) as progress:
        for number in range(1, 13):
            now[0] += 1.0
            progress.update(files=number, bytes=number * 1_000_000, note="1 failed")
    assert out.getvalue().splitlines() == [
        "sent: 5 files, 5.0 MB, 1.0 MB/s, 1 failed",
        "sent: 10 files, 10.0 MB, 1.0 MB/s, 1 failed",
        "sent: 12 files, 12.0 MB, 1.0 MB/s, 1 failed",
    ]


def test_quiet_progress_says_nothing() -> None:
    out = io.StringIO()
    with reporter("sent", quiet=True, stream=out) as progress:
        progress.update(files=1, bytes=1)
    assert out.getvalue() == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_at_a_terminal_the_last_state_stays() -> None:
    out = Terminal()
    with reporter("sent", stream=out) as progress:
        progress.update(files=3, bytes=3000, total_files=4, note="[x]")
    assert "sent: 3 of 4 files, 3.0 kB, [x]" in out.getvalue()
