"""What goes with a file: sidecars, selected bytes, another path to arrive under."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from openmsi_core.errors import UsageError
from openmsi_core.files.wire import decode
from openmsi_core.model import FileVersion, RelativePath
from openmsi_core.sending.goals import OnePass
from openmsi_core.sending.ledger import Ledger, ledger_file
from openmsi_core.sending.manner import Manner
from openmsi_core.sending.renaming import Renaming
from openmsi_core.sending.reports import Ending, Report
from openmsi_core.sending.rules import Rules
from openmsi_core.sending.seen import Facts
from openmsi_core.sending.sidecars import BadSidecar, Sidecars
from openmsi_core.sending.watching import Watch
from openmsi_core.settings import span_of
from tests.sending_fakes import FakeSink, arrived

CHUNK = 16 * 1024
META = Manner(CHUNK, {"operator": "Curie"}, sidecars=Sidecars(".meta.json"))


def _put(tmp_path: Path, name: str, content: bytes, mtime_ns: int = 10**18 + 1) -> Path:
    file = tmp_path / "in" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    os.utime(file, ns=(mtime_ns, mtime_ns))
    return file


def _once(tmp_path: Path, sink: FakeSink, manner: Manner, **rules: tuple[str, ...]) -> list[Report]:
    reports: list[Report] = []
    root = tmp_path / "in"
    with Ledger(ledger_file(tmp_path / "state", root, "t"), root=root, topic="t") as ledger:
        goal = OnePass(60_000_000)
        Watch(
            ledger, sink, goal, Rules(settle=0.06, interval=0.02, **rules), threading.Event(),
            manner=manner, report=reports.append,
        ).run()  # fmt: skip
    return reports


def _versions(sink: FakeSink) -> list[FileVersion]:
    return [chunk.version for _, _, value in sink.records if (chunk := decode(value)).version is not None]


@pytest.mark.parametrize("include", [(), ("*.xrdml",)])
def test_a_sidecar_goes_with_its_file_over_what_is_said_of_all_and_is_no_file_itself(
    tmp_path: Path, include: tuple[str, ...]
) -> None:
    sink = FakeSink()
    _put(tmp_path, "run/scan.xrdml", b"data")
    _put(tmp_path, "run/scan.xrdml.meta.json", b'{"sample": "Si", "kelvin": 293.5, "operator": "Meitner"}')
    _put(tmp_path, "plain.xrdml", b"data")
    _once(tmp_path, sink, META, include=include)
    assert {version.path.text: dict(version.user) for version in _versions(sink)} == {
        "run/scan.xrdml": {"sample": "Si", "kelvin": 293.5, "operator": "Meitner"},
        "plain.xrdml": {"operator": "Curie"},
    }
    assert len(sink.records) == 2, "each once"
    assert _once(tmp_path, sink, META, include=include) == []


def test_a_sidecar_that_comes_or_changes_later_sends_its_file_again(tmp_path: Path) -> None:
    sink = FakeSink()
    _put(tmp_path, "scan", b"data")
    _once(tmp_path, sink, META)
    _put(tmp_path, "scan.meta.json", b'{"n": 1}')
    _once(tmp_path, sink, META)
    _put(tmp_path, "scan.meta.json", b'{"n": 2}', 10**18 + 2)
    _once(tmp_path, sink, META)
    assert [version.user.get("n") for version in _versions(sink)] == [None, 1, 2]
    assert arrived(sink).whole == {"scan": [b"data"] * 3}


def test_a_sidecar_without_a_file_waits_for_it(tmp_path: Path) -> None:
    sink = FakeSink()
    _put(tmp_path, "scan.meta.json", b'{"n": 1}')
    assert _once(tmp_path, sink, META) == []
    _put(tmp_path, "scan", b"data")
    _once(tmp_path, sink, META)
    assert [version.user["n"] for version in _versions(sink)] == [1]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1]", b'{"a": [1]}', b'{"a": true}', b'{"a": null}', b"\xff", b'{"a": 1e999}', b" " * 70_000],
)
def test_a_sidecar_that_says_nothing_plain_keeps_its_file_back_and_is_named(tmp_path: Path, content: bytes) -> None:
    file = _put(tmp_path, "scan", b"data")
    _put(tmp_path, "scan.meta.json", content)
    with pytest.raises(BadSidecar, match=r"sidecar .*meta\.json"):
        Sidecars(".meta.json").read(str(file))


def test_a_file_with_a_bad_sidecar_is_tried_and_then_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from openmsi_core.sending import later

    monkeypatch.setattr(later, "_FIRST_NS", 1000)
    _put(tmp_path, "scan", b"data")
    _put(tmp_path, "scan.meta.json", b"{")
    reports = _once(tmp_path, FakeSink(), META)
    assert [report.ending for report in reports] == [Ending.UNREADABLE] * 3
    assert "is no JSON" in reports[-1].reason


def test_sidecars_may_say_as_much_as_fits_a_record_and_no_more(tmp_path: Path) -> None:
    file = _put(tmp_path, "scan", b"data")
    _put(tmp_path, "scan.meta.json", b'{"a": "' + b"x" * 60_000 + b'"}')
    from tests.sending_fakes import seen

    place = seen(file, tmp_path / "in")
    with pytest.raises(BadSidecar, match="at most"):
        META.version(place, place.facts)


def test_only_the_selected_bytes_are_sent_and_the_range_is_told(tmp_path: Path) -> None:
    sink, content = FakeSink(), os.urandom(5 * CHUNK)
    _put(tmp_path, "big", content)
    _put(tmp_path, "short", b"abcdefgh")
    _put(tmp_path, "empty", b"")
    _once(tmp_path, sink, Manner(CHUNK, span=(3, 3 + 2 * CHUNK)))
    assert arrived(sink).whole == {"big": [content[3 : 3 + 2 * CHUNK]], "short": [b"defgh"], "empty": [b""]}
    assert {version.path.text: version.span for version in _versions(sink)} == {
        "big": (3, 3 + 2 * CHUNK), "short": (3, 8), "empty": None,
    }  # fmt: skip
    assert _once(tmp_path, sink, Manner(CHUNK, span=(3, 3 + 2 * CHUNK))) == []


@pytest.mark.parametrize(
    ("text", "span"), [("", None), ("0-64KiB", (0, 65536)), ("5-6", (5, 6)), ("1KiB-", (1024, 1 << 62))]
)
def test_ranges_are_written_start_end(text: str, span: tuple[int, int] | None) -> None:
    assert span_of(text) == span


@pytest.mark.parametrize("text", ["5", "-", "-5", "5-5", "6-5", "a-b", "1-2-3", "0-1XB"])
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"START-END|selects nothing"):
        span_of(text)


def test_files_arrive_under_the_path_that_the_template_makes(tmp_path: Path) -> None:
    sink = FakeSink()
    for name in ("top.dat", "run/a.tar.gz", "run/none"):
        _put(tmp_path, name, name.encode(), 1_700_000_000_000_000_000)
    manner = Manner(CHUNK, renaming=Renaming("{mtime:%Y-%m}/{folder}/{stem}-xrd7{suffix}"))
    reports = _once(tmp_path, sink, manner)
    assert arrived(sink).whole == {
        "2023-11/top-xrd7.dat": [b"top.dat"],
        "2023-11/run/a.tar-xrd7.gz": [b"run/a.tar.gz"],
        "2023-11/run/none-xrd7": [b"run/none"],
    }
    assert {report.seen.relative.text for report in reports} == {"top.dat", "run/a.tar.gz", "run/none"}
    assert _once(tmp_path, sink, manner) == []


@pytest.mark.parametrize(
    "template",
    ["{name}", "{stem}{suffix}", "{folder}/{stem}", "fixed", "{path}{secret}", "{path.__class__}", "{path", "{path[0]}",
     "{0}{path}", "{}{path}", "{path:d}", "../{path}"],
)  # fmt: skip
def test_templates_that_could_lose_or_reveal_something_are_refused(template: str) -> None:
    with pytest.raises((UsageError, ValueError), match="rename"):
        Renaming(template)


def test_a_path_that_gets_too_long_by_its_renaming_is_told(tmp_path: Path) -> None:
    reports = []
    _put(tmp_path, "x" * 250, b"")
    goal_tries = 3
    from openmsi_core.sending import later

    first, later._FIRST_NS = later._FIRST_NS, 1000
    try:
        reports = _once(tmp_path, FakeSink(), Manner(CHUNK, renaming=Renaming("{folder}/{name}-and-more")))
    finally:
        later._FIRST_NS = first
    assert [report.ending for report in reports] == [Ending.UNREADABLE] * goal_tries
    assert "renamed by" in reports[0].reason


def test_times_of_change_that_no_calendar_has_are_the_nearest_ones() -> None:
    renaming = Renaming("{path}-{mtime:%Y}")
    for mtime_ns, year in ((-5, "1970"), (1 << 62, "2116"), ((1 << 63) - 1, "2262")):
        assert renaming.renamed(RelativePath(("a",)), Facts(0, mtime_ns, 0, 0)).text == f"a-{year}"
