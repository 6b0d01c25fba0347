"""F5: the broker itself is killed under load and started again with its data."""

from __future__ import annotations

import time
from dataclasses import replace

from openmsi_core.testing.brokers import CALM, RealKafka
from tests.faults.f01_receiver_killed import check_once
from tests.faults.receivers import Receiver
from tests.faults.senders import Files
from tests.faults.trial import Fault, Trial


def run(trial: Trial) -> None:
    """Two receivers work while their broker dies once or twice; all files once in the end."""
    chance = trial.chance
    with RealKafka(trial.folder / "kafka", settings=CALM) as kafka:
        own = replace(trial, broker=kafka.bootstrap)
        files = Files(own, 2)
        is_sink = chance.random() < 0.5
        plugin = ["disk", "--folder", str(trial.folder / "tree")] if is_sink else ["file-info"]
        arguments = ["run", *plugin, "--topic", files.topic, "--output-topic", files.output]
        with Receiver(own, *arguments) as one, Receiver(own, *arguments) as other:
            for _ in range(1 + chance.randrange(2)):
                files.begin(60)
                files.send(0.8)
                one.until(lambda: "is ours" in one.output + other.output, 30)
                time.sleep(chance.random())  # the instant of the kill is what is tried
                kafka.kill()
                trial.killed("broker")
                time.sleep(chance.random() * 2)  # and how long it is away
                kafka.start()
            files.send()
            for receiver in (one, other):
                receiver.measure()
                code = receiver.end(within=30)
                trial.check(code == 0, f"a receiver ended with {code}: {receiver.output[-1500:]}")
        with Receiver(own, *arguments, "--until-caught-up") as last:
            code = last.wait(120)
        trial.check(code == 0, f"the last receiver ended with {code}: {last.output[-1500:]}")
        check_once(own, files, is_sink=is_sink)
        trial.checks += own.checks
        trial.measured(own.peak_memory)


FAULT = Fault(
    "F5",
    "broker killed and restarted with its data",
    run,
    ci=1,
    release=100,
    serial=True,
    windows=("broker",),
    mutations=("outcomes-and-offsets-come-apart",),
)
