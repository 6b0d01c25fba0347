"""Types the page "Write a plugin" into a clean environment and prints what happened, with times.

``python -m tests.transcript FOLDER``: FOLDER has a virtual environment ``env`` with openmsi[local], and nothing of
this tree is on its path. The answer stands in docs/first-plugin-transcript.md.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.scenarios.test_write_a_plugin import BLOCK, PAGE

_SHOWN = 14  # lines of what a command prints

_OF_THIS_MACHINE = ("Looking in", "Stored in directory", "Created wheel")


def main(folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OPENMSI"))}
    environment |= {"PATH": f"{folder / 'env' / 'bin'}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}
    environment |= {"OPENMSI_STATE": str(folder / "state"), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "COLUMNS": "110"}
    broker = subprocess.Popen(["openmsi", "broker", "--port", "9092"], env=environment, stderr=subprocess.DEVNULL)
    here, total = folder, 0.0
    try:
        for file, language, text in BLOCK.findall(PAGE.read_text("utf-8")):
            if language:
                (here / file).write_text(text, "utf-8")
                print(f"(the file {file} is written: {len(text.splitlines())} lines)\n")
                continue
            for line in text.splitlines():
                if line.startswith(("python -m venv", ". env", 'pip install "openmsi', "openmsi broker")):
                    continue
                if line.startswith("cd "):
                    here = here / line[3:]
                if line.startswith("export "):
                    name, _, value = line.removeprefix("export ").partition("=")
                    environment[name] = value
                began = time.monotonic()
                words = ["sh", "-c", line if not line.startswith("cd ") else "true"]
                done = subprocess.run(words, cwd=here, env=environment, capture_output=True, text=True, check=False)
                took = time.monotonic() - began
                total += took
                _tell(line, done.stdout + done.stderr, took, folder)
                assert done.returncode == 0, line
    finally:
        broker.terminate()
        broker.wait()
    print(f"All commands: {total:.0f} s.")


def _tell(line: str, said: str, took: float, folder: Path) -> None:
    lines = [each.rstrip() for each in said.replace(str(folder), "~").splitlines() if each.strip()]
    lines = [each for each in lines if not each.strip().startswith(_OF_THIS_MACHINE)]
    if len(lines) > _SHOWN:
        lines = [*lines[: _SHOWN // 2], "...", *lines[-_SHOWN // 2 :]]
    lines = [re.sub(r"(.{150}).+", r"\1 ...", each) for each in lines]
    print(f"$ {line}" + (f"    [{took:.1f} s]" if took >= 0.05 else ""))
    print("".join(f"{each}\n" for each in lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
