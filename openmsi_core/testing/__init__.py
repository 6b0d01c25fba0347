"""The public test kit: what a plugin keeps to, files to hand it, and brokers for tests.

A table of contents. Names are loaded when they are first used: the contracts must not be imported before pytest was
told to rewrite their assertions (`openmsi_core.testing.pytest_plugin`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openmsi_core.testing.contract.kinds import ExtractorContract as ExtractorContract
    from openmsi_core.testing.contract.kinds import ProcessorContract as ProcessorContract
    from openmsi_core.testing.contract.kinds import SinkContract as SinkContract
    from openmsi_core.testing.files import data_file as data_file

_HOMES = {
    "ExtractorContract": "openmsi_core.testing.contract.kinds",
    "ProcessorContract": "openmsi_core.testing.contract.kinds",
    "SinkContract": "openmsi_core.testing.contract.kinds",
    "data_file": "openmsi_core.testing.files",
}

__all__ = ["ExtractorContract", "ProcessorContract", "SinkContract", "data_file"]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'openmsi_core.testing' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(home), name)
