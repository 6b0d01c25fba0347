"""Checks of what the plugin is there for."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from openmsi_core.files.paths import wanted
from openmsi_core.model import RelativePath
from openmsi_core.testing.answers import Answer, answer_of
from openmsi_core.testing.checks import check
from openmsi_core.testing.contract import hostile
from openmsi_core.testing.contract.options import OptionChecks
from openmsi_core.testing.files import data_file

_SNIFFED = 4096
_THREADS = 4
_ROUNDS = 5


class FunctionChecks(OptionChecks):
    """The fourth group."""

    @check("accepts", "function")
    def test_accepts(self) -> None:
        """The names of the samples match ``accepts``: else openmsi would never hand them over."""
        accepts: Any = self.cls().accepts  # an author may have written anything
        globs = (accepts,) if isinstance(accepts, str) else accepts
        for path in self.good():
            assert wanted(RelativePath((path.name,)), globs, ()), f"{path.name} matches none of accepts = {globs}"

    @check("sniff", "function")
    def test_sniff(self) -> None:
        """``sniff`` stands in the first 4 KiB of each sample."""
        sniff = self.cls().sniff
        for path in self.good():
            assert sniff in path.read_bytes()[:_SNIFFED], f"{path.name} has no {sniff!r} in its first 4 KiB"

    @check("result", "function")
    def test_result(self) -> None:
        """Each sample gives a result that JSON can hold."""
        assert self.sound()

    @check("deterministic", "function")
    def test_deterministic(self, tmp_path: Path) -> None:
        """The same file gives the same result, from the same object and from a new one."""
        for name, path, answer in self.sound():
            with self.running(tmp_path) as runner:
                again = [answer_of(runner, data_file(path, workdir=tmp_path)) for _ in range(2)]
            for other in again:
                assert other.values == answer.values, f"{name} gave another result the second time: {MENDING}"

    @check("input-unchanged", "function")
    def test_input_unchanged(self, tmp_path: Path) -> None:
        """The file is only read."""
        for name, path, _ in self.sound():
            copy = tmp_path / path.name
            copy.write_bytes(path.read_bytes())
            before = copy.stat().st_mtime_ns
            self.says(copy)
            unchanged = copy.is_file() and copy.read_bytes() == path.read_bytes()
            assert unchanged, f"{self.method} changed {name}: work on a copy, file.save_to(self.workdir / 'copy')"
            assert copy.stat().st_mtime_ns == before, f"{self.method} wrote to {name}: open it for reading only"

    @check("memory-or-disk", "function")
    def test_memory_or_disk(self) -> None:
        """A file in memory gives the same result as one on disk."""
        for name, path, answer in self.sound():
            other = self.says(path.read_bytes(), path.name)
            assert same(other, answer), (
                f"{name} in memory: {self.told(other)}. Small files never touch a disk: use file.open(), file.text() "
                "or file.read_bytes(), and file.local_path() only for a library that wants a name"
            )

    @check("child", "function")
    def test_child(self) -> None:
        """A child process gives the same result, so the plugin can be isolated."""
        for name, _, answer in self.sound():
            other = self.in_child()[name]
            assert same(other, answer), f"{name} in another process: {self.told(other)}; {MENDING}"

    @check("four-at-once", "function")
    def test_four_at_once(self, tmp_path: Path) -> None:
        """Four objects in four threads do not disturb each other."""
        inputs = self._inputs()
        alone = [self.says(data, name) for data, name in inputs]
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)  # so that a race is found in five rounds
        try:
            rounds = list(self._together(inputs, tmp_path))
        finally:
            sys.setswitchinterval(interval)
        for together in rounds:
            for (_, name), one, other in zip(inputs, alone, together, strict=True):
                assert same(other, one), (
                    f"{name} gave another result while other files ran in other threads ({self.told(other)}): keep "
                    "what belongs to one file in local variables, not in the module or the class"
                )

    @check("quiet", "function")
    def test_quiet(self) -> None:
        """It prints nothing: what it has to say goes to ``self.log``."""
        self.good()
        for name in self.samples:
            printed = self.in_child()[name].printed
            assert not printed, f"of {name} {self.method} prints {printed[:200]!r}: use self.log.info(...)"

    @check("closes", "function")
    def test_closes(self, tmp_path: Path) -> None:
        """After ``close`` no thread is left."""
        path, before = self.good()[0], set(threading.enumerate())
        self.must_survive()
        with self.running(tmp_path) as runner:
            answer_of(runner, data_file(path, workdir=tmp_path))
        ends = time.monotonic() + 2.0
        left = {each for each in threading.enumerate() if each not in before}
        while any(each.is_alive() for each in left) and time.monotonic() < ends:
            threading.Event().wait(0.02)
        names = [each.name for each in left if each.is_alive()]
        assert not names, f"the threads {names} still run after close(): end them there"

    def _inputs(self) -> list[tuple[bytes, str]]:
        """Every sample and, so that there are different ones, its beginning."""
        self.must_survive()
        found = []
        for _, path, _ in self.sound():
            fair = [cut for cut in hostile.CUTS if self.in_child()[hostile.cut_name(path, cut)].is_fair]
            found += [(hostile.cut_at(path.read_bytes(), cut), path.name) for cut in (100, *fair)]
        return [(data, f"{number}-{name}") for number, (data, name) in enumerate(found)]

    def _together(self, inputs: list[tuple[bytes, str]], folder: Path) -> Any:
        def one(number: int, barrier: threading.Barrier) -> list[tuple[int, Answer]]:
            with tempfile.TemporaryDirectory(dir=folder) as own, self.running(Path(own)) as runner:
                barrier.wait(30)
                mine = [(at, *inputs[at]) for at in range(number, len(inputs), _THREADS)]
                return [(at, answer_of(runner, data_file(data, name, workdir=Path(own)))) for at, data, name in mine]

        for _ in range(_ROUNDS):
            barrier = threading.Barrier(_THREADS)
            with ThreadPoolExecutor(_THREADS) as threads:
                parts = list(threads.map(lambda number, barrier=barrier: one(number, barrier), range(_THREADS)))
            yield [answer for _, answer in sorted((pair for part in parts for pair in part), key=lambda pair: pair[0])]


MENDING = "no clock, no random numbers, no order of sets, nothing kept from the file before"


def same(one: Answer, other: Answer) -> bool:
    """Whether two answers say the same of the file."""
    return (one.what, one.values, one.keys) == (other.what, other.values, other.keys)
