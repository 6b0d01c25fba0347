"""A real S3 server for all tests here; a bucket for each."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
import pytest

from openmsi_core.plugins.loader import build
from openmsi_core.testing.buckets import FaultProxy, S3Server, why_not
from tests.s3.files import whole

Store = Callable[..., Any]


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """versitygw. Without Go its tests are skipped with the reason, in CI they fail."""
    reason = why_not()
    if reason is not None:
        if os.environ.get("CI"):
            pytest.fail(f"no S3 server: {reason}")
        pytest.skip(f"no S3 server: {reason}")
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def proxy(s3_server: S3Server, tmp_path: Path) -> Iterator[FaultProxy]:
    """A proxy in front of it."""
    with FaultProxy(tmp_path, s3_server.port) as running:
        yield running


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket, and the variables of the account that owns it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    name = f"b-{uuid.uuid4().hex[:10]}"
    s3_server.add_bucket(name)
    return name


@pytest.fixture
def client(s3_server: S3Server, bucket: str) -> Iterator[Any]:
    """Plain boto3, for looking."""
    made = boto3.client("s3", endpoint_url=s3_server.url)
    yield made
    made.close()


@pytest.fixture
def store(s3_server: S3Server, bucket: str) -> Iterator[Store]:
    """``store(path, data, **options)``: one file through an opened sink, which stays open until the end."""
    opened: dict[str, Any] = {}
    with ExitStack() as stack:

        def stored(path: str, data: bytes, **options: Any) -> Any:
            values = {"bucket": bucket, "endpoint_url": s3_server.url} | options
            name = repr(sorted(values.items()))
            if name not in opened:
                opened[name] = build("s3", values)(None).plugin
                opened[name].open()
                stack.callback(opened[name].close)
            return opened[name].write(whole(path, data))

        yield stored
