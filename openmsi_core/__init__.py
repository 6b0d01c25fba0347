"""openmsi: laboratory files through Kafka, whole and verified, into plugins that anybody can write.

This module is the public API for plugin authors, a table of contents and nothing else. Names are loaded when
they are first used, so importing openmsi_core starts nothing, opens nothing and loads no Kafka client.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openmsi_core.errors import FolderError as FolderError
    from openmsi_core.errors import Reject as Reject
    from openmsi_core.errors import RetryLater as RetryLater
    from openmsi_core.errors import TargetError as TargetError
    from openmsi_core.files.datafile import DataFile as DataFile
    from openmsi_core.model import Result as Result
    from openmsi_core.model import Stored as Stored
    from openmsi_core.plugins.hooks import hookimpl as hookimpl
    from openmsi_core.plugins.kinds import Extractor as Extractor
    from openmsi_core.plugins.kinds import Processor as Processor
    from openmsi_core.plugins.kinds import Sink as Sink
    from openmsi_core.plugins.options import PluginOptions as PluginOptions

_HOMES = {
    "DataFile": "openmsi_core.files.datafile",
    "Extractor": "openmsi_core.plugins.kinds",
    "FolderError": "openmsi_core.errors",
    "PluginOptions": "openmsi_core.plugins.options",
    "Processor": "openmsi_core.plugins.kinds",
    "Reject": "openmsi_core.errors",
    "Result": "openmsi_core.model",
    "RetryLater": "openmsi_core.errors",
    "Sink": "openmsi_core.plugins.kinds",
    "Stored": "openmsi_core.model",
    "TargetError": "openmsi_core.errors",
    "hookimpl": "openmsi_core.plugins.hooks",
}

__all__ = [
    "DataFile",
    "Extractor",
    "FolderError",
    "PluginOptions",
    "Processor",
    "Reject",
    "Result",
    "RetryLater",
    "Sink",
    "Stored",
    "TargetError",
    "hookimpl",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'openmsi_core' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
