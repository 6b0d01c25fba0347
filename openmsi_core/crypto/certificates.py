"""Certificates and chains of KafkaCrypto: what a node may do, on which topics, and until when. Pure.

::

    certificate = msgpack [not after (epoch seconds, 0: never), poison, public key (32)]
    poison      = msgpack [["usages", [...]], ["topics", [...]], ["pathlen", n]], each of them optional
    signed      = Ed25519 signature (64) || certificate
    chain       = msgpack [signed, ...], the first one signed by the root of trust, which is not inside
    root        = msgpack [0, msgpack [], public key], unsigned, on the allowlist of every node

A topic in a chain is a root topic, what stands before the first dot; one that begins with ``^`` is a pattern, matched
from the left only: it must end with ``$``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgpack
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

SEAL, ASK, SUBSCRIBE = "key-encrypt", "key-encrypt-request", "key-encrypt-subscribe"
"""The usages: hand out keys, ask a producer for them, ask through a controller."""

PUBLISHED_ROOT = bytes.fromhex("1a13b0aecdd6751c7dfa43e43284326ad01dbc20a8a00b1566092ab0a542620f")
"""The public key of the temporary root of trust that KafkaCrypto gives a fresh node: everybody can sign with it."""

NEVER = 0
_PUBLIC_BYTES, _SIGNATURE_BYTES = 32, 64


class BadChain(ValueError):
    """A certificate or a chain that does not hold; the text says why."""


class Role(StrEnum):
    """What a node is for."""

    PRODUCER = "producer"
    CONSUMER = "consumer"
    BOTH = "both"
    CONTROLLER = "controller"

    def usages(self, *, through_controller: bool = False) -> tuple[str, ...]:
        """What its chain must allow."""
        asks = (SUBSCRIBE,) if through_controller else (ASK, SUBSCRIBE)
        return {
            Role.PRODUCER: (SEAL,),
            Role.CONSUMER: asks,
            Role.BOTH: (SEAL, *asks),
            Role.CONTROLLER: (ASK,),
        }[self]


@dataclass(frozen=True, slots=True)
class Rights:
    """What a chain allows. ``usages`` and ``topics`` None: anything; ``not_after`` epoch seconds, 0: never ends."""

    not_after: float
    usages: tuple[str, ...] | None
    topics: tuple[str, ...] | None
    public: bytes

    def allows(self, usage: str) -> bool:
        """True when the chain may be used so."""
        return self.usages is None or usage in self.usages

    def covers(self, root: str) -> bool:
        """True when the chain is for this root topic."""
        return self.topics is None or any(_matches(pattern, root) for pattern in self.topics)

    def is_over(self, now: float) -> bool:
        """True when the chain has expired at ``now``, epoch seconds."""
        return self.not_after != NEVER and self.not_after < now

    @property
    def role(self) -> str:
        """The role in a person's words."""
        seals, reads = self.allows(SEAL), self.allows(ASK) or self.allows(SUBSCRIBE)
        if seals and reads:
            return str(Role.BOTH)
        if seals:
            return str(Role.PRODUCER)
        if self.usages == (ASK,):
            return str(Role.CONTROLLER)
        return str(Role.CONSUMER) if reads else "none"


def root_topic(topic: str) -> str:
    """What keys belong to: the name before the first dot.

    >>> root_topic("xrd.raw.dlq")
    'xrd'
    """
    return topic.partition(".")[0]


def root_certificate(public: bytes) -> bytes:
    """The unsigned certificate of a root of trust, as it stands on an allowlist."""
    return _packed([NEVER, _packed([]), public])


def chain_of(root: SigningKey, public: bytes, usages: Sequence[str], topics: Sequence[str], not_after: int) -> bytes:
    """The chain of a node with the key ``public``, signed by ``root``."""
    poison = _packed([["usages", list(usages)], ["topics", list(topics)], ["pathlen", 1]])
    return _packed([bytes(root.sign(_packed([not_after, poison, public])))])


def rights_of(chain: bytes, allowlist: Sequence[bytes]) -> Rights:
    """What a chain allows, once every signature in it is verified back to a root of ``allowlist``. Raises BadChain."""
    links = _unpacked(chain)
    if not isinstance(links, list) or not links or not all(isinstance(each, bytes) for each in links):
        raise BadChain("the chain is no list of signed certificates")
    reasons = []
    for root in allowlist:
        try:
            return _followed(_certificate(root), links)
        except BadChain as error:
            reasons.append(str(error))
    raise BadChain(reasons[-1] if reasons else "the allowlist has no root of trust")


def public_of(certificate: bytes) -> bytes:
    """The public key in an unsigned certificate. Raises BadChain."""
    return _certificate(certificate).public


def why_not(rights: Rights, seals: Iterable[str], opens: Iterable[str], now: float) -> str:
    """What of the chain does not allow this; "" when all of it does."""
    if rights.is_over(now):
        return f"its chain has expired ({until(rights.not_after)})"
    asks = rights.allows(ASK) or rights.allows(SUBSCRIBE)
    for roots, is_allowed, role in ((seals, rights.allows(SEAL), "producer"), (opens, asks, "consumer")):
        for root in roots:
            if not is_allowed:
                return f"it has not the role of a {role}, only {rights.role}"
            if not rights.covers(root):
                return f"its chain is for the topics {listed(rights.topics)}, not for {root}"
    return ""


def until(not_after: float) -> str:
    """The end of a chain for a person."""
    if not not_after:
        return "without an end"
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(not_after))


def listed(names: tuple[str, ...] | None) -> str:
    """Names for a person; None: any."""
    return "(any)" if names is None else ", ".join(names) or "(none)"


def _followed(rights: Rights, links: Sequence[bytes]) -> Rights:
    for link in links:
        if len(rights.public) != _PUBLIC_BYTES:
            raise BadChain("a key in the chain is of a kind that openmsi cannot check (post-quantum)")
        try:
            inside = VerifyKey(rights.public).verify(link)
        except (BadSignatureError, ValueError) as error:
            raise BadChain("the chain is not signed by a root of trust on the allowlist") from error
        rights = _narrowed(rights, _certificate(bytes(inside)))
    return rights


def _narrowed(outer: Rights, inner: Rights) -> Rights:
    ends = [each for each in (outer.not_after, inner.not_after) if each != NEVER]
    return Rights(
        min(ends, default=NEVER),
        _both(outer.usages, inner.usages),
        _both(outer.topics, inner.topics),
        inner.public,
    )


def _both(outer: tuple[str, ...] | None, inner: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if outer is None or inner is None:
        return inner if outer is None else outer
    return tuple(each for each in inner if any(each == choice or _matches(choice, each) for choice in outer))


def _certificate(data: bytes) -> Rights:
    parts = _unpacked(data)
    if not isinstance(parts, list) or len(parts) < 3 or not isinstance(parts[0], int | float):
        raise BadChain("a certificate has not its three parts")
    poison = _unpacked(parts[1]) if isinstance(parts[1], bytes) else None
    if not isinstance(poison, list) or not all(isinstance(each, list) and len(each) == 2 for each in poison):
        raise BadChain("what a certificate allows cannot be read")
    limits: Mapping[str, object] = {_text(name): value for name, value in poison}
    public = parts[2] if isinstance(parts[2], bytes) else b""
    return Rights(float(parts[0]), _texts(limits.get("usages")), _texts(limits.get("topics")), public)


def _texts(value: object) -> tuple[str, ...] | None:
    return tuple(_text(each) for each in value) if isinstance(value, list) else None


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _matches(pattern: str, name: str) -> bool:
    if not pattern.startswith("^"):
        return pattern == name
    try:
        return re.match(pattern, name) is not None
    except re.error:
        return False


def _packed(value: object) -> bytes:
    return bytes(msgpack.packb(value, use_bin_type=True))


def _unpacked(data: bytes) -> object:
    try:
        return msgpack.unpackb(data, raw=True)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        raise BadChain(f"it is not msgpack: {type(error).__name__}") from error
