"""Checks of what pip installed: entry point, requirement on openmsi, static metadata."""

from __future__ import annotations

from typing import Any

from openmsi_core.plugins.requirements import canonical
from openmsi_core.testing.checks import check
from openmsi_core.testing.contract.basis import Contract

_TEMPLATE = ("my-xrd-extractor", "my_xrd_extractor")
_STATIC = ("accepts", "sniff", "head", "emits", "delivery", "cite", "stability")


class PackagingChecks(Contract):
    """The first group."""

    @check("entry-point", "packaging")
    def test_entry_point(self) -> None:
        """The plugin's entry point leads to a class of the right kind that can be imported."""
        entry = self.entry()
        group = f"openmsi.{self.kind}s"
        assert entry.kind == self.kind, (
            f"{self.plugin} is registered as {entry.kind}, and {type(self).__name__} tests {self.kind}s: "
            f'move its line in pyproject.toml under [project.entry-points."{group}"]'
        )
        self.cls()

    @check("window", "packaging")
    def test_window(self) -> None:
        """The package says which versions of openmsi it fits, with an upper end."""
        entry = self.entry()
        if canonical(entry.package) == "openmsi":
            return
        asked = entry.window
        ends = any(mark in asked for mark in ("<", "~=", "=="))
        assert ends, (
            f"{entry.package} asks for openmsi{asked}, which has no upper end: a later openmsi may not fit. "
            'Write dependencies = ["openmsi>=0.1,<1"] in pyproject.toml'
        )

    @check("static", "packaging")
    def test_static(self) -> None:
        """Class attributes are literals: what `openmsi plugins` reads without importing is what the class says."""
        entry = self.entry()
        cls: Any = self.cls()  # an author may have written anything
        ours = [name for name in entry.dynamic if name in {*_STATIC, "class", "module"}]
        assert not ours, f"{entry.target}: write {', '.join(ours)} as literals; they are computed when imported"
        sniff = cls.sniff.decode("utf-8", "backslashreplace") if isinstance(cls.sniff, bytes) else cls.sniff
        now = {name: getattr(cls, name) for name in _STATIC} | {"sniff": sniff}
        now["accepts"] = (cls.accepts,) if isinstance(cls.accepts, str) else tuple(cls.accepts)
        read = {name: getattr(entry, name) for name in _STATIC}
        assert read == now, f"{entry.target}: the source says one thing and the imported class another"

    @check("accepts-is-many", "packaging")
    def test_accepts_is_many(self) -> None:
        """``accepts`` is a tuple of globs, and ``sniff`` is bytes."""
        cls: Any = self.cls()
        accepts, sniff = cls.accepts, cls.sniff
        assert isinstance(accepts, tuple), f'accepts = {accepts!r} must be a tuple, as in accepts = ("*.txt",)'
        assert isinstance(sniff, bytes), f'sniff = {sniff!r} must be bytes, as in sniff = b"xrdMeasurement"'

    @check("docstring", "packaging")
    def test_docstring(self) -> None:
        """The class has a docstring: its first line is what `openmsi plugins` shows."""
        text = (self.cls().__dict__.get("__doc__") or "").strip()
        assert text, f'{self.entry().target} has no docstring: write """What it does, in one line.""" under class'

    @check("renamed", "packaging")
    def test_renamed(self) -> None:
        """It is not a copy of the template that kept its names."""
        entry = self.entry()
        package, module = canonical(entry.package), entry.target.partition(":")[0].split(".")[0]
        kept = module == _TEMPLATE[1] and package != _TEMPLATE[0]
        assert not kept, (
            f"the package is called {package} and its module still {module}: every other copy of the template has "
            f"that module too. Rename the folder src/{module}, and change its name in pyproject.toml and the tests"
        )
