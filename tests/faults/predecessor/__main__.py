"""Run trials of one fault and write a line of JSON for each; see the package's docstring."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from openmsi_core.testing.brokers import RealKafka
from tests.faults.predecessor import forgeries, kills, mutations, names
from tests.faults.predecessor.programs import VERSION, install
from tests.faults.predecessor.trial import Trial


def nothing(trial: Trial) -> None:
    """The control: nothing is done to the receiver. What fails here is the harness's fault, or the predecessor's."""
    files = trial.good_files(small=30, large_size=4_000_000)
    trial.verdict.seen["all sent"] = trial.upload(files)[1]
    trial.judge_process(trial.receive(kills.QUIET))
    trial.verdict.files(trial.out, files)


FAULTS: dict[str, Callable[[Trial], None]] = {
    "none": nothing,
    "F1": kills.killed_in_one_group,
    "F1-new-group": kills.killed_with_new_groups,
    "F11": mutations.mutated,
    "F16": names.hostile,
    "F17": forgeries.forged,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.predecessor", description=__doc__)
    parser.add_argument("--venv", type=Path, required=True, help="environment of the predecessor, made when missing")
    parser.add_argument("--fault", choices=FAULTS, required=True)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="of the first trial; the others follow")
    parser.add_argument("--broker", help="a Kafka on 127.0.0.1 that is there already, else one is started")
    parser.add_argument("--work", type=Path, help="where folders of trials lie, else a temporary folder")
    parser.add_argument("--results", type=Path, help="file to which a line of JSON is added for each trial")
    parser.add_argument("--keep", action="store_true", help="keep what was sent and received, not only the logs")
    return parser.parse_args()


@contextlib.contextmanager
def broker(given: str | None, work: Path) -> Iterator[str]:
    if given is not None:
        if not given.startswith("127.0.0.1:"):
            raise SystemExit(f"--broker {given}: only a broker on 127.0.0.1 is used; leave it out to have one started")
        yield given
        return
    with RealKafka(work / "kafka") as kafka:
        yield kafka.bootstrap


def one(options: argparse.Namespace, address: str, work: Path, seed: int) -> dict[str, object]:
    """One trial; an error of the harness is a result of its own, never a violation."""
    folder = work / f"{options.fault}-{seed}"
    # a sparse file of 1 TiB costs nothing on a memory file system, not even when it is read
    memory = Path("/dev/shm")  # noqa: S108 - only the root of a fresh folder
    jail = Path(tempfile.mkdtemp(prefix="predecessor-", dir=memory if memory.is_dir() else work))
    folder.mkdir(parents=True)
    trial = Trial(options.venv.absolute(), address, folder, jail, seed)
    began, error = time.monotonic(), None
    try:
        trial.prepare()
        FAULTS[options.fault](trial)
    except Exception:
        error = traceback.format_exc()
    told = trial.out / "DataFileDownloadDirectory.log"
    if told.exists():
        shutil.copy(told, folder / "receiver-warnings.txt")
    if not options.keep:
        shutil.rmtree(jail)
        shutil.rmtree(os.fsencode(trial.source), ignore_errors=True)
    took = round(time.monotonic() - began, 1)
    found: dict[str, object] = {"fault": options.fault, "seed": seed, "predecessor": VERSION, "seconds": took}
    found |= {"violations": trial.verdict.violations, "seen": trial.verdict.seen, "harness error": error}
    return found | {"peak MiB": trial.verdict.peak, "threads that raised": trial.verdict.raised}


def main() -> int:
    options = arguments()
    install(options.venv)
    work = (options.work or Path(tempfile.mkdtemp(prefix="predecessor-trials-"))).absolute()
    work.mkdir(parents=True, exist_ok=True)
    results = options.results or work / "results.jsonl"
    print(f"folders of the trials: {work}", flush=True)
    failed = broken = 0
    with broker(options.broker, work) as address:
        for seed in range(options.seed, options.seed + options.trials):
            found = one(options, address, work, seed)
            with results.open("a", encoding="utf-8") as out:
                out.write(json.dumps(found, ensure_ascii=True) + "\n")
            failed += bool(found["violations"])
            broken += found["harness error"] is not None
            print(json.dumps(found, indent=1), flush=True)
    print(f"{options.fault}: {options.trials} trials, {failed} with a violation, {broken} the harness could not judge")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
