"""The whole journey on the embedded broker, as a person types it."""

from __future__ import annotations

import json
import shutil
import sys
import uuid
from pathlib import Path

import pytest

from tests.kafka.oracle import digests
from tests.kafka.processes import openmsi

SCAN = Path(__file__).resolve().parents[2] / "plugin_template" / "tests" / "data" / "theta.xrdml"


@pytest.fixture
def there(embedded_broker, tmp_path):
    """A folder with a configuration that names the broker, a topic family and a topic for results."""
    topic = f"t-{uuid.uuid4().hex[:8]}"
    (tmp_path / "openmsi.toml").write_text(
        f'[kafka]\nbootstrap.servers = "{embedded_broker.address}"\n'
        f'[run.archive]\nplugin = "disk"\ntopic = "{topic}"\n[run.archive.options]\nfolder = "archive"\n'
        f'[run.xrd-extractor]\ntopic = "{topic}"\noutput-topic = "{topic}-results"\n'
    )
    for words in ((topic, "--partitions", "2"), (f"{topic}-results", "--partitions", "1", "--plain")):
        assert openmsi("topics", "create", *words, folder=tmp_path).returncode == 0
    return tmp_path, topic


def done(*words: str, folder: Path, code: int = 0):
    result = openmsi(*words, folder=folder)
    assert result.returncode == code, result.stderr
    return result


def test_files_go_in_and_come_out_and_their_metadata_is_published(there) -> None:
    folder, topic = there
    source = folder / "source"
    (source / "deep").mkdir(parents=True)
    shutil.copy(SCAN, source / "deep" / "a.xrdml")
    (source / "empty").touch()
    (source / "two chunks.bin").write_bytes(b"ab" * 300_000)
    done("upload", "source", "--topic", topic, folder=folder)
    done("run", "archive", "--until-caught-up", folder=folder)
    assert digests(folder / "archive") == digests(source)
    done("run", "xrd-extractor", "--until-caught-up", folder=folder)
    told = done("topics", "peek", f"{topic}-results", "--json", folder=folder).stdout.splitlines()
    (result,) = [json.loads(line) for line in told]
    assert result["file"]["path"] == "deep/a.xrdml"
    assert result["plugin"]["package"] == "my-xrd-extractor"
    receipts = done("topics", "peek", f"{topic}.receipts", "--json", folder=folder).stdout.splitlines()
    assert {json.loads(line)["run"] for line in receipts} == {"openmsi-archive", "openmsi-xrd-extractor"}


def test_the_same_content_sent_again_is_left_alone(there) -> None:
    folder, topic = there
    (folder / "x.txt").write_text("same")
    for _ in range(2):
        done("upload", "x.txt", "--topic", topic, folder=folder)
        last = done("run", "archive", "--until-caught-up", folder=folder)
    assert "x.txt done (unchanged)" in last.stderr


def test_file_records_can_be_looked_at_without_their_payload(there) -> None:
    folder, topic = there
    (folder / "x.txt").write_text("secret content")
    done("upload", "x.txt", "--topic", topic, "--meta", "sample=S1", folder=folder)
    out = done("topics", "peek", topic, "--json", folder=folder).stdout
    told = json.loads(out)
    assert (told["path"], told["size"], told["user"], told["last"]) == ("x.txt", 14, {"sample": "S1"}, True)
    assert "secret" not in out


def test_only_files_that_match_are_handed_to_the_plugin(there) -> None:
    folder, topic = there
    for name in ("a.txt", "b.tmp", "c.log"):
        (folder / name).write_text(name)
    done("upload", "a.txt", "b.tmp", "c.log", "--topic", topic, folder=folder)
    done("run", "archive", "--until-caught-up", "--include", "*.t*", "--exclude", "*.tmp", folder=folder)
    assert list(digests(folder / "archive")) == [b"a.txt"]


def test_a_plugin_can_be_named_with_its_package_everywhere(there) -> None:
    folder, topic = there
    (folder / "x.txt").write_text("content")
    done("upload", "x.txt", "--topic", topic, folder=folder)
    words = ("run", "openmsi/disk", "--topic", topic, "--folder", "named", "--until-caught-up")
    done(*words, folder=folder)
    assert list(digests(folder / "named")) == [b"x.txt"]
    with (folder / "openmsi.toml").open("a") as file:
        file.write(f'[run.copy]\nplugin = "openmsi/disk"\ntopic = "{topic}"\n[run.copy.options]\nfolder = "copy"\n')
    done("config", "check", "openmsi.toml", folder=folder)
    done("run", "copy", "--until-caught-up", folder=folder)
    assert list(digests(folder / "copy")) == [b"x.txt"]
    receipts = done("topics", "peek", f"{topic}.receipts", "--json", folder=folder).stdout.splitlines()
    assert {json.loads(line)["run"] for line in receipts} == {"openmsi-openmsi/disk", "openmsi-copy"}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no embedded broker for Windows")
def test_the_demo_tells_the_whole_journey(tmp_path) -> None:
    told = done("demo", "--folder", str(tmp_path / "demo"), folder=tmp_path).stdout
    for word in (
        "$ openmsi upload",
        "$ openmsi run disk",
        "$ openmsi run xrd-extractor",
        "files received  5",
        "Where to",
    ):
        assert word in told
