"""What a check of the contract suite is: a test method with a name that can be waived, and a place in the table."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

import pytest

WAIVED = "waived: "

P = ParamSpec("P")
C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its name, its group, the version of openmsi that brought it, what it asks for.

    One that is ``pending`` is new: for a minor release a plugin that fails it is told and does not fail.
    """

    name: str
    group: str
    since: str
    says: str
    pending: bool = False


def check(
    name: str, group: str, *, since: str = "0.1", pending: bool = False
) -> Callable[[Callable[Concatenate[C, P], None]], Callable[Concatenate[C, P], None]]:
    """Make a test method a check called ``name``; its docstring says what it asks for, and stands in the docs."""

    def decorate(method: Callable[Concatenate[C, P], None]) -> Callable[Concatenate[C, P], None]:
        @functools.wraps(method)
        def checked(self: C, /, *args: P.args, **kwargs: P.kwargs) -> None:
            waived: Mapping[str, str] = getattr(self, "waive", {})
            if waived.get(name):
                pytest.skip(f"{WAIVED}{name}: {waived[name]}")
            try:
                method(self, *args, **kwargs)
            except AssertionError as error:
                if not pending:
                    raise
                pytest.xfail(f"pending until the next minor release of openmsi: {name}: {error}")

        says = " ".join((inspect.getdoc(method) or "").split())
        checked.check = Check(name, group, since, says, pending)  # type: ignore[attr-defined] # read by checks_of
        return checked

    return decorate


def checks_of(contract: type) -> tuple[Check, ...]:
    """The checks of a contract class, in the order in which they were written."""
    return tuple(dict.fromkeys(_found(contract)))


def table(contracts: Mapping[str, type]) -> str:
    """The checks of several contracts as a Markdown table: one row a check, one column a kind.

    ``contracts`` is heading -> class.
    """
    having = {heading: checks_of(contract) for heading, contract in contracts.items()}
    every = dict.fromkeys(each for checks in having.values() for each in checks)
    rows = [
        f"| group | check | {' | '.join(having)} | since | what it asks for |",
        f"|---|---|{'---|' * len(having)}---|---|",
    ]
    for each in sorted(every, key=lambda one: _GROUPS.index(one.group)):
        marks = " | ".join("yes" if each in checks else "" for checks in having.values())
        since = f"{each.since} (pending)" if each.pending else each.since
        rows.append(f"| {each.group} | `{each.name}` | {marks} | {since} | {each.says} |")
    return "\n".join(rows) + "\n"


_GROUPS = ("contract", "packaging", "import", "options", "function", "hostile input", "stream")


def _found(contract: type) -> Iterator[Check]:
    for base in reversed(contract.__mro__):
        for name in vars(base):
            found: Any = getattr(getattr(contract, name, None), "check", None)
            if isinstance(found, Check):
                yield found
