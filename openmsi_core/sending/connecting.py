"""Getting to the broker, at once or whenever it comes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from threading import Event

from openmsi_core.errors import BrokerUnreachable
from openmsi_core.ports import RecordSink

_PAUSE = 1.0

_log = logging.getLogger(__name__)


def connected(
    stack: ExitStack, connect: Callable[[], AbstractContextManager[RecordSink]], stop: Event, *, waits: bool
) -> RecordSink | None:
    """A sink that is connected, closed by ``stack``; None when ``stop`` was set before.

    With ``waits``, a broker that does not answer is tried for ever, and said once: a service that starts before its
    broker needs nobody. Raises BrokerError, TopicError otherwise.
    """
    is_said = False
    while not stop.is_set():
        try:
            sink = stack.enter_context(connect())
        except BrokerUnreachable as error:
            if not waits:
                raise
            if not is_said:
                _log.warning("waiting for the broker: %s", error)
                is_said = True
            stop.wait(_PAUSE)
        else:
            if is_said:
                _log.info("the broker answers")
            return sink
    return None
