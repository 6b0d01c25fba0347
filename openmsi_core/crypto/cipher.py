"""The Sealer over KafkaCrypto: seals with our durable key, opens with what came, never waits for either.

One thread of ours (the *usher*) looks after the keys: it has the library make and store ours, takes over what came,
asks again for what is missing, and looks whether everything is alive. Who seals or opens only reads what it found.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Protocol, Self

from openmsi_core.crypto import blobs
from openmsi_core.crypto.certificates import Rights, listed, root_topic, until
from openmsi_core.crypto.exchange import DataKey
from openmsi_core.errors import CipherDown
from openmsi_core.ports import Never, NotYet, Opened

_log = logging.getLogger(__name__)

DOWN_SECONDS = 20.0
"""After so long without a sign of life, encryption is down."""

_TURN = 0.1
_ASK_EVERY = 1.0
_SAY_AFTER = 30.0
_FORGET_AFTER = 120.0
_MOST_WANTED = 10_000
_DAY = 24 * 3600.0


class KeySource(Protocol):
    """What the cipher needs of a key exchange; `exchange.Exchange` is one."""

    @property
    def failure(self) -> str:
        """Why it does not work any more, or ""."""
        ...

    @property
    def store_failure(self) -> str:
        """Why our keys cannot be stored, or ""."""
        ...

    def silent_for(self) -> float:
        """Seconds since it showed a sign of life."""
        ...

    def prime(self, root: str) -> None:
        """Have a key of ours for this root topic."""
        ...

    def current(self, root: str) -> DataKey | None:
        """It, once it is durable."""
        ...

    def store_again(self) -> None:
        """Try again to store."""
        ...

    def secrets(self, root: str, index: bytes | int) -> tuple[bytes, ...]:
        """The secrets that are known under an index."""
        ...

    def ask(self, root: str, index: bytes | int) -> None:
        """Ask for a key."""
        ...

    def forget(self, root: str, index: bytes | int) -> None:
        """Ask no more."""
        ...


class Keyring(Protocol):
    """Where keys that came are kept over a restart."""

    def load(self) -> Mapping[tuple[str, bytes | int], bytes]:
        """What is there."""
        ...

    def add(self, root: str, index: bytes | int, secret: bytes) -> None:
        """One more; durable soon."""
        ...


class Cipher:
    """Seals for the root topics ``seals`` and opens whatever key it has. Any thread may seal and open.

    ``rights`` is asked at the start of each day for what our chain allows. With ``accept_plain`` plain records are
    taken as they are. Sealing and opening raise CipherDown when encryption has stopped working.
    """

    def __init__(
        self,
        keys: KeySource,
        seals: Iterable[str],
        rights: Callable[[], Rights],
        *,
        keyring: Keyring | None = None,
        accept_plain: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._seals = frozenset(seals)
        self._rights = rights
        self._keyring = keyring
        self._accept_plain = accept_plain
        self._clock = clock
        self._wall = wall
        self._sealing: dict[str, DataKey] = {}
        self._known: dict[tuple[str, bytes | int], bytes] = {}
        self._wanted: dict[tuple[str, bytes | int], tuple[float, float]] = {}
        self._lock = threading.Lock()
        self._said: dict[str, float] = {}
        self._asked = self._checked = float("-inf")
        self._down = ""
        self._turned = clock()
        self._stop = threading.Event()
        self._usher = threading.Thread(target=self._attend, name="openmsi-keys", daemon=True)

    def __enter__(self) -> Self:
        if self._keyring is not None:
            self._known.update(self._keyring.load())
        self._turned = self._clock()
        self._usher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._usher.join(DOWN_SECONDS)

    def wait_ready(self, stopping: threading.Event, seconds: float = DOWN_SECONDS) -> None:
        """Block until every key that we seal with is durable. Raises CipherDown after ``seconds``."""
        ends = self._clock() + seconds
        while not stopping.is_set() and set(self._sealing) != self._seals:
            self.raise_if_down()
            if self._clock() >= ends:
                raise CipherDown(
                    f"our key could not be stored within {seconds:g} s, and without that the records that it seals "
                    f"could be lost: {self._keys.store_failure or 'the key exchange does not answer'}. Make room in "
                    "the node's folder, or look whether the broker answers."
                )
            stopping.wait(0.02)

    def raise_if_down(self) -> None:
        """Raises CipherDown when encryption has stopped working."""
        down = self._down or self._keys.failure
        silence = max(self._keys.silent_for(), self._clock() - self._turned)
        if not down and silence > DOWN_SECONDS:
            down = f"the key exchange has given no sign of life for {silence:.0f} s"
        if down:
            raise CipherDown(f"encryption has stopped working: {down}. Start again; what was not sent stays.")

    def seal_key(self, topic: str, data: bytes) -> bytes:
        """The sealed key of a record."""
        return self._seal(topic, data, blobs.KEY)

    def seal_value(self, topic: str, data: bytes) -> bytes:
        """The sealed value of a record."""
        return self._seal(topic, data, blobs.VALUE)

    def open_key(self, topic: str, data: bytes) -> Opened | NotYet | Never:
        """What a sealed key says."""
        return self._open(topic, data, blobs.KEY)

    def open_value(self, topic: str, data: bytes) -> Opened | NotYet | Never:
        """What a sealed value says."""
        return self._open(topic, data, blobs.VALUE)

    def _seal(self, topic: str, data: bytes, purpose: bytes) -> bytes:
        key = self._sealing.get(root_topic(topic))
        if key is None or self._down:
            self.raise_if_down()
        if key is None:
            raise CipherDown(f"there is no key for {topic}: openmsi did not wait for it, which is a mistake of ours")
        return blobs.seal(key.index, key.secret, data, purpose)

    def _open(self, topic: str, data: bytes, purpose: bytes) -> Opened | NotYet | Never:
        try:
            blob = blobs.parsed(data)
        except blobs.NotSealed as error:
            if self._accept_plain and (not data or data[0] != blobs.SEALED):
                return Opened(data)
            return Never(f"{error}, and this topic is encrypted")
        root = root_topic(topic)
        name = (root, blob.index)
        secret = self._known.get(name)
        candidates: tuple[bytes, ...] = (secret,) if secret is not None else ()
        if self._keyring is None or not isinstance(blob.index, bytes):  # else the usher keeps it before it is used
            candidates += self._keys.secrets(root, blob.index)
        for each in candidates:
            found = blobs.opened(blob, each, purpose)
            if found is not None:
                self._known.setdefault(name, each)
                return Opened(found)
            secret = each
        if secret is not None and isinstance(blob.index, bytes):  # numbers are not unique: another key may come
            return Never("it does not open with its key: it was changed, or belongs elsewhere (a key as a value)")
        self.raise_if_down()
        self._want(name)
        return NotYet(blob.name)

    def _want(self, name: tuple[str, bytes | int]) -> None:
        now = self._clock()
        with self._lock:
            since, _ = self._wanted.get(name, (now, now))
            if len(self._wanted) < _MOST_WANTED or name in self._wanted:
                self._wanted[name] = (since, now)

    # What the usher does.

    def _attend(self) -> None:
        while not self._stop.wait(_TURN):
            try:
                self._turn()
            except CipherDown as error:
                self._down = str(error)
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, somebody must be told
                _log.exception("the keys are not looked after any more")
                self._down = f"{type(error).__name__}: {error}"
                return

    def _turn(self) -> None:
        now = self._clock()
        self._turned = now
        if now - self._checked >= _DAY:
            self._check_rights()
            self._checked = now
        for root in self._seals:
            self._keys.prime(root)
            current = self._keys.current(root)
            if current is not None:
                self._sealing[root] = current
        if now - self._asked >= _ASK_EVERY:
            self._asked = now
            if self._keys.store_failure:
                self._keys.store_again()
            self._ask(now)

    def _ask(self, now: float) -> None:
        with self._lock:
            wanted = list(self._wanted.items())
        for name, (since, last) in wanted:
            found = self._keys.secrets(*name)
            # opening may have found it first; numbers are not unique, so of these another one may have to come
            if found and (isinstance(name[1], bytes) or found[0] != self._known.get(name)):
                if self._keyring is not None:
                    self._keyring.add(*name, found[0])
                self._known.setdefault(name, found[0])
            elif now - last <= _FORGET_AFTER:
                self._keys.ask(*name)
                if now - since >= _SAY_AFTER:
                    self._say_missing(name[0], name[1], now - since, now)
                continue
            else:
                self._keys.forget(*name)
            with self._lock:
                self._wanted.pop(name, None)

    def _say_missing(self, root: str, index: bytes | int, seconds: float, now: float) -> None:
        """The library gives no reason, so say what it may be; at most every 10 min for a root topic."""
        if now - self._said.get(root, float("-inf")) < 600:
            return
        self._said[root] = now
        rights = self._rights()
        _log.warning(
            "%s: no key came for %.0f s (key index %s). It may be that its producer is not running; that our chain is "
            "for other topics, has expired or is not a consumer's (it is for the topics %s, the usages %s, until %s); "
            "or that the producer has another root of trust",
            root, seconds, blobs.name_of(index).hex()[:16], listed(rights.topics), listed(rights.usages),
            until(rights.not_after),
        )  # fmt: skip

    def _check_rights(self) -> None:
        rights, now = self._rights(), self._wall()
        if rights.is_over(now):
            self._down = f"our chain has expired ({until(rights.not_after)}); make the node anew: openmsi crypto add"
        elif rights.not_after and rights.not_after - now < 30 * _DAY:
            _log.warning("our chain expires %s: make another node in time", until(rights.not_after))
