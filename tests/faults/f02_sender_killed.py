"""F2: the sender is killed, at a random instant or between two steps, while files come and change; another goes on."""

from __future__ import annotations

import signal
import time
import uuid
from pathlib import Path

from openmsi_core.kafka import admin
from tests.faults.receivers import Receiver
from tests.faults.sent import Folder, acknowledged, check_sent, sent
from tests.faults.trial import Fault, Trial
from tests.faults.windows import SENDER_WINDOWS
from tests.kafka.oracle import values

KILLS = 10
_ONLY_AT_START = ("looked-back-not-written", "taken-up")


def run(trial: Trial) -> None:
    """Files keep coming while sender after sender is killed; the last one ends by itself."""
    chance, topic = trial.chance, f"f-{uuid.uuid4().hex[:10]}"
    admin.create_family(admin.connected({"bootstrap.servers": trial.broker}), topic, 1 + chance.randrange(3))
    folder = Folder(trial.folder / "in", chance)
    state = trial.folder / "state"
    arguments = [
        "watch",
        str(folder.root),
        "--topic",
        topic,
        "--exclude",
        "*.part",
        "--settle",
        "50ms",
        "--rescan",
        "200ms",
    ]
    for number in range(KILLS):
        folder.add(chance.randrange(5, 40))
        folder.change(0.05)
        in_turn = SENDER_WINDOWS[(trial.seed * KILLS + number) // 2 % len(SENDER_WINDOWS)]
        _kill_one(trial, arguments, in_turn if number % 2 else "random", state)
        if number % 3 == 2:
            _check_acknowledged(trial, topic, state)
    with Receiver(trial, *arguments, "--once", protocol="sender", state=state) as last:
        code = last.wait(90)
    trial.check(code == 0, f"the last sender ended with {code}: {last.output[-1500:]}")
    _check_acknowledged(trial, topic, state)
    found = sent(values(trial.broker, topic))
    check_sent(trial, folder.root, found)
    strange = {path: set(each) - folder.history.get(path, set()) for path, each in found.whole.items()}
    trial.equal({path: each for path, each in strange.items() if each}, {}, "contents that no file ever had")


def _kill_one(trial: Trial, arguments: list[str], window: str, state: Path) -> None:
    most = 1 if window in _ONLY_AT_START else 4
    order = "" if window == "random" else f"{window}:{trial.chance.randrange(most)}"
    with Receiver(trial, *arguments, kill=order, protocol="sender", state=state) as victim:
        if window == "random":
            time.sleep(trial.chance.random() * 1.2)  # the instant of the kill is what is tried
        else:
            victim.until(lambda: "sent " in victim.output and time.time() - victim.log.stat().st_mtime > 1.0, 10.0)
        victim.measure()
        is_alive = victim.process.is_alive()
        if is_alive:
            victim.end(signal.SIGKILL)
    if victim.window:
        trial.killed(victim.window)
    elif is_alive:
        trial.killed("random" if window == "random" else "at-rest")
    else:
        trial.check(False, f"a sender ended with {victim.process.exitcode}: {victim.output[-1500:]}")


def _check_acknowledged(trial: Trial, topic: str, state: Path) -> None:
    found = sent(values(trial.broker, topic))
    rows = acknowledged(state)
    missing = {path: digest for path, digest in rows.items() if digest not in found.whole.get(path, [])}
    trial.equal(missing, {}, "what the ledger calls sent and the topic does not have")


FAULT = Fault(
    "F2",
    "sender killed, another one goes on; files change meanwhile",
    run,
    ci=6,
    release=200,
    whole=True,
    needs_kafka=True,
    windows=(*SENDER_WINDOWS, "random"),
    mutations=("sent-before-acknowledged", "nothing-is-looked-back-at", "halves-are-forgotten"),
)
