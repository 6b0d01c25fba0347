"""Every `openmsi ...` that a page shows is run: on a real Kafka, in a folder that has what the pages speak of."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from openmsi_core.kafka.process import free_port
from tests.kafka.processes import Command, openmsi

pytestmark = pytest.mark.kafka

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *(
        ROOT / "docs" / f"{name}.md"
        for name in ("tutorial", "configuration", "dead-letters", "installation", "operate")
    ),
]
"""The pages of encryption, buckets, Girder and writing plugins need what these do not; their own tests have it."""
ELSEWHERE = {
    "service": "on a systemd that really boots: tests/kafka/test_service_systemd.py",
    "demo": "tests/scenarios, with its own broker",
}
FINE = {0, 4}  # 4: some files failed, which is what dead letters are about
SETTINGS = """
[run.xrd-extractor]
topic = "xrd-raw"
output-topic = "xrd-metadata"
[run.archive]
plugin = "disk"
topic = "xrd-raw"
[run.archive.options]
folder = "archive"
"""


def shown() -> list[str]:
    """The commands of the pages in their order, each once."""
    lines: dict[str, None] = {}
    for page in PAGES:
        for block in re.findall(r"^```\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE):
            for line in re.findall(r"^(?:\$ )?openmsi ([^\n]*)$", block, re.MULTILINE):
                lines[re.split(r"\s{3,}|  #", line)[0].strip()] = None
    return [line for line in lines if line.split()[0] not in ELSEWHERE and line.split()[1:2] != ["s3"]]


def words_of(line: str, folder: Path) -> list[str]:
    """As it is typed, but for the names of machines."""
    line = line.replace(" --broker broker.lab:9092", "").replace("D:/data", str(folder / "instrument"))
    return shlex.split(line.replace("--port 9092", f"--port {free_port()}"))


def runs_for_ever(words: list[str]) -> bool:
    return words[0] in {"watch", "broker"} or (words[0] == "run" and "--until-caught-up" not in words)


@pytest.mark.timeout(500)
def test_every_command_on_the_pages_runs(kafka_broker, tmp_path) -> None:
    folder = tmp_path / "desk"
    shutil.copytree(ROOT / "plugin_template" / "tests" / "data", folder / "plugin_template" / "tests" / "data")
    shutil.copytree(ROOT / "plugin_template" / "tests", folder / "tests")  # where `dlq save --as-test` puts a letter
    sample = next((folder / "plugin_template").glob("**/*.xrdml"))
    for name in ("folder", "instrument", "2026"):
        (folder / name).mkdir()
        shutil.copy(sample, folder / name / "one.xrdml")
    shutil.copy(sample, folder / "scan.xrdml")
    (folder / "bad").mkdir()
    for number in range(19):
        (folder / "bad" / f"{number}.xrdml").write_text(f"not xml {number}")
    shutil.copy(folder / "bad" / "0.xrdml", folder / "broken.xrdml")
    settings = tmp_path / "openmsi.toml"  # not on the desk: `config import` writes one there
    settings.write_text(SETTINGS)
    (folder / "lab.config").write_text("[broker]\nbootstrap.servers = broker.lab:9092\n")
    environment = {"OPENMSI_BROKER": kafka_broker.bootstrap, "OPENMSI_CONFIG": str(settings)}

    def run(*words: str) -> None:
        done = openmsi(*words, folder=folder, within=100, **environment)
        fails_in_a_row = words[:3] == ("dlq", "retry", "--all") or "outcome=rejected" in words
        fine = FINE | {5} if fails_in_a_row else FINE
        assert done.returncode in fine, f"openmsi {shlex.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"

    run("topics", "create", "xrd-raw", "--partitions", "1")
    run("topics", "create", "xrd-metadata", "--partitions", "1", "--plain")
    run("upload", "bad", "--topic", "xrd-raw")
    run("run", "xrd-extractor", "--until-caught-up")
    for number, line in enumerate(shown()):
        words = words_of(line, folder)
        (folder / "instrument" / f"{number}.txt").write_text("something new")  # else a second watch has nothing to say
        for place in ("saved.xrdml", "broken.xrdml") if words[:2] == ["dlq", "save"] else ():
            (folder / place).unlink(missing_ok=True)
        if not runs_for_ever(words):
            run(*words)
        else:
            with Command(folder, *words, **environment) as command:
                said = len(command.output)
                command.until(lambda at=said: is_at_work(command.output[at:]), 60)
                assert command.end() == 0, command.output
        if not (folder / "broken.xrdml").exists():
            shutil.copy(folder / "bad" / "0.xrdml", folder / "broken.xrdml")


def is_at_work(output: str) -> bool:
    return any(word in output for word in ("is ours", "sent ", "127.0.0.1:"))


def test_there_are_commands_to_run() -> None:
    assert len(shown()) > 25
