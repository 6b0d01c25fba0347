"""Where a node lives: one process at a time, one machine, the files it was made in. A copy of a node is noticed."""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgpack

from openmsi_core.crypto.nodes import Node, replace_secret
from openmsi_core.errors import CipherError
from openmsi_core.files.locks import FileLock, holder

_MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


@contextmanager
def residing(node: Node, machine: str | None = None) -> Iterator[None]:
    """Use a node: alone, and where it lives. ``machine`` is this one.

    Raises CipherError when another process has the node, or when its files were copied or restored from a backup.
    """
    try:
        lock = FileLock(node.lock)
        lock.__enter__()
    except BlockingIOError as error:
        raise CipherError(
            f"the node {node.name} is in use by process {holder(node.lock)}, and only one may use it: make another for "
            f"this run with `openmsi crypto add` ({node.config.parent})."
        ) from error
    except OSError as error:
        raise CipherError(
            f"the folder of the node {node.name} cannot be written: {error}. The node keeps its keys there before the "
            "first record goes out."
        ) from error
    try:
        here = machine or this_machine()
        _check(node, here)
        _note(node, here)  # the ratchet goes on from here: what has less is older
        yield
    finally:
        lock.__exit__(None, None, None)


def adopt(node: Node, machine: str | None = None) -> None:
    """Make the node live here, in these files, with a new ratchet: whoever has a copy shares no data key with it.

    Raises CipherError when it is in use, OSError.
    """
    try:
        with FileLock(node.lock):
            replace_secret(node.seed, msgpack.packb([0, secrets.token_bytes(32)], use_bin_type=True))
            node.home.unlink(missing_ok=True)
            _note(node, machine or this_machine())
    except BlockingIOError as error:
        raise CipherError(f"the node {node.name} is in use by process {holder(node.lock)}; end that first.") from error


def this_machine() -> str:
    """What tells this machine from others."""
    for path in _MACHINE_IDS:
        try:
            if text := path.read_text("ascii").strip():
                return text
        except (OSError, UnicodeDecodeError):
            continue  # not a Linux with systemd, or a container without one
    return f"host {socket.gethostname()}"


def _check(node: Node, machine: str) -> None:
    try:
        noted = json.loads(node.home.read_text("utf-8"))
        lived, file, counter = str(noted["machine"]), int(noted["file"]), int(noted["counter"])
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CipherError(
            f"{node.home} cannot be read: {error}. `openmsi crypto adopt {node.name}` mends it."
        ) from error
    why = ""
    if lived != machine:
        why = "it lived on another machine"
    elif file != node.seed.stat().st_ino:
        why = "its files are not those that it was made in"
    elif _counter(node) < counter:
        why = "its ratchet has gone back"
    if why:
        raise CipherError(
            f"the node {node.name} was copied, or restored from a backup: {why} ({node.config.parent}). Two that use "
            "the same node could use the same keys. Make another node with `openmsi crypto add`; or, when the first "
            f"one is gone for good, `openmsi crypto adopt {node.name}`."
        )


def _note(node: Node, machine: str) -> None:
    facts = {"machine": machine, "file": node.seed.stat().st_ino, "counter": _counter(node)}
    try:
        replace_secret(node.home, json.dumps(facts).encode("utf-8"))
    except OSError as error:
        raise CipherError(f"{node.home} cannot be written: {os.strerror(error.errno or 0)}. Make room.") from error


def _counter(node: Node) -> int:
    try:
        found = msgpack.unpackb(node.seed.read_bytes(), raw=True)[0]
    except (ValueError, IndexError, TypeError, msgpack.exceptions.UnpackException):
        found = 0  # `node_at` has read it already; between two writes of the ratchet it may be cut off
    return int(found) if isinstance(found, int) else 0
