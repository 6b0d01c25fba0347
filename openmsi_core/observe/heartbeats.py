"""Heartbeats: what a program tells a topic about itself, now and then, and once more when it ends.

The record is JSON with a schema version; docs/operate.md has a table of its fields. It has numbers, names and the last
error, and nothing of the settings, so no secret can be in it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from openmsi_core.observe.vitals import State, Vitals, instant

SCHEMA = "openmsi-heartbeat/1"

Publish = Callable[[bytes, bytes], None]
"""Takes a key and a value and returns at once, whatever becomes of them."""


def heartbeat(vitals: Vitals, at: datetime, number: int) -> dict[str, object]:
    """One heartbeat. ``number`` counts them from 1, so that a gap tells of lost ones."""
    now, who = vitals.snapshot(), vitals.who
    return {
        "schema": SCHEMA,
        "at": at.isoformat(timespec="milliseconds"),
        "number": number,
        "host": who.host,
        "pid": who.pid,
        "program": who.program,
        "name": who.name,
        "topic": who.topic,
        "group": who.group or None,
        "versions": dict(who.versions),
        "state": now.state,
        "is_last": now.state is State.ENDED,
        "since_progress_s": round(now.moved_s, 3),
        "counts": {**now.counts, "outcomes": dict(now.outcomes)},
        "gauges": dict(now.gauges),
        "last_error": now.last_error or None,
        "last_error_at": now.last_error_at.isoformat(timespec="milliseconds") if now.last_error_at else None,
    }


@contextmanager
def beating(vitals: Vitals, publish: Publish, every: float, now: Callable[[], datetime] = instant) -> Iterator[None]:
    """A heartbeat at once, then each ``every`` seconds, and a last one with the final numbers when the work is over."""
    over, number = threading.Event(), 0
    key = f"{vitals.who.host}/{vitals.who.program}/{vitals.who.name}".encode("utf-8", "backslashreplace")

    def beat() -> None:
        nonlocal number
        number += 1
        text = json.dumps(heartbeat(vitals, now(), number))
        publish(key, text.encode("utf-8", "backslashreplace"))

    def work() -> None:
        beat()
        while not over.wait(every):
            beat()

    thread = threading.Thread(target=work, name="heartbeats", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        vitals.ended()
        beat()
