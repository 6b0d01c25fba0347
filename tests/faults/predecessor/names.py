"""F16: twenty hostile names or sets of names."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.predecessor import oracle, records
from tests.faults.predecessor.records import Record
from tests.faults.predecessor.trial import Files, Received, Trial, shown

QUIET = 13.0  # seconds: a stuck member of the group is replaced after 10 s
SENDER_PATIENCE = 15.0  # seconds; twelve ordinary files are in Kafka after three


@dataclass(frozen=True, slots=True)
class Names:
    """One set: as files that the predecessor's own sender reads, or as (folder, name) of records written by hand."""

    what: str
    files: tuple[bytes, ...] = ()
    written: tuple[tuple[str, str], ...] = ()


SETS = [
    Names("../ in folder and name", written=(("../..", "up.bin"), ("", "../../side.bin"), ("x/..", "y.bin"))),
    Names("absolute folder, absolute name", written=(("JAIL/absolute", "f.bin"), ("", "JAIL/name.bin"))),
    Names("NUL in the name and in the folder", written=(("", "nul\0l.bin"), ("a\0b", "nul.bin"))),
    Names("name of 300 bytes, folder of 5,000 bytes", written=(("", "n" * 300), ("d" * 250 + "/" + "e/" * 2400, "n"))),
    Names("empty name, '.', '..'", written=(("", ""), ("", "."), ("", ".."), ("sub", ""))),
    Names("file and folder of one name", written=(("twin", "x.bin"), ("", "twin"), ("twin/x.bin", "y"))),
    Names("control characters", (b"bell\x07\x1b[31mred\x7f.dat", b"tab\there.dat", b"cr\rhere.dat")),
    Names("newline", (b"line\nbreak.dat", b"folder\nbreak/inside.dat")),
    Names("255 bytes", (b"v" * 251 + b".dat", b"w" * 255)),
    Names("trailing dots and spaces", (b"dots...", b"space ", b" lead.dat", b"fold. /inside.dat")),
    Names("case twins", (b"Twin.dat", b"twin.dat", b"TWIN.DAT", b"Case/a.dat", b"case/a.dat")),
    Names("not UTF-8", (b"caf\xe9.dat", b"\xff\xfe.dat", b"gr\xfc\xdfe/inside.dat")),
    Names("quotes", (b'it\'s "quoted".dat', b"'single'.dat", b'"double".dat', b"`tick`$(x).dat")),
    Names("commas and semicolons", (b"a,b,c.csv", b",.dat", b"x;y.dat", b"fold,er/inside.dat")),
    Names("percent signs and braces", (b"100%.dat", b"%s%n%d.dat", b"%2e%2e%2fup.dat", b"{0}{x}.dat")),
    Names("'log' in the name", (b"catalog.csv", b"analog.dat", b"logistics/inside.dat", b"run.log")),
    Names("reserved devices", (b"CON", b"NUL.dat", b"COM1.csv", b"aux/prn.dat")),
    Names(
        "emoji and direction marks",
        tuple(
            name.encode() for name in ("\N{MICROSCOPE} scan.dat", "right\u202eleft.dat", "e\u0301.dat", "\u00e9.dat")
        ),
    ),
    Names("tree of sixty folders", (b"/".join([b"deep-folder-%02d" % n for n in range(60)]) + b"/bottom.dat",)),
    Names(
        "equal keys, backslashes, drive letters",
        (b"a/b/x.dat", b"a/b_x.dat", b"a_b/x.dat", b"C:\\evil.dat", b"..\\up.dat", b"-rf.dat"),
    ),
]


def hostile(trial: Trial) -> None:
    """Trial n has set n."""
    names = SETS[trial.seed % len(SETS)]
    trial.verdict.seen |= {"names": names.what, "by": "its own sender" if names.files else "records written by hand"}
    good = trial.good_files(small=10, large_size=100_000)
    bad = {path: trial.rng.randbytes(700) for path in names.files}
    said, sent = trial.upload(good | bad, SENDER_PATIENCE)
    _judge_sender(trial, good, bad, said, sent)
    after: Files = {}
    if names.written:
        after, bad = _write(trial, names)
    runs = [trial.receive(QUIET)]
    if oracle.compare(trial.out, good | after) != ([], []):
        runs.append(trial.receive(QUIET))  # a second chance: the same group, started again
    for run in runs:
        trial.judge_process(run)
    trial.verdict.files(trial.out, good | after, "other, ordinary file is")
    _judge_outside(trial)
    _judge_hostile(trial, bad, runs)


def _write(trial: Trial, names: Names) -> tuple[Files, Files]:
    """Hostile records in both partitions, then ordinary ones behind them."""
    bad: Files = {}
    out: list[Record] = []
    for folder, name in names.written:
        place = [part.replace("JAIL", str(trial.jail)) for part in (folder, name)]
        content = trial.rng.randbytes(700)
        bad[("/".join(place) if folder else place[1]).encode()] = content
        value = records.packed(records.chunk_fields(place[1], content, folder=place[0]))
        out.append(records.forged(len(out) % records.PARTITIONS, value))
    after = {f"after_{number}.dat".encode(): trial.rng.randbytes(500) for number in range(6)}
    for number, (path, content) in enumerate(after.items()):
        value = records.packed(records.chunk_fields(path.decode(), content))
        out.append(records.forged(number % records.PARTITIONS, value))
    records.write_all(trial.broker, trial.topic, out)
    return after, bad


def _judge_sender(trial: Trial, good: Files, bad: Files, said: str, sent: bool) -> None:
    if sent:
        return
    there = {records.path_of(each) for each in records.read_all(trial.broker, trial.topic)}
    unsent = [path for path in {**good, **bad} if path not in there]
    unnamed = [path for path in unsent if not _named(path, said)]
    trial.verdict.seen["not sent"] = shown(unsent)
    if "Traceback" in said:  # an error without a name is still an error told
        trial.verdict.seen["the sender's errors that name no file"] = len(unnamed)
    elif unnamed:
        trial.verdict.violations.append(f"not sent, and the sender says nothing: {shown(unnamed)}")
    if any(path in good for path in unsent):
        trial.verdict.violations.append("the sender does not send other, ordinary files")


def _judge_outside(trial: Trial) -> None:
    inside = os.path.relpath(os.fsencode(trial.out), os.fsencode(trial.jail)) + b"/"
    outside = [path for path in oracle.digests(trial.jail) if not path.startswith(inside)]
    if outside:
        trial.verdict.violations.append(f"written outside the folder: {shown(outside)}")


def _judge_hostile(trial: Trial, bad: Files, runs: list[Received]) -> None:
    """Each must lie somewhere inside with its content, whatever it is called there, or be told.

    What lies outside is counted there, not here.
    """
    inside = set(oracle.digests(trial.out).values())
    told = "".join(run.told for run in runs)
    anywhere = set(oracle.digests(trial.jail).values())
    absent = [path for path, content in bad.items() if oracle.sha256(content) not in anywhere]
    arrived = {records.path_of(each) for each in records.read_all(trial.broker, trial.topic)}
    unnamed = [path for path in absent if not _named(path, told) and path in arrived]
    silent = [] if any(run.raised for run in runs) else unnamed  # an error without a name is still an error told
    trial.verdict.seen["errors that name no file"] = len(unnamed) - len(silent)
    trial.verdict.seen["hostile files received"] = sum(oracle.sha256(content) in inside for content in bad.values())
    trial.verdict.seen["hostile files"] = len(bad)
    if silent:
        trial.verdict.violations.append(f"neither received nor told by the receiver: {shown(silent)}")


def _named(path: bytes, text: str) -> bool:
    """Whether a text names a file in one of the usual spellings."""
    name = os.path.basename(path)
    spellings: list[Callable[[], str]] = [
        lambda: name.decode("utf-8", "replace"),
        lambda: ascii(os.fsdecode(name))[1:-1],
        lambda: repr(os.fsdecode(name))[1:-1],
        lambda: repr(name)[2:-1],
    ]
    return any(spelling() in text for spelling in spellings) if name else False
