"""``python -m tests.faults.launched ARGS``: the command with a seeded defect, or killed at an exact instant.

``OPENMSI_TEST_MUTATION`` names a mutation, ``OPENMSI_TEST_KILL`` a window and how often it is passed first
(``in-flush:3``). The kill is SIGKILL, sent by the process to itself.
"""

from __future__ import annotations

import os
import sys

from openmsi_core.cli import entry
from tests.faults.mutations import applied
from tests.faults.windows import armed


def main() -> None:
    """Run the command as its console script does."""
    sys.argv[0] = "openmsi"
    with applied(os.environ.get("OPENMSI_TEST_MUTATION", "")), armed(os.environ.get("OPENMSI_TEST_KILL", "")):
        entry()


if __name__ == "__main__":
    main()
