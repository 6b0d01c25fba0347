"""What an exception does to a file, when the exception itself is as bad as it can be."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from openmsi_core.errors import RetryLater
from openmsi_core.files.content import InMemory
from openmsi_core.files.datafile import DataFile
from openmsi_core.files.opened import Span
from openmsi_core.model import FileVersion, Outcome, Position, RelativePath, What
from openmsi_core.receiving.attempts import RetryPolicy, failure_of
from openmsi_core.receiving.jobs import Job
from tests.faults.bad_plugins import GROUPS


def a_job() -> Job:
    version = FileVersion(bytes(16), RelativePath.parse("x"), 0, 16384, 0)
    file = DataFile(version, Position("t", 0, 0), datetime.now(UTC), InMemory([b""]))
    return Job(file, Span(), (), 0, 0, tries=1)


def raised_by(act: object) -> BaseException:
    try:
        act(None)  # type: ignore[operator]
    except BaseException as error:
        return error
    raise AssertionError("it raised nothing")


@pytest.mark.parametrize("act", GROUPS["unspeakable"])
def test_an_exception_that_cannot_be_told_is_a_letter_with_a_reason(act: object) -> None:
    answer = failure_of(raised_by(act), a_job(), RetryPolicy(delays=()), 0.0)
    assert isinstance(answer, Outcome)
    assert answer.what in {What.FAILED, What.REJECTED}
    assert answer.reason
    assert len(answer.reason.encode("utf-8")) <= 16_000
    assert len(answer.traceback) <= 16 * 1024
    assert answer.error


def test_a_retry_that_names_no_number_is_a_failure_of_its_file() -> None:
    error = RetryLater(1.0)
    error.seconds = "soon"  # type: ignore[assignment]
    answer = failure_of(error, a_job(), RetryPolicy(), 0.0)
    assert isinstance(answer, Outcome)
    assert answer.what is What.FAILED
