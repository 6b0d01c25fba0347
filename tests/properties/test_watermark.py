"""The watermark and the metadata of a commit: properties."""

from __future__ import annotations

import itertools
import random
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from openmsi_core.files.opened import Span
from openmsi_core.model import Claim, Outcome, What
from openmsi_core.receiving import checkpoint as checkpoints
from openmsi_core.receiving import unfinished
from openmsi_core.receiving.jobs import Assignment, Ended
from openmsi_core.receiving.watermark import MAX_METADATA, Start, Watermark, start_of

offsets = st.lists(st.integers(0, 1 << 50), unique=True, max_size=200).map(sorted)


@given(offsets=offsets, below=st.integers(0, 1 << 62), topic=st.text(max_size=40))
def test_the_metadata_says_what_went_in(offsets, below, topic) -> None:
    text = unfinished.encode(topic, below, offsets)
    assert text.isascii()
    assert "\0" not in text
    assert unfinished.decode(text) == unfinished.Unfinished(topic, below, tuple(offsets))


@given(st.one_of(st.text(max_size=200), st.text(alphabet="0123456789abcXYZ!#$", max_size=100).map(lambda t: "1" + t)))
def test_garbage_in_the_metadata_says_nothing_and_harms_nobody(text) -> None:
    known = unfinished.decode(text)
    assert known is None or unfinished.encode(known.topic_id, known.below, known.offsets)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_whatever_is_finished_when_reading_resumes_where_nothing_is_lost_and_nothing_is_done_twice(data) -> None:
    """A model: begin and finish versions in any order, commit at any time, restart, and compare with the truth."""
    count = data.draw(st.integers(1, 60))
    steps = data.draw(st.lists(st.integers(1, 3), min_size=count, max_size=count))
    firsts = [sum(steps[: n + 1]) for n in range(count)]
    mark = Watermark(0, Start(0, 0, frozenset()))
    for first in firsts:
        mark.begin(first)
        mark.took(first)
    done = data.draw(st.sets(st.sampled_from(firsts)))
    plan = mark.commit("id", frozenset(done))
    claim = Claim(0, plan.commit.offset, plan.commit.metadata, 0, 1 << 40)
    start = start_of(claim, "id", 0)
    seen_again = {first for first in firsts if first >= start.offset and not start.is_finished(first)}
    assert seen_again == set(firsts) - (done - plan.held)
    assert not plan.held


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_over_many_restarts_each_version_is_done_once_even_where_the_list_does_not_fit(data) -> None:
    """A model of runs one after the other: each reads on from the last commit, ends some of what is open, commits."""
    steps = data.draw(st.lists(st.integers(1, 300), min_size=1, max_size=60))
    firsts = list(itertools.accumulate(steps))
    done: set[int] = set()
    claim = Claim(0, None, "", 0, 1 << 40)
    room = data.draw(st.sampled_from([48, 60, 4000]))
    with (
        patch("openmsi_core.receiving.watermark.MAX_METADATA", room),
        patch("openmsi_core.receiving.watermark._FEWER", 2),
        patch("openmsi_core.receiving.unfinished._SURE", 2),
        patch("openmsi_core.receiving.unfinished._FINE", 1),
    ):
        for _ in range(data.draw(st.integers(1, 5))):
            start = start_of(claim, "id", 0)
            mark, is_open = Watermark(0, start), set()
            unread = [first for first in firsts if first >= start.offset]
            assert done.issuperset(first for first in firsts if first < start.offset)
            for _ in range(data.draw(st.integers(1, 4))):
                count = data.draw(st.integers(0, len(unread)))
                for first in unread[:count]:
                    mark.took(first)
                    assert start.is_finished(first) == (first in done)
                    if first not in done:
                        mark.begin(first)
                        is_open.add(first)
                unread = unread[count:]
                ending = data.draw(st.sets(st.sampled_from(sorted(is_open)))) if is_open else set()
                plan = mark.commit("id", frozenset(ending))
                assert len(plan.commit.metadata) <= room
                if data.draw(st.integers(0, 3)):  # else the broker is away
                    done |= ending - plan.held
                    is_open -= ending - plan.held
                    for first in ending - plan.held:
                        mark.finish(first)
                    mark.recorded(plan.below)
                    claim = Claim(0, plan.commit.offset, plan.commit.metadata, 0, 1 << 40)


def test_what_was_recorded_once_is_not_forgotten_when_holes_in_the_list_make_it_too_long() -> None:
    mark = Watermark(0, Start(0, 0, frozenset()))
    for first in range(40_001):
        mark.begin(first)
        mark.took(first)
    plan = mark.commit("id", frozenset({40_000}))  # all the others in a row: a short list
    assert not plan.held
    mark.finish(40_000)
    mark.recorded(plan.below)
    holes = frozenset(random.Random(3).sample(range(40_000), 20_000))
    plan = mark.commit("id", holes)
    start = start_of(Claim(0, plan.commit.offset, plan.commit.metadata, 0, 50_000), "id", 0)
    assert start.is_finished(40_000)
    assert plan.held
    assert plan.held < holes
    assert all(start.is_finished(first) == (first not in plan.held) for first in holes if first >= start.offset)


def test_more_open_versions_than_the_metadata_holds_make_finished_ones_wait() -> None:
    mark = Watermark(0, Start(0, 0, frozenset()))
    every = [n * n * 7 for n in range(1, 6000)]  # squares do not compress
    for first in every:
        mark.begin(first)
        mark.took(first)
    finished = frozenset(every[::500])
    plan = mark.commit("id", finished)
    assert len(plan.commit.metadata) <= MAX_METADATA
    assert plan.held
    assert plan.held < finished
    start = start_of(Claim(0, plan.commit.offset, plan.commit.metadata, 0, 1 << 40), "id", 0)
    recorded = finished - plan.held
    for first in every:
        was_recorded = first in recorded
        assert (first < start.offset or start.is_finished(first)) == was_recorded


@given(
    steps=st.lists(st.one_of(st.integers(1, 3), st.integers(1, 1 << 40)), max_size=300),
    times=st.integers(1, 200),
    topic=st.text(max_size=300),
)
@settings(max_examples=60, deadline=None)
def test_what_is_said_to_fit_fits_and_is_the_beginning_and_nearly_all_that_could(steps, times, topic) -> None:
    every = list(itertools.accumulate(steps * times))
    chosen, left_out = unfinished.fitting(topic, iter(every), MAX_METADATA)
    assert [*chosen, left_out][: len(every)] == every[: len(chosen) + 1]
    assert (left_out is None) == (len(chosen) == len(every))
    assert len(unfinished.encode(topic, 1 << 62, chosen)) <= MAX_METADATA + 8
    if left_out is not None and len(chosen) < unfinished.MAX_OFFSETS:
        assert len(unfinished.encode(topic, 1 << 62, every[: len(chosen) + 64])) > MAX_METADATA * 0.98


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_the_order_in_which_versions_begin_and_end_does_not_matter(data) -> None:
    """Against the plain definition: the lowest open offset, after any beginnings and endings, also out of order."""
    mark, is_open, taken = Watermark(0, Start(0, 0, frozenset())), set(), 0
    with patch("openmsi_core.receiving.watermark._SWEPT", 3):
        for offset in data.draw(st.lists(st.integers(0, 40), max_size=120)):
            if offset in is_open:
                mark.finish(offset)
                is_open.discard(offset)
            else:
                mark.begin(offset)
                is_open.add(offset)
            mark.took(offset)
            taken = max(taken, offset + 1)
            assert mark.low == mark.commit("id").commit.offset == min(is_open, default=taken)
            assert len(mark) == len(is_open)
        known = unfinished.decode(mark.commit("id").commit.metadata)
    assert known == unfinished.Unfinished("id", taken, tuple(sorted(is_open)))


def test_a_checkpoint_of_a_million_open_versions_takes_no_longer_than_one_of_a_few_thousand() -> None:
    """Work is counted, not timed: how many offsets are packed."""
    chance = random.Random(4)
    packed = []
    steps = unfinished._steps
    with patch.object(unfinished, "_steps", lambda at, some: packed.append(len(some)) or steps(at, some)):
        for count in (10_000, 1_000_000):
            mark, offset = Watermark(0, Start(0, 0, frozenset())), 0
            for _ in range(count):
                offset += chance.randrange(1, 100)
                mark.begin(offset)
                mark.took(offset)
            packed.clear()
            mark.commit("id")
            assert sum(packed) < 20_000


def test_a_commit_never_passes_what_is_open_even_when_not_one_offset_fits(monkeypatch) -> None:
    monkeypatch.setattr("openmsi_core.receiving.watermark.MAX_METADATA", 1)
    mark = Watermark(0, Start(0, 0, frozenset()))
    for offset in (3, 7, 9):
        mark.begin(offset)
        mark.took(offset)
    plan = mark.commit("a topic id that is long", frozenset({7}))
    assert (plan.commit.offset, plan.below, plan.held) == (3, 3, frozenset({7}))


def test_the_metadata_of_a_topic_that_was_made_anew_says_nothing() -> None:
    mark = Watermark(0, Start(0, 0, frozenset()))
    mark.begin(0)
    mark.begin(5)
    mark.took(5)
    commit = mark.commit("old", frozenset({5})).commit
    assert start_of(Claim(0, commit.offset, commit.metadata, 0, 9), "new", 7) == Start(0, 0, frozenset())
    assert start_of(Claim(0, commit.offset, commit.metadata, 0, 9), "old", 0).is_finished(5)


def test_no_commit_means_the_run_begins_where_it_is_told() -> None:
    assert start_of(Claim(0, None, "", 3, 9), "", 3) == Start(3, 3, frozenset())


def test_an_open_version_holds_the_commit_and_a_finished_one_lets_it_go() -> None:
    mark = Watermark(0, Start(10, 10, frozenset()))
    for offset in (10, 11, 12):
        mark.begin(offset)
        mark.took(offset)
    mark.finish(11)
    assert mark.low == 10
    mark.finish(10)
    assert mark.low == 12
    mark.finish(12)
    assert mark.low == 13


def test_a_version_on_two_partitions_is_recorded_in_both_or_in_none() -> None:
    marks = [Watermark(p, Start(0, 0, frozenset())) for p in (0, 1)]
    assignments = [Assignment(p, marks[p], 10**9) for p in (0, 1)]
    for n in range(1, 6000):
        marks[0].begin(n * n)
        marks[0].took(n * n)
    marks[1].begin(4)
    marks[1].took(4)
    scattered = Ended(Outcome(What.DONE), ((assignments[0], 5999 * 5999), (assignments[1], 4)), Span())
    plain = Ended(Outcome(What.DONE), ((assignments[0], 1),), Span())
    planned = checkpoints.plan([scattered, plain], assignments, "id")
    assert planned.held == (scattered,)
    assert planned.ended == (plain,)
    assert planned.commits[1].offset == 4
    checkpoints.record(planned)
    assert marks[0].low == 4


def test_outcomes_of_a_partition_that_was_taken_away_are_left_out() -> None:
    mark = Watermark(0, Start(0, 0, frozenset()))
    mark.begin(0)
    dead = Assignment(0, mark, 1, alive=False)
    planned = checkpoints.plan([Ended(Outcome(What.DONE), ((dead, 0),), Span())], [], "id")
    assert planned == checkpoints.Checkpoint((), (), ())


def test_what_retention_removed_is_said_and_reading_goes_on_with_what_is_left(caplog) -> None:
    mark = Watermark(0, Start(0, 0, frozenset()))
    for offset in (3, 5, 9):
        mark.begin(offset)
        mark.took(offset)
    commit = mark.commit("id", frozenset({5})).commit
    start = start_of(Claim(0, commit.offset, commit.metadata, 4, 20), "id", 0)
    assert (commit.offset, start.offset) == (3, 4)
    assert start.is_finished(5)
    assert not start.is_finished(9)
    assert start.cut == (3, 3)


def test_metadata_that_cannot_be_used_is_said_once_and_changes_nothing_else(caplog) -> None:
    assert start_of(Claim(0, 5, "somebody else's", 0, 9), "id", 0) == Start(5, 5, frozenset())
    assert "metadata" in caplog.text


def test_a_commit_before_all_was_read_again_forgets_nothing_that_was_finished() -> None:
    """A successor that is stopped early must not make the next one handle finished versions once more."""
    watermark = Watermark(0, Start(10, below=100, listed=frozenset({10, 50})))
    for offset in range(10, 20):
        watermark.took(offset)
    watermark.begin(10)
    for finishing in (frozenset(), frozenset({10})):
        commit = watermark.commit("", finishing).commit
        start = start_of(Claim(0, commit.offset, commit.metadata, 0, 200), "", 0)
        assert start.offset == (20 if finishing else 10)
        assert [offset for offset in range(start.offset, 100) if not start.is_finished(offset)] == (
            [50] if finishing else [10, 50]
        )
