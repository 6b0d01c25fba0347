"""The page "Write a plugin", typed from top to bottom: every block is run, in order, in a fresh environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests import reference

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "write-a-plugin.md"
BLOCK = re.compile(r"(?:`([\w./-]+)`[^`]*\n\n)?^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """A virtual environment that sees what is installed here, and asks no registry; what it installs is its own."""
    place = tmp_path / "env"
    venv.create(place, with_pip=False)
    site = sysconfig.get_path("purelib", "venv", {"base": str(place), "platbase": str(place)})
    lines = [str(ROOT), *[path for path in sys.path if path.endswith("-packages")]]
    (Path(site) / "tests.pth").write_text("".join(f"import site; site.addsitedir({line!r})\n" for line in lines))
    for name, module in (("openmsi", "openmsi_core"), ("pip", "pip")):
        program = place / "bin" / name
        program.write_text(f'#!/bin/sh\nexec "{place}/bin/python" -m {module} "$@"\n')
        program.chmod(0o755)
    path = os.pathsep.join([str(place / "bin"), os.environ["PATH"]])
    quiet = {"PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OPENMSI_STATE": str(tmp_path / "state"), **quiet}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_block_of_the_page_does_what_it_says(environment, embedded_broker, tmp_path) -> None:
    here, said = tmp_path, ""
    for file, language, text in BLOCK.findall(PAGE.read_text("utf-8")):
        if language:
            (here / file).write_text(text, "utf-8")
        elif text.startswith(("python -m venv", "openmsi broker")):
            continue  # the environment is made above, the broker runs already
        else:
            script = text.replace("127.0.0.1:9092", embedded_broker.address)
            command = f"set -e\n{script}\npwd >'{tmp_path}/here'; export -p >'{tmp_path}/exported'\n"
            if (tmp_path / "exported").exists():
                command = f". '{tmp_path}/exported'\n{command}"
            done = subprocess.run(
                ["sh", "-c", command], cwd=here, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
            here, said = Path((tmp_path / "here").read_text().strip()), said + done.stdout
    assert here.name == "oven-log"
    assert said.count('"hottest":') + said.count('"hottest": ') >= 2  # openmsi try, and the result in the topic
    assert "exit code 4" in said
    assert "data/odd.csv" in (here / "tests" / "test_extractor.py").read_text()
    assert re.search(r"\d+ passed", said)
    assert not re.search(r"\d+ (failed|error)", said)


def test_the_reference_is_what_the_code_says() -> None:
    assert reference.PAGE.read_text("utf-8") == reference.page(), "run: python -m tests.reference"
