"""The sealed form of a key or value, and how it is sealed and opened. Pure, and free of any lock.

::

    01 || msgpack [key index, salt (16), secretbox]
    key (32) || nonce (24) = BLAKE2b(b"", key=secret (32), salt=salt, person="key" or "value" padded with zeros)
    secretbox = XSalsa20-Poly1305

The format is KafkaCrypto's, so its programs open what is sealed here and the reverse. Our salts are random: two
processes that got the same secret by mistake (a copied folder of a node) still never use a nonce twice.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

import msgpack
from nacl import bindings
from nacl.exceptions import CryptoError

SEALED = 1
SALT_BYTES, SECRET_BYTES, BOX_BYTES = 16, 32, bindings.crypto_secretbox_MACBYTES
OVERHEAD = 128
"""At most so many bytes are added to what is sealed; it is 72 to 75 with the usual key indices."""

KEY, VALUE = b"key".ljust(16, b"\0"), b"value".ljust(16, b"\0")
"""What a sealed thing is for: one does not open as the other."""

Index = bytes
"""Names one secret of one producer. KafkaCrypto's short indices are numbers; here they are their msgpack bytes."""

_KEY_BYTES, _NONCE_BYTES = bindings.crypto_secretbox_KEYBYTES, bindings.crypto_secretbox_NONCEBYTES
_MAX_INDEX = 256


class NotSealed(ValueError):
    """Bytes that are not a sealed key or value; the text says why."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A sealed key or value, taken apart. ``index`` is as it stood there, bytes or a number."""

    index: bytes | int
    salt: bytes
    box: bytes

    @property
    def name(self) -> Index:
        """The index as bytes."""
        return name_of(self.index)


def name_of(index: bytes | int) -> Index:
    """A key index as bytes; those that are numbers cannot be taken for others."""
    return index if isinstance(index, bytes) else b"#%d" % index


def seal(index: bytes | int, secret: bytes, data: bytes, purpose: bytes) -> bytes:
    """``data`` sealed for ``purpose`` with a salt that was never used before.

    >>> opened(parsed(seal(b"i", bytes(32), b"data", VALUE)), bytes(32), VALUE)
    b'data'
    """
    salt = os.urandom(SALT_BYTES)
    key, nonce = _derived(secret, salt, purpose)
    box = bindings.crypto_secretbox_easy(data, nonce, key)
    return b"\x01" + bytes(msgpack.packb([index, salt, box], use_bin_type=True))


def parsed(data: bytes) -> Blob:
    """The parts of something sealed. Raises NotSealed with the reason."""
    if not data or data[0] != SEALED:
        raise NotSealed("it is plain, not sealed")
    try:
        parts = msgpack.unpackb(memoryview(data)[1:], raw=True, max_array_len=3, max_map_len=0, max_ext_len=0)
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise NotSealed(f"what is sealed is cut off or damaged: {type(error).__name__}") from error
    if not isinstance(parts, list) or len(parts) != 3:
        raise NotSealed("what is sealed has not the three parts: key index, salt, box")
    index, salt, box = parts
    is_index = isinstance(index, bytes) or (isinstance(index, int) and not isinstance(index, bool))
    if not is_index or (isinstance(index, bytes) and len(index) > _MAX_INDEX):
        raise NotSealed(f"its key index is neither a number nor at most {_MAX_INDEX} bytes")
    if not isinstance(salt, bytes) or len(salt) != SALT_BYTES:
        raise NotSealed(f"its salt has not {SALT_BYTES} bytes")
    if not isinstance(box, bytes) or len(box) < BOX_BYTES:
        raise NotSealed("its box is too short to hold anything")
    return Blob(index, salt, box)


def opened(blob: Blob, secret: bytes, purpose: bytes) -> bytes | None:
    """What was sealed; None when this secret does not open it, because it was changed or has another purpose."""
    key, nonce = _derived(secret, blob.salt, purpose)
    try:
        return bytes(bindings.crypto_secretbox_open_easy(blob.box, nonce, key))
    except CryptoError:
        return None


def _derived(secret: bytes, salt: bytes, purpose: bytes) -> tuple[bytes, bytes]:
    both = hashlib.blake2b(b"", key=secret, salt=salt, person=purpose, digest_size=_KEY_BYTES + _NONCE_BYTES).digest()
    return both[:_KEY_BYTES], both[_KEY_BYTES:]
