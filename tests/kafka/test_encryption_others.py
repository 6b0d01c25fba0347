"""Encryption beside others: OpenMSIStream 1.8.8 both ways, and nodes that the library's own classes made."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import ExitStack, redirect_stdout
from io import StringIO
from pathlib import Path

import msgpack
import pytest
from confluent_kafka import Producer

from openmsi_core.crypto.nodes import node_at
from openmsi_core.testing.brokers import cache_folder
from tests.faults.predecessor.programs import VERSION, Program, install, write_config
from tests.kafka.oracle import digests, values
from tests.kafka.processes import wait_for
from tests.kafka.test_encryption import (  # noqa: F401 - fixtures
    Lab,
    lab,
    library,
    opening,
    until_opened,
)

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="session")
def predecessor() -> Path:
    """Its virtual environment, made once (a minute)."""
    named = os.environ.get("OPENMSI_TEST_PREDECESSOR")
    venv = Path(named) if named else cache_folder().parent / f"predecessor-{VERSION}"
    install(venv)
    return venv


def config_for(lab: Lab, node: str) -> Path:  # noqa: F811
    folder = lab.folder / f"predecessor-{node}"
    folder.mkdir()
    path = write_config(folder, lab.broker)
    path.write_text(path.read_text() + f"\n[kafkacrypto]\nconfig_file = {lab.keys / node / node}.config\n")
    return path


@pytest.mark.timeout(300)
def test_what_the_predecessor_seals_with_a_node_of_ours_opens_bit_by_bit(lab, predecessor) -> None:  # noqa: F811
    lab.node("theirs")
    lab.node("ours")
    data = os.urandom(1_500_000)
    source = lab.file("sent.bin", data).parent
    command = [str(predecessor / "bin" / "DataFileUploadDirectory"), str(source), "--config"]
    command += [
        str(config_for(lab, "theirs")),
        "--topic_name",
        lab.topic,
        "--upload_existing",
        "--watchdog_lag_time",
        "1",
    ]
    with Program(command, lab.folder, lab.folder / "theirs.txt") as theirs, opening(lab, "ours") as ours:
        wait_for(lambda: len(values(lab.broker, lab.topic)) == 3, 90, lambda: theirs.text)
        began, chunks = time.monotonic(), []
        for _, value in values(lab.broker, lab.topic):
            chunks.append(msgpack.unpackb(until_opened(ours.sealer, lab.topic, value, 30), raw=True))
        print(f"the predecessor's records open after {time.monotonic() - began:.2f} s")
        assert b"".join(each[8] for each in sorted(chunks, key=lambda each: each[4])) == data
        theirs.quit(20)


@pytest.mark.timeout(300)
def test_what_is_sealed_by_ours_the_predecessor_receives_bit_by_bit(lab, predecessor) -> None:  # noqa: F811
    lab.node("theirs")
    lab.node("ours")
    data, size = os.urandom(1_200_000), 524_288
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    whole = hashlib.sha512(data).digest()
    command = [str(predecessor / "bin" / "DataFileDownloadDirectory"), str(lab.out), "--config"]
    command += [str(config_for(lab, "theirs")), "--topic_name", lab.topic, "--consumer_group_id", "theirs"]
    with ExitStack() as stack:
        theirs = stack.enter_context(Program(command, lab.folder, lab.folder / "theirs.txt"))
        ours = stack.enter_context(opening(lab, "ours"))
        producer = Producer({"bootstrap.servers": lab.broker})
        for number, piece in enumerate(pieces, 1):
            chunk = ["x.bin", whole, hashlib.sha512(piece).digest(), (number - 1) * size, number, len(pieces)]
            value = msgpack.packb([*chunk, "", "", piece, 0.0], use_bin_type=True)
            key = f"_x.bin_chunk_{number}_of_{len(pieces)}".encode()
            producer.produce(lab.topic, ours.sealer.seal_value(lab.topic, value), ours.sealer.seal_key(lab.topic, key))
        producer.flush(20)
        began = time.monotonic()
        wanted = hashlib.sha256(data).hexdigest()
        wait_for(lambda: lab.out.is_dir() and wanted in digests(lab.out).values(), 60, lambda: theirs.text)
        print(f"the predecessor has our file after {time.monotonic() - began:.2f} s")
        theirs.quit(20)


def made_by_the_library(lab: Lab, names: list[str]) -> None:  # noqa: F811
    """Nodes as the library's own classes make them, signed by its password root over its provisioner."""
    import kafkacrypto
    from kafkacrypto.cryptokey import CryptoKey
    from kafkacrypto.cryptostore import CryptoStore
    from kafkacrypto.provisioners import PasswordProvisioner, PasswordROT
    from kafkacrypto.ratchet import Ratchet

    assert kafkacrypto.KafkaCrypto
    with redirect_stdout(StringIO()):
        root = PasswordROT("a password for the root")
        signer = PasswordProvisioner("another one", bytes(root._pk))
    usages = ["key-encrypt", "key-encrypt-request", "key-encrypt-subscribe"]
    poison = msgpack.packb([["usages", usages], ["pathlen", 2]])
    first = bytes(root._sk.crypto_sign(msgpack.packb([0, poison, bytes(signer._pk["prodcon"])])))
    for name in names:
        folder = lab.keys / name
        folder.mkdir(mode=0o700)
        key = CryptoKey(file=str(folder / f"{name}.crypto"), keytypes=[1])
        Ratchet(file=str(folder / f"{name}.seed")).close()
        leaf = msgpack.packb([["usages", usages], ["topics", [lab.topic]], ["pathlen", 1]])
        second = bytes(signer._sk["prodcon"].crypto_sign(msgpack.packb([0, leaf, bytes(key.get_spk(0))])))
        store = CryptoStore(name, str(folder / f"{name}.config"))
        store.store_value("cryptokey", f"file#{name}.crypto")
        store.store_value("ratchet", f"file#{name}.seed")
        store.store_value("rot0", msgpack.packb([0, b"\x90", bytes(root._pk)]), section="allowlist")
        store.store_value("temporary", None, section="allowlist")
        store.store_value("chain0", msgpack.packb([first, second]), section="chains")
        store.close()


def test_nodes_that_the_library_made_work_with_ours(lab) -> None:  # noqa: F811
    made_by_the_library(lab, ["theirs-a", "theirs-b"])
    rights = node_at(lab.keys / "theirs-a" / "theirs-a.config").rights()
    assert (rights.role, rights.topics) == ("both", (lab.topic,))
    path = lab.file("a.bin")
    with lab.sink("theirs-b") as sink, lab.upload(path, node="theirs-a", serve="60s"):
        sink.until(lambda: lab.has(path), 60)
