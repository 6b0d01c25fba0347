"""Plugins that were built with an earlier openmsi run with this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WHEELS = sorted((ROOT / "tests" / "assets").glob("*.whl"))
SCAN = ROOT / "tests" / "assets" / "theta.xrdml"


def test_there_is_a_kept_wheel() -> None:
    assert WHEELS


@pytest.mark.parametrize("wheel", WHEELS, ids=lambda wheel: wheel.name)
def test_each_kind_of_a_kept_wheel_still_runs(wheel, tmp_path) -> None:
    offline = ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *offline, "--target", str(tmp_path / "site"), str(wheel)]
    subprocess.run(command, check=True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(ROOT)])}

    def tried(*words: str) -> dict:
        command = [sys.executable, "-m", "openmsi_core", "try", words[0], str(SCAN), *words[1:], "--json"]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert tried("xrd-extractor")["results"][0]["metadata"]["anode"] == "Cu"
    assert [each["value"]["point"] for each in tried("xrd-points")["results"]] == [0, 1, 2, 3, 4]
    stored = tried("xrd-shelf", "--folder", str(tmp_path / "shelf"))["location"]
    assert Path(stored).read_bytes() == SCAN.read_bytes()
    where = "import my_xrd_extractor; print(my_xrd_extractor.__file__)"
    found = subprocess.run([sys.executable, "-c", where], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.startswith(str(tmp_path))  # not another one that is installed here
