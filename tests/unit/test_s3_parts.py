"""The parts of the s3 sink that need no server."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmsi_core import Reject, RetryLater, TargetError
from openmsi_core.errors import SettingsError
from openmsi_core.plugins.loader import build
from openmsi_plugins.s3.bucket import Found, in_base64
from openmsi_plugins.s3.keys import _spoken, key_of, prefix_of, problem_of
from openmsi_plugins.s3.sharing import Body, PartThreads, Room, TooSlow
from openmsi_plugins.s3.trouble import Refused, meaning


@given(st.text(), st.text())
def test_two_paths_never_get_one_key(one, other) -> None:
    if one != other:
        assert _spoken(one) != _spoken(other)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_nor_do_two_paths_of_other_bytes_than_text(one, other) -> None:
    first, second = (_spoken(data.decode("utf-8", "surrogateescape")) for data in (one, other))
    first.encode("utf-8")
    assert (first == second) == (one == other)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{topic}/{path}", ""),
        ("archive/{year}/{sha256}{suffix}", ""),
        ("{name}", "without {path} or {sha256}"),
        ("{path", "cannot be read"),
        ("{path!r}", "no formats"),
        ("{path:>9}", "no formats"),
        ("/{path}", "no empty parts"),
        ("a//{path}", "no empty parts"),
        ("a/../{path}", "none that is . or .."),
        ("{0}/{path}", "there is no {0}"),
        ("{path.parent}", "there is no {path.parent}"),
    ],
)
def test_a_key_template_is_checked_before_anything_is_connected(template, problem) -> None:
    assert problem in problem_of(template)
    assert bool(problem) == bool(problem_of(template))


def test_the_beginning_of_a_key_is_known_without_a_file() -> None:
    assert prefix_of("{topic}/{path}", "t") == "t/"
    assert prefix_of("a/{sha256}", "t") == "a/"
    assert key_of("{topic}/{folder}/{name}", {"topic": "t", "folder": "", "name": "n"}) == "t/n"


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ({}, "'bucket' is needed"),
        ({"bucket": "b", "part_size": 1}, "part-size is 5"),
        ({"bucket": "b", "kms_key": "k"}, "kms-key needs"),
        ({"bucket": "b", "tags": ["x"]}, "is not NAME=VALUE"),
        ({"bucket": "b", "tags": [f"{n}=1" for n in range(11)]}, "10 tags at most"),
        ({"bucket": "b", "metadata": ["a b=1"]}, "is no name"),
        ({"bucket": "b", "key": "{nope}"}, "there is no {nope}"),
    ],
)
def test_options_that_cannot_be_are_refused(values, hint) -> None:
    with pytest.raises(SettingsError, match=hint.replace("{", r"\{").replace("}", r"\}")):
        build("s3", values)


def refused(code: str, status: int) -> Refused:
    return Refused(code, status, "said so", "storing k")


@pytest.mark.parametrize(
    ("code", "status", "what"),
    [
        ("NoSuchBucket", 404, TargetError),
        ("ExpiredToken", 400, TargetError),
        ("TokenRefreshRequired", 400, TargetError),
        ("RequestTimeTooSkewed", 403, TargetError),
        ("NotImplemented", 501, TargetError),
        ("KMS.DisabledException", 400, TargetError),
        ("KeyTooLongError", 400, Reject),
        ("EntityTooLarge", 400, Reject),
        ("PreconditionFailed", 412, Reject),
        ("InternalError", 500, RetryLater),
        ("SlowDown", 503, RetryLater),
        ("", 502, RetryLater),
        ("TooManyRequests", 429, RetryLater),
        ("BadDigest", 400, RetryLater),
        ("RequestTimeout", 400, RetryLater),
        ("NoSuchUpload", 404, RetryLater),
        ("OperationAborted", 409, RetryLater),
        ("SomethingNew", 400, Refused),
    ],
)
def test_an_answer_stops_the_run_or_concerns_one_file_or_passes(code, status, what) -> None:
    error = meaning(refused(code, status), "b", "http://s3", "k")
    assert type(error) is what
    assert "{" not in str(error)


def test_equal_means_the_digest_and_the_size_and_nothing_that_contradicts() -> None:
    sha = "ab" * 32
    computed = {"ChecksumSHA256": in_base64(bytes.fromhex(sha))}
    assert Found(3, "", "e", computed).has(sha, 3, proven=True)
    assert Found(3, sha, "e", {"ChecksumSHA256": "AAAA-2"}).has(sha, 3, proven=True)
    assert Found(3, sha, "e", {"ChecksumCRC32": "AAAA"}).has(sha, 3, proven=True)
    assert Found(3, sha, "e", {}).has(sha, 3, proven=False)
    assert not Found(3, sha, "e", {}).has(sha, 3, proven=True)
    assert not Found(4, sha, "e", computed).has(sha, 3, proven=True)
    assert not Found(3, "", "e", {}).has(sha, 3, proven=False)
    assert not Found(3, "cd" * 32, "e", computed).has(sha, 3, proven=True)


def test_room_is_shared_out_and_who_wants_more_than_all_gets_all() -> None:
    room, went_on = Room(10), threading.Event()
    with room.taken(100):
        thread = threading.Thread(target=lambda: (room.take(1), went_on.set()))
        thread.start()
        assert not went_on.wait(0.05)  # a thread that must wait cannot be asked whether it does
    assert went_on.wait(5)
    thread.join()
    room.give(1)
    with room.taken(10):
        pass


def test_a_body_that_takes_too_long_is_given_up() -> None:
    body = Body(io.BytesIO(b"abc"), time.monotonic() + 60)
    assert (body.read(2), body.tell(), body.seek(0), body.read()) == (b"ab", 2, 0, b"abc")
    with pytest.raises(TooSlow):
        Body(io.BytesIO(b"abc"), time.monotonic() - 1).read(1)


def test_a_part_that_is_stuck_does_not_hold_up_the_end_of_the_process() -> None:
    code = (
        "import threading; from openmsi_plugins.s3.sharing import PartThreads; begun = threading.Event();"
        "PartThreads(2).submit(lambda: (begun.set(), threading.Event().wait())); begun.wait()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_threads_for_parts_give_results_and_raise_what_was_raised() -> None:
    threads = PartThreads(2)
    assert [future.result(5) for future in [threads.submit(pow, 2, n) for n in range(9)]] == [2**n for n in range(9)]
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 / 0).result(5)
    threads.shutdown()
