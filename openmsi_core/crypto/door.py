"""The door to KafkaCrypto: the only place that imports it, and only when a run is configured with encryption.

It is GPL-2.0 and reached by its public classes plus the few private attributes below, which have no public name; they
are looked for at the start, so that another version fails with a word and not in mid-stream.
"""

from __future__ import annotations

import ctypes.util
import importlib
import importlib.util
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openmsi_core.errors import CipherError

_log = logging.getLogger(__name__)

INSTALL = 'pip install "openmsi[crypto]"'
_SODIUM = "apt-get install libsodium23 (Debian, Ubuntu), brew install libsodium (macOS), or libsodium.dll on Windows"
_PRIVATE = (
    "_lock",
    "_pgens",
    "_cur_pgens",
    "_cgens",
    "_cwaits",
    "_new_pgens",
    "_mgmt_thread",
    "_process_mgmt_messages",
)


def library() -> Any:
    """The module kafkacrypto. Raises CipherError that says what is missing and how to get it.

    The first call takes a tenth of a second, and silences what the library logs at WARNING: a line at each exchange.
    """
    logging.getLogger("kafkacrypto").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), _without_broken_oqs():
            warnings.simplefilter("ignore")  # it tells its version so
            found: Any = importlib.import_module("kafkacrypto")
            importlib.import_module("kafkacrypto.cryptostore")
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise CipherError(_why(error)) from error
    return found


def must_fit(kafkacrypto: Any, exchange: Any) -> None:
    """Raises CipherError when the library has not what is used of it."""
    missing = [name for name in _PRIVATE if not hasattr(exchange, name)]
    missing += [name for name in ("KafkaConsumer", "KafkaProducer") if not hasattr(kafkacrypto, name)]
    if missing:
        raise CipherError(
            f"this version of kafkacrypto has no {', '.join(missing)}, and openmsi needs 0.9.11.x from 0.9.11.3 on: "
            f"{INSTALL}"
        )


def _why(error: BaseException) -> str:
    if isinstance(error, ImportError) and error.name in {"kafkacrypto", "pysodium", "msgpack"}:
        return f"encryption needs {error.name}, which is not installed: {INSTALL}"
    if isinstance(error, SystemExit):
        return (
            "liboqs-python is installed without the C library liboqs, and ends whatever imports it: install liboqs, or "
            "pip uninstall liboqs-python (post-quantum keys are optional)"
        )
    if isinstance(error, ValueError | OSError) and "sodium" in str(error).lower():
        return f"encryption needs the system library libsodium, which was not found: {_SODIUM}"
    return f"kafkacrypto cannot be used here: {type(error).__name__}: {error}. `{INSTALL}` installs what fits."


@contextmanager
def _without_broken_oqs() -> Iterator[None]:
    """Keep liboqs-python away where its C library is missing: it would call git and cmake, and then end the process."""
    is_broken = (
        "oqs" not in sys.modules
        and importlib.util.find_spec("oqs") is not None
        and not ctypes.util.find_library("oqs")
        and not (Path.home() / "_oqs").is_dir()
    )
    if not is_broken:
        yield
        return
    _log.warning("liboqs-python is installed without its C library liboqs: there are no post-quantum keys")
    sys.modules["oqs"] = None  # type: ignore[assignment] # makes `import oqs` an ImportError
    try:
        yield
    finally:
        del sys.modules["oqs"]
