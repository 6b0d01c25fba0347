"""Settings: a file, the environment and flags become frozen values."""

from openmsi_core.settings.loading import load, run_settings, sources, watch_settings
from openmsi_core.settings.reading import find
from openmsi_core.settings.tables import HIDDEN, CryptoSettings, Origin, RunSettings, Settings, WatchSettings, is_secret
from openmsi_core.settings.units import bytes_of, seconds_of
from openmsi_core.settings.values import broker_address

__all__ = [
    "HIDDEN",
    "CryptoSettings",
    "Origin",
    "RunSettings",
    "Settings",
    "WatchSettings",
    "broker_address",
    "bytes_of",
    "find",
    "is_secret",
    "load",
    "run_settings",
    "seconds_of",
    "sources",
    "watch_settings",
]
