"""Getting to the broker, at once or whenever it comes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

from openmsi_core.errors import BrokerUnreachable
from openmsi_core.kafka.errors import CONNECT_SECONDS

PATIENT_SECONDS = 3.0  # for one attempt, so that a stop is noticed while a service waits for its broker
_PAUSE = 1.0

_log = logging.getLogger(__name__)

Reached = TypeVar("Reached")


def reached(
    connect: Callable[[], Reached], stop: Event, *, waits: bool, within: float = CONNECT_SECONDS
) -> Reached | None:
    """What ``connect`` answers; None when ``stop`` was set before. ``connect`` tries for 3 s at a time.

    With ``waits``, a broker that does not answer is tried for ever, and said once: a service that starts before its
    broker needs nobody. Without, it is tried for ``within`` seconds. Raises what ``connect`` raises.
    """
    is_said, ends = False, time.monotonic() + within
    while not stop.is_set():
        try:
            result = connect()
        except BrokerUnreachable as error:
            if not waits and time.monotonic() >= ends:
                raise
            if waits and not is_said:
                _log.warning("waiting for the broker: %s", error)
                is_said = True
            stop.wait(_PAUSE)
        else:
            if is_said:
                _log.info("the broker answers")
            return result
    return None
