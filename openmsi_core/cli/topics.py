"""``openmsi topics``: create, describe, list, and look into topics."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from openmsi_core.cli.common import kafka_choices, node_choice, reading_choice, settings_choices

if TYPE_CHECKING:
    from openmsi_core.kafka.admin import Admin
    from openmsi_core.model import Record
    from openmsi_core.settings import Settings
    from openmsi_core.wiring.standing import Standing


@click.group()
def topics() -> None:
    """Create, describe and look into topics."""


@topics.command()
@click.argument("topic")
@click.option("--partitions", type=click.IntRange(1, 10_000), default=4, show_default=True)
@click.option("--replication", type=click.IntRange(1, 100), help="Copies; by default what the cluster says.")
@click.option(
    "--chunk-size", default="512KiB", show_default=True, metavar="SIZE", help="The largest that will be sent."
)
@click.option("--plain", is_flag=True, help="Only this topic, for results: no dead letters, no receipts.")
@click.option("--encrypted", is_flag=True, help="Also the topics through which keys are exchanged.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON, one object a line.")
@kafka_choices
def create(
    topic: str,
    *,
    partitions: int,
    replication: int | None,
    chunk_size: str,
    plain: bool,
    encrypted: bool,
    as_json: bool,
    kafka: dict[str, str],
) -> None:
    """Create a topic for files with its dead letters and receipts. What exists already is left as it is, and checked.

    \b
    Example: openmsi topics create xrd-raw --partitions 4
    """
    from openmsi_core.cli.upload import chunk_of
    from openmsi_core.kafka.admin import connected, create_family
    from openmsi_core.kafka.keytopics import create_key_topics

    chunk = chunk_of(chunk_size)
    admin = connected(kafka)
    if plain:
        made = {topic: admin.create(topic, partitions, replication or -1, {})}
    else:
        made = dict(create_family(admin, topic, partitions, replication or -1, chunk=chunk))
    if encrypted:
        made |= create_key_topics(admin, topic.partition(".")[0], replication or -1)
    for name, is_new in made.items():
        if as_json:
            click.echo(json.dumps({"topic": name, "created": is_new}))
        else:
            click.echo(f"{name} {'created' if is_new else 'exists already'}")
    if not plain and not made[topic]:
        _check_existing(admin, topic, partitions, chunk)


@topics.command("list")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON, one topic a line.")
@kafka_choices
def list_(as_json: bool, kafka: dict[str, str]) -> None:
    """List the topics of the broker.

    \b
    Example: openmsi topics list --broker broker.lab:9092
    """
    from openmsi_core.kafka.admin import connected

    for name in connected(kafka).topics():
        click.echo(json.dumps({"topic": name}) if as_json else name)


@topics.command()
@click.argument("topic")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
@kafka_choices
def describe(topic: str, as_json: bool, kafka: dict[str, str]) -> None:
    """Partitions, settings, what is wrong with them, and how far each group has read.

    \b
    Example: openmsi topics describe xrd-raw
    """
    from openmsi_core.kafka.admin import connected, faults
    from openmsi_core.model import shown
    from openmsi_core.wiring.standing import standings

    admin = connected(kafka)
    facts = admin.facts(topic)
    problems = list(faults(facts, 512 * 1024))
    found = standings(kafka, admin, facts)
    if as_json:
        partitions = {str(number): {"low": low, "high": high} for number, (low, high) in facts.ends.items()}
        answer = {"topic": topic, "id": facts.id, "partitions": partitions, "settings": dict(facts.settings)}
        groups: dict[str, dict[str, object]] = {}
        for one in found:
            told: dict[str, object] = {"lag": one.lag, "committed": one.committed, "unfinished": one.unfinished}
            told |= {"oldest": one.oldest or None, "since": _instant(one.since_ms)}
            groups.setdefault(one.group, {})[str(one.partition)] = told
        click.echo(json.dumps(answer | {"problems": problems, "groups": groups}))
        return
    click.echo(f"{topic}  {len(facts.ends)} partitions  id {facts.id or '?'}")
    for number, (low, high) in facts.ends.items():
        click.echo(f"  partition {number}: offsets {low} to {high}")
    for key in ("cleanup.policy", "retention.ms", "max.message.bytes"):
        click.echo(f"  {key} = {facts.settings.get(key, '?')}")
    for one in found:
        click.echo(f"  group {shown(one.group)} partition {one.partition}: {_said(one)}")
    for problem in problems:
        click.echo(f"  wrong: {problem}")


@topics.command()
@click.argument("topic")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--limit", type=click.IntRange(1), help="At most so many records.")
@node_choice
@settings_choices
def peek(topic: str, *, as_json: bool, limit: int | None, crypto: str | None, settings: Settings) -> None:
    """Look into a topic: results, receipts and dead letters as they are, file records without their payload.

    \b
    Example: openmsi topics peek xrd-metadata --json --limit 10
    """
    from openmsi_core.model import shown
    from openmsi_core.wiring.looking import records_of

    for record in records_of(settings.kafka, topic, limit, reading_choice(settings, crypto)):
        text = json.dumps(_told(record), ensure_ascii=False)
        line = text.encode("utf-8", "backslashreplace").decode("utf-8")
        click.echo(line if as_json else f"{record.position}  {shown(line)}")


def _check_existing(admin: Admin, topic: str, partitions: int, chunk: int) -> None:
    """Say what differs from what was asked for. Raises TopicError when the topic cannot carry files."""
    from openmsi_core.errors import TopicError
    from openmsi_core.kafka.admin import faults

    facts = admin.facts(topic)
    if len(facts.ends) != partitions:
        click.echo(f"{topic} has {len(facts.ends)} partitions, not {partitions}; that is left as it is", err=True)
    problems = faults(facts, chunk)
    if problems:
        raise TopicError("; ".join(problems) + ".")


def _said(one: Standing) -> str:
    text = f"{one.lag:,} records behind"
    if one.unfinished:
        since = f" since {_instant(one.since_ms)}" if one.since_ms is not None else ""
        text += f", {one.unfinished:,} files unfinished, the oldest {one.oldest}{since}"
    return text


def _instant(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def _told(record: Record) -> object:
    """A record as one JSON object."""
    from openmsi_core.errors import BadRecord
    from openmsi_core.files.decoding import decode

    value = record.value or b""
    if value[:1] in {b"{", b"["}:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            pass  # not JSON after all, or a trap: told below as what it is
    position = {
        "topic": record.position.topic,
        "partition": record.position.partition,
        "offset": record.position.offset,
    }
    try:
        chunk = decode(record.value, timestamp_ms=record.timestamp_ms)
    except BadRecord as error:
        head = base64.b64encode(value[:48]).decode("ascii")
        return {"position": position, "bad": str(error), "bytes": len(value), "head_b64": head}
    told: dict[str, object] = {
        "position": position,
        "id": chunk.file_id.hex(),
        "sequence": chunk.sequence,
        "offset": chunk.offset,
        "payload_bytes": len(chunk.payload),
        "last": chunk.last,
        "abort": chunk.abort,
    }
    if chunk.version is not None:
        version = chunk.version
        told |= {**version.path.as_json(), "size": version.size, "mtime_ns": version.mtime_ns, "source": version.source}
        told |= {"user": dict(version.user)}
    if chunk.sha256 is not None:
        told["sha256"] = chunk.sha256.hex()
    return told
