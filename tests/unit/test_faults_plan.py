"""The fault plan holds together: every row has its module, every seeded defect is somebody's to catch."""

from __future__ import annotations

import pytest

from tests.faults.mutations import MUTATIONS
from tests.faults.plan import plan
from tests.faults.table import table
from tests.faults.trial import Trial, Violation

ROWS = {*(f"F{number}" for number in (1, 2, 3, *range(5, 24)))}


def test_every_row_of_both_sides_has_a_module() -> None:
    assert set(plan()) == ROWS


def test_every_fault_has_trials_windows_and_a_defect_that_it_must_catch() -> None:
    for fault in plan().values():
        assert fault.ci >= 1, fault.id
        assert fault.release >= fault.ci, fault.id
        assert fault.windows, fault.id
        assert fault.mutations, fault.id
        assert set(fault.mutations) <= set(MUTATIONS), fault.id


def test_every_seeded_defect_is_some_faults_to_catch() -> None:
    assert set(MUTATIONS) == {name for fault in plan().values() for name in fault.mutations}


def test_a_window_that_nobody_hit_fails_a_whole_campaign_and_a_trial_that_is_asked_for_alone_not() -> None:
    from tests.faults.campaign import Report

    fault = plan()["F7"]
    report = Report("F7", 1, "", 3, 0, 0.1, 0, {"between-runs": 2})
    text, is_good = table([fault], [report], whole=True)
    assert not is_good
    assert "missed: under-a-run" in text
    assert table([fault], [report], whole=False)[1]


def test_a_trial_counts_its_checks_and_says_what_differs(tmp_path) -> None:
    trial = Trial(1, tmp_path)
    trial.equal({"a": 1}, {"a": 1}, "numbers")
    with pytest.raises(Violation, match="1 differ") as caught:
        trial.equal({"a": 1, "b": 2}, {"a": 1, "b": 3}, "numbers")
    assert "'b': (2, 3)" in str(caught.value)
    assert trial.checks == 2
