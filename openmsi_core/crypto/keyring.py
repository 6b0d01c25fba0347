"""Data keys that came, kept on disk so that a restarted receiver reads at once, without its sender.

It costs some forward secrecy: who gets the node's files later can open what these keys sealed. So it is a choice
(``keyring = "file"``). The file is wrapped by the node's own key, mode 600, and holds the newest keys.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import msgpack
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from openmsi_core.crypto.nodes import Node, replace_secret

_log = logging.getLogger(__name__)

MOST_KEYS = 10_000


class KeyringFile:
    """The keyring of a node. One thread adds."""

    def __init__(self, node: Node) -> None:
        self._path: Path = node.keyring
        self._box = SecretBox(node.wrap)
        self._keys: dict[tuple[str, bytes | int], bytes] = {}

    def load(self) -> Mapping[tuple[str, bytes | int], bytes]:
        """What is there; a file that is missing or damaged is none: the keys are asked for again."""
        try:
            rows = msgpack.unpackb(self._box.decrypt(self._path.read_bytes()), raw=False)
            self._keys = {(root, index): secret for root, index, secret in rows}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, CryptoError, msgpack.exceptions.UnpackException) as error:
            _log.warning("the keyring %s cannot be used, its keys are asked for again: %s", self._path, error)
        return dict(self._keys)

    def add(self, root: str, index: bytes | int, secret: bytes) -> None:
        """One more key, durable when this returns unless the disk has no room: then it is asked for again some day."""
        if self._keys.get((root, index)) == secret:
            return
        self._keys[root, index] = secret
        while len(self._keys) > MOST_KEYS:
            del self._keys[next(iter(self._keys))]
        rows = [[*name, each] for name, each in self._keys.items()]
        try:
            replace_secret(self._path, bytes(self._box.encrypt(msgpack.packb(rows, use_bin_type=True))))
        except OSError as error:
            _log.warning("a key could not be kept in %s: %s", self._path, error)
