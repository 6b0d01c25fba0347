"""F17: twenty kinds of forged records between good files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from random import Random
from typing import Any

from tests.faults.predecessor import oracle, records
from tests.faults.predecessor.records import CHUNK_HASH, COUNT, DATA, FILE_HASH, NAME, NUMBER, OFFSET, Record
from tests.faults.predecessor.trial import Trial, shown

QUIET = 13.0  # seconds: a stuck member of the group is replaced after 10 s
TEBI = 1 << 40
LONG = "array of 200,001, and one that claims 2^32 - 1"
TWIN = "a chunk of a good file with other data"

Forge = Callable[[Random, str], bytes | None]


def _changed(**fields: Any) -> Forge:
    """A whole file of one chunk in which some fields lie."""
    places = {"name": NAME, "file_hash": FILE_HASH, "chunk_hash": CHUNK_HASH, "offset": OFFSET}
    places |= {"number": NUMBER, "count": COUNT, "data": DATA}

    def forge(rng: Random, name: str) -> bytes:
        chunk = records.chunk_fields(name, rng.randbytes(900))
        for field, value in fields.items():
            chunk[places[field]] = value
        return records.packed(chunk)

    return forge


def _heartbeat(_: Random, name: str) -> bytes:
    return json.dumps({"timestamp": "2026-01-01T00:00:00", "n_messages_read": 5, "id": name}).encode()


def _long_array(_: Random, name: str) -> bytes:
    return records.packed([name, *range(200_000)])


FORGERIES: list[tuple[str, Forge]] = [
    ("random bytes", lambda rng, _: rng.randbytes(300)),
    ("empty value", lambda *_: b""),
    ("null value (tombstone)", lambda *_: None),
    ("a heartbeat of its own kind (JSON)", _heartbeat),
    ("a map", lambda _, name: records.packed({"name": name})),
    ("a number", lambda *_: records.packed(7)),
    ("array of three", lambda _, name: records.packed([name, b"x", 1])),
    ("wrong types: name is a number", _changed(name=12)),
    ("wrong types: data is null, numbers are text", _changed(data=None, offset="zero", count="one")),
    ("offset 1 TiB, the only chunk", _changed(offset=TEBI)),
    ("offset 1 TiB, one of two chunks", _changed(offset=TEBI, count=2)),
    ("negative offset", _changed(offset=-5)),
    ("offset 2^63 - 1", _changed(offset=(1 << 63) - 1)),
    ("zero chunks", _changed(count=0)),
    ("chunk 9 of 3", _changed(number=9, count=3)),
    ("one of 2^40 chunks", _changed(count=TEBI)),
    ("wrong hash of the file", _changed(file_hash=b"\1" * 64)),
    ("wrong hash of the chunk", _changed(chunk_hash=b"\1" * 64)),
    (LONG, _long_array),
    (TWIN, _changed()),
]


def forged(trial: Trial) -> None:
    """Trial n has kind n: two records in each partition, at random places between good records."""
    what, forge = FORGERIES[trial.seed % len(FORGERIES)]
    trial.verdict.seen["forged"] = what
    files = trial.good_files(small=25, large_size=300_000)
    _, sent = trial.upload(files)
    if not sent:
        raise RuntimeError("the sender did not send everything; the trial says nothing about the receiver")
    honest = records.read_all(trial.broker, trial.topic)
    if what == TWIN:
        made, last = _twin(trial.rng, honest)
    else:
        made, last = _made(trial.rng, what, forge), 4 * len(honest) // 5
    mixed = list(honest)
    for record in made:
        mixed.insert(trial.rng.randint(last // 4, last), record)
    trial.relay(mixed)
    runs = [trial.receive(QUIET)]
    if oracle.compare(trial.out, files) != ([], []):
        runs.append(trial.receive(QUIET))  # a second chance: the same group, started again
    for run in runs:
        trial.judge_process(run)
    trial.verdict.files(trial.out, files, "good file is")
    _judge_strangers(trial, set(files), made)


def _made(rng: Random, what: str, forge: Forge) -> list[Record]:
    """Four forged records, two in each partition."""
    values = [forge(rng, f"forged_{number}.bin") for number in range(4)]
    if what == LONG:
        values[1] = values[2] = b"\xdd\xff\xff\xff\xff" + rng.randbytes(2000)
    return [records.forged(number % records.PARTITIONS, value) for number, value in enumerate(values)]


def _twin(rng: Random, honest: list[Record]) -> tuple[list[Record], int]:
    """Right name, place and hash of the file; other data with a hash that fits them; and where the true one is."""
    large = [each for each in honest if b"scan_0" in records.path_of(each)]
    victim = rng.choice(large[len(large) // 2 :])
    chunk = records.unpacked(victim)
    chunk[DATA] = rng.randbytes(len(chunk[DATA]))
    chunk[CHUNK_HASH] = records.sha512(chunk[DATA])
    return [victim.with_value(records.packed(chunk))], honest.index(victim)


def _judge_strangers(trial: Trial, good: set[bytes], made: list[Record]) -> None:
    """A forged file may stand under its name only if it is what its record's hash of the file says."""
    claimed = {records.path_of(each): records.unpacked(each)[FILE_HASH].hex() for each in made if _is_chunk(each)}
    wrong = []
    for path in sorted(set(oracle.digests(trial.out)) - good):
        if oracle.digest(trial.out, path, "sha512") != claimed.get(path):
            size = os.stat(os.path.join(os.fsencode(trial.out), path)).st_size
            wrong.append(path + f": {size} bytes".encode())
    if wrong:
        trial.verdict.violations.append(f"file that is not what its record says, under a final name: {shown(wrong)}")


def _is_chunk(record: Record) -> bool:
    try:
        chunk = records.unpacked(record)
    except ValueError:
        return False
    return isinstance(chunk, list) and len(chunk) == 10 and isinstance(chunk[NAME], str)
