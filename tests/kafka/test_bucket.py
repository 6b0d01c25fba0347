"""`openmsi run s3` on a real Kafka and a real S3 server: killed at a bad moment, started again, sent again."""

from __future__ import annotations

import os
import shutil

import pytest

from openmsi_core.testing.buckets import S3Server, why_not
from tests.kafka.oracle import digests
from tests.kafka.processes import Command, openmsi, wait_for

pytestmark = pytest.mark.kafka


@pytest.mark.timeout(300)
def test_files_are_in_the_bucket_once_though_the_run_was_killed_and_are_not_uploaded_again(
    kafka_broker, make_topic, tmp_path
) -> None:
    reason = why_not()
    if reason is not None:
        if os.environ.get("CI"):
            pytest.fail(f"no S3 server: {reason}")
        pytest.skip(f"no S3 server: {reason}")
    topic, source = make_topic(4), tmp_path / "source"
    source.mkdir()
    for number in range(300):
        (source / f"{number}.raw").write_bytes(os.urandom(number * 10))
    (source / "large.raw").write_bytes(os.urandom(40 << 20))
    wanted = digests(source)
    broker = ["--broker", kafka_broker.bootstrap]
    assert openmsi("upload", str(source), "--topic", topic, *broker, folder=tmp_path).returncode == 0
    with S3Server(tmp_path / "s3") as server:
        server.add_bucket("archive")
        environment = server.environment()
        stored = server.folder / "data" / "archive" / topic
        run = ["run", "s3", "--topic", topic, "--bucket", "archive", "--endpoint-url", server.url, *broker]
        with Command(tmp_path / "killed", *run, **environment) as process:
            wait_for(lambda: stored.is_dir() and len(list(stored.iterdir())) > 50, 60.0, lambda: process.output)
            process.process.kill()
        again = [*run, "--until-caught-up"]
        done = openmsi(*again, folder=tmp_path, within=120.0, **environment)
        assert done.returncode == 0, done.stderr
        assert digests(stored) == wanted
        inodes = {path.name: path.stat().st_ino for path in stored.iterdir()}
        done = openmsi(*again, "--group", "another", folder=tmp_path, within=120.0, **environment)
        assert done.returncode == 0, done.stderr
        assert "301 of them unchanged" in done.stderr
        assert {path.name: path.stat().st_ino for path in stored.iterdir()} == inodes
        shutil.rmtree(server.folder / "data" / "archive")
        done = openmsi(*again, "--group", "third", folder=tmp_path, within=120.0, **environment)
        assert done.returncode == 2
        assert "there is no bucket archive" in done.stderr
