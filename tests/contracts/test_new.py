"""`openmsi new` makes a package that installs and passes its tests, for each kind; and says what it cannot do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from openmsi_core.cli import main
from openmsi_core.plugins import template

ROOT = Path(__file__).parents[2]
OFFLINE = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", sorted(template.PLUGINS))
def test_a_new_package_installs_and_passes_its_tests(kind, tmp_path, capsys, monkeypatch) -> None:
    place = tmp_path / "line-count"
    monkeypatch.chdir(tmp_path)
    assert main(["new", "line-count", "--kind", kind]) == 0
    assert f"line-count has the {kind} line-count in it" in capsys.readouterr().out
    install = [sys.executable, "-m", "pip", "install", *OFFLINE, "--target", str(tmp_path / "site"), str(place)]
    subprocess.run(install, check=True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(ROOT)])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not broker"]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    listing = [sys.executable, "-m", "openmsi_core", "plugins"]
    listed = subprocess.run(listing, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    mine = [line for line in listed.splitlines() if "line-count" in line]
    assert len(mine) == 1
    assert kind in mine[0]
    assert "ok" in mine[0]


def test_nothing_of_the_templates_names_is_left(tmp_path) -> None:
    for kind in template.PLUGINS:
        template.make("line-count", kind, tmp_path / kind)
        for text in ("pyproject.toml", "README.md"):
            assert "scans" not in (tmp_path / kind / text).read_text("utf-8")
        for file in (tmp_path / kind).rglob("*"):
            assert "my_xrd" not in file.name
            if file.is_file() and file.suffix != ".xrdml":
                assert not re.search(
                    r"my[-_]xrd|xrd-(extractor|shelf|points)|XRD(Extractor|Shelf|Points)", file.read_text("utf-8")
                ), file


@pytest.mark.parametrize(
    "name", ["Line", "line_count", "1st", "a b", "../x", "json", "class", "openmsi-x", "my-xrd-extractor"]
)
def test_a_name_that_cannot_be_one_is_refused(name, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", "--", name]) == 2
    assert repr(name) in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_left_alone(tmp_path, capsys) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["new", "line-count", "--folder", str(tmp_path)]) == 2
    assert "is there already. Name another place: --folder" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["mine.txt"]


def test_a_place_that_cannot_be_written_is_said(tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    assert main(["new", "line-count", "--folder", str(tmp_path / "file" / "below")]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.timeout(300)
def test_the_wheel_carries_the_template_once_and_new_works_from_it(tmp_path) -> None:
    wheel = [sys.executable, "-m", "pip", "wheel", *OFFLINE, "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(wheel, check=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as archive:
        names = [name for name in archive.namelist() if name.endswith("my_xrd_extractor/extractor.py")]
        assert names == ["openmsi_core/plugin_template/src/my_xrd_extractor/extractor.py"]
        archive.extractall(tmp_path / "site")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    command = [sys.executable, "-m", "openmsi_core", "new", "line-count"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    code = "from openmsi_core.plugins.template import template_folder; print(template_folder())"
    where = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert where.strip() == str(tmp_path / "site" / "openmsi_core" / "plugin_template")
    assert (tmp_path / "line-count" / "src" / "line_count" / "extractor.py").is_file()


def test_an_openmsi_without_the_template_says_so(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(template.openmsi_core, "__file__", str(tmp_path / "openmsi_core" / "__init__.py"))
    assert main(["new", "line-count", "--folder", str(tmp_path / "new")]) == 2
    assert "has no template" in capsys.readouterr().err
