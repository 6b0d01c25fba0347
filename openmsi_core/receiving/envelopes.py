"""What a checkpoint publishes: results, receipts and dead letters, as JSON.

The formats stand in docs/design/wire-format.md.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from openmsi_core.files.jsonable import dumps
from openmsi_core.files.opened import Span
from openmsi_core.model import FileVersion, Outgoing, PluginFacts, Result, What
from openmsi_core.receiving.jobs import Ended, RunFacts

MAX_LETTER_BYTES = 64 * 1024
SHORT_LETTER_BYTES = 2 * 1024  # for a topic that refused a longer one
_MAX_TRACEBACK = 16 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def notices_of(ended: Ended, run: RunFacts, now: datetime, *, is_short: bool = False) -> list[Outgoing]:
    """What one outcome publishes beside its results: its receipt and its dead letter, which ``is_short`` cuts."""
    version, what = ended.version, ended.outcome.what
    out = []
    if version is not None and what not in {What.NOT_WANTED, What.EARLY}:
        out.append(
            Outgoing(run.receipts_topic, _receipt_key(version, what, run), dumps(receipt(ended, version, run, now)))
        )
    if what.is_letter:
        limit = SHORT_LETTER_BYTES if is_short else MAX_LETTER_BYTES
        out.append(Outgoing(run.letters_topic, _letter_key(ended), _fitting(letter(ended, run, now), limit)))
    return out


def result(
    version: FileVersion, place: Mapping[str, object], plugin: PluginFacts, one: Result, number: int
) -> dict[str, object]:
    """The envelope of one result; ``place`` has topic, partition and offset."""
    envelope: dict[str, object] = {
        "file": {
            **version.path.as_json(),
            "size": version.size,
            "sha256": (version.sha256 or b"").hex(),
            "mtime": instant_ns(version.mtime_ns),
            **place,
            "id": version.id.hex(),
        },
        "plugin": {
            "name": plugin.name,
            "package": plugin.package,
            "version": plugin.version,
            "options_hash": plugin.options_hash,
        },
    }
    if plugin.kind == "extractor":
        return envelope | {"metadata": one.value}
    return envelope | {"record": number, "value": one.value}


def receipt(ended: Ended, version: FileVersion, run: RunFacts, now: datetime) -> dict[str, object]:
    """What the sender is told about its file."""
    return {
        "id": version.id.hex(),
        **version.path.as_json(),
        "size": version.size,
        "sha256": (version.sha256 or b"").hex(),
        "outcome": ended.outcome.what,
        "run": run.group,
        "plugin": run.plugin.name,
        "version": run.plugin.version,
        "location": ended.outcome.location,
        "unchanged": ended.outcome.unchanged,
        "position": place_of(ended.span),
        "at": now.isoformat(),
        "reason": ended.outcome.reason,
    }


def letter(ended: Ended, run: RunFacts, now: datetime) -> dict[str, object]:
    """What a person is told about a file version or a record that went wrong, and where its bytes are."""
    version, outcome = ended.version, ended.outcome
    facts: dict[str, object] = {"id": ended.file_id.hex()}
    if version is not None:
        facts |= {**version.path.as_json(), "size": version.size, "mtime": instant_ns(version.mtime_ns)}
        facts |= {"sha256": version.sha256.hex() if version.sha256 else None, "source": version.source}
    text: dict[str, object] = {
        "what": outcome.what,
        "why": {"message": outcome.reason, "class": outcome.error, "traceback": outcome.traceback[-_MAX_TRACEBACK:]},
        "run": run.group,
        "plugin": {"name": run.plugin.name, "package": run.plugin.package, "version": run.plugin.version},
        "tries": outcome.tries,
        "file": facts if ended.file_id else None,
        "topic": run.topic,
        "positions": {
            str(partition): {"first": first, "last": last, "records": count}
            for partition, (first, last, count) in sorted(ended.span.runs.items())
        },
        "at": now.isoformat(),
    }
    if ended.record is not None:
        text["record"] = _copied(ended.record.key, ended.record.value, ended.record_bytes)
    return text


def place_of(span: Span) -> dict[str, object]:
    """Topic, partition and offset of a version's first record."""
    first = span.first
    return {"topic": first.topic, "partition": first.partition, "offset": first.offset}


def instant_ns(nanoseconds: int) -> str:
    """Epoch nanoseconds as ISO 8601, UTC, to the microsecond.

    >>> instant_ns(1_700_000_000_250_000_000)
    '2023-11-14T22:13:20.250000+00:00'
    """
    return (_EPOCH + timedelta(microseconds=nanoseconds // 1000)).isoformat(timespec="microseconds")


def _receipt_key(version: FileVersion, what: What, run: RunFacts) -> bytes:
    """Path and run, so that compaction keeps the newest; one about an older version must not replace it."""
    key = version.path.key + b"\0" + run.group.encode("utf-8")
    return key + b"\0" + version.id.hex().encode("ascii") if what is What.SUPERSEDED else key


def _letter_key(ended: Ended) -> bytes | None:
    return ended.version.path.key if ended.version is not None else None


def _fitting(text: dict[str, object], limit: int) -> bytes:
    """At most ``limit`` bytes: first the copied record goes, then the traceback, then texts are cut."""
    why, file = text["why"], text["file"]
    message = str(why["message"])[:1000] if isinstance(why, dict) else ""
    short_why = {"message": message, "class": "", "traceback": ""}
    short_file = file | {"source": str(file.get("source", ""))[:200]} if isinstance(file, dict) else None
    data = dumps(text)
    for smaller in ({"record": None}, {"why": short_why}, {"file": short_file}):
        if len(data) <= limit:
            break
        text |= {name: value for name, value in smaller.items() if name in text}
        data = dumps(text)
    return data


def _copied(key: bytes | None, value: bytes | None, size: int | None) -> dict[str, object]:
    return {
        "key_b64": base64.b64encode(key).decode("ascii") if key is not None else None,
        "value_b64": base64.b64encode(value).decode("ascii") if value is not None else None,
        "value_bytes": size,
    }
