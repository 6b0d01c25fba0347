"""Listing plugins is fast and safe, whatever is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugin_environment import compared
from tests.plugin_fakes import GOOD, extractor, install

TOPS = [
    "raise SystemExit\n",
    "import os; os._exit(3)\n",
    "while True: pass\n",
    "import ctypes; ctypes.string_at(0)\n",
    "import time; time.sleep(60)\n",
    "print('loud')\n",
    "def broken(:\n",
]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Three hundred packages, twenty of them with a plugin, some of which do terrible things when imported."""
    for number in range(280):
        install(tmp_path, f"dist-{number}", {"console_scripts": {f"c{number}": "a:b"}}, {})
    for number in range(20):
        top = TOPS[number] if number < len(TOPS) else ""
        extractor(tmp_path, f"plug-{number}", f"plug-{number}", top + GOOD, requires=["openmsi>=0.1", "click>=8"])
    return tmp_path


def test_with_300_packages_the_list_takes_150_ms_more_than_an_import_of_click(site: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    ours = [sys.executable, "-m", "openmsi_core", "plugins"]
    listed = subprocess.run(ours, env=environment, capture_output=True, text=True, check=True).stdout
    assert sum("plug-" in line for line in listed.splitlines()) == 20
    assert "loud" not in listed
    assert compared([sys.executable, "-c", "import click"], ours, env=environment) < 0.15
