"""Many trials, several at once, each in a process that may die; results go to a file, so a campaign can go on."""

from __future__ import annotations

import json
import multiprocessing
import resource
import shutil
import time
import traceback
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from openmsi_core.testing.brokers import RealKafka
from tests.faults.mutations import applied
from tests.faults.plan import plan
from tests.faults.trial import Fault, Trial

_MUTATION_TRIALS = 40
_MUTATION_SEED = 1


@dataclass(frozen=True, slots=True)
class Report:
    """How one trial ended. ``violation`` is "" when every promise held. Bytes, seconds."""

    fault: str
    seed: int
    violation: str
    checks: int
    kills: int
    seconds: float
    peak_memory: int
    hits: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mutated:
    """Whether the trials of a fault noticed a seeded defect, and how many trials that took."""

    fault: str
    mutation: str
    caught: bool
    trials: int


class Campaign:
    """Runs trials below ``folder``. ``jobs`` trials at once; ``keep`` leaves the folder of every trial, not only of
    those that broke a promise. A fault that needs Kafka gets one that is started at its first trial."""

    def __init__(self, folder: Path, jobs: int, *, keep: bool = False, minutes: float | None = None) -> None:
        self._folder = folder
        self._jobs = jobs
        self._keep = keep
        self._ends = None if minutes is None else time.monotonic() + 60 * minutes
        self._stack = ExitStack()
        self._kafka: RealKafka | None = None
        self.reports: list[Report] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, fault: Fault, seeds: Iterable[int], mutation: str = "") -> Sequence[Report]:
        """The reports of all seeds, in no order; those that stand in the results file already are not run again."""
        known = {} if mutation or self._keep else self._known(fault)
        seeds = list(seeds)
        found = [known[seed] for seed in seeds if seed in known]
        waiting = [seed for seed in seeds if seed not in known]
        broker = self._broker() if fault.needs_kafka and waiting else ""
        context = multiprocessing.get_context("spawn")
        jobs = 1 if fault.serial else self._jobs
        with ProcessPoolExecutor(jobs, mp_context=context) as pool:
            futures = [
                pool.submit(_one, fault.id, seed, self._folder, broker, mutation, self._keep, self._ends)
                for seed in waiting
            ]
            for future in as_completed(futures):
                report = future.result()
                if report is None:
                    continue
                found.append(report)
                if not mutation:
                    self._note(report)
                if mutation and report.violation:  # caught: that is all there is to know
                    pool.shutdown(cancel_futures=True)
                    break
        if not mutation:
            self.reports += found
        return found

    def _broker(self) -> str:
        """The address of the campaign's Kafka, which its first fault that needs one starts."""
        if self._kafka is None:
            folder = self._folder / "kafka"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            self._kafka = self._stack.enter_context(RealKafka(folder))
        return self._kafka.bootstrap

    def _note(self, report: Report) -> None:
        if report.violation:
            print(f"{report.fault} seed {report.seed}: {report.violation}", flush=True)
        with (self._folder / "results.jsonl").open("a", encoding="utf-8") as out:
            out.write(json.dumps(asdict(report)) + "\n")

    def _known(self, fault: Fault) -> dict[int, Report]:
        path = self._folder / "results.jsonl"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        reports = [Report(**json.loads(line)) for line in lines]
        return {report.seed: report for report in reports if report.fault == fault.id}


def mutated(campaign: Campaign, faults: Sequence[Fault]) -> list[Mutated]:
    """Try every seeded defect of these faults."""
    out = []
    for fault in faults:
        for name in fault.mutations:
            reports = campaign.run(fault, range(_MUTATION_SEED, _MUTATION_SEED + _MUTATION_TRIALS), name)
            out.append(Mutated(fault.id, name, any(report.violation for report in reports), len(reports)))
    return out


def _one(
    fault_id: str, seed: int, root: Path, broker: str, mutation: str, keep: bool, ends: float | None
) -> Report | None:
    """One trial in a process of the pool; None when the time of the campaign is over."""
    if ends is not None and time.monotonic() > ends:
        return None
    fault = plan()[fault_id]
    folder = root.absolute() / f"{fault_id}-{seed}{'-' + mutation if mutation else ''}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    trial, began, violation = Trial(seed, folder, broker, mutation), time.monotonic(), ""
    try:
        with applied(mutation):
            fault.run(trial)
    except Exception as error:
        violation = f"{type(error).__name__}: {error}"
        (folder / "violation.txt").write_text(traceback.format_exc(), "utf-8")
    if (not violation and not keep) or mutation:
        shutil.rmtree(folder, ignore_errors=True)
    if not violation and trial.checks == 0:
        violation = "this trial checked nothing"
    peak = max(trial.peak_memory, 0 if fault.needs_kafka else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    seconds = round(time.monotonic() - began, 3)
    return Report(fault_id, seed, violation, trial.checks, trial.kills, seconds, peak, dict(trial.hits))
