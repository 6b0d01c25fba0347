"""F11: records duplicated, reordered, dropped and flipped, while runs are killed, stopped and robbed of partitions."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field, replace

from openmsi_core.files import wire
from openmsi_core.files.assembly import Limits
from openmsi_core.files.datafile import DataFile
from tests.fakes import Log, values_of
from tests.faults.model import Killed, Scattering, Seen, finish, new_rig
from tests.faults.trial import Fault, Trial
from tests.rig import Rig


@dataclass(slots=True)
class _File:
    """One version, and what was done to its records. ``placed`` are partition and value, in order."""

    id: str
    fate: str
    flips: int = 0
    has_late: bool = False
    placed: list[tuple[int, bytes]] = field(default_factory=list)


def run(trial: Trial) -> None:
    """One topic that was mixed up, read by several processes one after the other."""
    chance, log = trial.chance, Log(trial.chance.randrange(1, 4))
    scattered = len(log.partitions) > 1 and chance.random() < 0.3
    files = [_mixed_up(trial, number, len(log.partitions), scattered) for number in range(chance.randrange(3, 11))]
    lines = [each.placed for each in files]
    while lines := [each for each in lines if each]:
        partition, value = chance.choice(lines).pop(0)
        log.put(value, partition=partition)
    seen, results = Seen(trial), []

    def plugin(file: DataFile) -> object:
        if chance.random() < 0.2:
            time.sleep(0.002)  # so that outcomes lag behind
        return seen(file)

    runs = chance.randrange(1, 5)
    for number in range(runs):
        limits = Limits(in_memory_file=chance.choice([0, 20_000, 1 << 23]), memory=chance.choice([30_000, 1 << 25]))
        rig = new_rig(trial.folder, number, log, plugin, limits=limits, failing=chance.choice([0, 0, 1, 3]))
        trial.hits["checkpoint-failed"] += rig.store.failing
        rig.source = Scattering(log, rig.stream, random.Random(chance.random()))
        results.append(_last_run(trial, rig, scattered) if number == runs - 1 else _a_run(trial, rig, scattered))
    _check(trial, rig, files, seen)
    trial.equal(results[-1], 0, "open versions at the end")
    published = len(log.published)
    after = new_rig(trial.folder, runs, log, plugin)
    left = after.run()
    trial.check(left == 0 or any(each.has_late for each in files), f"{left} versions are open again after the end")
    again = [each for each in log.published[published:] if each.topic != "t.receipts"]
    trial.equal(again, [], "published by a run after the end")


def _mixed_up(trial: Trial, number: int, partitions: int, scattered: bool) -> _File:
    """The records of a file, and a fate for them."""
    chance = trial.chance
    data = chance.randbytes(chance.choice([0, 10, 20_000, chance.randrange(90_000)]))
    file_id = chance.randbytes(16)
    values = values_of(f"f{number}", data, file_id=file_id)
    made = _File(file_id.hex(), chance.choice(["whole", "whole", "whole", "dropped", "flipped", "wrong"]))
    trial.hit(made.fate)
    if made.fate == "dropped":
        for _ in range(chance.randrange(1, len(values) + 1)):
            values.pop(chance.randrange(len(values)))
    elif made.fate == "flipped":
        spoilt = bytearray(values[at := chance.randrange(len(values))])
        spoilt[chance.randrange(len(spoilt))] ^= 1 << chance.randrange(8)
        values[at] = bytes(spoilt)
    elif made.fate == "wrong":
        last = wire.decode(values[-1])
        values[-1] = wire.encode(replace(last, sha256=chance.randbytes(32)))
    flipped = values[at] if made.fate == "flipped" else None
    if chance.random() < 0.4:
        chance.shuffle(values)
        trial.hit("reordered")
    _duplicate(trial, made, values, scattered)
    made.flips = sum(1 for value in values if value == flipped)
    home = chance.randrange(partitions)
    made.placed = [(chance.randrange(partitions) if scattered else home, value) for value in values]
    if scattered:
        trial.hit("scattered")
    return made


def _duplicate(trial: Trial, made: _File, values: list[bytes], scattered: bool) -> None:
    """Some records twice: while the file is open, or after its end, then never all of them."""
    chance = trial.chance
    if len(values) < 2 or chance.random() < 0.5:
        return
    if scattered or chance.random() < 0.3:
        values += chance.sample(values, chance.randrange(1, len(values)))
        made.has_late = True
        trial.hit("duplicated-late")
        return
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(values) - 1)
        values.insert(chance.randrange(at + 1, len(values)), values[at])
    trial.hit("duplicated")


def _a_run(trial: Trial, rig: Rig, scattered: bool) -> int:
    """One that does not last: it is killed, or asked to stop."""
    polls, kills = trial.chance.randrange(1, 120), trial.chance.random() < 0.6

    def at_poll() -> None:
        nonlocal polls
        polls -= 1
        _rebalance(trial, rig, scattered)
        if polls <= 0 and kills:
            trial.killed("killed")
            raise Killed
        if polls <= 0:
            trial.hit("stopped")
            rig.stream.stopping.set()

    rig.source.before_poll = at_poll
    try:
        with rig.stack:
            return rig.stream.run(rig.source, rig.store)
    except Killed:
        return -1


def _last_run(trial: Trial, rig: Rig, scattered: bool) -> int:
    """One that goes on until everything is dealt with."""
    rebalances = trial.chance.randrange(20)

    def at_poll() -> None:
        nonlocal rebalances
        if rebalances > 0:
            rebalances -= _rebalance(trial, rig, scattered)
        elif missing := _missing(rig):
            rig.source.assign(missing)

    return finish(rig, at_poll)


def _rebalance(trial: Trial, rig: Rig, scattered: bool) -> bool:
    """Now and then partitions go, and come back. A version on several partitions needs them all."""
    source = rig.source
    missing = _missing(rig)
    if missing and trial.chance.random() < 0.3:
        source.assign(missing)
    if not source.own or trial.chance.random() > 0.05:
        return False
    going = source.own if scattered else trial.chance.sample(source.own, trial.chance.randint(1, len(source.own)))
    if trial.chance.random() < 0.7:
        source.revoke(going)
        trial.hit("revoked")
    else:
        source.lose(going)
        trial.hit("lost")
    return True


def _missing(rig: Rig) -> list[int]:
    return sorted(set(range(len(rig.log.partitions))) - set(rig.source.own))


def _check(trial: Trial, rig: Rig, files: list[_File], seen: Seen) -> None:
    letters = rig.letters()
    seen.check(letters)
    results = Counter(result["file"]["id"] for result in rig.results())
    receipts = Counter(receipt["id"] for receipt in rig.receipts() if receipt["outcome"] == "done")
    written: dict[str, list[str]] = {each.id: [] for each in files}
    for letter in letters:
        if letter["file"]:
            written[letter["file"]["id"]].append(letter["what"])
    for each in files:
        is_whole = each.fate == "whole"
        trial.equal((results[each.id], receipts[each.id]), (is_whole, is_whole), f"results, receipts of a {each.fate}")
        wanted = {"whole": [], "wrong": ["digest-mismatch"]}.get(each.fate, ["incomplete"])
        if each.has_late and each.fate in {"whole", "wrong"}:  # nobody remembers for ever that it ended
            trial.check(written[each.id] in (wanted, [*wanted, "incomplete"]), f"letters: {written[each.id]}")
        elif each.fate in {"whole", "wrong"} or written[each.id]:
            trial.equal(written[each.id], wanted, f"letters of a {each.fate}")
    bad = sum(1 for letter in letters if letter["what"] == "bad-record")
    trial.equal(bad, sum(each.flips for each in files), "letters of flipped records")


FAULT = Fault(
    "F11",
    "records duplicated, reordered, dropped, flipped; restarts and rebalances",
    run,
    ci=200,
    release=10_000,
    whole=True,
    windows=(
        *("whole", "dropped", "flipped", "wrong", "reordered", "duplicated", "duplicated-late", "scattered"),
        *("killed", "stopped", "revoked", "lost", "checkpoint-failed"),
    ),
    mutations=(
        *("metadata-is-dropped", "old-partitions-are-remembered", "digest-is-not-checked", "last-record-is-enough"),
        *("commit-is-skipped", "open-versions-are-forgotten", "epochs-are-ignored"),
    ),
)
