"""Runs one program and ends it when whoever started this process goes away, however it goes.

Run as a script, by path: ``python -I -S keeper.py PROGRAM ARGUMENT…``. It writes the program's process id and a
newline to its standard output and then reads its standard input, a pipe: at the end of the pipe (closed on
purpose, or because the other side was killed) the program gets SIGTERM, and SIGKILL ten seconds later.
It imports nothing of openmsi, so it starts in a few milliseconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading

GRACE_SECONDS = 10.0


def main(command: list[str]) -> int:
    """Run ``command`` until it ends by itself or the pipe on standard input ends; answers its exit code."""
    # what it prints goes where our messages go: nobody reads the pipe after our one line
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2)  # noqa: S603 - its caller is process.py
    os.write(1, b"%d\n" % child.pid)
    os.dup2(2, 1)  # the pipe has said all it has to say
    threading.Thread(target=_follow, args=(child,), daemon=True).start()
    while os.read(0, 64):
        pass
    child.terminate()
    try:
        return child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def _follow(child: subprocess.Popen[bytes]) -> None:
    os._exit(child.wait() & 0xFF)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
