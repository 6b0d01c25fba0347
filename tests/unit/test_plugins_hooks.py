"""Telling everybody what happens."""

from __future__ import annotations

import logging
from types import ModuleType

import pytest

from openmsi_core import hookimpl
from openmsi_core.errors import PluginError
from openmsi_core.plugins.hooks import Announcer


class Notes:
    def __init__(self, notes: list[str], name: str) -> None:
        self.notes, self.name = notes, name

    @hookimpl
    def openmsi_starting(self, run: str) -> None:
        self.notes.append(f"{self.name} {run}")


class Fails:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    @hookimpl
    def openmsi_starting(self) -> None:
        raise self.error


def test_observers_are_told_in_the_order_they_were_added() -> None:
    notes: list[str] = []
    announcer = Announcer()
    for name in ("first", "second", "third"):
        announcer.add(Notes(notes, name), name)
    announcer.tell("openmsi_starting", run="g")
    announcer.tell("openmsi_closing", reason="over")
    assert notes == ["first g", "second g", "third g"]


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit(3), AssertionError()])
def test_an_observer_that_raises_is_named_and_harms_nobody(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    notes: list[str] = []
    announcer = Announcer()
    announcer.add(Fails(error), "bad")
    announcer.add(Notes(notes, "good"), "good")
    with caplog.at_level(logging.ERROR):
        announcer.tell("openmsi_starting", run="g")
    assert notes == ["good g"]
    assert "observer bad failed in openmsi_starting" in caplog.text


def test_a_misspelt_hook_is_refused_instead_of_never_called() -> None:
    class Misspelt:
        @hookimpl
        def openmsi_file_finished(self) -> None: ...

    announcer = Announcer()
    with pytest.raises(PluginError, match=r"openmsi_file_finished.*The hooks are openmsi_checkpoint, openmsi_closing"):
        announcer.add(Misspelt(), "misspelt")
    announcer.add(Notes([], "good"), "good")


def test_a_hook_that_asks_for_an_unknown_argument_is_refused() -> None:
    class Asks:
        @hookimpl
        def openmsi_starting(self, colour: str) -> None: ...

    announcer = Announcer()
    with pytest.raises(PluginError, match="the observer asks cannot be used"):
        announcer.add(Asks(), "asks")
    announcer.tell("openmsi_starting", run="g")


def test_a_module_may_observe() -> None:
    module = ModuleType("observer")
    notes: list[str] = []

    @hookimpl
    def openmsi_closing(reason: str) -> None:
        notes.append(reason)

    module.openmsi_closing = openmsi_closing  # type: ignore[attr-defined]
    announcer = Announcer()
    announcer.add(module, "observer")
    announcer.tell("openmsi_closing", reason="over")
    assert notes == ["over"]


def test_a_class_must_be_built_first() -> None:
    with pytest.raises(TypeError, match="register an object of Notes"):
        Announcer().add(Notes, "notes")
