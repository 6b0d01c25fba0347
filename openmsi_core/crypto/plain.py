"""No encryption: what is sealed is what it was."""

from __future__ import annotations

from openmsi_core.ports import Never, NotYet, Opened


class Plain:
    """The Sealer of topics that are not encrypted."""

    def seal_key(self, topic: str, data: bytes) -> bytes:  # noqa: ARG002 - a port's signature
        """The key as it is."""
        return data

    def seal_value(self, topic: str, data: bytes) -> bytes:  # noqa: ARG002
        """The value as it is."""
        return data

    def open_key(self, topic: str, data: bytes) -> Opened | NotYet | Never:  # noqa: ARG002
        """The key as it is."""
        return Opened(data)

    def open_value(self, topic: str, data: bytes) -> Opened | NotYet | Never:  # noqa: ARG002
        """The value as it is."""
        return Opened(data)
