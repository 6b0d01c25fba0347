"""F7: retention cuts off the beginning of files, while nobody reads or under the eyes of a receiver."""

from __future__ import annotations

import json

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from tests.faults.receivers import Receiver
from tests.faults.senders import Files
from tests.faults.trial import Fault, Trial
from tests.kafka.oracle import values


def run(trial: Trial) -> None:
    """Cuts at random offsets between and during runs; each file is done once, or a letter covers its first record."""
    chance = trial.chance
    files = Files(trial, 1 + chance.randrange(2))
    arguments = ["run", "file-info", "--topic", files.topic, "--output-topic", files.output]
    with Receiver(trial, *arguments, "--until-caught-up") as first:  # the group exists before anything is cut
        trial.check(first.wait(60) == 0, f"the first run failed: {first.output[-1500:]}")
    for _ in range(3):
        files.begin(12, again=0.0)
        files.send(0.8)
        if chance.random() < 0.5:
            with Receiver(trial, *arguments) as running:
                running.until(lambda: "is ours" in running.output, 30)
                _cut(trial, files, "under-a-run")
                running.until(lambda: running.is_at_rest, 5)
        else:
            _cut(trial, files, "between-runs")
    files.send()
    with Receiver(trial, *arguments) as last:
        trial.check(last.until(lambda: not _missing(trial, files), 60), f"without a word: {_missing(trial, files)}")
        last.measure()
        trial.equal(last.end(), 0, "exit code")
    results = [json.loads(value or b"")["file"] for _, value in values(trial.broker, files.output)]
    found = {result["id"]: result["sha256"] for result in results}
    trial.equal(len(found), len(results), "results of different files")
    trial.check(found.items() <= files.wanted.items(), "a result that nobody sent")


def _cut(trial: Trial, files: Files, window: str) -> None:
    client = AdminClient({"bootstrap.servers": trial.broker})
    for partition in range(files.partitions):
        end = files.ends[partition]
        place = TopicPartition(files.topic, partition, trial.chance.randrange(end + 1) if end else 0)
        client.delete_records([place])[TopicPartition(files.topic, partition)].result(20)
        trial.hit(window)


def _missing(trial: Trial, files: Files) -> list[str]:
    """Files that have neither a result nor a letter: of their own, or of the cut that took their first record."""
    results = {json.loads(value or b"")["file"]["id"] for _, value in values(trial.broker, files.output)}
    letters = [json.loads(value or b"") for _, value in values(trial.broker, f"{files.topic}.dlq")]
    ids = {letter["file"]["id"] for letter in letters if letter["file"]}
    cuts = [(int(number), run["first"], run["last"]) for each in letters for number, run in each["positions"].items()]
    return [
        file_id
        for file_id, (partition, offset) in files.firsts.items()
        if file_id not in results
        and file_id not in ids
        and not any(where == partition and first <= offset <= last for where, first, last in cuts)
    ]


FAULT = Fault(
    "F7",
    "retention cuts off the beginning of files",
    run,
    ci=6,
    release=200,
    needs_kafka=True,
    windows=("under-a-run", "between-runs"),
    mutations=("cuts-are-not-told",),
)
