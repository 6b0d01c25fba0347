"""Nodes and a key exchange in memory for tests of encryption."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from openmsi_core.crypto import door
from openmsi_core.crypto.certificates import Rights, Role
from openmsi_core.crypto.exchange import DataKey
from openmsi_core.crypto.nodes import Node, node_at
from openmsi_core.crypto.provisioning import add_node, make_root
from openmsi_core.errors import CipherError

ANYTHING = Rights(0, None, None, bytes(32))


def need_library() -> None:
    """The test needs kafkacrypto and libsodium: in CI a machine without them fails, elsewhere the test is skipped."""
    try:
        door.library()
    except CipherError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


def make_node(folder: Path, name: str = "n", role: str = "both", topics=("t",), **more) -> Node:
    """A node below ``folder`` with a root of trust there."""
    if not (folder / "root.key").exists():
        make_root(folder)
    return node_at(add_node(folder, name, Role(role), topics, **more))


class Keys:
    """A key exchange in memory: ``here`` has the secrets that came, ``ours`` what we seal with, once it is stored."""

    def __init__(self) -> None:
        self.here: dict[tuple[str, bytes | int], bytes] = {}
        self.ours: dict[str, DataKey] = {}
        self.is_stored = True
        self.failure = self.store_failure = ""
        self.silence = 0.0
        self.asked: list[tuple[str, bytes | int]] = []
        self.forgotten: list[tuple[str, bytes | int]] = []
        self.again = 0

    def silent_for(self) -> float:
        return self.silence

    def prime(self, root: str) -> None:
        if root not in self.ours:
            self.ours[root] = DataKey(os.urandom(32), os.urandom(32))

    def rotate(self) -> None:
        self.ours.clear()

    def current(self, root: str) -> DataKey | None:
        return self.ours.get(root) if self.is_stored else None

    def store_again(self) -> None:
        self.again += 1

    def secrets(self, root: str, index: bytes | int) -> tuple[bytes, ...]:
        mine = tuple(key.secret for name, key in self.ours.items() if (name, key.index) == (root, index))
        return mine + ((self.here[root, index],) if (root, index) in self.here else ())

    def ask(self, root: str, index: bytes | int) -> None:
        self.asked.append((root, index))

    def forget(self, root: str, index: bytes | int) -> None:
        self.forgotten.append((root, index))
