"""Records that nobody should believe, from plain garbage to those whose every checksum is right."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from dataclasses import replace

from openmsi_core.files import wire
from openmsi_core.files.chunking import abort_of
from openmsi_core.model import Chunk, FileVersion, RelativePath
from tests.fakes import values_of

TIB = 1 << 40
Values = list[bytes | None]


class Forger:
    """Makes forgeries of the kinds that `KINDS` names. ``victims`` are the records of good files it may spoil.

    ``believable`` are the paths, times and contents of forgeries that are files like any other: who writes to the
    topic may write a file.
    """

    def __init__(self, chance: random.Random, victims: list[list[bytes]]) -> None:
        self._chance = chance
        self._victims = [[wire.decode(value) for value in values] for values in victims]
        self.believable: set[str] = set()
        self.victims = [chunks[0].file_id.hex() for chunks in self._victims]
        self._count = 0

    def forge(self, kind: str) -> Values:
        """The records of one forgery."""
        made = KINDS[kind](self)
        return [wire.encode(each) if isinstance(each, Chunk) else each for each in made]

    def file(self, size: int | None = None) -> list[Chunk]:
        """A file of our own."""
        self._count += 1
        path = f"forged-{self._count}"
        self.believable.add(path)
        data = self._chance.randbytes(self._chance.randrange(1, 60_000) if size is None else size)
        return [wire.decode(value) for value in values_of(path, data, file_id=self._chance.randbytes(16))]

    # Each of these is one kind.

    def garbage(self) -> list[Chunk | bytes | None]:
        return [wire.MAGIC * self._chance.randrange(2) + self._chance.randbytes(self._chance.randrange(200))]

    def flipped(self) -> list[Chunk | bytes | None]:
        good = bytearray(self._one())
        good[self._chance.randrange(len(good))] ^= 1 << self._chance.randrange(8)
        return [bytes(good)]

    def cut(self) -> list[Chunk | bytes | None]:
        good = self._one()
        return [good[: self._chance.randrange(len(good))]]

    def field(self) -> list[Chunk | bytes | None]:
        good, at = bytearray(self._one()), self._chance.choice([4, 5, 6, 24, 28, 36, 40])
        good[at : at + 4] = struct.pack(">I", self._chance.choice([0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]))
        return [bytes(good)]

    def longer(self) -> list[Chunk | bytes | None]:
        return [self._one() + self._chance.randbytes(1 + self._chance.randrange(100))]

    def nothing(self) -> list[Chunk | bytes | None]:
        return [None]

    def foreign(self) -> list[Chunk | bytes | None]:
        return [json.dumps({"not": "ours", "n": self._chance.random()}).encode()]

    def flipped_facts(self) -> list[Chunk | bytes | None]:
        """A whole file in one record; a bit of its time of change is flipped, which no digest covers."""
        (chunk,) = self.file(100)
        value = bytearray(wire.encode(chunk))
        value[value.index(b"mtime_ns") + 12] ^= 1 << self._chance.randrange(8)
        return [bytes(value)]

    def payload(self) -> list[Chunk | bytes | None]:
        made = self.file()
        at = self._chance.randrange(len(made))
        spoilt = bytearray(made[at].payload)
        spoilt[self._chance.randrange(len(spoilt))] ^= 1
        return [*made[:at], replace(made[at], payload=bytes(spoilt)), *made[at + 1 :]]

    def digest(self) -> list[Chunk | bytes | None]:
        made = self.file()
        return [*made[:-1], replace(made[-1], sha256=self._chance.randbytes(32))]

    def sizes(self) -> list[Chunk | bytes | None]:
        made = self.file(50_000)
        more = self._chance.choice([-17, -1, 1, 5_000])
        return [replace(made[0], version=replace(_facts(made), size=50_000 + more)), *made[1:]]

    def chunks(self) -> list[Chunk | bytes | None]:
        made = self.file(50_000)
        return [replace(made[0], version=replace(_facts(made), chunk=wire.MIN_CHUNK + 1)), *made[1:]]

    def sequence(self) -> list[Chunk | bytes | None]:
        made = self.file(50_000)
        at = self._chance.randrange(1, len(made))
        number = self._chance.choice([at + 1, at - 1, 3, 0xFFFFFFFF])
        return [*made[:at], replace(made[at], sequence=number), *made[at + 1 :]]

    def offset(self) -> list[Chunk | bytes | None]:
        made = self.file(50_000)
        at = self._chance.randrange(1, len(made))
        return [*made[:at], replace(made[at], offset=made[at].offset + 1), *made[at + 1 :]]

    def path_outside(self) -> list[Chunk | bytes | None]:
        """A path that cannot even be built, so it is written past our checks."""
        made = self.file(100)
        path = object.__new__(RelativePath)
        parts = self._chance.choice([("..", "x"), ("a", "", "b"), ("",), (".",), ("a/b",), ("\0",), ("x" * 256,)])
        object.__setattr__(path, "parts", parts)
        return [replace(made[0], version=replace(_facts(made), path=path))]

    def other_path(self) -> list[Chunk | bytes | None]:
        """A file that says it is another one: it is a file like any other."""
        made = self.file()
        path = RelativePath.parse(f"forged-{self._count}-elsewhere")
        self.believable.add(path.text)
        return [replace(made[0], version=replace(_facts(made), path=path)), *made[1:]]

    def first_twice(self) -> list[Chunk | bytes | None]:
        made = self.file(50_000)
        other = replace(made[0], version=replace(_facts(made), mtime_ns=self._chance.randrange(1 << 40)))
        return [made[0], other, *made[1:]] if self._chance.random() < 0.5 else [other, *made]

    def one_sequence(self) -> list[Chunk | bytes | None]:
        made = self.file(50_000)
        at = self._chance.randrange(len(made) - 1)
        other = replace(made[at], payload=self._chance.randbytes(len(made[at].payload)))
        return [*made[:at], *self._shuffled([made[at], other]), *made[at + 1 :]]

    def interleaved(self) -> list[Chunk | bytes | None]:
        """Two files whose records change places in the middle."""
        one, two = self.file(50_000), self.file(50_000)
        return [
            *(one[0], two[0]),
            replace(two[1], file_id=one[1].file_id),
            replace(one[1], file_id=two[1].file_id),
            *(*one[2:], *two[2:]),
        ]

    def two_lasts(self) -> list[Chunk | bytes | None]:
        made = self.file(50_000)
        early = replace(made[1], last=True, sha256=self._chance.randbytes(32), size=2 * wire.MIN_CHUNK)
        return [made[0], *self._shuffled([made[1], early, *made[2:]])]

    def claim(self) -> list[Chunk | bytes | None]:
        """Records that claim a tebibyte: nothing may be set aside for it."""
        made = self.file(50_000)
        first = replace(made[0], version=replace(_facts(made), size=TIB))
        far = replace(made[1], sequence=TIB // wire.MIN_CHUNK - 1, offset=TIB - wire.MIN_CHUNK)
        last = replace(far, last=True, sha256=bytes(32), size=TIB)
        return list(self._chance.choice([[first], [first, far], [first, last], [last], [last, first], [far, first]]))

    def lone(self) -> list[Chunk | bytes | None]:
        """Some records of a file whose others never come."""
        made = self.file(60_000)
        return [each for each in made[1:] if self._chance.random() < 0.5] or [made[0]]

    def victims_record(self) -> list[Chunk | bytes | None]:
        """A record with the id of somebody else's file."""
        one = self._chance.choice(self._victims[0])
        spoilt = self._chance.randbytes(len(one.payload))
        return [
            self._chance.choice(
                [
                    replace(one, payload=spoilt),
                    replace(one, sequence=one.sequence + 1, offset=one.offset + wire.MIN_CHUNK, version=None),
                    replace(self.file(20_000)[0], file_id=one.file_id),
                    replace(self.file(20_000)[-1], file_id=one.file_id),
                ]
            )
        ]

    def victims_abort(self) -> list[Chunk | bytes | None]:
        """Who writes to the topic can give somebody else's file up; nothing worse comes of it."""
        return [abort_of(self._victims[1][0].file_id, 1, wire.MIN_CHUNK)]

    def _one(self) -> bytes:
        return wire.encode(self._chance.choice(self.file(40_000)))

    def _shuffled(self, made: list[Chunk]) -> list[Chunk]:
        self._chance.shuffle(made)
        return made


def _facts(made: list[Chunk]) -> FileVersion:
    version = made[0].version
    if version is None:
        raise AssertionError("the first record has the facts")
    return version


KINDS: dict[str, Callable[[Forger], list[Chunk | bytes | None]]] = {
    each.__name__.replace("_", "-"): each
    for each in (
        *(Forger.garbage, Forger.flipped, Forger.cut, Forger.field, Forger.longer, Forger.nothing, Forger.foreign),
        *(Forger.flipped_facts, Forger.payload, Forger.digest, Forger.sizes, Forger.chunks, Forger.sequence),
        *(Forger.offset, Forger.path_outside, Forger.other_path, Forger.first_twice, Forger.one_sequence),
        *(Forger.interleaved, Forger.two_lasts, Forger.claim, Forger.lone, Forger.victims_record),
        Forger.victims_abort,
    )
}
