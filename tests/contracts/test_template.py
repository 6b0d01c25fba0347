"""The template is a package that installs and passes its own tests as it stands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from openmsi_core.cli import main
from openmsi_core.plugins.catalogue import find
from openmsi_core.plugins.loader import load

TEMPLATE = Path(__file__).parents[2] / "plugin_template"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that pip has installed the template into, from a copy, without asking any registry."""
    copy = shutil.copytree(TEMPLATE, tmp_path_factory.mktemp("template") / "copy")
    target = tmp_path_factory.mktemp("site")
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", *offline, "--target", str(target), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n(hatchling must be installed: pip install -e '.[dev]')"
    return target


@pytest.mark.timeout(300)
def test_its_own_tests_pass(site: Path, tmp_path: Path) -> None:
    shutil.copytree(TEMPLATE, tmp_path / "copy")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(TEMPLATE.parent)])}
    done = subprocess.run(command, cwd=tmp_path / "copy", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_it_is_listed_ok_and_says_the_same_when_imported(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(site))
    entry = find("xrd-extractor")
    cls = load(entry)
    assert (entry.package, entry.status, entry.window) == ("my-xrd-extractor", "ok", "<1,>=0.1")
    assert (entry.summary, entry.accepts, entry.sniff.encode()) == (cls.__doc__, cls.accepts, cls.sniff)
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_xrd_extractor"]:
        del sys.modules[name]


def test_broken_at_the_top_of_its_module_it_is_still_listed_and_others_run(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = shutil.copytree(site, tmp_path / "site")
    module = broken / "my_xrd_extractor/__init__.py"
    module.write_text(f"raise SystemExit(7)\n{module.read_text()}")
    monkeypatch.syspath_prepend(str(broken))
    scan = TEMPLATE / "tests/data/theta.xrdml"
    assert main(["plugins"]) == 0
    assert "xrd-extractor" in capsys.readouterr().out
    assert main(["try", "file-info", str(scan)]) == 0
    assert main(["try", "xrd-extractor", str(scan)]) == 2
    assert "cannot be imported from my_xrd_extractor:XRDExtractor: SystemExit: 7" in capsys.readouterr().err
