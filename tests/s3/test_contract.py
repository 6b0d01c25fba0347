"""What every sink keeps to, checked on the s3 sink and a real server."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest

from openmsi_core.testing import SinkContract
from openmsi_core.testing.buckets import S3Server

pytestmark = [pytest.mark.s3, pytest.mark.usefixtures("openmsi_broker")]  # before the guards count processes


class TestS3(SinkContract):
    plugin = "s3"
    samples = ["../../plugin_template/tests/data/theta.xrdml"]
    waive = {"import-network": "urllib3 binds a local socket when it is imported, to see whether there is IPv6"}

    @pytest.fixture(autouse=True)
    def _server(self, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in s3_server.environment().items():
            monkeypatch.setenv(name, value)
        self.server = s3_server
        self.buckets: dict[Path, str] = {}

    def options_in(self, folder: Path) -> dict[str, object]:
        if folder not in self.buckets:
            self.buckets[folder] = f"c-{uuid.uuid4().hex[:10]}"
            self.server.add_bucket(self.buckets[folder])
        return {"bucket": self.buckets[folder], "endpoint-url": self.server.url}

    def stored(self, location: str, options: Mapping[str, object]) -> bytes:
        bucket, _, key = location.removeprefix("s3://").partition("/")
        return (self.server.folder / "data" / bucket / key).read_bytes()
