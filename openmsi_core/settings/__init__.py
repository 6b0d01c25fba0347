"""Settings: a file, the environment and flags become frozen values."""

from openmsi_core.settings.loading import find, is_secret, load, run_settings, watch_settings
from openmsi_core.settings.tables import RunSettings, Settings, WatchSettings
from openmsi_core.settings.units import bytes_of, seconds_of

__all__ = [
    "RunSettings",
    "Settings",
    "WatchSettings",
    "bytes_of",
    "find",
    "is_secret",
    "load",
    "run_settings",
    "seconds_of",
    "watch_settings",
]
