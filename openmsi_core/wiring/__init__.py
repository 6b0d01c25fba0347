"""From settings to running objects: the only place that chooses adapters.

Names are loaded when they are first used, so that no command pays for the imports of another one.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openmsi_core.receiving.again import Retried as Retried
    from openmsi_core.wiring.arriving import Lookout as Lookout
    from openmsi_core.wiring.arriving import Status as Status
    from openmsi_core.wiring.arriving import ledgers_of as ledgers_of
    from openmsi_core.wiring.arriving import verify as verify
    from openmsi_core.wiring.encrypting import UNENCRYPTED as UNENCRYPTED
    from openmsi_core.wiring.encrypting import Choice as Choice
    from openmsi_core.wiring.encrypting import chosen as chosen
    from openmsi_core.wiring.letters import letters_in as letters_in
    from openmsi_core.wiring.letters import retry_letters as retry_letters
    from openmsi_core.wiring.letters import save_letter as save_letter
    from openmsi_core.wiring.letters import show_letter as show_letter
    from openmsi_core.wiring.receiving import RunReport as RunReport
    from openmsi_core.wiring.receiving import isolation_of as isolation_of
    from openmsi_core.wiring.receiving import run_plugin as run_plugin
    from openmsi_core.wiring.receiving import try_plugin as try_plugin
    from openmsi_core.wiring.replaying import ReplayReport as ReplayReport
    from openmsi_core.wiring.replaying import choose_files as choose_files
    from openmsi_core.wiring.replaying import replay_plugin as replay_plugin
    from openmsi_core.wiring.samples import save_as_test as save_as_test
    from openmsi_core.wiring.sending import SendReport as SendReport
    from openmsi_core.wiring.sending import upload_files as upload_files
    from openmsi_core.wiring.sending import watch_folder as watch_folder
    from openmsi_core.wiring.signals import signals_set as signals_set
    from openmsi_core.wiring.uploads import Receipts as Receipts

_HOMES = {
    "Choice": "openmsi_core.wiring.encrypting",
    "Lookout": "openmsi_core.wiring.arriving",
    "Receipts": "openmsi_core.wiring.uploads",
    "ReplayReport": "openmsi_core.wiring.replaying",
    "Retried": "openmsi_core.receiving.again",
    "RunReport": "openmsi_core.wiring.receiving",
    "SendReport": "openmsi_core.wiring.sending",
    "Status": "openmsi_core.wiring.arriving",
    "UNENCRYPTED": "openmsi_core.wiring.encrypting",
    "choose_files": "openmsi_core.wiring.replaying",
    "chosen": "openmsi_core.wiring.encrypting",
    "isolation_of": "openmsi_core.wiring.receiving",
    "ledgers_of": "openmsi_core.wiring.arriving",
    "letters_in": "openmsi_core.wiring.letters",
    "replay_plugin": "openmsi_core.wiring.replaying",
    "retry_letters": "openmsi_core.wiring.letters",
    "run_plugin": "openmsi_core.wiring.receiving",
    "save_as_test": "openmsi_core.wiring.samples",
    "save_letter": "openmsi_core.wiring.letters",
    "show_letter": "openmsi_core.wiring.letters",
    "signals_set": "openmsi_core.wiring.signals",
    "try_plugin": "openmsi_core.wiring.receiving",
    "upload_files": "openmsi_core.wiring.sending",
    "verify": "openmsi_core.wiring.arriving",
    "watch_folder": "openmsi_core.wiring.sending",
}

__all__ = [
    "UNENCRYPTED",
    "Choice",
    "Lookout",
    "Receipts",
    "ReplayReport",
    "Retried",
    "RunReport",
    "SendReport",
    "Status",
    "choose_files",
    "chosen",
    "isolation_of",
    "ledgers_of",
    "letters_in",
    "replay_plugin",
    "retry_letters",
    "run_plugin",
    "save_as_test",
    "save_letter",
    "show_letter",
    "signals_set",
    "try_plugin",
    "upload_files",
    "verify",
    "watch_folder",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'openmsi_core.wiring' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(home), name)
