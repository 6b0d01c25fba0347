"""F17: forged records between good files; each becomes a dead letter, and no good file is touched."""

from __future__ import annotations

import json
import random
import struct

from openmsi_core.files import wire
from tests.fakes import Log, values_of
from tests.faults.trial import Fault, Trial
from tests.rig import Rig

_FORGERS = ("garbage", "flipped", "cut", "field", "longer", "nothing", "foreign")


def forged(chance: random.Random, trial: Trial) -> bytes | None:
    """One record that nobody should believe."""
    how = chance.choice(_FORGERS)
    trial.hit(how)
    good = bytearray(chance.choice(values_of(f"forged-{chance.randrange(9)}", chance.randbytes(40_000))))
    if how == "garbage":
        return wire.MAGIC * chance.randrange(2) + chance.randbytes(chance.randrange(200))
    if how == "flipped":
        at = chance.randrange(len(good))
        good[at] ^= 1 << chance.randrange(8)
    elif how == "cut":
        return bytes(good[: chance.randrange(len(good))])
    elif how == "field":
        at = chance.choice([4, 5, 6, 24, 28, 36, 40])
        good[at : at + 4] = struct.pack(">I", chance.choice([0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]))
    elif how == "longer":
        good += chance.randbytes(1 + chance.randrange(100))
    elif how == "nothing":
        return None
    else:
        return json.dumps({"not": "ours", "n": chance.random()}).encode()
    return bytes(good)


def run(trial: Trial) -> None:
    """Good files with forged records between them, through a whole run."""
    chance, log = trial.chance, Log()
    wanted = {f"good-{number}": chance.randbytes(chance.randrange(60_000)) for number in range(6)}
    records = [values_of(path, data) for path, data in wanted.items()]
    while records:
        line = chance.choice(records)
        log.put(line.pop(0))
        records = [each for each in records if each]
        for _ in range(chance.randrange(4)):
            log.put(forged(chance, trial))
    found: dict[str, bytes] = {}
    rig = Rig(trial.folder, log, lambda file: found.__setitem__(str(file.path), file.read_bytes()))
    rig.run()
    good = {path: data for path, data in found.items() if path.startswith("good-")}
    trial.equal(good, wanted, "files that were sent whole")
    trial.check(
        all(letter["what"] in {"bad-record", "contradictory", "digest-mismatch"} for letter in rig.letters()),
        f"letters of another kind: {[letter['what'] for letter in rig.letters()]}",
    )
    done = sum(1 for receipt in rig.receipts() if receipt["outcome"] == "done")
    trial.equal(done, len(found), "receipts of done files")


FAULT = Fault(
    "F17",
    "forged records",
    run,
    ci=300,
    release=100_000,
    windows=_FORGERS,
    mutations=("digest-is-not-checked",),
)
