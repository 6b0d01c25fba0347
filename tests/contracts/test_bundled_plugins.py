"""What every plugin package keeps to, checked on the bundled plugins and on the template."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from openmsi_core.cli import main
from openmsi_core.testing import ExtractorContract, ProcessorContract, SinkContract
from tests.plugin_fakes import GOOD, extractor, install

ROOT = Path(__file__).parents[2]
SOURCES = [*(ROOT / "openmsi_plugins").rglob("*.py"), *(ROOT / "plugin_template/src").rglob("*.py")]


pytestmark = pytest.mark.usefixtures("openmsi_broker")  # before the guards count processes


class TestFileInfo(ExtractorContract):
    plugin = "file-info"
    samples = {
        "../../plugin_template/tests/data/theta.xrdml": {"size": 1830, "is_text": True, "media_type": "application/xml"}
    }
    waive = {"place": "its result is about the name too"}


class TestDisk(SinkContract):
    plugin = "disk"
    samples = ["../../plugin_template/tests/data/theta.xrdml"]

    def options_in(self, folder: Path) -> dict[str, object]:
        return {"folder": folder}


class TestCountLines(ProcessorContract):
    plugin = "count-lines"
    samples = {"lines.txt": [{"line": "a", "count": 2}, {"line": "b", "count": 1}]}


@pytest.mark.parametrize("source", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_a_plugin_uses_nothing_of_ours_but_the_public_api(source: Path) -> None:
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        ours = [name for name in names if name.startswith("openmsi")]
        assert set(ours) <= {"openmsi_core"}, f"{source} imports {ours}"


def test_without_our_entry_points_strangers_plugins_are_listed_and_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, "openmsi", {}, {}, version="0.1.0", requires=())  # earlier on the path than the real one
    extractor(tmp_path, "my-stranger", "stranger", GOOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["plugins"]) == 0
    listed = capsys.readouterr().out.splitlines()
    (disk,) = [line for line in listed if " disk " in line]
    assert any(" stranger " in line and " ok " in line for line in listed)
    assert " shadowed " in disk
    (tmp_path / "a.txt").write_text("abc")
    assert main(["try", "stranger", str(tmp_path / "a.txt")]) == 0
    assert main(["try", "disk", str(tmp_path / "a.txt"), "--folder", str(tmp_path)]) == 2
    assert "the plugin openmsi/disk cannot run: shadowed: openmsi 0.1.0 in" in capsys.readouterr().err
    sys.modules.pop("my_stranger")
