"""F13: members of one group come and go every second or two, some by a kill, while files keep coming."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack

from tests.faults.f01_receiver_killed import check_once
from tests.faults.receivers import Receiver
from tests.faults.senders import Files
from tests.faults.trial import Fault, Trial

STORM_SECONDS = 20
MOST_MEMBERS = 6


def run(trial: Trial) -> None:
    """One to six members at a time; each joins, works and leaves at random; at the end one finishes."""
    chance = trial.chance
    files = Files(trial, 4 + chance.randrange(3))
    protocol = chance.choice(["classic", "classic", "consumer"])
    is_sink = chance.random() < 0.3
    plugin = ["disk", "--folder", str(trial.folder / "tree")] if is_sink else ["file-info"]
    arguments = ["run", *plugin, "--topic", files.topic, "--output-topic", files.output]
    with ExitStack() as stack:
        members: list[Receiver] = []
        ends = time.monotonic() + STORM_SECONDS
        while time.monotonic() < ends:
            files.begin(4 + chance.randrange(10))
            files.send(chance.random())
            if len(members) < 2 or (len(members) < MOST_MEMBERS and chance.random() < 0.6):
                members.append(stack.enter_context(Receiver(trial, *arguments, protocol=protocol)))
                trial.hit(f"joined-{len(members)}")
            else:
                _leave(trial, members.pop(chance.randrange(len(members))))
            time.sleep(0.3 + chance.random())  # when the next one comes or goes is what is tried
        for member in members:
            _leave(trial, member)
    files.send()
    with Receiver(trial, *arguments, "--until-caught-up", protocol=protocol) as last:
        code = last.wait(90)
    trial.check(code == 0, f"the last receiver ended with {code}: {last.output[-1500:]}")
    check_once(trial, files, is_sink=is_sink)


def _leave(trial: Trial, member: Receiver) -> None:
    member.measure()
    is_kill = trial.chance.random() < 0.5
    if is_kill and member.process.is_alive():
        trial.killed("killed")
    code = member.end(signal.SIGKILL if is_kill else signal.SIGTERM)
    if not is_kill:
        trial.hit("stopped")
    wanted = {-signal.SIGKILL} if is_kill else {0}
    # a member that is stopped before its signals are set ends by the signal itself
    is_early = code == -signal.SIGTERM and "is ours" not in member.output
    trial.check(code in wanted or is_early, f"a member ended with {code}: {member.output[-1500:]}")


FAULT = Fault(
    "F13",
    "rebalance storm with kills, up to six members",
    run,
    ci=2,
    release=100,
    needs_kafka=True,
    windows=("killed", "stopped", "joined-6"),
    mutations=("epochs-are-ignored",),
)
