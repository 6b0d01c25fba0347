"""What the page on installing says is true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "installation.md").read_text("utf-8")
ENTRY = "from openmsi_core.cli import entry; entry()"


def test_every_make_target_has_a_plain_line_for_machines_without_make() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    rows = set(re.findall(r"^\| `make ([a-z-]+)` \|", PAGE, re.MULTILINE))
    assert targets - {"clean"} == rows


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_lines_for_completion_give_a_script_and_it_completes(shell) -> None:
    (variable,) = re.findall(rf"(_OPENMSI_COMPLETE)={shell}_source openmsi", PAGE)

    def asked(instruction: str, **more: str) -> str:
        environment = {**os.environ, variable: f"{shell}_{instruction}", **more}
        done = subprocess.run(
            [sys.executable, "-c", ENTRY], env=environment, capture_output=True, text=True, cwd=ROOT, check=False
        )
        return done.stdout

    if shell != "bash" or _bash_is_new():
        assert "_OPENMSI_COMPLETE" in asked("source")
    words = {"COMP_WORDS": "openmsi service st", "COMP_CWORD": "st" if shell == "fish" else "2"}
    told = asked("complete", **words)
    assert {"start", "status", "stop"} <= set(re.findall(r"\w+", told))


def _bash_is_new() -> bool:
    """click asks bash for its version before it writes a script for it."""
    done = subprocess.run(["bash", "-c", "echo ${BASH_VERSINFO[0]}"], capture_output=True, text=True, check=False)
    return done.stdout.strip().isdigit() and int(done.stdout) > 4
