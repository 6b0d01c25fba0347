"""A controller: checks requests for keys, signs them anew, passes them on to the producers. It sees no data key."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from openmsi_core.crypto import door
from openmsi_core.crypto.clients import Pulse, controller_settings, guarded_consumer, guarded_producer
from openmsi_core.crypto.nodes import Node
from openmsi_core.crypto.store import GuardedStore
from openmsi_core.errors import CipherDown

_log = logging.getLogger(__name__)

_DOWN_SECONDS = 20.0


class Controller:
    """KafkaCrypto's controller on guarded clients. `__enter__` starts it; raises CipherError."""

    def __init__(self, node: Node, connection: Callable[[], Mapping[str, object]]) -> None:
        self._node = node
        self._connection = connection
        self._pulse = Pulse()
        self._inner: Any = None
        self._consumer: Any = None

    def __enter__(self) -> Self:
        kafkacrypto = door.library()
        store = GuardedStore(kafkacrypto, self._node, 0)
        self._consumer = guarded_consumer(
            kafkacrypto, controller_settings(self._connection(), self._node.name), self._pulse
        )
        producer = guarded_producer(kafkacrypto, self._connection(), self._pulse)
        self._inner = kafkacrypto.KafkaCryptoController(None, producer, self._consumer, store)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.end_thread()  # the library's loop has no end of its own
        self._inner._mgmt_thread.join(_DOWN_SECONDS)  # noqa: SLF001
        self._consumer.close()

    def raise_if_down(self) -> None:
        """Raises CipherDown when it passes on nothing any more."""
        silence = time.monotonic() - self._pulse.at
        if not self._inner._mgmt_thread.is_alive() or silence > _DOWN_SECONDS:  # noqa: SLF001
            raise CipherDown(f"the controller has given no sign of life for {silence:.0f} s. Start again.")
