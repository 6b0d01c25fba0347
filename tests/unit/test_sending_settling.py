"""Settling, with clocks as arguments."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openmsi_core.sending.settling import Settling

SECOND = 1_000_000_000
SETTLE = 3 * SECOND


def test_a_file_is_ready_after_two_equal_looks_that_far_apart() -> None:
    settling = Settling(SETTLE)
    assert not settling.look(b"a", 1, 5, 0, 0)
    assert not settling.look(b"a", 1, 5, SETTLE - 1, 0)
    assert settling.look(b"a", 1, 5, SETTLE, 0)


def test_an_old_time_of_change_is_not_enough_where_files_are_still_being_written() -> None:
    settling = Settling(SETTLE)
    assert not settling.look(b"a", 1, 5, 0, 1000 * SECOND)


def test_one_look_is_enough_for_an_old_file_where_age_is_trusted() -> None:
    settling = Settling(SETTLE, trusts_age=True)
    assert settling.look(b"a", 1, 5, 0, 5 + SETTLE)
    assert not settling.look(b"b", 1, 6, 0, 5 + SETTLE)
    assert len(settling) == 1


def test_a_time_of_change_in_the_future_needs_two_looks() -> None:
    settling = Settling(SETTLE, trusts_age=True)
    future = 10**18
    assert not settling.look(b"a", 1, future, 0, 0)
    assert settling.look(b"a", 1, future, SETTLE, SETTLE)


def test_a_change_of_size_or_time_begins_anew() -> None:
    for size, mtime in ((2, 5), (1, 6), (1, 4)):
        settling = Settling(SETTLE)
        settling.look(b"a", 1, 5, 0, 0)
        assert not settling.look(b"a", size, mtime, SETTLE, 0)
        assert settling.look(b"a", size, mtime, 2 * SETTLE, 0)
        assert settling.waited_ns(b"a", 2 * SETTLE) == 2 * SETTLE


def test_files_that_a_scan_did_not_see_are_forgotten() -> None:
    settling = Settling(SETTLE)
    settling.look(b"a", 1, 5, 0, 0)
    settling.end_scan()
    settling.look(b"b", 1, 5, 1, 0)
    settling.end_scan()
    assert len(settling) == 1
    assert not settling.look(b"a", 1, 5, SETTLE, 0)


def test_what_is_remembered_is_bounded() -> None:
    settling = Settling(SETTLE, capacity=2)
    for key in (b"a", b"b", b"c"):
        settling.look(key, 1, 5, 0, 0)
    assert len(settling) == 2
    assert not settling.look(b"c", 1, 5, SETTLE, 0)
    settling.forget(b"a")
    settling.look(b"c", 1, 5, SETTLE, 0)
    assert settling.look(b"c", 1, 5, 2 * SETTLE, 0)


@given(
    looks=st.lists(
        st.tuples(st.integers(0, 2 * SETTLE), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30
    ),
    settle=st.integers(1, SETTLE),
)
def test_ready_means_that_every_look_of_the_last_settle_time_was_equal(
    looks: list[tuple[int, int, int]], settle: int
) -> None:
    settling, now = Settling(settle), 0
    history: list[tuple[int, int, int]] = []
    for pause, size, mtime in looks:
        now += pause
        history.append((now, size, mtime))
        streak = 0  # how long the unbroken run of equal looks at the end is
        for then, *state in reversed(history):
            if state != [size, mtime]:
                break
            streak = now - then
        assert settling.look(b"a", size, mtime, now, 10**18) == (streak >= settle)
