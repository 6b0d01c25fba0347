"""The three contracts, one for each kind of plugin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from openmsi_core.model import RelativePath
from openmsi_core.plugins.kinds import Processor
from openmsi_core.testing.answers import answer_of
from openmsi_core.testing.checks import check
from openmsi_core.testing.contract.function import same
from openmsi_core.testing.contract.matching import differences
from openmsi_core.testing.contract.streaming import StreamChecks
from openmsi_core.testing.files import data_file
from openmsi_core.testing.played import Played


class PlaceChecks(StreamChecks):
    """What holds for extractors and processors: what they say of a file is about its content."""

    @check("place", "function")
    def test_place(self) -> None:
        """The result does not depend on the folder and the name of the file."""
        for name, path, answer in self.sound():
            other = self.says(path, f"other folder µ/another name{path.suffix}")
            assert same(other, answer), (
                f"{name} gives another result in another folder or under another name ({self.told(other)}): say what "
                "is in the file; where it stood is published beside it"
            )


class ExtractorContract(PlaceChecks):
    """What every extractor keeps to; subclass it in your tests.

    ``samples`` says for each good file what must be in its metadata::

        class TestXRD(ExtractorContract):
            plugin = "xrd-extractor"
            samples = {"data/scan.xrdml": {"anode": "Cu"}}
            rejects = ["data/truncated.xrdml"]
    """

    kind = "extractor"
    method = "extract"

    @check("expected", "function")
    def test_expected(self) -> None:
        """The metadata of each sample has what the contract expects of it."""
        for name, _, answer in self.sound():
            found = list(differences(answer.values[0], self.expected(name) or {}))
            assert not found, f"{name}: {'; '.join(found)}"


class ProcessorContract(PlaceChecks):
    """What every processor keeps to; subclass it in your tests.

    ``samples`` says for each good file which results are expected, in order::

        class TestLines(ProcessorContract):
            plugin = "count-lines"
            samples = {"data/two.txt": [{"line": 1}, {"line": 2}]}
    """

    kind = "processor"
    method = "process"

    @check("expected", "function")
    def test_expected(self) -> None:
        """The results of each sample are those that the contract expects, in that order."""
        for name, _, answer in self.sound():
            wanted = self.expected(name)
            found = list(differences(list(answer.values), wanted)) if wanted is not None else []
            assert not found, f"{name}: {'; '.join(found)}"

    @check("abandoned", "function")
    def test_abandoned(self, tmp_path: Path) -> None:
        """After a file whose results were not all taken, the next one is complete."""
        name, path, answer = self.sound()[0]
        with self.running(tmp_path) as runner:
            plugin = runner.plugin
            assert isinstance(plugin, Processor)
            results = iter(plugin.process(data_file(path, workdir=tmp_path)))
            next(results, None)
            del results
            again = answer_of(runner, data_file(path, workdir=tmp_path))
        assert same(again, answer), (
            f"{name} gave other results after one of its results was left behind ({self.told(again)}): begin each file "
            "afresh in process()"
        )


class SinkContract(StreamChecks):
    """What every sink keeps to; subclass it in your tests.

    ``samples`` is a list of files; `options_in` gives the sink a fresh folder, `stored` reads back what it stored::

        class TestShelf(SinkContract):
            plugin = "shelf"
            samples = ["data/scan.xrdml"]

            def options_in(self, folder):
                return {"folder": folder}
    """

    kind = "sink"
    method = "write"

    def stored(self, location: str, options: Mapping[str, object]) -> bytes:  # noqa: ARG002 - for who overrides it
        """The bytes at ``location``, which `Stored` named; override it for what is no path on this machine."""
        assert Path(location).is_absolute() and Path(location).is_file(), (
            f"{location!r} is no file here: override stored(self, location, options) and read back what was stored"
        )
        return Path(location).read_bytes()

    def says_the_same(self, found: Played, path: Path, name: str) -> None:
        """Fails unless the stream ended with the file stored as it is."""
        assert not found.letters, f"{name} became a dead letter: {found.letters[0]['why']}"
        location = found.stored().get(name)
        assert location, f"{name} was not stored; receipts: {found.receipts}"
        assert self.stored(location, {}) == path.read_bytes(), f"{location} is not what {name} is"

    @check("same-bytes", "function")
    def test_same_bytes(self, tmp_path: Path) -> None:
        """What is stored is what was sent, and ``Stored`` says where."""
        options = self.options_in(tmp_path / "out")
        for name, path, _ in self.sound():
            with self.running(tmp_path / "out") as runner:
                answer = answer_of(runner, data_file(path, workdir=tmp_path))
                assert answer.location, f"{name}: Stored(location) must say where the file is now"
                data = self.stored(answer.location, options)
            assert data == path.read_bytes(), f"{name}: {len(data):,} bytes at {answer.location} are not its content"

    @check("again", "function")
    def test_again(self, tmp_path: Path) -> None:
        """Storing the same file twice does no harm: the same place, the same bytes."""
        name, path, _ = self.sound()[0]
        options = self.options_in(tmp_path / "out")
        with self.running(tmp_path / "out") as runner:
            first, second = (answer_of(runner, data_file(path, workdir=tmp_path)) for _ in range(2))
            assert second.what == "result", f"{name} was stored once, and the second time {self.told(second)}"
            assert second.location == first.location, (
                f"{name} went to {first.location} and the second time to {second.location}: after a crash every file "
                "may come again, and would be stored twice"
            )
            assert self.stored(second.location, options) == path.read_bytes(), f"{name} is damaged the second time"

    @check("newer", "function")
    def test_newer(self, tmp_path: Path) -> None:
        """A file that changed on the sender's side is stored with its new content."""
        name, path, _ = self.sound()[0]
        options, newer = self.options_in(tmp_path / "out"), path.read_bytes() + b"\n"
        with self.running(tmp_path / "out") as runner:
            answer_of(runner, data_file(path, workdir=tmp_path))
            answer = answer_of(runner, data_file(newer, path.name, workdir=tmp_path))
            assert answer.what == "result", f"{name} changed, and {self.told(answer)}"
            assert self.stored(answer.location, options) == newer, f"{name} changed, and the old content is still there"

    @check("odd-names", "function")
    def test_odd_names(self, tmp_path: Path) -> None:
        """Names with spaces, accents and dots, and two names that differ in their folder only, are kept apart."""
        path = self.sound()[0][1]
        options = self.options_in(tmp_path / "out")
        names = [f"{each}{path.suffix}" for each in ("a b/µm", "a b/.hidden", "c/µm", "c/x" + "y" * 200, "con/nul.1")]
        with self.running(tmp_path / "out") as runner:
            contents = {name: path.read_bytes() + name.encode("utf-8") for name in names}
            told = {name: answer_of(runner, data_file(data, name)) for name, data in contents.items()}
            for name, answer in told.items():
                assert answer.what == "result", f"a file called {RelativePath.parse(name)}: {self.told(answer)}"
                assert self.stored(answer.location, options) == contents[name], (
                    f"a file called {name} has the content of another one: two files went to {answer.location}"
                )

    @check("flush", "function")
    def test_flush(self, tmp_path: Path) -> None:
        """``flush`` may be called when nothing was written."""
        with self.running(tmp_path / "out") as runner:
            runner.flush()
            runner.flush()
