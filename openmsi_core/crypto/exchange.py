"""The exchange of data keys, which is KafkaCrypto's: it makes our keys, hands them out, asks for others'.

Nothing here seals or opens: that is done outside of the library's lock, with the secrets that the exchange has.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgpack

from openmsi_core.crypto import door
from openmsi_core.crypto.clients import Pulse, consumer_settings, guarded_consumer, guarded_producer
from openmsi_core.crypto.nodes import Node
from openmsi_core.crypto.store import GuardedStore
from openmsi_core.errors import CipherDown

_log = logging.getLogger(__name__)

KEY_SECONDS = 7 * 24 * 3600.0
_LOCK_SECONDS = 5.0
_CLOSE_SECONDS = 6.0


@dataclass(frozen=True, slots=True)
class DataKey:
    """One secret of one producer, and the index that names it."""

    index: bytes | int
    secret: bytes


class Exchange:
    """The key exchange of one node. `open` starts it; `close` ends it within some seconds.

    ``connection`` makes the options with which a client reaches the broker; ``key_seconds`` is how long our keys are
    handed out, at least as long as what they seal is kept. Calls block for at most 5 s and raise CipherDown when the
    library hangs.
    """

    def __init__(
        self, node: Node, connection: Callable[[], Mapping[str, object]], key_seconds: float = KEY_SECONDS
    ) -> None:
        self.pulse = Pulse()
        self._node = node
        self._connection = connection
        self._key_seconds = key_seconds
        self._store: GuardedStore | None = None
        self._inner: Any = None
        self._seals: Any = None
        self._opens: Any = None

    def open(self) -> None:
        """Start the library's thread. Raises CipherError when the library is missing or does not fit."""
        kafkacrypto = door.library()
        self._store = GuardedStore(kafkacrypto, self._node, self._key_seconds)
        consumer = guarded_consumer(
            kafkacrypto, consumer_settings(self._connection(), f"{self._node.name}.kafkacrypto"), self.pulse
        )
        producer = guarded_producer(kafkacrypto, self._connection(), self.pulse)
        self._inner = kafkacrypto.KafkaCrypto(None, producer, consumer, self._store)
        door.must_fit(kafkacrypto, self._inner)
        self._seals = self._inner.getValueSerializer()
        self._opens = self._inner.getValueDeserializer()

    def close(self) -> None:
        """End it; one that hangs is left behind."""
        inner, self._inner = self._inner, None
        if inner is None:
            return
        inner._mgmt_thread_stop = True  # noqa: SLF001 - its own close would wait for a thread that hangs for ever
        inner._mgmt_thread.join(_CLOSE_SECONDS)  # noqa: SLF001
        if inner._mgmt_thread.is_alive():  # noqa: SLF001
            _log.warning("the key exchange of %s did not end and is left behind", self._node.name)
            return
        inner.close()

    @property
    def failure(self) -> str:
        """Why nothing works any more, or "": the library's thread has ended, or does not come round."""
        inner = self._inner
        if inner is None or not inner._mgmt_thread.is_alive():  # noqa: SLF001
            return "the library's thread has ended"
        return ""

    def silent_for(self) -> float:
        """Seconds since the library's thread came round."""
        return time.monotonic() - self.pulse.at

    @property
    def store_failure(self) -> str:
        """Why keys could not be stored, or ""."""
        return self._store.failure if self._store is not None else ""

    def prime(self, root: str) -> None:
        """Make our data key for a root topic if there is none for now: then requests for it are answered."""
        if root in self._inner._cur_pgens:  # noqa: SLF001
            return
        with self._locked():
            pass  # it does not hang now, so that sealing does not
        try:
            self._seals.serialize(root, b"")
        except UnboundLocalError:  # what it does when the ratchet names a key that it knows already
            with self._locked():
                self._inner._cur_pgens.pop(root, None)  # noqa: SLF001

    def current(self, root: str) -> DataKey | None:
        """Our data key for a root topic, once it is durable; None before."""
        index = self._inner._cur_pgens.get(root)  # noqa: SLF001
        made = self._inner._pgens.get(root, {}).get(index)  # noqa: SLF001
        if made is None or self._store is None or (root, index) not in self._store.stored:
            return None
        return DataKey(index, made["secret"])

    def store_again(self) -> None:
        """Let the library write its keys again, after it could not."""
        with self._locked():
            self._inner._new_pgens = True  # noqa: SLF001

    def secrets(self, root: str, index: bytes | int) -> tuple[bytes, ...]:
        """The secrets that are known under this index: what came, and our own."""
        came = self._inner._cgens.get(root, {}).get(index)  # noqa: SLF001
        ours = self._inner._pgens.get(root, {}).get(index)  # noqa: SLF001
        return tuple(each["secret"] for each in (came, ours) if each is not None)

    def ask(self, root: str, index: bytes | int) -> None:
        """Ask whoever has it for a key; requests go out every 10 s while this is called."""
        with self._locked():
            pass
        self._opens.deserialize(root, b"\x01" + msgpack.packb([index, bytes(16), b""], use_bin_type=True))

    def forget(self, root: str, index: bytes | int) -> None:
        """Ask no more for a key."""
        with self._locked():
            self._inner._cwaits.get(root, {}).pop(index, None)  # noqa: SLF001

    def _locked(self) -> _Held:
        return _Held(self._inner._lock)  # noqa: SLF001


class _Held:
    """The library's lock, for which nobody waits for ever."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        began = time.monotonic()
        if not self._lock.acquire(timeout=_LOCK_SECONDS):
            raise CipherDown(f"the key exchange hangs: its lock was not free for {time.monotonic() - began:.0f} s")

    def __exit__(self, *_: object) -> None:
        self._lock.release()
