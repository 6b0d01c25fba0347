"""What is said when nothing can be stored until a person acts: one clear message each, by the command itself."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from openmsi_core import TargetError
from openmsi_core.cli import main
from openmsi_core.plugins.loader import build
from openmsi_core.testing.buckets import S3Server
from tests.s3.files import whole

pytestmark = pytest.mark.s3

PAGE = Path(__file__).parents[2] / "docs" / "s3.md"


def checked(capsys, *flags: str) -> tuple[int, list[str]]:
    """Exit code of `openmsi check s3`, and what it says on standard error, without what is only information."""
    code = main(["check", "s3", *flags, "-q"])
    return code, [line for line in capsys.readouterr().err.splitlines() if "warning" not in line]


@contextmanager
def answering(code: str, status: int = 403) -> Iterator[str]:
    """A server that refuses everything for one reason."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            body = f"<Error><Code>{code}</Code><Message>Said so.</Message></Error>".encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_PUT = do_HEAD = do_POST = do_GET  # noqa: N815 - the names that http.server wants

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_bucket_that_is_not_there(s3_server, bucket, capsys) -> None:
    code, said = checked(capsys, "--bucket", "nobodys", "--endpoint-url", s3_server.url)
    assert code == 2
    assert said == [
        f"openmsi: error: there is no bucket nobodys at {s3_server.url}. Make it, or choose another one (--bucket)."
    ]


@pytest.mark.parametrize(
    ("user", "hint"),
    [(("nobody", "secret"), "does not know the access key"), ((S3Server.ROOT[0], "wrong"), "the secret key does not")],
)
def test_a_wrong_key(s3_server, bucket, capsys, monkeypatch, user, hint) -> None:
    for name, value in s3_server.environment(user).items():
        monkeypatch.setenv(name, value)
    code, said = checked(capsys, "--bucket", bucket, "--endpoint-url", s3_server.url)
    assert code == 2
    assert len(said) == 1
    assert hint in said[0]
    assert user[1] not in said[0]


def test_no_key_at_all(s3_server, bucket, capsys, monkeypatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    code, said = checked(capsys, "--bucket", bucket, "--endpoint-url", s3_server.url)
    assert code == 2
    assert len(said) == 1
    assert "Unable to locate credentials" in said[0]


def test_a_wrong_region(s3_server, bucket, capsys) -> None:
    code, said = checked(capsys, "--bucket", bucket, "--endpoint-url", s3_server.url, "--region", "eu-west-1")
    assert code == 2
    wanted = (
        f"openmsi: error: the bucket {bucket} lies in the region us-east-1, and requests are signed for eu-west-1. "
        "Give its region (--region us-east-1)."
    )
    assert said == [wanted]


def test_without_a_region_the_bucket_says_its_own(s3_server, bucket, capsys, monkeypatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert checked(capsys, "--bucket", bucket, "--endpoint-url", s3_server.url) == (0, [])


def test_a_token_that_the_server_does_not_know(s3_server, bucket, capsys, monkeypatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "x")
    code, said = checked(capsys, "--bucket", bucket, "--endpoint-url", s3_server.url)
    assert code == 2
    assert len(said) == 1
    assert "does not accept the session token. Check AWS_SESSION_TOKEN" in said[0]


@pytest.mark.parametrize(
    ("answer", "status", "hint"),
    [
        ("ExpiredToken", 400, "the session token has expired"),
        ("RequestTimeTooSkewed", 403, "the clock of this machine"),
        ("AccountProblem", 403, "the account is disabled"),
        ("PermanentRedirect", 400, "lies in another region: Said so. Give its region"),
        ("AccessDenied", 403, "this account may not do what is needed"),
        ("SomethingNew", 418, "refuses: listing the bucket: Said so. (SomethingNew)"),
    ],
)
def test_what_only_a_made_up_server_says(bucket, capsys, answer, status, hint) -> None:
    with answering(answer, status) as url:
        code, said = checked(capsys, "--bucket", bucket, "--endpoint-url", url)
    assert code == 2
    assert len([line for line in said if "error" in line]) == 1
    assert hint in said[-1]


def test_a_server_that_is_not_there(bucket, capsys, monkeypatch) -> None:
    monkeypatch.setattr("openmsi_plugins.s3.bucket.ATTEMPTS", 1)
    code, said = checked(capsys, "--bucket", bucket, "--endpoint-url", "http://127.0.0.1:9")
    assert code == 2
    assert len(said) == 1
    assert "Is that the right address, and does the server run?" in said[0]


@pytest.mark.parametrize(
    ("flag", "value", "hint"),
    [
        ("--endpoint-url", "nonsense", "Invalid endpoint"),
        ("--profile", "nobodys", "could not be found"),
        ("--ca-bundle", "/nowhere/ca.pem", "there is no file /nowhere/ca.pem"),
    ],
)
def test_settings_with_which_nobody_can_be_asked(s3_server, bucket, capsys, flag, value, hint) -> None:
    url = s3_server.url if flag == "--profile" else "https://127.0.0.1:9"
    code, said = checked(capsys, "--bucket", bucket, "--endpoint-url", url, flag, value)
    assert code == 2
    assert hint in said[-1]


def test_an_account_without_rights_is_told_which_policy_it_needs(s3_server, bucket, capsys, monkeypatch) -> None:
    s3_server.add_user("joe", "joe-secret")
    for name, value in s3_server.environment(("joe", "joe-secret")).items():
        monkeypatch.setenv(name, value)
    code, said = checked(capsys, "--bucket", bucket, "--endpoint-url", s3_server.url)
    assert code == 2
    assert "the policy in docs/s3.md" in said[-1]


def policy_of_the_page(bucket: str, user: str) -> str:
    """The rights on the page, as a policy of the bucket for one account."""
    text = re.search(r"^```json\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert text is not None
    policy = json.loads(text.group(1).replace("lab-archive", bucket))
    for statement in policy["Statement"]:
        statement["Principal"] = {"AWS": [user]}
    return json.dumps(policy)


def test_the_rights_on_the_page_are_enough_and_what_they_do_not_allow_is_said(
    s3_server, client, bucket, capsys, monkeypatch
) -> None:
    s3_server.add_user("least", "least-secret")
    client.put_bucket_policy(Bucket=bucket, Policy=policy_of_the_page(bucket, "least"))
    for name, value in s3_server.environment(("least", "least-secret")).items():
        monkeypatch.setenv(name, value)
    code = main(["check", "s3", "--bucket", bucket, "--endpoint-url", s3_server.url])
    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    assert "may not be deleted, which a run does not need" in said.out
    assert "large files can be sent in parts" in said.out
    sink = build("s3", {"bucket": bucket, "endpoint_url": s3_server.url})(None).plugin
    sink.open()
    try:
        for path, data in {"small": b"x", "large": b"y" * (17 << 20)}.items():
            assert sink.write(whole(path, data)).unchanged is False
            assert sink.write(whole(path, data)).unchanged is True
        client.delete_bucket_policy(Bucket=bucket)
        with pytest.raises(TargetError, match=r"docs/s3\.md"):
            sink.write(whole("more", b"x"))
    finally:
        sink.close()


def test_who_may_only_put_can_store(s3_server, client, bucket, monkeypatch) -> None:
    s3_server.add_user("putter", "putter-secret")
    statement = {"Effect": "Allow", "Principal": {"AWS": ["putter"]}, "Action": ["s3:PutObject"]}
    policy = {"Version": "2012-10-17", "Statement": [statement | {"Resource": f"arn:aws:s3:::{bucket}/*"}]}
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    for name, value in s3_server.environment(("putter", "putter-secret")).items():
        monkeypatch.setenv(name, value)
    sink = build("s3", {"bucket": bucket, "endpoint_url": s3_server.url})(None).plugin
    sink.open()
    try:
        assert sink.write(whole("a", b"x")).unchanged is False
    finally:
        sink.close()
    assert client.get_object(Bucket=bucket, Key="xrd/a")["Body"].read() == b"x"


def test_what_openmsi_check_says_when_all_is_well(s3_server, client, bucket, capsys) -> None:
    flags = ["--bucket", bucket, "--endpoint-url", s3_server.url, "--on-conflict", "refuse", "--topic", "xrd"]
    assert main(["check", "s3", *flags]) == 0
    said = capsys.readouterr().out
    for text in ("wrote xrd/.openmsi-check-", "recognised", "same bytes", "not overwritten", "in parts", "deleted it"):
        assert text in said
    assert "Contents" not in client.list_objects_v2(Bucket=bucket)


def test_requests_go_through_the_proxy_that_is_named(bucket, capsys) -> None:
    with answering("ExpiredToken", 400) as url:
        flags = ["--bucket", bucket, "--endpoint-url", "http://nowhere.invalid:9000", "--proxy", url]
        code, said = checked(capsys, *flags)
    assert code == 2
    assert "the session token has expired, says http://nowhere.invalid:9000" in said[-1]
