"""From settings to running objects: the only place that chooses adapters."""

from openmsi_core.wiring.receiving import RunReport, run_plugin, try_plugin
from openmsi_core.wiring.sending import SendReport, upload_files, watch_folder
from openmsi_core.wiring.signals import signals_set

__all__ = ["RunReport", "SendReport", "run_plugin", "signals_set", "try_plugin", "upload_files", "watch_folder"]
