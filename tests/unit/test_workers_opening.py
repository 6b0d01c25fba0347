"""A plugin that hangs while it is opened does not keep a run from being stopped."""

from __future__ import annotations

import threading
import time

from openmsi_core.receiving.workers import Workers
from tests.fakes import Call
from tests.rig import QUICK, RUN


def test_a_plugin_that_hangs_while_it_is_opened_does_not_hold_up_a_stop() -> None:
    released, stopping = threading.Event(), threading.Event()

    class Hanging(Call):
        def open(self) -> None:
            released.wait(20)

    threading.Timer(0.3, stopping.set).start()
    began = time.monotonic()
    with Workers([Hanging(lambda file: None)], RUN, QUICK, stopping=stopping):
        assert time.monotonic() - began < 2
        released.set()
