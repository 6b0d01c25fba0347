"""What hostile records, plugins and neighbours on the disk try against the receiving side; docs/attacks.md."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from openmsi_core.errors import FolderError, NotWhole
from openmsi_core.files import paths
from openmsi_core.files.content import InMemory
from openmsi_core.files.paths import wanted
from openmsi_core.files.spool import Spool
from openmsi_core.model import Position, Record, RelativePath
from openmsi_core.receiving.again import record_of, whole_of
from openmsi_core.receiving.choosing import Where, receipted
from openmsi_core.receiving.letters import Letter, read_letter
from openmsi_plugins.disk import Disk
from tests.fakes import Log, LogReader, values_of
from tests.rig import Rig

MEMORY = 128 * 1024 * 1024  # bytes of the whole process: half of what is promised, for a small part of the attack
LETTER = {
    "what": "rejected",
    "why": {"message": "no"},
    "run": "g",
    "topic": "t",
    "at": "2026-01-01T00:00:00+00:00",
    "positions": {"0": {"first": 0, "last": 0, "records": 1}},
}

RUNS = '''
import hashlib, sys, tempfile, time
from dataclasses import replace
from pathlib import Path
from openmsi_core.errors import BrokerUnreachable
from openmsi_core.files import wire
from openmsi_core.model import *
from openmsi_core.receiving.pace import Pace, Room
from tests.fakes import *
from tests.rig import RUN, Rig

class Topic(list):
    """The records, made when they are asked for."""
    def __init__(self, count, make):
        self.count, self.make = count, make
    def __len__(self):
        return self.count
    def __getitem__(self, number):
        return self.make(number)

class Away(LogStore):
    """Counts what is published, once the broker has come back."""
    def __init__(self, log, seconds):
        super().__init__(log)
        self.back, self.count = time.monotonic() + seconds, 0
    def write(self, outgoing, commits, *, size=0):
        if time.monotonic() < self.back:
            raise BrokerUnreachable("away")
        self.count += sum(1 for _ in outgoing)
        self.log.commits |= {commit.partition: commit for commit in commits}

class Many(Call):
    """A processor."""
    def handle(self, file):
        return Handled(self._call(file))

def version(number, size=1, **more):
    return FileVersion(number.to_bytes(16, "big"), RelativePath.parse(f"f{number}"), size, wire.MIN_CHUNK, 0, **more)

def whole(number, **more):
    last = hashlib.sha256(b"x").digest()
    return wire.encode(Chunk(number.to_bytes(16, "big"), 0, 0, b"x", version(number, **more), True, last, 1))

def first(number, **more):
    return wire.encode(Chunk(number.to_bytes(16, "big"), 0, 0, bytes(wire.MIN_CHUNK), version(number, 100_000, **more)))

def run(count, make, does, away=0.0, bare=False, **more):
    log = Log()
    log.partitions[0] = Topic(count, make)
    with tempfile.TemporaryDirectory() as folder:
        facts = replace(RUN, workdir=Path(folder), bare=bare, max_results=more.pop("max_results", 1 << 30))
        rig = Rig(Path(folder), log, does, room=Room(), pace=Pace(), run=facts, **more)
        rig.store = Away(log, away)
        rig.run()
    print(dict(rig.counts.by_outcome), rig.store.count)
'''
PEAK = """
print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024)
"""


def outcome_and_peak(code: str) -> tuple[str, int]:
    """What a run in a process of its own counted, and the most memory that process had."""
    done = subprocess.run(
        [sys.executable, "-c", RUNS + textwrap.dedent(code) + PEAK],
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    *_, told, peak = done.stdout.splitlines()
    return told, int(peak)


has_peak = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")


@has_peak
def test_files_that_wait_for_a_slow_plugin_may_have_all_the_metadata_that_a_record_carries() -> None:
    told, peak = outcome_and_peak("""
        waits = [4.0]
        def slow(file):
            time.sleep(waits.pop() if waits else 0)
            return {}
        user = {f"{number:x}": 1 for number in range(3900)}
        run(1500, lambda number: whole(number, user=user), slow)
    """)
    assert told == "{<What.DONE: 'done'>: 1500} 3000"
    assert peak < MEMORY


@has_peak
def test_open_files_may_have_metadata_of_nothing_but_empty_maps() -> None:
    told, peak = outcome_and_peak("""
        extra = {"x": [{}] * 4000}
        run(1500, lambda number: first(number, extra=extra), lambda file: {})
    """)
    assert "incomplete" in told
    assert peak < MEMORY


@has_peak
def test_records_of_one_file_may_come_backwards_for_ever_and_cost_no_more_than_what_may_be_open() -> None:
    told, peak = outcome_and_peak("""
        from openmsi_core.files.assembly import Limits
        def back(number):
            at = 60_000 - number
            return wire.encode(Chunk(bytes(16), at, at * wire.MIN_CHUNK, b"x"))
        run(59_000, back, lambda file: {}, limits=Limits(facts=8 << 20))
    """)
    assert told == "{<What.INCOMPLETE: 'incomplete'>: 1} 1"
    assert peak < MEMORY


@has_peak
def test_a_processor_may_make_millions_of_results_of_one_byte() -> None:
    told, peak = outcome_and_peak("""
        def make(file):
            for _ in range(1_200_000):
                yield Result(1, key="")
        run(1, whole, make, call=Many, bare=True)
    """)
    assert told == "{<What.DONE: 'done'>: 1} 1200001"
    assert peak < MEMORY


def test_keys_of_results_count_against_max_results() -> None:
    told, _ = outcome_and_peak("""
        def make(file):
            while True:
                yield Result(1, key="k" * 900_000)
        run(1, whole, make, call=Many, bare=True, max_results=20 << 20)
    """)
    assert told == "{<What.TOO_MANY_RESULTS: 'too-many-results'>: 1} 2"


@has_peak
def test_files_in_the_queue_make_no_results_while_those_of_others_find_no_broker() -> None:
    told, peak = outcome_and_peak("""
        value = "v" * 900_000
        def make(file):
            for _ in range(8):
                yield Result(value)
        run(60, whole, make, call=Many, away=4.0)
    """)
    assert told == "{<What.DONE: 'done'>: 60} 540"
    assert peak < MEMORY


def test_a_plugin_that_keeps_a_file_reads_nothing_wrong_from_it_later(tmp_path) -> None:
    log, kept = Log(), []
    log.put(*values_of("a.txt", b"content"))
    Rig(tmp_path, log, lambda file: kept.append(file) or {}).run()
    for reads in (
        kept[0].read_bytes,
        kept[0].open,
        kept[0].text,
        kept[0].local_path,
        lambda: kept[0].save_to(tmp_path / "copy"),
    ):
        with pytest.raises(ValueError, match="let go of"):
            reads()
    assert InMemory([b""]).read() == b""


def test_what_a_plugin_did_to_its_local_path_the_next_try_does_not_see(tmp_path) -> None:
    log, seen = Log(), []
    log.put(*values_of("a.txt", b"content"))

    def spoil(file):
        seen.append(file.local_path().read_bytes())
        if len(seen) == 1:
            file.local_path().write_bytes(b"spoilt")
        elif len(seen) == 2:
            file.local_path().unlink()
        else:
            return {}
        raise ValueError("again")

    rig = Rig(tmp_path, log, spoil)
    rig.run()
    assert seen == [b"content"] * 3
    assert len(rig.results()) == 1


@pytest.mark.skipif(os.name != "posix", reason="links as POSIX has them")
@pytest.mark.parametrize("name", ["starting", "spool-1-abcd.lock"])
@pytest.mark.parametrize("plant", [os.symlink, os.link])
def test_links_planted_where_locks_go_empty_nobodys_file(tmp_path, name, plant) -> None:
    (tmp_path / "precious").write_text("precious")
    spool = tmp_path / "spool"
    spool.mkdir()
    plant(tmp_path / "precious", spool / name)
    is_refused = name == "starting" or plant is os.link
    try:
        with Spool(spool):
            assert not is_refused
    except (FolderError, OSError):
        assert is_refused
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.skipif(os.name != "posix", reason="links as POSIX has them")
def test_a_link_planted_in_the_sinks_own_folder_makes_no_file_outside(tmp_path) -> None:
    root = tmp_path / "root"
    (root / ".openmsi").mkdir(parents=True)
    os.symlink(tmp_path / "outside", root / ".openmsi" / "starting")
    sink = Disk(Disk.Options(folder=root))
    with pytest.raises(FolderError, match="cannot be stored"):
        sink.open()
    assert not (tmp_path / "outside").exists()


def naive(pattern: str) -> re.Pattern[str]:
    """What a glob means, without any care for time."""
    fixed = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]", "[!a]": "(?!/)[^a]", "[ab]": "[ab]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?|\[!a\]|\[ab\])", pattern)
    return re.compile("".join(fixed.get(each) or re.escape(each) for each in pieces), re.DOTALL)


def test_globs_mean_what_they_meant_before_they_were_made_quick() -> None:
    chance, matched = random.Random(7), 0
    for _ in range(4000):
        pieces = [chance.choice(["*", "**", "**/", "a", "b", "/", "?", "[ab]", "[!a]", "a*"]) for _ in range(6)]
        pattern = "".join(pieces[: chance.randrange(1, 7)])
        quick = re.compile(paths._glob_to_regex(pattern), re.DOTALL)
        for _ in range(10):
            text = "".join(chance.choice("aabb/") for _ in range(chance.randrange(9)))
            expected = naive(pattern).fullmatch(text) is not None
            assert (quick.fullmatch(text) is not None) == expected, (pattern, text)
            matched += expected
    assert matched > 1000


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*_*_*_*_*_*_*.xrdml", "_" * 255),
        ("**/a/**/b/**/c/**/*.x", "/".join("abc" * 600)),
        ("**_**_**_**_**x", "_/" * 2000 + "_"),
    ],
)
def test_no_name_of_a_file_holds_up_a_glob(pattern, path) -> None:
    began = time.process_time()
    assert not wanted(RelativePath.parse(path), (pattern,), ())
    assert time.process_time() - began < 5.0


def letter(**more: object) -> Letter:
    found = read_letter(Record(Position("t.dlq", 0, 5), 0, None, json.dumps(LETTER | more).encode()))
    assert isinstance(found, Letter)
    return found


def test_a_forged_letter_cannot_pass_itself_off_as_another_or_as_resolved() -> None:
    told = letter(id="0-99", path="other", resolved={"by": "me"}, reason="all is well").as_json()
    assert (told["id"], told["path"], told["resolved"], told["reason"]) == ("0-5", None, None, "no")


def test_a_record_larger_than_any_letter_is_none() -> None:
    value = json.dumps(LETTER | {"more": "x" * 300_000}).encode()
    assert read_letter(Record(Position("t.dlq", 0, 5), 0, None, value)) is None


@pytest.mark.parametrize("first", [1, 1 << 40])
def test_a_letter_whose_offsets_are_beyond_the_end_is_told_and_stops_nothing(first) -> None:
    log = Log()
    log.put(b"record")
    positions = {"0": {"first": first, "last": first, "records": 1}}
    with pytest.raises(NotWhole, match="ends at 1: was the topic deleted"):
        record_of(letter(positions=positions), LogReader(log))
    with pytest.raises(NotWhole, match="ends at 1: was the topic deleted"):
        whole_of(letter(positions=positions, file={"id": "00" * 16, "path": "a"}), LogReader(log), None, None)


def test_of_receipts_with_gigantic_keys_and_ids_nothing_large_is_kept() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
    right, wrong = hashlib.sha256(b"right").digest()[:16], bytes(100_000)

    def receipt(key: bytes, file_id: bytes) -> Record:
        told = {"run": "g", "outcome": "done", "version": "1", "path": "a", "id": file_id.hex(), "at": at}
        return Record(Position("t.receipts", 0, 0), 0, key, json.dumps(told).encode())

    records = [receipt(b"k" * 900_000, right), receipt(b"other", wrong)]
    assert receipted(records, "g", Where(outcomes=("done",))) == {right}
