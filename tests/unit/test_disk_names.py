"""Names that a platform cannot store."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmsi_plugins.disk.names import POSIX, WINDOWS, Rules, original, spelled_out, stored, with_digest

FOLDS = Rules(folds=True)
_odd = st.text(alphabet=list("%2E5openmsi.OPNCaux: \\~14é\udce9À^CON|\n"), min_size=1, max_size=14)
parts = st.lists(_odd.filter(lambda part: part not in {".", ".."}), min_size=1, max_size=3)
forbidden = set('<>:"/\\|?*') | {chr(code) for code in range(32)}


@settings(max_examples=1000, deadline=None)
@given(parts, st.sampled_from([POSIX, FOLDS, WINDOWS]))
def test_every_name_can_be_read_back(path: list[str], rules: Rules) -> None:
    names = stored(path, rules)
    assert original(names, rules) == tuple(path)
    assert names[0].lower() != ".openmsi"


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
