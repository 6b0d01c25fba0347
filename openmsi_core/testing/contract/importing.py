"""Checks of what importing the plugin does besides: it happens on every start, in every test run."""

from __future__ import annotations

from typing import Any

from openmsi_core.testing.checks import check
from openmsi_core.testing.contract.packaging import PackagingChecks

LIMIT_SECONDS = 2.0
_HINT = "do that in open(), which is called when the plugin runs"


class ImportChecks(PackagingChecks):
    """The second group."""

    def _imported(self) -> dict[str, Any]:
        self.cls()
        return self.report()

    @check("import-time", "import")
    def test_import_time(self) -> None:
        """Importing it takes less than two seconds."""
        seconds = self._imported()["seconds"]
        assert seconds < LIMIT_SECONDS, f"importing {self.plugin} takes {seconds:.1f} s: import what is slow in open()"

    @check("import-quiet", "import")
    def test_import_quiet(self) -> None:
        """Importing it prints nothing."""
        printed = self._imported()["printed"]
        assert not printed, f"importing {self.plugin} prints {printed!r}: remove it, or use self.log in your method"

    @check("import-threads", "import")
    def test_import_threads(self) -> None:
        """Importing it starts no thread and no process."""
        report = self._imported()
        assert not report["threads"], f"importing {self.plugin} starts the threads {report['threads']}: {_HINT}"
        assert not report["processes"], f"importing {self.plugin} starts processes {report['processes']}: {_HINT}"

    @check("import-network", "import")
    def test_import_network(self) -> None:
        """Importing it speaks to nobody over the network."""
        found = self._imported()["network"]
        assert not found, f"importing {self.plugin} uses the network {found}: {_HINT}"

    @check("import-logging", "import")
    def test_import_logging(self) -> None:
        """Importing it leaves the set-up of logging alone."""
        changed = self._imported()["logging"]
        assert not changed, f"importing {self.plugin} sets logging up: leave that to openmsi, and use self.log"

    @check("import-files", "import")
    def test_import_files(self) -> None:
        """Importing it writes, moves and removes no files."""
        found = self._imported()["files"]
        assert not found, f"importing {self.plugin} changes files {found}: {_HINT}, in self.workdir"

    @check("import-kafka", "import")
    def test_import_kafka(self) -> None:
        """Importing it loads no Kafka client."""
        loaded = self._imported()["kafka"]
        assert not loaded, f"importing {self.plugin} imports confluent_kafka: a plugin never needs it, openmsi sends"
