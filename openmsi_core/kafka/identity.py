"""Whether a topic is still the one that a run began with.

A topic that is deleted and made anew within a second looks the same to librdkafka: it reads on at its old position, and
what stands before that in the new topic would never be read. Only the topic's id tells, and only an admin client is
told it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYetAnswered
from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from openmsi_core.errors import BrokerError
from openmsi_core.kafka import config
from openmsi_core.kafka.errors import ClientWatch

log = logging.getLogger(__name__)

_EVERY_SECONDS = 10.0
_ASK_SECONDS = 3.0


class Identity:
    """Asks for the id of ``topic`` now and then, and compares it to ``expected``; "" never asks.

    An answer that does not come proves nothing and is asked for again: whoever reads the topic learns by itself that
    the broker is away or the topic is gone.
    """

    def __init__(self, options: Mapping[str, str], topic: str, expected: str) -> None:
        self._options = options
        self._topic = topic
        self._expected = expected
        self._client: AdminClient | None = None
        self._answer: Future[Any] | None = None
        self._due = 0.0

    def glance(self) -> None:
        """Ask every ten seconds, and look at the answer once it is there; never blocks. Raises BrokerError."""
        if not self._expected:
            return
        if self._answer is not None:
            if self._answer.done():
                self._judge(0.0)
        elif time.monotonic() >= self._due:
            self._ask()

    def look(self) -> None:
        """Ask, and wait up to 3 s for the answer. Raises BrokerError when it is another topic."""
        if self._expected:
            self._ask()
            self._judge(_ASK_SECONDS)

    def close(self) -> None:
        """Let go of the client; nothing is asked any more."""
        self._expected = ""
        self._client = self._answer = None

    def _ask(self) -> None:
        if self._client is None:
            settings: Any = ClientWatch(self._options, self._topic).configured(config.admin(self._options))
            self._client = AdminClient(settings)  # the same options made a consumer before
        asked = self._client.describe_topics(TopicCollection([self._topic]), request_timeout=_ASK_SECONDS)
        self._answer = asked[self._topic]

    def _judge(self, wait: float) -> None:
        answer, self._answer = self._answer, None
        self._due = time.monotonic() + _EVERY_SECONDS
        if answer is None:
            return
        try:
            found = str(answer.result(wait).topic_id)
        except (KafkaException, NotYetAnswered) as error:
            log.debug("the id of %s was not told: %r", self._topic, error)
            return
        if found != self._expected:
            raise BrokerError(
                f"the topic {self._topic} was deleted and made anew while this run read it. What was not finished of "
                "the old one is gone with it. Start the run again: it reads the new one from its beginning."
            )
