"""F17: forged records between good files; no good file is touched, no forged one is believed, nothing is set aside
for what a record claims."""

from __future__ import annotations

import tracemalloc
from collections import Counter

from tests.fakes import Log, values_of
from tests.faults.forging import KINDS, Forger, Values
from tests.faults.model import Seen, finish, new_rig
from tests.faults.trial import Fault, Trial
from tests.rig import Rig

_LETTERS = {"bad-record", "contradictory", "digest-mismatch", "incomplete"}
_MTIME = 1_700_000_000_000_000_000  # what values_of gives every file
_MEMORY = 24 * 1024 * 1024  # bytes; the files of one trial are far smaller


def run(trial: Trial) -> None:
    """Good files with forgeries between them, through a whole run."""
    chance, log = trial.chance, Log()
    wanted = {f"good-{number}": chance.randbytes(chance.randrange(60_000)) for number in range(6)}
    good = [values_of(path, data) for path, data in wanted.items()]
    victims = [values_of(f"victim-{n}", chance.randbytes(50_000), file_id=chance.randbytes(16)) for n in (0, 1)]
    forger = Forger(chance, victims)
    lines: list[Values] = [*map(list, good), *map(list, victims)]
    is_measured = trial.seed % 4 == 0  # it takes twice as long
    for kind in [*chance.choices(sorted(KINDS), k=chance.randrange(4, 16)), *["claim"] * 3 * is_measured]:
        trial.hit(kind)
        lines.append(forger.forge(kind))
    while lines:
        log.put(chance.choice(lines).pop(0))
        lines = [each for each in lines if each]
    seen = Seen(trial)
    if is_measured:
        tracemalloc.start()
    rig = new_rig(trial.folder, 0, log, seen)
    left = finish(rig)
    if is_measured:
        trial.hit("memory-measured")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        trial.check(peak < _MEMORY, f"{peak:,} bytes of memory for files of less than 100 kB")
    _check(trial, rig, seen, wanted, forger)
    trial.equal((left, log.commits[0].offset), (0, len(log.partitions[0])), "open versions, and the position")


def _check(trial: Trial, rig: Rig, seen: Seen, wanted: dict[str, bytes], forger: Forger) -> None:
    believable, victims = forger.believable, forger.victims
    letters, receipts = rig.letters(), rig.receipts()
    seen.check(letters)
    once = {path: len(ids) for path, ids in seen.paths.items()}
    for path in wanted:
        trial.equal(once.get(path), 1, f"how often {path} was handled")
    strange = set(once) - set(wanted) - {"victim-0", "victim-1"} - believable
    trial.check(not strange, f"files that nobody sent: {sorted(strange)[:3]}")
    times = {mtime for _, mtime, _ in seen.files}
    trial.equal(times, {_MTIME}, "times of change")
    kinds = {letter["what"] for letter in letters}
    trial.check(kinds <= _LETTERS, f"letters of another kind: {sorted(kinds - _LETTERS)}")
    told = Counter(receipt["id"] for receipt in receipts)
    written = Counter(letter["file"]["id"] for letter in letters if letter["file"])
    trial.check(max([*told.values(), *written.values()]) == 1, "a version ended twice")
    missing = set(victims) - set(told) - set(written)
    trial.check(not missing, f"files that ended without a word: {missing}")
    done = sum(1 for receipt in receipts if receipt["outcome"] == "done")
    trial.equal(done, len(seen.files), "receipts of done files")
    trial.check(max(seen.calls.values()) == 1, "a version was handled twice")


FAULT = Fault(
    "F17",
    "forged records",
    run,
    ci=400,
    release=8_000,
    whole=True,
    windows=(*KINDS, "memory-measured"),
    mutations=("digest-is-not-checked", "checksum-is-not-checked", "claims-are-believed"),
)
