"""One line of the catalogue: a plugin, and what became known of it without importing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

GROUPS = {
    "openmsi.extractors": "extractor",
    "openmsi.sinks": "sink",
    "openmsi.processors": "processor",
    "openmsi.hooks": "hook",
}
METHODS = {"extractor": "extract", "sink": "write", "processor": "process"}
STATUSES: Mapping[str, str] = {
    "ok": "nothing speaks against it",
    "dynamic": "what it accepts, or more, is known only when it is imported: `--probe` tells",
    "no window": "its package does not say which versions of openmsi it fits; it runs, `plugins check` refuses it",
    "unrenamed template": "a copy of the template whose module still has the template's name; it runs",
    "fails on import": "importing it raises, ends the process, crashes or takes too long",
    "broken options": "a default value is not what its own type allows; only `--probe` finds it",
    "ambiguous": "several packages use its name; it runs as `PACKAGE/NAME`",
    "incompatible": "its package asks for other versions of openmsi",
    "missing: REQUIREMENT": "its package asks for something that is not installed, or in another version",
    "shadowed": "something earlier on the path takes its place",
    "broken entry point": "its entry point leads to no class that could run",
}
LOADABLE = frozenset(
    {"ok", "dynamic", "no window", "unrenamed template", "ambiguous", "fails on import", "broken options"}
)
UNKNOWN = "unknown"  # the kind of a package whose entry points cannot be read
TEMPLATE_PACKAGE, TEMPLATE_MODULE = "my-xrd-extractor", "my_xrd_extractor"
TEMPLATE_PLUGINS = frozenset({"xrd-extractor", "xrd-points", "xrd-shelf"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One plugin: its name and kind, where it comes from, whether it can run, and what its class says of itself.

    ``target`` is ``module:class``. ``status`` is one of `STATUSES`; ``detail`` says what that means here and what to
    do. Those of `LOADABLE` may be tried. ``window`` is the versions of openmsi that its package asks for. ``dynamic``
    names what is known only after importing it. ``signature`` is ``sniff`` as the bytes that it is.
    """

    kind: str
    name: str
    package: str
    version: str
    target: str
    status: str = "ok"
    detail: str = ""
    summary: str = ""
    window: str = ""
    accepts: tuple[str, ...] = ()
    sniff: str = ""
    head: int = 0
    early: bool = False
    emits: str = ""
    delivery: str = ""
    cite: str = ""
    stability: str = ""
    dynamic: tuple[str, ...] = ()
    signature: bytes = b""

    @property
    def qualified(self) -> str:
        """The name that is never ambiguous: ``package/name``."""
        return f"{self.package}/{self.name}"
