"""KafkaCrypto behind its guards: nothing of it is imported without need, nothing that fails inside of it hangs us."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import openmsi_core.crypto.store as stores
from openmsi_core.crypto import blobs, door
from openmsi_core.crypto.cipher import Cipher
from openmsi_core.crypto.controller import Controller
from openmsi_core.crypto.exchange import Exchange
from openmsi_core.errors import CipherDown, CipherError
from openmsi_core.kafka import keytopics
from openmsi_core.ports import NotYet, Opened
from tests.crypto_fakes import ANYTHING, make_node, need_library
from tests.kafka.processes import wait_for

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = {"bootstrap.servers": "127.0.0.1:1"}


@pytest.fixture
def library() -> None:
    need_library()


def connection() -> dict[str, object]:
    return keytopics.connection(NOWHERE)


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=env, check=False
    )


def test_without_a_node_nothing_of_encryption_is_imported() -> None:
    """Every command, the wiring and the plugins, and a run of the command line."""
    code = """
import importlib, sys
from openmsi_core.cli import COMMANDS, main
for target in COMMANDS.values():
    importlib.import_module(target.partition(":")[0])
import openmsi_core.wiring, openmsi_core.wiring.looking, openmsi_core.wiring.encrypting, openmsi_plugins.disk
main(["plugins"])
from openmsi_core.wiring.encrypting import UNENCRYPTED, encryption
with encryption(UNENCRYPTED, {}, ["t"], ["t"], None) as crypt:
    print(type(crypt.sealer).__name__, type(crypt.patient).__name__)
bad = {"kafkacrypto", "pysodium", "nacl"} & set(sys.modules)
print("IMPORTED", sorted(bad))
"""
    done = python(code)
    assert "Plain Plain" in done.stdout, done.stderr
    assert "IMPORTED []" in done.stdout


@pytest.mark.parametrize("name", ["kafkacrypto", "pysodium", "nacl"])
def test_what_is_not_installed_is_named_with_how_to_get_it(name, tmp_path) -> None:
    code = (
        f"""
import sys
sys.modules[{name!r}] = None
from openmsi_core.cli import main
sys.exit(main(["crypto", "list"]) if {name!r} == "nacl" else None)
"""
        if name == "nacl"
        else f"""
import sys
sys.modules[{name!r}] = None
from openmsi_core.crypto import door
try:
    door.library()
except Exception as error:
    print(type(error).__name__, error)
"""
    )
    done = python(code)
    said = done.stdout + done.stderr
    assert f"encryption needs {name}" in said
    assert 'pip install "openmsi[crypto]"' in said
    assert "Traceback" not in said


LIBRARIES = {
    "pysodium": (
        "raise ValueError('Unable to find libsodium')",
        "needs the system library libsodium",
        "apt-get install",
    ),
    "oqs": ("raise SystemExit(1)", "liboqs-python is installed without the C library", "pip uninstall liboqs-python"),
    "kafkacrypto": ("raise RuntimeError('broken')", "cannot be used here: RuntimeError: broken", "pip install"),
}


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_that_breaks_when_it_is_imported_is_one_clear_message(name, tmp_path) -> None:
    need_library()
    breaks, why, cure = LIBRARIES[name]
    (tmp_path / f"{name}.py").write_text(breaks)
    (tmp_path / "_oqs").mkdir()  # so that the C library of liboqs seems to be there
    code = """
from openmsi_core.crypto import door
from openmsi_core.errors import CipherError
try:
    door.library()
except CipherError as error:
    print(error)
"""
    done = python(code, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}", HOME=str(tmp_path))
    assert why in done.stdout, done.stderr
    assert cure in done.stdout


def test_liboqs_without_its_c_library_is_left_out_before_it_calls_git(tmp_path) -> None:
    need_library()
    (tmp_path / "oqs.py").write_text("raise SystemExit('it would have called git and cmake')")
    code = "from openmsi_core.crypto import door; print(door.library().__name__)"
    done = python(code, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}", HOME=str(tmp_path))
    assert done.stdout.strip() == "kafkacrypto", done.stderr


def test_another_version_without_what_we_use_is_refused(library) -> None:
    found = door.library()
    with pytest.raises(CipherError, match=r"has no _lock, _pgens, .* needs 0\.9\.11\.x"):
        door.must_fit(found, object())


def opened(node, **more) -> tuple[Exchange, Cipher]:
    exchange = Exchange(node, connection)
    exchange.open()
    return exchange, Cipher(exchange, ["t"], lambda: ANYTHING, **more)


def test_without_a_broker_keys_are_made_and_stored_and_seal(library, tmp_path) -> None:
    node = make_node(tmp_path)
    exchange, cipher = opened(node)
    try:
        with cipher:
            cipher.wait_ready(threading.Event())
            sealed = cipher.seal_value("t", b"x")
            assert cipher.open_value("t", sealed) == Opened(b"x")
            foreign = blobs.seal(b"k", bytes(32), b"x", blobs.VALUE)
            assert cipher.open_value("t", foreign) == NotYet(b"k")
            wait_for(lambda: b"k" in exchange._inner._cwaits.get("t", {}), 5)
            exchange.forget("t", b"k")
            assert b"k" not in exchange._inner._cwaits["t"]
    finally:
        exchange.close()
    assert "oldkeys" in node.config.read_text()
    assert node.config.stat().st_mode & 0o077 == 0


def test_the_same_keys_are_never_used_after_a_restart_but_are_still_handed_out(library, tmp_path) -> None:
    node, indices = make_node(tmp_path), []
    for _ in range(3):
        exchange, cipher = opened(node)
        try:
            with cipher:
                cipher.wait_ready(threading.Event())
                indices.append(blobs.parsed(cipher.seal_value("t", b"x")).index)
                kept = set(exchange._inner._pgens["t"])
        finally:
            exchange.close()
    assert len(set(indices)) == 3
    assert kept == set(indices)


def test_a_full_disk_stops_a_start_with_the_reason_and_not_what_runs(library, tmp_path, monkeypatch, caplog) -> None:
    node, real, is_full = make_node(tmp_path), stores.replace_secret, [True]

    def replaced(path: Path, data: bytes) -> None:
        if is_full[0]:
            raise OSError(28, "No space left on device")
        real(path, data)

    monkeypatch.setattr(stores, "replace_secret", replaced)
    before = node.config.read_bytes()
    exchange, cipher = opened(node)
    try:
        with cipher:
            with pytest.raises(CipherDown, match="No space left on device"):
                cipher.wait_ready(threading.Event(), 1.0)
            assert node.config.read_bytes() == before
            is_full[0] = False
            cipher.wait_ready(threading.Event(), 10)  # room came: it goes on by itself
            first = blobs.parsed(cipher.seal_value("t", b"x")).index
            is_full[0] = True
            with exchange._inner._lock:
                exchange._inner._cur_pgens = {}
                exchange._inner._seed.increment()
            wait_for(lambda: exchange._inner._cur_pgens.get("t", first) != first, 5)
            wait_for(lambda: exchange.store_failure != "", 5)
            assert blobs.parsed(cipher.seal_value("t", b"x")).index == first  # the old one goes on
            is_full[0] = False
            wait_for(lambda: blobs.parsed(cipher.seal_value("t", b"x")).index != first, 10)
    finally:
        exchange.close()


def test_a_management_thread_that_died_with_its_lock_is_told_and_nothing_hangs(library, tmp_path, caplog) -> None:
    exchange, cipher = opened(make_node(tmp_path))
    try:
        with cipher:
            cipher.wait_ready(threading.Event())
            inner = exchange._inner
            inner._mgmt_thread_stop = True
            inner._mgmt_thread.join(10)
            with inner._lock:  # as one that died in the middle leaves it
                began = time.monotonic()
                with pytest.raises(CipherDown, match="thread has ended"):
                    cipher.raise_if_down()
                with pytest.raises(CipherDown, match="thread has ended"):
                    cipher.open_value("t", blobs.seal(b"k", bytes(32), b"x", blobs.VALUE))
                wait_for(lambda: not cipher._usher.is_alive() or cipher._down == "", 20)
                assert time.monotonic() - began < 20
    finally:
        exchange.close()


def test_a_lock_that_is_never_free_is_told_in_seconds(library, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("openmsi_core.crypto.exchange._LOCK_SECONDS", 0.2)
    exchange = Exchange(make_node(tmp_path), connection)
    exchange.open()
    try:
        with exchange._inner._lock:
            for call in (lambda: exchange.prime("t"), lambda: exchange.ask("t", b"k"), exchange.store_again):
                with pytest.raises(CipherDown, match="the key exchange hangs"):
                    call()
    finally:
        exchange.close()


def test_clients_that_raise_are_tried_again_and_said_once(library, tmp_path, caplog) -> None:
    exchange = Exchange(make_node(tmp_path), connection)
    exchange.open()
    try:
        consumer, failures = exchange._inner._kc, [5]
        guard = consumer.poll.__self__
        assigns = guard._assigns

        def fails(*args: object, **more: object) -> object:
            if failures[0]:
                failures[0] -= 1
                raise RuntimeError("the broker is in trouble")
            return assigns(*args)

        guard._assigns = fails
        consumer.assign_and_seek([])
        wait_for(lambda: failures[0] == 0 and guard._again is None, 10)
        guard._sends = fails
        assert caplog.text.count("the broker is in trouble") == 1
        assert exchange._inner._mgmt_thread.is_alive()
        failures[0] = 1
        sender = exchange._inner._kp.send.__self__
        sender._sends = fails
        assert exchange._inner._kp.send("t.keys", value=b"x") is None
        assert exchange.pulse.handed_out == 0
        guard._subscribes = guard._commits = fails
        failures[0] = 2
        consumer.subscribe(topics=["t"])
        consumer.commit()
        assert failures[0] == 0
    finally:
        exchange.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # SystemExit ends its thread
def test_a_controller_ends_when_it_is_told_and_says_when_it_is_dead(library, tmp_path) -> None:
    with Controller(make_node(tmp_path, role="controller"), connection) as one:
        one.raise_if_down()
        one._consumer.end_thread()
        one._inner._mgmt_thread.join(10)
        with pytest.raises(CipherDown, match="no sign of life"):
            one.raise_if_down()


def test_settings_that_the_traps_demand_are_forced(library, tmp_path) -> None:
    exchange = Exchange(make_node(tmp_path), connection, key_seconds=30 * 86400.0)
    exchange.open()
    try:
        inner = exchange._inner
        assert (inner.MGMT_POLL_INTERVAL, inner.CRYPTO_SUB_INTERVAL) == (100, 10)
        assert (inner.DESER_INITIAL_WAIT_INTERVALS, inner.CRYPTO_MAX_PGEN_AGE) == (1, 30 * 86400.0)
        assert inner._kc.cf_config["auto.offset.reset"] == "earliest"
        assert inner.MGMT_LONG_KEYINDEX is True
    finally:
        exchange.close()
