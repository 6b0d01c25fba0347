"""A look into a topic, opened where it is sealed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from openmsi_core.kafka.reading import TopicReader, read
from openmsi_core.model import Record
from openmsi_core.wiring.encrypting import Choice, looking


def records_of(kafka: Mapping[str, str], topic: str, limit: int | None, choice: Choice) -> Iterator[Record]:
    """The records of a topic, ``limit`` at most; what does not open comes as it is.

    Raises SettingsError, TopicError, BrokerError, CipherError.
    """
    if not choice.node:
        yield from read(kafka, topic, limit)
        return
    with looking(choice, kafka, [topic]) as crypt, TopicReader(kafka, topic) as plain:
        reader = crypt.reader(plain)
        found = (record for record in reader.between(reader.ends()) if record is not None)
        yield from islice(found, limit)
