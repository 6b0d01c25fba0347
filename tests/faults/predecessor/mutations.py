"""F11: records duplicated, reordered, dropped, bit-flipped between the sender and the receiver."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.faults.predecessor import oracle, records
from tests.faults.predecessor.records import Record
from tests.faults.predecessor.trial import Received, Trial, shown

QUIET = 13.0  # seconds: a stuck member of the group is replaced after 10 s


@dataclass(slots=True)
class Damage:
    """What was done: the records as they arrive, and the files that lost or had spoiled a record."""

    records: list[Record]
    touched: set[bytes] = field(default_factory=set)
    gone: set[bytes] = field(default_factory=set)  # not one record of them came


def duplicated(rng: Random, found: list[Record]) -> Damage:
    """Three of ten come twice, the copy up to 40 records later."""
    placed = [(float(number), each) for number, each in enumerate(found)]
    placed += [(n + rng.uniform(0.5, 40), each) for n, each in list(placed) if rng.random() < 0.3]
    return Damage([each for _, each in sorted(placed, key=lambda pair: pair[0])])


def reordered(rng: Random, found: list[Record]) -> Damage:
    """Every partition in random order."""
    return Damage(rng.sample(found, len(found)))


def dropped(rng: Random, found: list[Record]) -> Damage:
    """One to three chunks of each larger file, and one file of one chunk, never arrive."""
    owners = [records.path_of(each) for each in found]
    lost: set[int] = set()
    for path in sorted({owner for owner in owners if owners.count(owner) > 1}):
        mine = [number for number, owner in enumerate(owners) if owner == path]
        lost |= set(rng.sample(mine, rng.randint(1, 3)))
    lost.add(rng.choice([number for number, owner in enumerate(owners) if owners.count(owner) == 1]))
    left = [each for number, each in enumerate(found) if number not in lost]
    touched = {owners[number] for number in lost}
    return Damage(left, touched, touched - {records.path_of(each) for each in left})


def flipped(rng: Random, found: list[Record]) -> Damage:
    """One bit in the value of three records."""
    out, touched = list(found), set()
    for number in rng.sample(range(len(found)), 3):
        value = bytearray(found[number].value or b"")
        value[rng.randrange(len(value))] ^= 1 << rng.randrange(8)
        out[number] = found[number].with_value(bytes(value))
        touched.add(records.path_of(found[number]))
    return Damage(out, touched)


def all_of_them(rng: Random, found: list[Record]) -> Damage:
    first = dropped(rng, found)
    second = flipped(rng, first.records)
    third = reordered(rng, duplicated(rng, second.records).records)
    return Damage(third.records, first.touched | second.touched, first.gone)


KINDS: list[Callable[[Random, list[Record]], Damage]] = [duplicated, reordered, dropped, flipped, all_of_them]


def mutated(trial: Trial) -> None:
    kind = KINDS[trial.seed % len(KINDS)]
    files = trial.good_files(small=25, large_size=300_000)
    _, sent = trial.upload(files)
    if not sent:
        raise RuntimeError("the sender did not send everything; the trial says nothing about the receiver")
    damage = kind(trial.rng, records.read_all(trial.broker, trial.topic))
    trial.relay(damage.records)
    runs = [trial.receive(QUIET)]
    verdict = trial.verdict
    verdict.seen |= {"kind": kind.__name__, "files touched": len(damage.touched)}
    whole = {path: content for path, content in files.items() if path not in damage.touched}
    if oracle.compare(trial.out, whole) != ([], []):
        runs.append(trial.receive(QUIET))  # a second chance: the same group, started again
    for run in runs:
        trial.judge_process(run)
    verdict.files(trial.out, whole, "file all of whose records came is")
    incomplete = {path: files[path] for path in damage.touched}
    missing, wrong = oracle.compare(trial.out, incomplete)
    if wrong:
        verdict.violations.append(f"incomplete or damaged file stands under its final name: {shown(wrong)}")
    strangers = sorted(set(oracle.digests(trial.out)) - set(files))
    if strangers:
        verdict.violations.append(f"file under a name that nobody sent: {shown(strangers)}")
    _judge_telling(trial, runs, sorted({*missing, *wrong} - damage.gone))


def _judge_telling(trial: Trial, runs: list[Received], unfinished: list[bytes]) -> None:
    """Whoever did not arrive whole must be named: in a warning, or at least when the program is asked."""
    by_itself = "".join(run.told for run in runs)
    asked = "".join(run.answer for run in runs)
    silent: list[bytes] = []
    only_asked: list[bytes] = []
    for path in unfinished:
        name = os.fsdecode(os.path.basename(path))
        if name in by_itself:
            continue
        (only_asked if f"{name} (in progress)" in asked else silent).append(path)
    trial.verdict.seen["not whole"] = len(unfinished)
    trial.verdict.seen["told only when asked, at debug level"] = len(only_asked)
    if silent:
        trial.verdict.violations.append(f"incomplete or damaged file is named nowhere: {shown(silent)}")
