"""What a plugin's package asks for, judged from its metadata before anything is imported."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distributions, version

from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement

OURS = "openmsi"


@dataclass(frozen=True, slots=True)
class Package:
    """What the metadata of an installed package says, parsed once: that is most of the time of a listing.

    ``folder`` is where it was installed: a folder, or an archive.
    """

    name: str
    version: str
    requires: tuple[str, ...]
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``window`` is the versions of openmsi it asks for; ``status`` "" means that nothing is wrong."""

    window: str = ""
    status: str = ""
    detail: str = ""


class Installed:
    """The packages on a path (`sys.path` if it is None), looked up for one listing and not longer."""

    def __init__(self, search: Sequence[str] | None = None) -> None:
        self._path = sys.path if search is None else list(search)
        self._versions: dict[str, str | None] = {}

    def all(self) -> Iterator[Distribution]:
        """Every one of them, in the order in which imports would find them."""
        yield from distributions(path=self._path)

    def first(self, name: str) -> Distribution | None:
        """The one called ``name`` that imports would find."""
        return next(iter(distributions(name=name, path=self._path)), None)

    def version(self, name: str) -> str | None:
        """The version of the one called ``name``, None if nobody has installed it."""
        key = canonical(name)
        if key not in self._versions:
            found = self.first(name)
            self._versions[key] = None if found is None else found.version
        return self._versions[key]


def package_of(dist: Distribution) -> Package:
    """What the metadata of ``dist`` says. Raises whatever unreadable metadata raises."""
    metadata = dist.metadata
    requires = metadata.get_all("Requires-Dist")
    return Package(
        name=str(metadata["Name"]),
        version=str(metadata["Version"]),
        requires=tuple(dist.requires or ()) if requires is None else tuple(map(str, requires)),
        folder=str(dist.locate_file("")),
    )


def judge(package: Package, extras: Sequence[str], installed: Installed) -> Verdict:
    """Whether this openmsi is among the versions that ``package`` asks for, and its dependencies are there.

    ``extras`` are those that an entry point names in brackets.
    """
    window: str | None = None
    for requirement in _requirements(package, extras):
        if canonical(requirement.name) == OURS:
            window = str(requirement.specifier)
            if window and not requirement.specifier.contains(our_version(), prereleases=True):
                mend = f"pip install --upgrade {package.name} openmsi"
                return Verdict(window, "incompatible", f"it asks for openmsi{window}, this is {our_version()}; {mend}")
            continue
        lack = _lack(requirement, installed)
        if lack:
            return Verdict(window or "", f"missing: {_spelled(requirement)}", lack)
    if not window and canonical(package.name) != OURS:
        detail = "its package does not say which versions of openmsi it fits; write openmsi>=0.1,<1 in its dependencies"
        return Verdict("", "no window", detail)
    return Verdict(window or "")


def canonical(name: str) -> str:
    """The form in which two spellings of a package's name are equal.

    >>> canonical("My_XRD.extractor")
    'my-xrd-extractor'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


@functools.cache
def our_version() -> str:
    """The version of this openmsi; "0" when it runs from a source tree that is not installed."""
    try:
        return version(OURS)
    except PackageNotFoundError:
        return "0"


def _requirements(package: Package, extras: Sequence[str]) -> Iterator[Requirement]:
    for text in package.requires:
        requirement = _parsed(text)
        if requirement is None:
            continue  # pip has the last word on what nobody can read
        try:
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                yield requirement
        except UndefinedEnvironmentName:
            continue


@functools.cache  # most plugins ask for the same versions of openmsi
def _parsed(text: str) -> Requirement | None:
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def _lack(requirement: Requirement, installed: Installed) -> str:
    """What is wrong with one dependency and how to mend it, "" if nothing."""
    found = installed.version(requirement.name)
    mend = f"pip install '{_spelled(requirement)}'"
    if found is None:
        return f"it is not installed; {mend}"
    if requirement.specifier and not requirement.specifier.contains(found, prereleases=True):
        return f"{found} is installed; {mend}"
    return ""


def _spelled(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"
