"""`openmsi status`: one line that answers, what stands below it, and what programs get. No broker answers here."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from openmsi_core.cli import openmsi
from openmsi_core.observe.screen import screen
from openmsi_core.sending.entries import Entry, State
from openmsi_core.sending.ledger import Ledger, ledger_file
from openmsi_core.sending.ledgers import ABOUT, SEEN, About
from openmsi_core.sending.receiptbook import ReceiptBook
from openmsi_core.sending.receipts import Receipt
from openmsi_core.settings import load, watch_settings
from openmsi_core.wiring import ledgers_of
from tests.receipts_fakes import CONTENT, DIGEST, entry, receipt

NOW_MS = time.time_ns() // 1_000_000


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    return folder


def _watched(tmp_path: Path, root: Path, entries: list[Entry], receipts: list[Receipt], topic: str = "t") -> Path:
    """A ledger as a watch of ``root`` leaves it, with its receipts."""
    file = ledger_file(tmp_path / "state", root, topic)
    with Ledger(file, root=root, topic=topic) as ledger:
        ledger.set_fact(ABOUT, About(file, root, topic).as_text())
        for each in entries:
            ledger.put(each)
    with ReceiptBook(file) as book:
        book.take([(each, NOW_MS) for each in receipts], {0: 1})
    return file


def _there(root: Path, key: bytes, number: int, state: State = State.SENT) -> Entry:
    """A file in the folder, and its row."""
    file = root / key.decode()
    file.write_bytes(CONTENT)
    return entry(key, number, state, mtime_ns=file.stat().st_mtime_ns)


def _status(*words: str) -> Result:
    return CliRunner().invoke(openmsi, ["status", *words], standalone_mode=False)


def test_when_everything_arrived_it_is_one_line_and_code_0(tmp_path: Path, root: Path) -> None:
    entries = [_there(root, b"a", 1), _there(root, b"b", 2)]
    _watched(tmp_path, root, entries, [receipt(b"a", 1), receipt(b"b", 2)])
    done = _status(str(root), "-q")
    assert done.return_value == 0
    assert done.stdout == f"{root} -> t: all 2 files arrived at openmsi-disk (no watch is running here)\n"
    told = _status("--json").stdout
    facts = json.loads(told)
    assert (facts["arrived"], facts["files"], facts["counts"]["delivered"], facts["watched"]) == (True, 2, 2, False)


def test_what_is_on_its_way_or_failed_is_counted_named_and_explained_and_the_code_is_4(
    tmp_path: Path, root: Path
) -> None:
    entries = [_there(root, b"a", 1), _there(root, b"b", 2), _there(root, b"c\x1b[2J", 3), _there(root, b"d", 4)]
    entries.append(_there(root, b"e", 5, State.FAILED))
    (root / "new").write_bytes(b"x")
    receipts = [receipt(b"a", 1), receipt(b"c", 3, "rejected", "openmsi-xrd"), receipt(b"d", 4)]
    file = _watched(tmp_path, root, entries, receipts)
    with Ledger(file, root=root, topic="t") as ledger:
        ledger.set_fact(SEEN, str(time.time_ns()))
    done = _status(str(root))
    assert done.return_value == 4
    first, *rest = done.stdout.splitlines()
    assert first == f"{root} -> t: 2 of 6 files arrived at openmsi-disk; 1 waiting, 1 sent, 2 failed"
    text = "\n".join(rest)
    assert "  sent       1 files, 7 bytes, the oldest since 1970-01-01T00:00:02Z: b" in rest
    assert "    c\\x1b[2J: openmsi-xrd: rejected: because of rejected" in rest
    assert "    e: too large" in rest
    assert "  openmsi-disk: 2 arrived, 0 failed, the last at 2026-11-24T12:00:04+00:00" in rest
    assert "receipts could not be read now: no Kafka broker is named" in text
    facts = json.loads(_status("--json").stdout)
    assert facts["counts"] == {"waiting": 1, "sending": 0, "sent": 1, "delivered": 2, "failed": 2}
    assert facts["watched"] is True
    assert facts["oldest"]["waiting"]["path"] == "new"
    assert [each["path"] for each in facts["failed"]] == ["c\x1b[2J", "e"]
    assert facts["failed"][0]["runs"]["openmsi-xrd"]["outcome"] == "rejected"
    assert "no Kafka broker" in facts["caveats"][0]


def test_each_file_is_a_line_when_asked_for(tmp_path: Path, root: Path) -> None:
    _watched(tmp_path, root, [_there(root, b"a", 1), _there(root, b"b", 2)], [receipt(b"a", 1)])
    lines = _status("--files").stdout.splitlines()
    assert lines[0].startswith("sent       1970-01-01T00:00:02Z  b")
    assert lines[1] == "delivered  1970-01-01T00:00:01Z  a  openmsi-disk done -> /archive/a"
    facts = [json.loads(line) for line in _status("--files", "--json").stdout.splitlines()]
    assert [(each.get("path"), each.get("state")) for each in facts] == [
        ("b", "sent"),
        ("a", "delivered"),
        (None, None),
    ]
    assert facts[1]["runs"]["openmsi-disk"]["sha256"] == DIGEST.hex() == facts[1]["sha256"]


def test_digests_that_differ_are_named_and_the_code_is_4(tmp_path: Path, root: Path) -> None:
    entries = [_there(root, b"a", 1), _there(root, b"b", 2)]
    _watched(tmp_path, root, entries, [receipt(b"a", 1), receipt(b"b", 2)])
    done = _status("--verify", "-q")
    assert done.return_value == 0
    assert done.stdout.splitlines()[-1] == "  digests: 2 equal here and there"
    import os

    times = (root / "b").stat()
    (root / "b").write_bytes(b"c0ntent")
    os.utime(root / "b", ns=(times.st_atime_ns, times.st_mtime_ns))
    done = _status("--verify", "-q")
    assert done.return_value == 4
    assert "differs    b: the file here is not what was sent" in done.stdout
    assert done.stdout.splitlines()[-1] == "  digests: 1 equal here and there, 1 DIFFER"
    facts = [json.loads(line) for line in _status("--verify", "--json", "-q").stdout.splitlines()]
    assert sorted(each["verified"] for each in facts[1:]) == ["differs", "equal"]


def test_a_folder_that_is_gone_is_a_caveat_and_its_receipts_still_count(tmp_path: Path, root: Path) -> None:
    row = _there(root, b"a", 1)
    _watched(tmp_path, root, [row], [receipt(b"a", 1)])
    (root / "a").unlink()
    root.rmdir()
    done = _status()
    assert done.return_value == 0
    assert "cannot be looked at" in done.stdout


def test_a_folder_that_was_never_watched_is_code_2_and_says_what_to_do(root: Path) -> None:
    done = CliRunner().invoke(openmsi, ["status", str(root)])
    assert "was not watched here" in str(done.exception)
    assert "openmsi watch DIR --topic T" in str(done.exception)


def test_folders_are_found_by_path_by_topic_and_by_the_name_of_their_watch(tmp_path: Path, root: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for folder, topic in ((root, "t"), (root, "u"), (other, "t")):
        _watched(tmp_path, folder, [], [], topic)
    config = tmp_path / "openmsi.toml"
    config.write_text(f'[watch.xrd]\npath = "{root}"\ntopic = "u"\nruns = ["disk"]\n')
    settings = load(config)

    def found(name: str | None, topic: str | None = None) -> list[tuple[str, str]]:
        return [(about.root.name, about.topic) for about in ledgers_of(settings, name, topic)]

    assert found(None) == [("in", "t"), ("in", "u"), ("other", "t")]
    assert found(None, "t") == [("in", "t"), ("other", "t")]
    assert found(str(root)) == [("in", "t"), ("in", "u")]
    assert found("in", "u") == [("in", "u")]
    assert found("xrd") == [("in", "u")]
    assert watch_settings(settings, "xrd", {}).runs == ("disk",)


def test_a_ledger_of_an_openmsi_that_did_not_say_what_it_is_about_is_found_with_its_topic(
    tmp_path: Path, root: Path
) -> None:
    with Ledger(ledger_file(tmp_path / "state", root, "t"), root=root, topic="t"):
        pass
    assert _status(str(root), "--topic", "t").return_value == 0


def test_a_screen_that_is_no_terminal_says_what_changed() -> None:
    out = io.StringIO()
    with screen(out) as shown:
        for text in ("a", "a", "b"):
            shown.show(text)
    assert out.getvalue() == "a\nb\n"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_the_last_text_in_place_whatever_is_in_it() -> None:
    out = _Terminal()
    with screen(out) as shown:
        shown.show("first [bold]")
        shown.show("second [/x]")
    assert "first [bold]" in out.getvalue()
    assert "second [/x]" in out.getvalue()


def test_every_message_on_the_instruments_page_is_one_that_is_said() -> None:
    """The words between the dots stand in the code, in order of nothing, spread over lines or not."""
    import ast
    import re

    here = Path(__file__).resolve().parents[2]
    texts = []
    for file in here.glob("openmsi_core/**/*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                texts.append("".join(each.value if isinstance(each, ast.Constant) else "…" for each in node.values))
    said = [re.sub(r"%[sd]", "…", text) for text in texts]
    page = (here / "docs" / "at-the-instrument.md").read_text("utf-8").partition("## What each message means")[2]
    messages = re.findall(r"^\| `(.*?)` \|", page, re.MULTILINE)
    assert len(messages) > 12
    for message in messages:
        for words in (each.strip(" ,:;") for each in message.split("…")):
            assert any(words in text for text in said), f"nothing says {words!r}"
