"""F1: a receiver is killed, at a random instant or between two steps, and another one that knows nothing goes on."""

from __future__ import annotations

import json
import time
from collections import Counter

from tests.faults.receivers import Receiver
from tests.faults.senders import Files
from tests.faults.trial import Fault, Trial
from tests.faults.windows import WINDOWS
from tests.kafka.oracle import digests, settle, values

KILLS = 10
_FLUSHES = ("before-flush", "after-flush")


def run(trial: Trial) -> None:
    """Files keep coming while receiver after receiver is killed; the last one may finish."""
    chance = trial.chance
    files = Files(trial, 1 + chance.randrange(3))
    is_sink = chance.random() < 0.5
    plugin = ["disk", "--folder", str(trial.folder / "tree")] if is_sink else ["file-info"]
    arguments = ["run", *plugin, "--topic", files.topic, "--output-topic", files.output]
    windows = [window for window in WINDOWS if is_sink or window not in _FLUSHES]
    few = 60 if chance.random() < 0.3 else 0  # characters of metadata: a handful of open files are too many
    for number in range(KILLS):
        files.begin(6)
        files.send(0.7)
        in_turn = windows[(trial.seed * KILLS + number) // 2 % len(windows)]  # so that few trials hit all of them
        window = in_turn if number % 2 else chance.choice([*windows, "random", "random"])
        _kill_one(trial, arguments, window, few)
    files.send()
    with Receiver(trial, *arguments, "--until-caught-up", metadata=few) as last:
        code = last.wait(60)
        last.measure()
    trial.check(code == 0, f"the last receiver ended with {code}: {last.output[-1500:]}")
    check_once(trial, files, is_sink=is_sink)


def _kill_one(trial: Trial, arguments: list[str], window: str, few: int) -> None:
    order = "" if window == "random" else f"{window}:{trial.chance.choice([0, 0, 0, 1, 2])}"
    with Receiver(trial, *arguments, kill=order, metadata=few) as victim:
        if window == "random":
            victim.until(lambda: "is ours" in victim.output, 20)
            time.sleep(trial.chance.random() * 0.3)  # the instant of the kill is what is tried
        else:
            # a window that is not reached because everything is done already: then it is killed at rest
            victim.until(lambda: victim.is_at_rest, 15.0)
        victim.measure()
        is_alive = victim.process.is_alive()
    if victim.window:
        trial.killed(victim.window)
    elif is_alive:
        trial.killed("random" if window == "random" else "at-rest")
    else:
        code = victim.process.exitcode
        trial.check(code == -9, f"a receiver that should have been killed ended with {code}: {victim.output[-1500:]}")


def check_once(trial: Trial, files: Files, *, is_sink: bool) -> None:
    """Each version has one outcome, told by readers that are not ours."""
    for topic in (f"{files.topic}.dlq", f"{files.topic}.receipts", files.output):
        settle(trial.broker, topic)
    letters = [json.loads(value or b"") for _, value in values(trial.broker, f"{files.topic}.dlq")]
    trial.equal(letters, [], "dead letters")
    receipts = [json.loads(value or b"") for _, value in values(trial.broker, f"{files.topic}.receipts")]
    counts = Counter(receipt["id"] for receipt in receipts)
    trial.equal({key: count for key, count in counts.items() if count != 1}, {}, "receipts that are not one")
    trial.equal({receipt["id"]: receipt["sha256"] for receipt in receipts}, files.wanted, "receipts")
    if is_sink:
        found = {path.decode(): digest for path, digest in digests(trial.folder / "tree").items()}
        trial.equal(found, files.last, "the tree")
        return
    results = [json.loads(value or b"")["file"] for _, value in values(trial.broker, files.output)]
    counts = Counter(result["id"] for result in results)
    trial.equal({key: count for key, count in counts.items() if count != 1}, {}, "results that are not one")
    trial.equal({result["id"]: result["sha256"] for result in results}, files.wanted, "results")


FAULT = Fault(
    "F1",
    "receiver killed, another one goes on",
    run,
    ci=12,
    release=300,
    whole=True,
    needs_kafka=True,
    windows=(*WINDOWS, "random"),
    mutations=("metadata-is-dropped", "open-versions-are-forgotten", "outcomes-and-offsets-come-apart"),
)
