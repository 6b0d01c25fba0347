"""What systemd is told: that we are ready, how it goes, that we are alive, that we stop (sd_notify(3)).

The protocol is one datagram of text to the socket that NOTIFY_SOCKET names; without that variable nothing is sent.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from openmsi_core.observe.vitals import State, Vitals

log = logging.getLogger(__name__)

_STATUS_SECONDS = 5.0


def notify(text: str, environ: Mapping[str, str] | None = None) -> bool:
    """Send ``text`` to the service manager; False when there is none, or it does not listen. Never raises."""
    address = (os.environ if environ is None else environ).get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(text.encode(), "\0" + address[1:] if address.startswith("@") else address)
    except OSError as error:
        log.debug("the service manager was not told: %s", error)
        return False
    return True


def watchdog_seconds(environ: Mapping[str, str] | None = None) -> float | None:
    """Within which time systemd wants to hear that we are alive; None: it does not."""
    environ = os.environ if environ is None else environ
    text, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not text.isdigit() or int(text) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(text) / 1e6


@contextmanager
def told(vitals: Vitals) -> Iterator[None]:
    """While inside, the service manager hears our state, and that we are alive as long as a restart would not help."""
    if not os.environ.get("NOTIFY_SOCKET"):
        yield
        return
    over = threading.Event()
    wanted = watchdog_seconds()
    pause = min(_STATUS_SECONDS, wanted / 3) if wanted else _STATUS_SECONDS
    # ready means: it may take its time to reach the broker, which is no reason to start it anew
    notify(f"READY=1\nSTATUS={status(vitals)}")

    def work() -> None:
        warned = False
        while not over.wait(pause):
            state = vitals.state()
            alive = "" if state.needs_restart else "WATCHDOG=1\n"
            if state.needs_restart and not warned:
                warned = True
                log.error("%s: nothing moves; the watchdog is not told that we are alive", state)
            notify(f"{alive}STATUS={status(vitals)}")

    thread = threading.Thread(target=work, name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        notify("STOPPING=1")


def status(vitals: Vitals) -> str:
    """The line that ``systemctl status`` shows."""
    now = vitals.snapshot()
    files, lag = now.counts.get("files", 0), now.gauges.get("lag")
    text = f"{now.state}: {files:,} files" + (f", {int(lag):,} records behind" if lag is not None else "")
    return text if now.state is not State.STARTING else "starting: waiting for the broker"
