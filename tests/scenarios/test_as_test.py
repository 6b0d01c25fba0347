"""A file that went wrong on a broker becomes a test of its plugin."""

from __future__ import annotations

import subprocess
import sys
import uuid

from tests.kafka.processes import openmsi

TEST = """
from openmsi_core.testing import ExtractorContract

class TestXRD(ExtractorContract):
    plugin = "xrd-extractor"
    samples = {"data/good.xrdml": {}}
"""


def test_a_dead_letter_becomes_a_sample_that_must_be_rejected(embedded_broker, tmp_path) -> None:
    topic = f"t-{uuid.uuid4().hex[:8]}"

    def done(*words: str, code: int = 0) -> str:
        result = openmsi(*words, "--broker", embedded_broker.address, folder=tmp_path)
        assert result.returncode == code, result.stderr
        return result.stdout + result.stderr

    done("topics", "create", topic, "--partitions", "1")
    (tmp_path / "poison.xrdml").write_text("not xml")
    done("upload", "poison.xrdml", "--topic", topic)
    done("run", "xrd-extractor", "--topic", topic, "--until-caught-up", code=4)
    (tmp_path / "tests" / "data").mkdir(parents=True)
    (tmp_path / "tests" / "data" / "good.xrdml").write_text(
        "<xrdMeasurements><xrdMeasurement><scan/></xrdMeasurement></xrdMeasurements>"
    )
    save = ["dlq", "save", "0-0", "--topic", topic, "--as-test", "tests"]
    assert "no test file in tests has a contract class with plugin" in done(*save, code=2)
    assert not (tmp_path / "tests" / "data" / "poison.xrdml").exists()
    (tmp_path / "tests" / "test_xrd.py").write_text(TEST)
    assert "must be rejected, says" in done(*save)
    assert (tmp_path / "tests" / "data" / "poison.xrdml").read_text() == "not xml"
    assert '    rejects = ["data/poison.xrdml"]\n' in (tmp_path / "tests" / "test_xrd.py").read_text()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "openmsi_core.testing.pytest_plugin", "-k", "test_rejects"]
    tested = subprocess.run(command, cwd=tmp_path / "tests", capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout
    assert "1 passed" in tested.stdout
