"""Making a root of trust and nodes, without questions and without KafkaCrypto: files with mode 600, signed by Ed25519.

The root's secret key signs every node and is needed for nothing else: it belongs offline.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgpack
from nacl.signing import SigningKey

from openmsi_core.crypto.certificates import NEVER, Rights, Role, chain_of, root_certificate, root_topic
from openmsi_core.crypto.nodes import (
    FOLDER_MODE,
    ROOT_FILE,
    Node,
    config_of,
    node_at,
    readable_by_others,
    write_node,
    write_secret,
)
from openmsi_core.errors import CipherError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)
_CURVE25519 = 1  # the kind of key exchange; the post-quantum ones need liboqs
_WARN_SECONDS = 30 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Listed:
    """One node for a list: ``rights`` None and ``problem`` why, when it cannot be used."""

    name: str
    folder: Path
    rights: Rights | None
    problem: str = ""


def make_root(folder: Path) -> Path:
    """Make a root of trust in ``folder``; its secret file. Raises CipherError when there is one, OSError."""
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    path = folder / ROOT_FILE
    try:
        write_secret(path, msgpack.packb([1, bytes(SigningKey.generate())], use_bin_type=True))
    except FileExistsError as error:
        raise CipherError(
            f"{path} exists already; nodes signed by another root could not open what these seal. Name another folder, "
            "or use this one."
        ) from error
    return path


def add_node(
    folder: Path,
    name: str,
    role: Role,
    topics: Sequence[str],
    *,
    root: Path | None = None,
    seconds: float = 0,
    through_controller: bool = False,
    now: float | None = None,
) -> Path:
    """Make a node below ``folder``, signed by its root or the one at ``root``; its configuration file.

    ``seconds`` is how long its chain holds, 0: for ever. Raises CipherError, OSError.
    """
    if not _NAME.fullmatch(name):
        raise CipherError(f"{name!r} is no name for a node: letters, digits, dashes and underscores.")
    if not topics and role is not Role.CONTROLLER:
        raise CipherError(f"for which topics is the node {name}? Give --topic T, once for each.")
    signer = _root_key(root or folder / ROOT_FILE)
    own = SigningKey.generate()
    not_after = int((time.time() if now is None else now) + seconds) if seconds else NEVER
    names = [pattern_of(topic) for topic in topics] or ["^.*$"]
    chain = chain_of(
        signer, bytes(own.verify_key), role.usages(through_controller=through_controller), names, not_after
    )
    wrap = secrets.token_bytes(32)
    both = bytes(own) + bytes(own.verify_key)
    return write_node(
        folder / name,
        name,
        msgpack.packb([2, [both], wrap, False, [_CURVE25519]], use_bin_type=True),
        msgpack.packb([0, secrets.token_bytes(32)], use_bin_type=True),
        chain,
        root_certificate(bytes(signer.verify_key)),
    )


def pattern_of(topic: str) -> str:
    """What stands in a chain for a topic: its root; a pattern gets its end, without which more would match.

    >>> pattern_of("xrd.raw"), pattern_of("^lab-.*"), pattern_of("^a$")
    ('xrd', '^lab-.*$', '^a$')
    """
    if topic.startswith("^"):
        return topic if topic.endswith("$") else f"{topic}$"
    return root_topic(topic)


def nodes_in(folder: Path, now: float | None = None) -> Iterator[Listed]:
    """Every node below ``folder``, sorted, with what is wrong with it."""
    for place in sorted(folder.iterdir()) if folder.is_dir() else ():
        if place.is_dir() and any(place.glob("*.config")):
            try:
                node = node_at(config_of(place, folder))
                rights = node.rights()
            except CipherError as error:
                yield Listed(place.name, place, None, str(error))
                continue
            yield Listed(node.name, place, rights, "; ".join(problems_of(node, rights, now)))


def problems_of(node: Node, rights: Rights, now: float | None = None) -> Iterator[str]:
    """What is wrong with a node that can be read, or will be soon; each for a person."""
    when = time.time() if now is None else now
    if rights.is_over(when):
        yield "its chain has expired: make it anew"
    elif rights.not_after and rights.not_after - when < _WARN_SECONDS:
        yield f"its chain expires in {max(0, int((rights.not_after - when) // 86400))} days: make another in time"
    if node.trusts_everybody():
        yield (
            "it trusts the temporary root of trust, whose secret is published: remove the line `temporary` from "
            f"[{node.name}-allowlist] in {node.config}"
        )
    for path in readable_by_others(node):
        yield f"others can read {path}: chmod 600"
    loose = [each for each in rights.topics or () if each.startswith("^") and not each.endswith("$")]
    if loose:
        yield f"the pattern {', '.join(loose)} has no $ at its end, so longer names match too"


def _root_key(path: Path) -> SigningKey:
    try:
        kind, seed = msgpack.unpackb(path.read_bytes(), raw=False)
        if kind != 1 or not isinstance(seed, bytes):
            raise ValueError("another kind of file")  # noqa: TRY301 - told below with the rest
        return SigningKey(seed)
    except FileNotFoundError as error:
        raise CipherError(
            f"there is no root of trust at {path}. `openmsi crypto init` makes one; or name the place where yours is "
            "kept with --root."
        ) from error
    except (OSError, ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        raise CipherError(f"the root of trust at {path} cannot be read: {error}") from error
