"""F3: the plugin raises, exits, hangs, answers with rubbish, prints a lot, or raises what cannot be told.

Crashes of the process and files that eat all memory need a plugin that runs in a process of its own: they are tried in
tests/unit/test_isolation.py, test_isolation_stream.py and tests/kafka/test_isolation.py, one after the other, because a
process takes a second to start.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from openmsi_core import DataFile
from openmsi_core.model import PluginFacts
from openmsi_core.plugins.running import PluginRunner
from openmsi_core.receiving.attempts import RetryPolicy
from openmsi_core.receiving.pace import Pace
from tests.fakes import Log
from tests.faults.bad_plugins import GROUPS, KINDS, Act, Good
from tests.faults.storing import impatient, interleaved
from tests.faults.trial import Fault, Trial, Violation
from tests.rig import Rig

_POLICY = RetryPolicy(delays=(0.0, 0.0), retry_for=0.3)
_STOP_WITHIN = 10.0  # seconds
_REASONS = {"rejected", "failed", "retries-exhausted"}


class _Plan:
    """What the plugin does to each file; ``release`` ends those that hang."""

    def __init__(self, trial: Trial) -> None:
        chance = trial.chance
        self.kind = chance.choice(KINDS)
        self.bad: dict[str, Act] = {}
        for number in range(chance.randrange(1, 7)):
            group = chance.choice(list(GROUPS))
            trial.hit(group)
            self.bad[f"{group}-{number}"] = chance.choice(GROUPS[group])
        self.hanging = (
            {f"hang-{number}" for number in range(chance.randrange(1, 3))} if chance.random() < 0.15 else set()
        )
        self.release = threading.Event()
        names = [f"good-{number}" for number in range(12)] + [*self.bad, *self.hanging]
        chance.shuffle(names)
        self.files = {name: chance.randbytes(chance.randrange(40_000)) for name in names}

    def act(self, file: DataFile) -> Any:
        """The plugin's method."""
        if file.name in self.hanging:
            self.release.wait()
        return self.bad[file.name](file) if file.name in self.bad else Good

    def rig(self, trial: Trial, log: Log) -> Rig:
        """A run of this plugin with two workers."""
        facts = PluginFacts("bad", "extractor", "fakes", "1", "0" * 8)
        pace = Pace(longest=0.05, housekeeping=0.0, stop_wait=3.0, breaker=0)
        folder = trial.folder / f"run-{len(list(trial.folder.iterdir()))}"
        return Rig(
            folder,
            log,
            None,
            call=lambda *_, **__: PluginRunner(self.kind(self.act), facts),
            workers=2,
            policy=_POLICY,
            pace=pace,
        )


def run(trial: Trial) -> None:
    """Good and bad files through one plugin; where it hangs, the run is stopped, and another one goes on."""
    try:
        _run(trial)
    except Violation:
        raise
    except BaseException as error:  # it may be one of those that cannot be told
        name = type.__dict__["__qualname__"].__get__(type(error))
        raise Violation(f"an exception of the plugin ended the run: {name}") from None


def _run(trial: Trial) -> None:
    plan = _Plan(trial)
    log = interleaved(trial.chance, plan.files)
    with impatient(trial.folder):
        rig = plan.rig(trial, log)
        if plan.hanging:
            trial.hit("hangs")
            _stopped(trial, rig, plan)
            plan.hanging.clear()
            rig = plan.rig(trial, log)
        try:
            trial.equal(rig.run(), 0, "versions left open")
        finally:
            plan.release.set()
    _check(trial, rig, plan)


def _stopped(trial: Trial, rig: Rig, plan: _Plan) -> None:
    """Stop a run whose plugin hangs, once nothing else moves."""
    done = threading.Event()

    def stop() -> None:
        ends, seen = time.monotonic() + 60, -1
        while time.monotonic() < ends and seen != (seen := len(rig.log.published)):
            done.wait(0.5)  # nothing was published for so long
        stopped.append(time.monotonic())
        rig.stream.stopping.set()

    stopped: list[float] = []
    stopper = threading.Thread(target=stop)
    stopper.start()
    with rig.stack:
        rig.stream.run(rig.source, rig.store)
    took = time.monotonic() - stopped[0]
    done.set()
    stopper.join()
    trial.check(took <= _STOP_WITHIN, f"the stop took {took:.1f} s")
    told = {receipt["path"] for receipt in rig.receipts()}
    trial.check(not told & plan.hanging, f"a file that hangs counts: {told & plan.hanging}")


def _check(trial: Trial, rig: Rig, plan: _Plan) -> None:
    letters = {letter["file"]["path"]: letter for letter in rig.letters()}
    trial.equal(len(letters), len(rig.letters()), "letters per file")
    trial.equal(sorted(letters), sorted(plan.bad), "files with a dead letter")
    for path, letter in letters.items():
        trial.check(letter["what"] in _REASONS and bool(letter["why"]["message"]), f"{path} has no reason: {letter}")
    receipts = [(receipt["path"], receipt["outcome"] == "done") for receipt in rig.receipts()]
    trial.equal(sorted(receipts), sorted((path, path not in plan.bad) for path in plan.files), "receipts")
    results = sorted(result["file"]["path"] for result in rig.results())
    good = sorted(path for path in plan.files if path not in plan.bad)
    trial.equal(results, good if plan.kind in KINDS[:2] else [], "results")
    trial.equal(rig.log.commits[0].offset, len(rig.log.partitions[0]), "the committed position")


FAULT = Fault(
    "F3",
    "bad plugins",
    run,
    ci=60,
    release=1000,
    windows=(*GROUPS, "hangs"),
    mutations=("only-exceptions-are-caught", "a-failed-file-counts-as-done"),
)
