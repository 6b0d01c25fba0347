"""The instants at which a receiver is killed on purpose, each between two steps that must not come apart."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from openmsi_core.kafka.consumer import TopicConsumer
from openmsi_core.kafka.transaction import Transactional
from openmsi_core.receiving import checkpoint
from openmsi_core.receiving.intake import Intake
from openmsi_core.sending import restarting
from openmsi_core.sending.flight import Flight
from openmsi_core.sending.rows import Rows
from openmsi_core.sending.sender import Sender
from openmsi_plugins.disk import sink

_WINDOWS: dict[str, tuple[Any, str, bool]] = {
    # window: where, which function, killed before it is called (or after)
    "published-not-committed": (Transactional, "_commit", False),
    "published-without-offsets": (Transactional, "_send_offsets", False),
    "committed-not-polled": (Transactional, "write", True),
    "planned-not-published": (checkpoint, "plan", True),
    "before-flush": (sink.Disk, "flush", False),
    "after-flush": (sink.Disk, "flush", True),
    "on-assignment": (TopicConsumer, "_claims", True),
    "in-a-file": (Intake, "take", True),
}
WINDOWS = tuple(_WINDOWS)
_SENDERS: dict[str, tuple[Any, str, bool]] = {
    "begun-not-produced": (Sender, "_note_begun", True),
    "read-not-produced": (Flight, "next_value", True),
    "produced-not-answered": (Flight, "went_out", True),
    "acknowledged-not-written": (Sender, "_conclude", True),
    "before-ledger-write": (Rows, "write", False),
    "after-ledger-write": (Rows, "write", True),
    "looked-back-not-written": (restarting, "_whole_behind", True),
    "taken-up": (restarting, "_continue", True),
}
SENDER_WINDOWS = tuple(_SENDERS)


@contextmanager
def armed(order: str) -> Iterator[None]:
    """While it lasts, the process kills itself in the window of ``order`` (``name:count``); "" does nothing."""
    if not order:
        yield
        return
    name, _, count = order.partition(":")
    owner, attribute, is_after = (_WINDOWS | _SENDERS)[name]
    with patch.object(owner, attribute, _deadly(getattr(owner, attribute), int(count), is_after, name)):
        yield


def _deadly(function: Callable[..., Any], passes: int, is_after: bool, name: str) -> Callable[..., Any]:
    left = [passes]

    def called(*arguments: Any, **named: Any) -> Any:
        left[0] -= 1
        is_now = left[0] == -1  # once: who is only stopped comes here again
        if is_now and not is_after:
            _die(name)
        result = function(*arguments, **named)
        if is_now and is_after:
            _die(name)
        return result

    return called


def _die(name: str) -> None:
    # whoever counts the hits must know that this window was reached, and not that the process ended by itself
    Path(os.environ["OPENMSI_TEST_KILLED"]).write_text(name, "ascii")
    os.kill(os.getpid(), signal.Signals[os.environ.get("OPENMSI_TEST_SIGNAL") or "SIGKILL"])
