"""F1: the receiver is killed (kill -9) three to five times at random instants, then runs to the end."""

from __future__ import annotations

import time

from tests.faults.predecessor import oracle
from tests.faults.predecessor.programs import until
from tests.faults.predecessor.trial import Files, Trial

QUIET = 8.0  # seconds: a dead member of the group is replaced after 2 s


def killed_in_one_group(trial: Trial) -> None:
    """Every start belongs to the same consumer group: what was committed is not read again."""
    _killed(trial, new_group=False)


def killed_with_new_groups(trial: Trial) -> None:
    """Every start has a fresh group, the predecessor's default: everything is read again."""
    _killed(trial, new_group=True)


def _killed(trial: Trial, *, new_group: bool) -> None:
    files = trial.good_files(small=30, large_size=12_000_000)
    _, sent = trial.upload(files)
    if not sent:
        raise RuntimeError("the sender did not send everything; the trial says nothing about the receiver")
    kills, halves, aimed = trial.rng.randint(3, 5), 0, 0
    for _ in range(kills):
        aimed += _kill_once(trial, new_group)
        halves += bool(oracle.compare(trial.out, files)[1])
    trial.verdict.seen |= {"kills": kills, "kills while files were written": aimed}
    trial.verdict.seen["kills that left half a file under its final name"] = halves
    last = trial.receive(QUIET, new_group=new_group)
    trial.judge_process(last)
    trial.verdict.seen["files that no start reported as received"] = len(set(files) - trial.reported())
    trial.verdict.seen["files still called in progress at the end"] = last.answer.count("(in progress)")
    if not trial.verdict.files(trial.out, files):
        trial.verdict.seen["healed by one more start"] = _healed(trial, files, new_group)


def _kill_once(trial: Trial, new_group: bool) -> bool:
    """Kill at a random instant; True when the receiver had begun to write in this start."""
    before = oracle.state(trial.out)
    with trial.receiver(new_group=new_group) as program:
        if trial.rng.random() < 0.7:
            until(lambda: oracle.state(trial.out) != before, 6.0, 0.01)
            time.sleep(trial.rng.uniform(0.0, 0.4))  # the random instant itself
        else:
            time.sleep(trial.rng.uniform(0.0, 3.0))  # the random instant itself, start-up included
        program.kill()
    return oracle.state(trial.out) != before


def _healed(trial: Trial, files: Files, new_group: bool) -> bool:
    trial.receive(QUIET, new_group=new_group)
    return oracle.compare(trial.out, files) == ([], [])
