"""Settings: a file, the environment and flags become frozen values."""

from openmsi_core.settings.loading import load, place, run_settings, sources, try_settings, watch_settings
from openmsi_core.settings.reading import Keys, find
from openmsi_core.settings.schema import schema_with
from openmsi_core.settings.tables import HIDDEN, CryptoSettings, Origin, RunSettings, Settings, WatchSettings, is_secret
from openmsi_core.settings.units import bytes_of, seconds_of, span_of
from openmsi_core.settings.values import broker_address, option_variables, variable_of

__all__ = [
    "HIDDEN",
    "CryptoSettings",
    "Keys",
    "Origin",
    "RunSettings",
    "Settings",
    "WatchSettings",
    "broker_address",
    "bytes_of",
    "find",
    "is_secret",
    "load",
    "option_variables",
    "place",
    "run_settings",
    "schema_with",
    "seconds_of",
    "sources",
    "span_of",
    "try_settings",
    "variable_of",
    "watch_settings",
]
