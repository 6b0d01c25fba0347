"""From settings to running objects: the only place that chooses adapters."""

from openmsi_core.receiving.again import Retried
from openmsi_core.wiring.encrypting import UNENCRYPTED, Choice, chosen
from openmsi_core.wiring.letters import letters_in, retry_letters, save_letter, show_letter
from openmsi_core.wiring.receiving import RunReport, run_plugin, try_plugin
from openmsi_core.wiring.replaying import ReplayReport, choose_files, replay_plugin
from openmsi_core.wiring.sending import SendReport, upload_files, watch_folder
from openmsi_core.wiring.signals import signals_set

__all__ = [
    "UNENCRYPTED",
    "Choice",
    "ReplayReport",
    "Retried",
    "RunReport",
    "SendReport",
    "choose_files",
    "chosen",
    "letters_in",
    "replay_plugin",
    "retry_letters",
    "run_plugin",
    "save_letter",
    "show_letter",
    "signals_set",
    "try_plugin",
    "upload_files",
    "watch_folder",
]
