"""What `openmsi doctor` looks at where something is encrypted: the library, each node, its rights and their end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from openmsi_core.crypto import door
from openmsi_core.errors import CipherError
from openmsi_core.settings import Settings
from openmsi_core.wiring.doctor import Finding, fine, note, wrong

_SOON_SECONDS = 30 * 24 * 3600


def encryption_findings(settings: Settings, now: float | None = None) -> Iterator[Finding]:
    """A line for each run and watch that seals or opens; nothing where nothing is encrypted."""
    needs: dict[str, tuple[str, list[str]]] = {}
    for name, watch in settings.watch.items():
        if watch.crypto:
            needs[f"watch {name}"] = (watch.crypto, [watch.topic])
    for name, run in settings.run.items():
        if run.crypto:
            needs[f"run {name}"] = (run.crypto, [run.topic, *([run.output_topic] if run.output_topic else [])])
    if not needs:
        return
    try:
        door.library()
    except CipherError as error:
        happened, _, todo = str(error).partition(". ")
        yield wrong("encryption", happened, todo or door.INSTALL, 2)
        return
    users: dict[str, str] = {}
    for who, (node, topics) in needs.items():
        other = users.setdefault(node, who)
        if other != who:
            todo = "make another one with `openmsi crypto add`"
            yield wrong(who, f"shares the node {node} with {other}, and only one process may use it", todo, 2)
        try:
            yield from _node(who, node, settings, topics, time.time() if now is None else now)
        except CipherError as error:
            happened, _, todo = str(error).partition(". ")
            yield wrong(who, happened, todo or "openmsi crypto list", 2)


def _node(who: str, name: str, settings: Settings, topics: list[str], now: float) -> Iterator[Finding]:
    """A run opens files and seals receipts: it needs both rights. A watch will, once it opens receipts."""
    # these need what the extra brings, which is there by now
    from openmsi_core.crypto.certificates import ASK, NEVER, SEAL, SUBSCRIBE, root_topic  # noqa: PLC0415
    from openmsi_core.crypto.nodes import config_of, node_at  # noqa: PLC0415

    node = node_at(config_of(name, settings.crypto.folder))
    rights = node.rights()
    add = "make the node anew with `openmsi crypto add`"
    ends = datetime.fromtimestamp(rights.not_after, UTC).date() if rights.not_after != NEVER else None
    lacks = [] if rights.allows(SEAL) else ["to seal"]
    lacks += [] if rights.allows(ASK) or rights.allows(SUBSCRIBE) else ["to open"]
    uncovered = [topic for topic in topics if topic and not rights.covers(root_topic(topic))]
    if rights.is_over(now):
        yield wrong(who, f"the chain of its node {node.name} ended on {ends}", add, 2)
    elif lacks or uncovered:
        what = " and ".join([*lacks, *(f"for {topic}" for topic in uncovered)])
        yield wrong(who, f"the chain of its node {node.name} does not allow {what}", add, 2)
    elif node.trusts_everybody():
        yield wrong(who, f"its node {node.name} trusts a root whose secret is published", add, 2)
    elif ends is not None and rights.not_after - now < _SOON_SECONDS:
        yield note(who, f"the chain of its node {node.name} ends on {ends}", add)
    else:
        yield fine(who, f"its node {node.name} may do what is needed" + (f" until {ends}" if ends else ""))
