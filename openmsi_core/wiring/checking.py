"""Whether a plugin finds what it needs, without a file and without Kafka."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from openmsi_core.plugins.loader import build


def check_plugin(plugin: str, values: Mapping[str, object], topic: str) -> Iterator[str]:
    """Open a plugin with the options ``values`` and let it try what it needs: a sentence for each thing that is well.

    ``topic`` is where its files would come from. It may take as long as the network does, and leaves nothing behind.
    Raises TargetError or FolderError for what is not well, PluginError and SettingsError.
    """
    runner_of = build(plugin, values)
    with tempfile.TemporaryDirectory(prefix="openmsi-check-") as scratch:
        runner = runner_of(Path(scratch))
        runner.open()
        try:
            yield "it can be opened"
            yield from runner.plugin.check(topic)
        finally:
            runner.close()
