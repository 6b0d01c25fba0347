"""Checks of the plugin in the receiving loop: what arrives out of order, twice, or broken, and a process that dies."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import pytest

from openmsi_core.files import wire
from openmsi_core.testing.checks import check
from openmsi_core.testing.contract.input import HostileChecks
from openmsi_core.testing.files import MTIME_NS
from openmsi_core.testing.logs import values_of
from openmsi_core.testing.played import Played, played

_AFRESH = "each file must begin afresh, also when the last one raised"


class StreamChecks(HostileChecks):
    """The last group, on a topic in memory: the loop, the workers and the checkpoint are those of a run."""

    def _played(self, records: Iterable[bytes], folder: Path, *, killed: bool = False) -> Played:
        self.cls()
        self.must_survive()
        options = self.options_in(folder / "out")
        return played(lambda workdir: self.runner(workdir, options), records, folder, killed=killed)

    def _one(self) -> tuple[Path, list[bytes]]:
        """The first sample, and its records as they are sent."""
        _, path, _ = self.sound()[0]
        return path, _records(path, path.name)

    def says_the_same(self, found: Played, path: Path, name: str) -> None:
        """Fails unless the stream ended with the result that the file has by itself, and nothing else."""
        assert not found.letters, f"{name} became a dead letter: {found.letters[0]['why']}"
        expected = list(self.says(path).values)
        values = found.values().get(name, [])
        assert values == expected, f"{name} gave another result from a stream than by itself"

    @check("shuffled", "stream")
    def test_shuffled(self, tmp_path: Path) -> None:
        """Records in another order, and twice: one result, the right one."""
        path, records = self._one()
        mixed = records * 2
        random.Random(1).shuffle(mixed)
        self.says_the_same(self._played(mixed, tmp_path), path, path.name)

    @check("interleaved", "stream")
    def test_interleaved(self, tmp_path: Path) -> None:
        """Two files whose records alternate: two results, the right ones."""
        path, records = self._one()
        last = self.good()[-1]
        other = _records(last, f"other/{last.name}")
        longer, shorter = sorted((records, other), key=len, reverse=True)
        mixed = [each for pair in zip(longer, shorter, strict=False) for each in pair] + longer[len(shorter) :]
        found = self._played(mixed, tmp_path)
        self.says_the_same(found, path, path.name)
        self.says_the_same(found, last, f"other/{last.name}")

    @check("twice", "stream")
    def test_twice(self, tmp_path: Path) -> None:
        """The same file sent twice: the same result both times, as if once."""
        path, records = self._one()
        again = _records(path, path.name)
        self.says_the_same(self._played([*records, *again], tmp_path), path, path.name)

    @check("poison", "stream")
    def test_poison(self, tmp_path: Path) -> None:
        """Files that are rejected, then a good one: a dead letter each, and one result."""
        path, records = self._one()
        bad = [b"no record of openmsi"]
        for number, name in enumerate(self.rejects):
            bad += _records(self.place(name), f"bad/{number}-{self.place(name).name}")
        found = self._played([*bad, *records], tmp_path)
        why = found.letters[-1]["why"]["message"]
        assert path.name in found.stored(), f"after a rejected file, {path.name} was not done ({why}): {_AFRESH}"
        values, expected = found.values().get(path.name, []), list(self.says(path).values)
        assert values == expected, f"after a rejected file, {path.name} gave another result: {_AFRESH}"
        wanted = 1 + len(self.rejects)
        assert len(found.letters) == wanted, f"{wanted} dead letters were expected, and there are {len(found.letters)}"

    @check("killed", "stream")
    def test_killed(self, tmp_path: Path) -> None:
        """The process dies between result and commit, and the file is run again: the same result."""
        path, records = self._one()
        found = self._played(records, tmp_path, killed=True)
        self.says_the_same(found, path, path.name)
        assert found.committed == len(records), f"committed up to {found.committed} of {len(records)} records"

    @check("broker", "stream")
    def test_broker(self, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        """The same through a broker, shuffled and twice; skipped where there is none."""
        path, _ = self._one()
        send, run = request.getfixturevalue("send_file"), request.getfixturevalue("run_plugin")
        send(path, chunk_size=wire.MIN_CHUNK, shuffle=True, duplicate=True)
        found = run(self.plugin, **self.options_in(tmp_path / "out"))
        self.says_the_same(found, path, path.name)


def _records(path: Path, name: str) -> list[bytes]:
    return values_of(name, path.read_bytes(), mtime_ns=MTIME_NS)
