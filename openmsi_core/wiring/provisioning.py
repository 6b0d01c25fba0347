"""From settings to nodes and a controller: everything of encryption that is not about one run."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event

from openmsi_core.crypto import door
from openmsi_core.errors import CipherError

try:
    from openmsi_core.crypto.certificates import Role, listed, until
    from openmsi_core.crypto.controller import Controller
    from openmsi_core.crypto.nodes import config_of, node_at
    from openmsi_core.crypto.provisioning import Listed, add_node, make_root, nodes_in
    from openmsi_core.crypto.residence import adopt, residing
except ImportError as error:
    raise CipherError(f"encryption needs {error.name}, which is not installed: {door.INSTALL}") from error
from openmsi_core.kafka import admin, keytopics
from openmsi_core.wiring.connecting import reached
from openmsi_core.wiring.signals import signals_set

__all__ = ["Listed", "adopt_node", "control", "listed", "make_node", "make_root", "nodes_in", "until"]

log = logging.getLogger(__name__)


def make_node(
    folder: Path,
    name: str,
    role: str,
    topics: Sequence[str],
    *,
    root: Path | None,
    seconds: float,
    through_controller: bool,
) -> Path:
    """Make a node; its configuration file. Raises CipherError, OSError."""
    return add_node(folder, name, Role(role), topics, root=root, seconds=seconds, through_controller=through_controller)


def adopt_node(name: str, folder: Path) -> Path:
    """Make a node that was moved live here; its configuration file. Raises CipherError, OSError."""
    node = node_at(config_of(name, folder))
    adopt(node)
    return node.config


def control(name: str, folder: Path, kafka: Mapping[str, str]) -> None:
    """Run a controller until a signal comes. Raises CipherError, CipherDown, BrokerError."""
    node, stopping = node_at(config_of(name, folder)), Event()
    rights = node.rights()
    if rights.role not in {"controller", "both"}:
        raise CipherError(f"the node {node.name} is a {rights.role}; make one with --role controller.")
    with ExitStack() as stack:
        stack.enter_context(signals_set(stopping.set))
        there = reached(lambda: admin.connected(kafka).topics(), stopping, waits=True)
        if there is None:
            return
        missing = [each for each in keytopics.SHARED if each not in there]
        if missing:
            raise CipherError(
                f"the topics {', '.join(missing)} are missing: `openmsi topics create T --encrypted` makes them."
            )
        stack.enter_context(residing(node))
        controller = stack.enter_context(Controller(node, lambda: keytopics.connection(kafka)))
        log.info("the controller %s passes on requests for %s", node.name, listed(rights.topics))
        while not stopping.wait(0.5):
            controller.raise_if_down()
