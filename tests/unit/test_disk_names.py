"""Names that a platform cannot store."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmsi_plugins.disk.names import POSIX, WINDOWS, Rules, original, spelled_out, stored, with_digest

FOLDS = Rules(folds=True)
ALL = [POSIX, FOLDS, WINDOWS]
NARROW = [Rules(each.windows, each.folds, longest=40) for each in ALL]
_odd = st.text(alphabet=list("%+2BE5openmsi.OPNCaux: \\~14é\udce9À^CON|\n"), min_size=1, max_size=14)
parts = st.lists(_odd.filter(lambda part: part not in {".", ".."}), min_size=1, max_size=3)
forbidden = set('<>:"/\\|?*') | {chr(code) for code in range(32)}


@settings(max_examples=1000, deadline=None)
@given(parts, st.sampled_from(ALL))
def test_every_name_can_be_read_back(path: list[str], rules: Rules) -> None:
    names = stored(path, rules)
    assert original(names, rules) == tuple(path)
    assert names[0].lower() != ".openmsi"


long_parts = st.lists(
    st.text(alphabet=list("%+2BE5.: aA~\\é\udce9€😀"), min_size=1, max_size=200), min_size=1, max_size=3
).filter(lambda parts: not any(part in {".", ".."} for part in parts))


@settings(max_examples=500, deadline=None)
@given(long_parts, st.sampled_from([*ALL, *NARROW]))
def test_names_that_are_too_long_are_cut_and_can_be_read_back(path: list[str], rules: Rules) -> None:
    names = stored(path, rules)
    assert original(names, rules) == tuple(path)
    assert all(rules.fits(name) for name in names)
    assert not {".", "..", ""} & set(names)


def test_the_longest_name_of_the_wire_is_cut_where_each_character_is_escaped() -> None:
    names = stored((":" * 255, "x%+", "y%%2B"), WINDOWS)
    assert all(name.endswith("%+") for name in names[:3])
    assert names[-2:] == ("x%%2B", "y%%252B")
    assert original(names, WINDOWS) == (":" * 255, "x%+", "y%%2B")
    assert stored((":" * 255, "x%+", "y%%2B"), POSIX) == (":" * 255, "x%%2B", "y%%252B")


def test_a_name_with_digits_that_would_be_too_long_is_shortened() -> None:
    assert with_digest("a" * 250 + ".txt", "1a2b3c4d") == "a" * 242 + ".1a2b3c4d.txt"


@settings(max_examples=1000, deadline=None)
@given(parts)
def test_windows_can_store_every_name(path: list[str]) -> None:
    for name in stored(path, WINDOWS):
        assert not forbidden & set(name)
        assert name[-1] not in ". "
        name.encode("utf-16")


@settings(max_examples=1000, deadline=None)
@given(_odd, _odd)
def test_spelled_out_names_differ_even_where_case_does_not_count(one: str, other: str) -> None:
    (first,), (second,) = stored((one,), WINDOWS), stored((other,), WINDOWS)
    assert (spelled_out(first).lower() == spelled_out(second).lower()) == (first == second)
    assert original((spelled_out(first),), WINDOWS) == (one,)


@pytest.mark.parametrize(
    ("name", "on_windows"),
    [
        ("scan 1.xrdml", "scan 1.xrdml"),
        ("é€.txt", "é€.txt"),
        ("a:b", "a%3Ab"),
        ("a\\b", "a%5Cb"),
        ("line\nbreak", "line%0Abreak"),
        ("end.", "end%2E"),
        ("end ", "end%20"),
        ("CON", "%43ON"),
        ("nul.txt", "%6Eul.txt"),
        ("COM1.dat", "%43OM1.dat"),
        ("lpt¹", "%6Cpt¹"),
        ("CONSOLE", "CONSOLE"),
        ("100%41", "100%2541"),
        ("100%", "100%"),
        ("PROGRA~1", "PROGRA%7E1"),
        ("caf\udce9", "caf%E9"),
        (".openmsi", "%2Eopenmsi"),
        (".OpenMSI", "%2EOpenMSI"),
    ],
)
def test_what_windows_cannot_store_is_escaped_and_nothing_else(name: str, on_windows: str) -> None:
    assert stored((name,), WINDOWS) == (on_windows,)


def test_posix_escapes_only_the_name_that_is_ours() -> None:
    assert stored(("a:b\\c\n", "CON", ".openmsi"), POSIX) == ("a:b\\c\n", "CON", ".openmsi")
    assert stored((".openmsi", "x"), POSIX) == ("%2Eopenmsi", "x")
    assert stored(("%2Eopenmsi",), POSIX) == ("%252Eopenmsi",)


def test_the_digest_stands_before_the_suffix() -> None:
    assert with_digest("scan.xrdml", "1a2b") == "scan.1a2b.xrdml"
    assert with_digest(".hidden", "1a2b") == ".hidden.1a2b"
    assert with_digest("plain", "1a2b") == "plain.1a2b"
