"""What a plugin can be told."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, SecretStr

from openmsi_core import PluginOptions
from openmsi_core.errors import SettingsError
from openmsi_core.plugins.options import flags_of, options_hash, parse


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Options(PluginOptions):
    folder: Path
    """Where it goes;
    on two lines."""
    keep_empty: bool = False
    count: int | None = None
    mode: Literal["a", "b"] = "a"
    colour: Colour = Colour.RED
    tags: tuple[str, ...] = ()
    weights: list[float] = Field(default=[])
    table: dict[str, str] = Field(default={})
    password: SecretStr | None = None


def test_each_field_becomes_a_flag_with_its_type_help_and_default() -> None:
    flags = {flag.name: flag for flag in flags_of(Options)}
    assert list(flags) == [
        "folder", "keep-empty", "count", "mode", "colour", "tags", "weights", "table", "password"
    ]  # fmt: skip
    assert flags["folder"].kind == "path"
    assert flags["folder"].is_required
    assert flags["folder"].help == "Where it goes; on two lines."
    assert flags["keep-empty"].kind == "bool"
    assert flags["keep-empty"].default is False
    assert flags["count"].kind == "int"
    assert flags["mode"].choices == ("a", "b")
    assert flags["colour"].choices == ("red", "blue")
    assert (flags["tags"].kind, flags["tags"].is_many) == ("text", True)
    assert (flags["weights"].kind, flags["weights"].is_many) == ("float", True)


def test_secrets_and_tables_have_no_flag() -> None:
    hidden = [flag.name for flag in flags_of(Options) if not flag.is_on_command_line]
    assert hidden == ["table", "password"]


def test_names_may_have_dashes_and_text_becomes_what_the_field_is() -> None:
    parsed = parse(Options, {"folder": "/x", "keep-empty": "true", "count": "3", "weights": ["1.5"]}, "disk")
    assert parsed == Options(folder=Path("/x"), keep_empty=True, count=3, weights=[1.5])


def test_all_problems_are_told_at_once_with_a_suggestion() -> None:
    with pytest.raises(SettingsError) as caught:
        parse(Options, {"foldr": "/x", "count": "many", "zzz": 1}, "disk")
    text = str(caught.value)
    assert "options of disk: 4 problems" in text
    assert "there is no option 'foldr', did you mean 'folder'?" in text
    assert "'folder' is needed (--folder)" in text
    assert "'count': Input should be a valid integer" in text
    assert "there is no option 'zzz', it knows folder," in text


def test_one_option_in_two_spellings_is_a_problem() -> None:
    with pytest.raises(SettingsError, match="'keep-empty' is given twice"):
        parse(Options, {"folder": "/x", "keep-empty": True, "keep_empty": False}, "disk")


def test_a_wrong_value_is_not_shown_because_it_may_be_a_secret() -> None:
    with pytest.raises(SettingsError) as caught:
        parse(Options, {"folder": "/x", "count": "hunter2"}, "disk")
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in str(caught.value.__cause__)


def test_a_number_in_the_configuration_does_not_become_text() -> None:
    with pytest.raises(SettingsError, match=r"'tags\.0': Input should be a valid string"):
        parse(Options, {"folder": "/x", "tags": [7]}, "disk")


def test_a_default_that_its_own_type_refuses_is_said() -> None:
    class Wrong(PluginOptions):
        count: int = "many"  # type: ignore[assignment]

    with pytest.raises(SettingsError, match="'count'"):
        parse(Wrong, {}, "wrong")


def test_options_cannot_be_changed_afterwards() -> None:
    parsed = parse(Options, {"folder": "/x"}, "disk")
    with pytest.raises(ValueError, match="frozen"):
        parsed.count = 1  # type: ignore[attr-defined]


def test_the_hash_changes_with_an_option_and_not_with_a_secret() -> None:
    plain = parse(Options, {"folder": "/x"}, "disk")
    other = parse(Options, {"folder": "/y"}, "disk")
    secret = parse(Options, {"folder": "/x", "password": "hunter2"}, "disk")
    another = parse(Options, {"folder": "/x", "password": "b"}, "disk")
    assert options_hash(plain) == options_hash(parse(Options, {"folder": "/x"}, "disk")) == "96a86e76"
    assert options_hash(plain) != options_hash(other)
    assert options_hash(secret) == options_hash(another)
    assert "hunter2" not in repr(secret)
