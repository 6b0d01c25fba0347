"""The topics through which encryption exchanges its keys, and how its clients connect.

For each root topic, which is what stands before the first dot of a name: ``ROOT.keys``, ``ROOT.reqs``, ``ROOT.subs``.
For the whole cluster: ``chains``, ``allowlist``, ``denylist``. The names are KafkaCrypto's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from openmsi_core.kafka import config
from openmsi_core.kafka.admin import Admin
from openmsi_core.kafka.errors import ClientWatch

ENDINGS = (".keys", ".reqs", ".subs")
SHARED = ("chains", "allowlist", "denylist")
_CONNECTING = ("bootstrap.", "security.", "sasl.", "ssl.", "socket.", "broker.address.", "reconnect.", "enable.ssl.")


def create_key_topics(admin: Admin, root: str, replication: int = -1) -> Mapping[str, bool]:
    """Make the key topics of a root topic and those of the cluster; for each whether it is new. Raises BrokerError."""
    exchanged, kept = {"cleanup.policy": "delete"}, {"cleanup.policy": "compact"}
    made = {f"{root}{ending}": admin.create(f"{root}{ending}", 1, replication, exchanged) for ending in ENDINGS}
    return made | {name: admin.create(name, 1, replication, kept) for name in SHARED}


def missing_key_topics(there: Iterable[str], roots: Iterable[str]) -> list[str]:
    """Which key topics of these root topics are missing among ``there``, sorted."""
    names = set(there)
    return sorted(f"{root}{ending}" for root in set(roots) for ending in ENDINGS if f"{root}{ending}" not in names)


def connection(options: Mapping[str, str]) -> dict[str, object]:
    """How a client of the exchange reaches the broker; what it says goes to our log. Raises SettingsError."""
    user = config.checked(options)
    settings: config.ClientSettings = {
        name: value for name, value in user.items() if name.startswith(_CONNECTING) or name == "client.id"
    }
    watch = ClientWatch(options)
    watch.connected = True  # whoever starts the exchange has reached the broker: what it says now is said rarely
    return watch.configured(settings)
