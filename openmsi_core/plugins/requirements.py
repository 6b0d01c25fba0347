"""What a plugin's package asks for, judged from its metadata before anything is imported."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distributions, version

from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement

OURS = "openmsi"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``window`` is the versions of openmsi it asks for; ``status`` "" means that nothing is wrong."""

    window: str = ""
    status: str = ""
    detail: str = ""


def judge(dist: Distribution, extras: Sequence[str], search: Sequence[str] | None = None) -> Verdict:
    """Whether this openmsi is among the versions that ``dist`` asks for, and its dependencies are there.

    ``extras`` are those that an entry point names in brackets.
    """
    window: str | None = None
    package = str(dist.metadata["Name"])
    for requirement in _requirements(dist, extras):
        if canonical(requirement.name) == OURS:
            window = str(requirement.specifier)
            if window and not requirement.specifier.contains(our_version(), prereleases=True):
                detail = (
                    f"it asks for openmsi{window}, this is {our_version()}; pip install --upgrade {package} openmsi"
                )
                return Verdict(window, "incompatible", detail)
            continue
        lack = _lack(requirement, search)
        if lack:
            return Verdict(window or "", f"missing: {_spelled(requirement)}", lack)
    if not window and canonical(package) != OURS:
        detail = "its package does not say which versions of openmsi it fits; write openmsi>=0.1,<1 in its dependencies"
        return Verdict("", "no window", detail)
    return Verdict(window or "")


def canonical(name: str) -> str:
    """The form in which two spellings of a package's name are equal.

    >>> canonical("My_XRD.extractor")
    'my-xrd-extractor'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(name: str | None = None, search: Sequence[str] | None = None) -> Iterator[Distribution]:
    """The installed packages, or those called ``name``, in the order in which imports would find them."""
    yield from distributions(name=name, path=sys.path if search is None else list(search))


def our_version() -> str:
    """The version of this openmsi; "0" when it runs from a source tree that is not installed."""
    try:
        return version(OURS)
    except PackageNotFoundError:
        return "0"


def _requirements(dist: Distribution, extras: Sequence[str]) -> Iterator[Requirement]:
    for text in dist.requires or ():
        try:
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                yield requirement
        except (InvalidRequirement, UndefinedEnvironmentName):
            continue  # pip has the last word on what nobody can read


def _lack(requirement: Requirement, search: Sequence[str] | None) -> str:
    """What is wrong with one dependency and how to mend it, "" if nothing."""
    found = next(installed(requirement.name, search), None)
    mend = f"pip install '{_spelled(requirement)}'"
    if found is None:
        return f"it is not installed; {mend}"
    if requirement.specifier and not requirement.specifier.contains(found.version, prereleases=True):
        return f"{found.version} is installed; {mend}"
    return ""


def _spelled(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"
