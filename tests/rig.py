"""One stream with everything around it: a fake source, a fake store, real workers, a real spool."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import UTC, datetime

from openmsi_core.crypto.plain import Plain
from openmsi_core.files.assembly import Assembler, Limits
from openmsi_core.files.spool import Spool
from openmsi_core.model import PluginFacts
from openmsi_core.receiving.attempts import RetryPolicy
from openmsi_core.receiving.intake import Intake
from openmsi_core.receiving.jobs import Counts, RunFacts
from openmsi_core.receiving.pace import Pace
from openmsi_core.receiving.stream import Stream
from openmsi_core.receiving.workers import Workers
from tests.fakes import Call, LogSource, LogStore

RUN = RunFacts("g", "t", PluginFacts("fake", "extractor", "fakes", "1"), output_topic="out")
QUICK = RetryPolicy(delays=(0.0, 0.0), retry_for=0.5)


class Rig:
    """Everything around one stream."""

    def __init__(self, tmp_path, log, does, **more) -> None:
        self.log = log
        self.counts = Counts()
        self.stack = ExitStack()
        spool = self.spool = self.stack.enter_context(Spool(more.get("spool", tmp_path / "spool")))
        assembler = Assembler(spool, more.get("limits", Limits()), more.get("wanted", lambda _: True))
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        sealer = more.get("sealer", Plain())
        self.intake = Intake(assembler, sealer, self.counts, 1 << 40, lambda: int(self.now.timestamp() * 1000))
        run = more.get("run", RUN)
        self.runners = [more.get("call", Call)(does, flush=more.get("flush")) for _ in range(more.get("workers", 1))]
        workers = self.workers = self.stack.enter_context(Workers(self.runners, run, more.get("policy", QUICK)))
        self.stream = Stream(
            run,
            self.intake,
            workers,
            first_offset=lambda claim: claim.low,
            pace=more.get("pace", Pace(longest=0.05, housekeeping=0.0, stop_wait=0.5)),
            room=more.get("room"),
            now=lambda: self.now,
        )
        self.source = LogSource(log, self.stream, timestamp_ms=int(self.now.timestamp() * 1000))
        self.store = LogStore(log, more.get("failing", 0))

    def run(self) -> int:
        with self.stack:
            return self.stream.run(self.source, self.store, until_caught_up=True)

    def results(self):
        return [json.loads(value) for value in self.log.values("out")]

    def letters(self):
        return [json.loads(value) for value in self.log.values("t.dlq")]

    def receipts(self):
        return [json.loads(value) for value in self.log.values("t.receipts")]
