"""The Girder sink against an HTTP server that speaks the REST calls it uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydantic import SecretStr

from openmsi_core import FolderError, Reject, RetryLater
from openmsi_core.testing.files import data_file
from openmsi_plugins.girder import Girder, _key, _name
from tests.girder_fakes import KEY, Portal, serving


@contextmanager
def opened(url: str, **options) -> Iterator[Girder]:
    given = {"root": "/collection/xrd/raw", "api_key": SecretStr(KEY)} | options
    sink = Girder(Girder.Options(url=url, **given))
    sink.open()
    try:
        yield sink
    finally:
        sink.close()


@pytest.fixture
def portal() -> Portal:
    return Portal()


@pytest.fixture
def url(portal) -> Iterator[str]:
    with serving(portal) as address:
        yield address


CASES = {
    "plain.txt": b"hello",
    "a/b/c.xrdml": b"<?xml?>",
    "a/empty": b"",
    "a/b/é  ü.dat": bytes(range(256)),
    " blanks around /x ": b"1",
    "100%/y": b"2",
    "a/big": b"x" * (65 * 1024 * 1024),
}


def test_files_are_stored_in_the_senders_tree_with_their_facts(portal, url) -> None:
    with opened(url) as sink:
        for path, data in CASES.items():
            stored = sink.write(data_file(data, path, user={"sample": "Si", "a.b": 1, "$c": 2}))
            assert not stored.unchanged
            assert stored.location.startswith(f"{url}/item/")
    wanted = {"/".join(map(_name, path.split("/"))): data for path, data in CASES.items()}
    assert portal.files() == wanted
    for item in portal.of("item"):
        assert item["meta"]["sample"] == "Si"
        assert (item["meta"]["a%2Eb"], item["meta"]["%24c"]) == (1, 2)
        assert len(item["meta"]["openmsi"]["sha256"]) == 64


def test_an_equal_version_is_left_alone_and_a_newer_one_replaces(portal, url) -> None:
    with opened(url) as sink:
        sink.write(data_file(b"one", "a/x"))
        before = len(portal.calls)
        assert sink.write(data_file(b"one", "a/x")).unchanged
        assert not [call for call in portal.calls[before:] if not call.startswith("GET")]
        assert not sink.write(data_file(b"two", "a/x")).unchanged
        assert not sink.write(data_file(b"", "a/x")).unchanged
    assert portal.files() == {"a/x": b""}
    assert len(portal.of("item")) == len(portal.of("file")) == 1


def test_another_version_is_refused_where_replace_is_off(portal, url) -> None:
    with opened(url, replace=False) as sink:
        sink.write(data_file(b"one", "x"))
        with pytest.raises(Reject, match="replace is off"):
            sink.write(data_file(b"two", "x"))
    assert portal.files() == {"x": b"one"}


CALLS = [("GET", "item"), ("POST", "item"), ("GET", "folder"), ("POST", "folder"), ("POST", "file"),
         ("POST", "file/chunk"), ("PUT", "item")]  # fmt: skip


@pytest.mark.parametrize("status", [0, 500, 503, 429, 401, 403, 404])
@pytest.mark.parametrize("call", CALLS)
def test_any_call_that_fails_is_tried_later_and_ends_with_the_right_bytes(portal, url, call, status) -> None:
    with opened(url) as sink:
        portal.failing = [(*call, status)]
        with pytest.raises(RetryLater) as raised:
            sink.write(data_file(b"content", "a/x"))
        assert KEY not in str(raised.value).replace(f"on purpose, {KEY}", "")
        assert not portal.failing
        assert not sink.write(data_file(b"content", "a/x")).unchanged
        assert sink.write(data_file(b"content", "a/x")).unchanged
    assert portal.files() == {"a/x": b"content"}


@pytest.mark.parametrize("status", [400, 413])
def test_a_file_that_is_refused_is_a_reject(portal, url, status) -> None:
    with opened(url) as sink:
        portal.failing = [("POST", "file", status)]
        with pytest.raises(Reject, match=f"answered {status} to POST"):
            sink.write(data_file(b"content", "a/x"))


def test_bytes_that_arrived_otherwise_never_count(portal, url) -> None:
    with opened(url) as sink:
        sink.write(data_file(b"first", "x"))
        portal.damages = True
        for _ in range(2):
            with pytest.raises(RetryLater, match="other bytes"):
                sink.write(data_file(b"content", "x"))
        portal.damages = False
        assert not sink.write(data_file(b"first", "x")).unchanged  # its facts were taken back before
    assert portal.files() == {"x": b"first"}


def test_a_folder_that_somebody_removed_is_made_again(portal, url) -> None:
    with opened(url) as sink:
        sink.write(data_file(b"1", "a/x"))
        portal.things = {name: each for name, each in portal.things.items() if name == "root"}
        portal.failing = [("GET", "item", 404)]
        with pytest.raises(RetryLater):
            sink.write(data_file(b"2", "a/y"))
        sink.write(data_file(b"2", "a/y"))
    assert portal.files() == {"a/y": b"2"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"api_key": SecretStr("wrong")}, "Invalid API key"),
        ({"root": "/collection/nowhere"}, "Path not found"),
    ],
)
def test_what_cannot_work_is_said_at_the_start_without_the_key(url, options, said) -> None:
    with pytest.raises(FolderError, match=said) as raised, opened(url, **options):
        raise AssertionError("opened")
    assert "wrong" not in str(raised.value)


def test_a_portal_that_is_not_there_is_said_at_the_start() -> None:
    with pytest.raises(FolderError, match="cannot be used: ConnectionError"), opened("http://127.0.0.1:9/api/v1"):
        raise AssertionError("opened")


@pytest.mark.parametrize("part", ["a", "é", "a b", " a", "a ", "%20a", "a%", "\udcff", "a\udcffb ", "\t", "100%"])
def test_names_are_escaped_reversibly_and_only_where_they_must_be(part) -> None:
    from urllib.parse import unquote_to_bytes

    name = _name(part)
    assert name == name.strip()
    assert unquote_to_bytes(name) == part.encode("utf-8", "surrogateescape")
    assert (name == part) == (part in {"a", "é", "a b"})


def test_keys_of_metadata_are_as_the_database_takes_them() -> None:
    assert [_key(key) for key in ("a", "a.b", "$a", "openmsi", "50%")] == ["a", "a%2Eb", "%24a", "%6Fpenmsi", "50%25"]
