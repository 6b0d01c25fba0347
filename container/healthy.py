"""The container's health check: what /healthz says; fine when nobody was asked to serve it."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request

PORT = os.environ.get("OPENMSI_HEALTH_PORT", "9464")


def main() -> int:
    """0: healthy, 1: not."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/healthz", timeout=5) as answer:
            print(answer.read().decode())
            return 0
    except urllib.error.HTTPError as error:
        with error:
            print(error.read().decode())
        return 1
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):
            print("no --metrics-port, so nothing is known beyond that the process runs")
            return 0
        print(error.reason)
        return 1


if __name__ == "__main__":
    sys.exit(main())
