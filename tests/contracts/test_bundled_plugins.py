"""What every plugin package keeps to, checked on the bundled plugins and on the template."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from openmsi_core.cli import main
from openmsi_core.plugins.catalogue import find
from openmsi_core.plugins.loader import load
from openmsi_core.plugins.options import flags_of
from tests.plugin_fakes import GOOD, extractor, install

ROOT = Path(__file__).parents[2]
BUNDLED = ["disk", "file-info", "s3"]
SOURCES = [*(ROOT / "openmsi_plugins").rglob("*.py"), *(ROOT / "plugin_template/src").rglob("*.py")]


@pytest.mark.parametrize("name", BUNDLED)
def test_what_the_catalogue_reads_is_what_the_class_says(name: str) -> None:
    entry = find(name)
    cls = load(entry)
    assert entry.summary == (cls.__doc__ or "").strip().partition("\n")[0]
    assert entry.accepts == tuple(cls.accepts)
    assert entry.sniff.encode() == cls.sniff
    assert (entry.head, entry.emits, entry.delivery) == (cls.head, cls.emits, cls.delivery)
    assert (entry.cite, entry.stability, entry.dynamic) == (cls.cite, cls.stability, ())


@pytest.mark.parametrize("name", BUNDLED)
def test_every_option_is_described(name: str) -> None:
    assert all(flag.help for flag in flags_of(load(find(name)).Options))


@pytest.mark.parametrize("source", SOURCES, ids=[str(path.relative_to(ROOT)) for path in SOURCES])
def test_a_plugin_uses_nothing_of_ours_but_the_public_api(source: Path) -> None:
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        ours = [name for name in names if name.startswith("openmsi")]
        assert set(ours) <= {"openmsi_core"}, f"{source} imports {ours}"


@pytest.mark.parametrize("name", BUNDLED)
def test_importing_a_plugin_prints_nothing_starts_nothing_and_loads_no_kafka_client(name: str) -> None:
    code = (
        "import sys, threading; from openmsi_core.plugins.loader import load; "
        "from openmsi_core.plugins.catalogue import find; load(find(sys.argv[1])); "
        "assert threading.active_count() == 1; assert 'confluent_kafka' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_our_entry_points_strangers_plugins_are_listed_and_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, "openmsi", {}, {}, version="0.1.0", requires=())  # earlier on the path than the real one
    extractor(tmp_path, "my-stranger", "stranger", GOOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["plugins"]) == 0
    listed = capsys.readouterr().out
    assert "stranger" in listed
    assert "disk" not in listed
    (tmp_path / "a.txt").write_text("abc")
    assert main(["try", "stranger", str(tmp_path / "a.txt")]) == 0
    assert main(["try", "disk", str(tmp_path / "a.txt"), "--folder", str(tmp_path)]) == 2
    assert "no plugin called 'disk' is installed" in capsys.readouterr().err
    sys.modules.pop("my_stranger")
