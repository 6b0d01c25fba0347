"""The command: which faults, how often, and one table at the end."""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.faults.campaign import Campaign, mutated
from tests.faults.plan import plan
from tests.faults.table import table
from tests.faults.trial import Fault


def main() -> int:
    """Run the campaign that was asked for; 1 when a promise was broken, a window missed, a mutation not caught."""
    asked = _arguments()
    faults = [fault for fault in plan().values() if not asked.only or fault.id in asked.only]
    unknown = set(asked.only or []) - set(plan())
    if unknown or not faults:
        raise SystemExit(f"there is no fault {', '.join(sorted(unknown))}; there are {', '.join(plan())}")
    asked.folder.mkdir(parents=True, exist_ok=True)
    with Campaign(asked.folder, asked.jobs, keep=asked.seed is not None, minutes=asked.minutes) as campaign:
        return _mutations(campaign, faults) if asked.mutations else _faults(campaign, faults, asked)


def _mutations(campaign: Campaign, faults: Sequence[Fault]) -> int:
    is_good = True
    for report in mutated(campaign, faults):
        is_good = is_good and report.caught
        told = "caught" if report.caught else "MISSED"
        print(f"{report.fault}: {report.mutation}: {told} in {report.trials} trials", flush=True)
    return 0 if is_good else 1


def _faults(campaign: Campaign, faults: Sequence[Fault], asked: argparse.Namespace) -> int:
    os.environ["OPENMSI_TEST_SCALE"] = asked.scale  # for trials that are larger before a release
    first = asked.first if asked.first is not None else random.randrange(1 << 30)
    print(f"first seed {first}; folder {asked.folder}", flush=True)
    for fault in faults:
        count = asked.trials or _trials(fault, asked.scale)
        seeds = [asked.seed] if asked.seed is not None else range(first, first + count)
        campaign.run(fault, seeds)
    text, is_good = table(faults, campaign.reports, whole=asked.seed is None and asked.trials is None)
    print(text)
    return 0 if is_good else 1


def _trials(fault: Fault, scale: str) -> int:
    if scale == "ci":
        return fault.ci
    return fault.release if scale == "release" or fault.whole else max(2, fault.release // 10)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.faults", description="Break things, check the promises.")
    parser.add_argument("--only", action="append", metavar="F1", help="only this fault; may be repeated")
    parser.add_argument("--scale", choices=["ci", "tenth", "release"], default="ci")
    parser.add_argument("--trials", type=int, help="so many trials of each fault instead")
    parser.add_argument("--seed", type=int, help="one trial again; its folder stays")
    parser.add_argument("--first", type=int, help="the first of the seeds; the same one goes on with a campaign")
    parser.add_argument("--jobs", type=int, default=max(2, os.cpu_count() or 1), help="trials at once")
    parser.add_argument("--minutes", type=float, help="begin no trial after so many minutes")
    parser.add_argument("--mutations", action="store_true", help="try the seeded defects instead")
    parser.add_argument("--folder", type=Path, default=Path("faults"), help="trials and results; default ./faults")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
