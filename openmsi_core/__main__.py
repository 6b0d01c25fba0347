"""``python -m openmsi_core`` is the command ``openmsi``."""

from openmsi_core.cli import entry

if __name__ == "__main__":
    entry()
