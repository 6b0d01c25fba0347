"""Seeded defects of the s3 sink; see `mutations`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from openmsi_core import RetryLater
from openmsi_plugins.s3 import uploading
from openmsi_plugins.s3.bucket import Bucket, Found
from openmsi_plugins.s3.sink import S3
from openmsi_plugins.s3.trouble import Refused


@contextmanager
def answers_are_believed() -> Iterator[None]:
    """Whatever the client takes for a success is one: P1."""
    with patch.object(uploading.Upload, "confirm", lambda *_: None):
        yield


@contextmanager
def refusals_count_as_stored() -> Iterator[None]:
    """A file that the server did not take is receipted as stored, as the predecessor does: P1."""
    real = S3._store

    def store(own: S3, *arguments: Any) -> bool:
        try:
            return real(own, *arguments)
        except (Refused, RetryLater):
            return False

    with patch.object(S3, "_store", store):
        yield


@contextmanager
def uploads_are_left_behind() -> Iterator[None]:
    """Parts of an upload that failed stay, and are paid for, for ever: P5."""
    with patch.object(Bucket, "abort", lambda *_: None):
        yield


@contextmanager
def spool_is_believed() -> Iterator[None]:
    """What is read of a spooled file is stored, whatever it is: P2."""
    complete = uploading._InParts._complete

    def completed(own: Any) -> None:
        own._digest = SimpleNamespace(hexdigest=lambda: own._upload.file.sha256)
        complete(own)

    with patch.object(uploading._InParts, "_complete", completed):
        yield


@contextmanager
def any_object_counts_as_equal() -> Iterator[None]:
    """An object with that key is taken for this file: P1."""
    with patch.object(Found, "has", lambda *_: True):
        yield


BUCKET_MUTATIONS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "answers-are-believed": answers_are_believed,
    "refusals-count-as-stored": refusals_count_as_stored,
    "uploads-are-left-behind": uploads_are_left_behind,
    "spool-is-believed": spool_is_believed,
    "any-object-counts-as-equal": any_object_counts_as_equal,
}
