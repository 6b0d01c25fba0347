"""A plugin ends the run, says how many workers it wants, and is checked."""

from __future__ import annotations

import pytest

from openmsi_core import Sink, Stored, TargetError
from openmsi_core.cli import main
from openmsi_core.model import PluginFacts
from openmsi_core.plugins.running import PluginRunner
from tests.fakes import Log, values_of
from tests.rig import Rig

FACTS = PluginFacts("fake", "sink", "fakes", "1", "0" * 8)


class Stops(Sink):
    """Ends the run at the second file, or in its flush."""

    workers = 3
    ends_in = "write"

    def open(self) -> None:
        self.files: list[str] = []
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def write(self, file) -> Stored:
        self.files.append(file.name)
        if self.ends_in == "write" and len(self.files) == 2:
            raise TargetError("the token has expired. Get a new one.")
        return Stored(file.name)


class StopsInFlush(Stops):
    """The same, when it makes durable."""

    ends_in = "flush"

    def flush(self) -> None:
        raise TargetError("the token has expired. Get a new one.")


@pytest.mark.parametrize("sink", [Stops, StopsInFlush])
def test_a_target_error_ends_the_run_and_records_nothing_of_the_file_at_hand(tmp_path, sink) -> None:
    log = Log()
    for name in ("a", "b", "c"):
        log.put(*values_of(name, b"x"))
    rig = Rig(tmp_path, log, None, call=lambda *_, **__: PluginRunner(sink(), FACTS))
    with pytest.raises(TargetError, match="expired"):
        rig.run()
    assert rig.letters() == []
    assert {receipt["path"] for receipt in rig.receipts()} <= ({"a"} if sink is Stops else set())
    assert rig.runners[0].plugin.closed


def test_a_plugin_says_how_many_workers_it_wants() -> None:
    assert PluginRunner(Stops(), FACTS).workers == 3


def test_a_plugin_without_a_check_of_its_own_can_be_opened_or_not(tmp_path, capsys) -> None:
    assert main(["check", "disk", "--folder", str(tmp_path / "there")]) == 0
    assert capsys.readouterr().out == "ok: it can be opened\n"
    (tmp_path / "file").write_text("")
    assert main(["check", "disk", "--folder", str(tmp_path / "file")]) == 2
    assert "cannot be stored" in capsys.readouterr().err


def test_a_run_of_the_configuration_is_checked_with_its_options(tmp_path, capsys, monkeypatch) -> None:
    folder = tmp_path / "kept"
    (tmp_path / "openmsi.toml").write_text(
        f'[run.keep]\nplugin = "disk"\ntopic = "t"\n[run.keep.options]\nfolder = "{folder}"\n'
    )
    monkeypatch.chdir(tmp_path)
    assert main(["check", "keep"]) == 0
    assert folder.is_dir()
    assert main(["check", "keeep"]) == 2
    assert "Did you mean the run 'keep'" in capsys.readouterr().err
