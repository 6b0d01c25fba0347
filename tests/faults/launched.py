"""``python -m tests.faults.launched ARGS``: the command with a seeded defect, or killed at an exact instant.

``OPENMSI_TEST_MUTATION`` names a mutation, ``OPENMSI_TEST_KILL`` a window and how often it is passed first
(``in-flush:3``), ``OPENMSI_TEST_METADATA`` how many characters a commit may have, so that few open files are more
than it can name. The process sends the signal to itself: SIGKILL, or what ``OPENMSI_TEST_SIGNAL`` names.
"""

from __future__ import annotations

import os
import sys
from unittest.mock import patch

from openmsi_core.cli import entry
from openmsi_core.receiving import watermark
from tests.faults.mutations import applied
from tests.faults.windows import armed


def main() -> None:
    """Run the command as its console script does."""
    sys.argv[0] = "openmsi"
    mutation, kill = os.environ.get("OPENMSI_TEST_MUTATION", ""), os.environ.get("OPENMSI_TEST_KILL", "")
    most = os.environ.get("OPENMSI_TEST_METADATA")
    with applied(mutation), armed(kill), patch.object(watermark, "MAX_METADATA", int(most or watermark.MAX_METADATA)):
        entry()


if __name__ == "__main__":
    main()
