"""The s3 sink on a real server: what is stored, what is not stored again, what goes with an object."""

from __future__ import annotations

import hashlib
import os
import threading
from unittest.mock import patch

import pytest

from openmsi_core import Reject, RetryLater, Stored, TargetError
from openmsi_core.plugins.loader import build
from openmsi_core.testing.buckets import S3Server, make_certificate
from openmsi_plugins.s3 import trouble, uploading
from openmsi_plugins.s3.bucket import Bucket
from tests.s3.files import whole

pytestmark = pytest.mark.s3

MIB = 1 << 20


def content_of(client, bucket: str, key: str) -> bytes:
    return client.get_object(Bucket=bucket, Key=key)["Body"].read()


def unfinished(client, bucket: str) -> list[str]:
    return [each["Key"] for each in client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]


@pytest.fixture
def requests():
    """Every operation that a sink asks of the server."""
    asked, real, lock = [], Bucket._ask, threading.Lock()

    def ask(own, operation, **more):
        with lock:
            asked.append(operation)
        return real(own, operation, **more)

    with patch.object(Bucket, "_ask", ask):
        yield asked


@pytest.mark.parametrize("size", [0, 10_000, 70_000, 9 * MIB, 17 * MIB])
@pytest.mark.parametrize("checksum", ["sha256", "md5"])
def test_a_file_of_any_size_is_stored_whole_and_an_equal_one_is_not_sent_again(
    store, client, bucket, requests, size, checksum
) -> None:
    data = os.urandom(size)
    assert store("a/b.raw", data, checksum=checksum) == Stored(f"s3://{bucket}/xrd/a/b.raw")
    assert content_of(client, bucket, "xrd/a/b.raw") == data
    requests.clear()
    assert store("a/b.raw", data, checksum=checksum) == Stored(f"s3://{bucket}/xrd/a/b.raw", unchanged=True)
    assert requests == ["head_object"]


def test_another_version_replaces_the_object_and_is_refused_where_the_policy_says_so(store, client, bucket) -> None:
    store("a", b"one")
    assert store("a", b"two").unchanged is False
    assert content_of(client, bucket, "xrd/a") == b"two"
    with pytest.raises(Reject, match="another object has the key xrd/a"):
        store("a", b"three", on_conflict="refuse")
    large = os.urandom(6 * MIB)
    refusing = {"on_conflict": "refuse", "multipart_above": 5, "part_size": 5}
    assert store("large", large, **refusing).unchanged is False
    assert store("large", large, **refusing).unchanged is True
    assert content_of(client, bucket, "xrd/a") == b"two"


def test_an_object_that_came_between_look_and_put_is_not_overwritten_where_the_policy_forbids_it(
    store, client, bucket
) -> None:
    client.put_object(Bucket=bucket, Key="xrd/a", Body=b"theirs")
    looks = iter([True])
    real = Bucket.look

    def look(own, key):
        return None if next(looks, False) else real(own, key)

    with patch.object(Bucket, "look", look), pytest.raises(Reject, match="another object"):
        store("a", b"ours", on_conflict="refuse")
    assert content_of(client, bucket, "xrd/a") == b"theirs"


def test_a_new_small_file_costs_one_request_once_many_were_new(store, client, bucket, requests) -> None:
    client.put_object(Bucket=bucket, Key="xrd/late", Body=b"older")
    for number in range(16):
        store(f"{number}", b"x")
    requests.clear()
    store("new", b"x")
    assert requests == ["put_object"]
    requests.clear()
    assert store("late", b"newer").unchanged is False
    assert requests == ["put_object", "head_object", "put_object"]
    assert content_of(client, bucket, "xrd/late") == b"newer"
    assert store("new", b"x").unchanged is True


def test_what_goes_with_an_object(store, client, bucket) -> None:
    store(
        "scan.xml",
        b"<a/>",
        tags=["project=steel + co", "a=b"],
        metadata=["lab=north"],
        storage_class="STANDARD",
        key="raw/{topic}/{year}/{month}/{day}/{stem}-{sha256}{suffix}",
    )
    key = f"raw/xrd/2026/01/01/scan-{hashlib.sha256(b'<a/>').hexdigest()}.xml"
    found = client.head_object(Bucket=bucket, Key=key)
    assert found["ContentType"] in {"application/xml", "text/xml"}
    assert found["Metadata"] == {
        "lab": "north",
        "openmsi-sha256": hashlib.sha256(b"<a/>").hexdigest(),
        "openmsi-mtime": "2026-01-01T00:00:00.123456Z",
    }
    tags = client.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
    assert sorted((each["Key"], each["Value"]) for each in tags) == [("a", "b"), ("project", "steel + co")]


def test_what_the_sender_said_becomes_metadata_whatever_its_letters(s3_server, client, bucket) -> None:
    sink = build("s3", {"bucket": bucket, "endpoint_url": s3_server.url})(None).plugin
    sink.open()
    try:
        sink.write(whole("a", b"x", user=(("who is it", "Jürgen\n"),)))
    finally:
        sink.close()
    assert client.head_object(Bucket=bucket, Key="xrd/a")["Metadata"]["user-who%20is%20it"] == "J%C3%BCrgen%0A"


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("with space/ünï+=&?#.x", "with space/ünï+=&?#.x"),
        ("a\x01b", "a%01b"),
        ("a\udcffb", "a%FFb"),
        ("a%41", "a%2541"),
        ("日本語", "日本語"),
        ("-", "-"),
        ("..x", "..x"),
    ],
)
def test_names_of_any_letters(store, client, bucket, path, key) -> None:
    assert store(path, b"x").location == f"s3://{bucket}/xrd/{key}"
    assert [each["Key"] for each in client.list_objects_v2(Bucket=bucket)["Contents"]] == [f"xrd/{key}"]
    assert content_of(client, bucket, f"xrd/{key}") == b"x"


@pytest.mark.parametrize(
    ("path", "key", "why"),
    [
        ("n" * 250, "{topic}/longer-{path}", r"its name is too long|has a folder of that name"),
        ("/".join(["n" * 200] * 6), "{topic}/{path}", r"its key has 1,209 bytes, and S3 takes 1,024"),
    ],
)
def test_a_name_that_is_too_long_concerns_that_file_alone(store, path, key, why) -> None:
    with pytest.raises(Reject, match=why):
        store(path, b"x", key=key)
    assert store("a", b"x").unchanged is False


def test_a_file_where_the_server_has_a_folder_concerns_that_file_alone(store) -> None:
    store("a/b", b"x")
    with pytest.raises(Reject, match="folder"):
        store("a", b"x")
    with pytest.raises(Reject, match="folder"):
        store("a/b/c", b"x")


@pytest.mark.parametrize("size", [5, 24 * MIB])
def test_bytes_that_the_spool_lost_are_not_stored(s3_server, client, bucket, size) -> None:
    good = os.urandom(size)
    bad = good[:-1] + bytes([good[-1] ^ 1])
    sink = build("s3", {"bucket": bucket, "endpoint_url": s3_server.url})(None).plugin
    sink.open()
    try:
        with pytest.raises(OSError, match="lost bytes"):
            sink.write(whole("a", bad, promised=good))
    finally:
        sink.close()
    assert "Contents" not in client.list_objects_v2(Bucket=bucket)
    assert unfinished(client, bucket) == []


def test_what_a_killed_process_left_unfinished_is_given_up_when_its_file_comes_again(store, client, bucket) -> None:
    client.create_multipart_upload(Bucket=bucket, Key="xrd/a")
    client.create_multipart_upload(Bucket=bucket, Key="xrd/a.other")
    store("a", os.urandom(17 * MIB))
    assert unfinished(client, bucket) == ["xrd/a.other"]


def test_an_upload_that_fails_is_given_up_at_once(store, client, bucket) -> None:
    real = Bucket.part

    def part(own, key, upload, number, *more):
        if number == 2:
            raise RetryLater(1.0, "no")
        return real(own, key, upload, number, *more)

    with patch.object(Bucket, "part", part), pytest.raises(RetryLater):
        store("a", os.urandom(40 * MIB))
    assert unfinished(client, bucket) == []
    assert store("a", b"x" * 40 * MIB).unchanged is False  # all the room was given back


def test_a_server_without_checksums_is_not_believed(store) -> None:
    real = Bucket._ask

    def ask(own, operation, **more):
        return {name: value for name, value in real(own, operation, **more).items() if "Checksum" not in name}

    with patch.object(Bucket, "_ask", ask), pytest.raises(Exception, match="--checksum md5"):
        store("a", b"x")
    with patch.object(Bucket, "_ask", ask):
        assert store("a", b"y", checksum="md5").unchanged is False


def test_an_object_that_the_server_never_verified_is_not_taken_for_equal(store, client, bucket, requests) -> None:
    store("a", b"x")
    real = Bucket._ask

    def ask(own, operation, **more):
        return {name: value for name, value in real(own, operation, **more).items() if "Checksum" not in name}

    with patch.object(Bucket, "_ask", ask), pytest.raises(TargetError, match="--checksum md5"):
        store("a", b"x")


def test_no_request_waits_for_100_continue(store, bucket) -> None:
    sent, made = [], Bucket._made

    def with_events(own, seconds):
        client = made(own, seconds)
        client.meta.events.register("before-send.s3", lambda request, **_: sent.append(dict(request.headers)))
        return client

    with patch.object(Bucket, "_made", with_events):
        store("a", os.urandom(2 * MIB), content_type="x/y")
        store("b", os.urandom(17 * MIB), content_type="x/y")
    assert len(sent) > 5
    assert not [headers for headers in sent if "Expect" in headers]


def test_an_object_is_read_back_where_that_is_asked_for(store) -> None:
    with patch.object(Bucket, "read", lambda *_: iter([b"other"])), pytest.raises(RetryLater, match="other bytes"):
        store("a", b"x", verify="read-back")
    assert store("b", b"x", verify="read-back").unchanged is False


def test_a_server_that_went_away_is_waited_for_and_said_once(
    s3_server, proxy, bucket, client, monkeypatch, caplog
) -> None:
    monkeypatch.setattr("openmsi_plugins.s3.bucket.ATTEMPTS", 1)
    for module in (trouble, uploading):
        monkeypatch.setattr(module, "PAUSE", 3.0)
    sink = build("s3", {"bucket": bucket, "endpoint_url": proxy.url})(None).plugin
    sink.open()
    try:
        sink.write(whole("a", b"x"))
        proxy.cut()
        for _ in range(3):
            with pytest.raises(RetryLater, match="Could not connect"):
                sink.write(whole("b", b"x"))
        proxy.heal()
        assert sink.write(whole("b", b"x")).unchanged is False
    finally:
        sink.close()
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [text for text in told if "files wait" in text or "takes files again" in text] == told
    assert len(told) == 2


def test_over_tls_a_certificate_that_nobody_trusts_ends_the_run_and_one_that_is_named_is_trusted(
    bucket, tmp_path
) -> None:
    with S3Server(tmp_path / "tls", certificate=make_certificate(tmp_path)) as server:
        server.add_bucket("archive")
        sink = build("s3", {"bucket": "archive", "endpoint_url": server.url})(None).plugin
        with pytest.raises(Exception, match=r"is not trusted.*--ca-bundle"):
            sink.open()
        values = {"bucket": "archive", "endpoint_url": server.url, "ca_bundle": str(tmp_path / "certificate.pem")}
        sink = build("s3", values)(None).plugin
        sink.open()
        try:
            data = os.urandom(17 * MIB)
            sink.write(whole("a", data))
            sink.write(whole("b", b"small"))
        finally:
            sink.close()
        assert (server.folder / "data/archive/xrd/a").read_bytes() == data
