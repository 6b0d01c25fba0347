"""What KafkaCrypto keeps on disk, in a form in which nothing can go wrong inside of it.

Its management thread dies with its lock held when its store raises (a full disk), and then every call hangs for ever.
So failures are noted here, told by `failure`, and what was not written is written again later.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack

from openmsi_core.crypto.nodes import Node, replace_secret

_log = logging.getLogger(__name__)

FORCED: Mapping[str, object] = {
    "mgmt_poll_interval": 100,  # ms; with the library's 500 the first record is readable a second later
    "crypto_sub_interval": 10,  # s; with its 60 one producer that is dead delays the others' keys by a minute
    "deser_initial_wait_intervals": 1,  # with its 10 each unknown key index blocks the caller for 9 s
    "mgmt_long_keyindex": True,
}


class DurableText(io.StringIO):
    """A text file in memory; `flush` replaces the file on disk, whole or not at all, durable when it returns."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.read_text("utf-8"), newline="\n")
        self._path = path

    def flush(self) -> None:
        """Raises OSError; the file on disk is then as it was."""
        if not self.closed:
            replace_secret(self._path, self.getvalue().encode("utf-8"))


class GuardedStore:
    """KafkaCrypto's store of a node, with our settings on top; storing never raises.

    ``stored`` has what is durable: the root topic and index of each data key of ours.
    """

    def __init__(self, kafkacrypto: Any, node: Node, key_seconds: float) -> None:
        self.failure = ""
        self.stored: frozenset[tuple[str, object]] = frozenset()
        self._inner = kafkacrypto.cryptostore.CryptoStore(None, DurableText(node.config))
        self._paths = {"cryptokey": f"file#{node.crypto}", "ratchet": f"file#{node.seed}"}
        self._key_seconds = key_seconds

    def get_nodeID(self) -> str:  # noqa: N802 - the library's name
        """The name of the node."""
        return str(self._inner.get_nodeID())

    def load_section(self, section: str, defaults: bool = True) -> Any:
        """A section of the configuration."""
        return self._inner.load_section(section, defaults=defaults)

    def load_value(self, name: str, section: str | None = None, default: Any = None) -> Any:
        """One value: a file by its whole path, a setting of ours before the file's."""
        if section is None and name in self._paths:
            return self._paths[name]
        if section is None and name.lower() in FORCED:
            return FORCED[name.lower()]
        if section is None and name.lower() == "crypto_max_pgen_age":
            return max(self._key_seconds, self._inner.load_value(name) or 0)
        return self._inner.load_value(name, section, default)

    def store_value(self, name: Any, value: Any, section: str | None = None) -> None:
        """Store one value; what fails is noted."""
        try:
            self._inner.store_value(name, value, section)
        except Exception as error:  # noqa: BLE001 - an error of any kind would end the library's thread
            self._failed(error)

    def load_opaque_value(self, name: str, section: str | None = None, default: Any = None) -> Any:
        """A wrapped value, opened."""
        return self._inner.load_opaque_value(name, section, default)

    def store_opaque_value(self, name: str, value: bytes, section: str | None = None) -> None:
        """Store a value wrapped; when those are our data keys, `stored` tells which are durable now."""
        try:
            self._inner.store_opaque_value(name, value, section)
            if name == "oldkeys":
                kept = msgpack.unpackb(value, raw=False)["pgens"]
                self.stored = frozenset((str(root), index) for root, index, _, _ in kept)
        except Exception as error:  # noqa: BLE001
            self._failed(error)
        else:
            self.failure = ""

    def set_cryptokey(self, key: Any) -> None:
        """The key that wraps."""
        self._inner.set_cryptokey(key)

    def _failed(self, error: Exception) -> None:
        if not self.failure:
            _log.warning("keys could not be stored, it is tried again: %s: %s", type(error).__name__, error)
        self.failure = f"{type(error).__name__}: {error}"
