"""What an earlier process left half sent."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import partial

from openmsi_core.errors import NotDelivered
from openmsi_core.files.chunking import abort_of
from openmsi_core.files.wire import encode
from openmsi_core.model import RelativePath
from openmsi_core.sending.entries import Entry
from openmsi_core.sending.ledger import Journal
from openmsi_core.sending.outlet import Outlet
from openmsi_core.sending.seen import Seen

FRESH_NS = 15 * 60 * 1_000_000_000

_log = logging.getLogger(__name__)


def may_go_on(half: Entry, seen: Seen | None, ends: Mapping[int, tuple[int, int]], now_ns: int) -> bool:
    """True when a half may be continued: its file, if ``seen``, is unchanged, its beginning is still in the topic, and
    the broker took a record of it a moment ago (``now_ns``: epoch nanoseconds), so that receivers still wait for it.

    ``ends`` has the first offset of each partition that is still there, and the one after its last.
    """
    if seen is None or seen.facts[:3] != (half.size, half.mtime_ns, half.inode):
        return False
    low, high = ends.get(half.partition, (0, 0))
    is_there = half.first_offset is not None and low <= half.first_offset < high
    is_fresh = abs(now_ns - half.since_ns) < FRESH_NS
    return is_there and is_fresh and half.acknowledged > 0 and half.sha256 is not None and half.chunk > 0


def give_up_halves(halves: Iterable[Entry], outlet: Outlet, journal: Journal, partitions: int, busy: set[bytes]) -> int:
    """Produce an ABORT for each version that was begun and not finished; how many. Raises BrokerError.

    A row goes once its ABORT is acknowledged; until then its path is in ``busy``. The file, if it is still there, is
    sent anew after that, with a new id.
    """
    count = 0
    for entry in halves:
        if not 0 <= entry.partition < partitions:  # it was another topic of this name
            journal.remove(entry.key)
            continue
        records = max(entry.acknowledged, 1)
        value = encode(abort_of(entry.id, records, min(records * entry.chunk, entry.sent_size)))
        busy.add(entry.key)
        try:
            outlet.produce(entry.partition, entry.record_key, value, partial(_answered, entry, journal, busy))
        except NotDelivered as error:
            _answered(entry, journal, busy, None, str(error))
        count += 1
    return count


def _answered(entry: Entry, journal: Journal, busy: set[bytes], _offset: int | None, reason: str) -> None:
    busy.discard(entry.key)
    if reason:
        _log.warning("%s: its half was not given up: %s", RelativePath.from_key(entry.key), reason)
    else:
        journal.remove(entry.key)
