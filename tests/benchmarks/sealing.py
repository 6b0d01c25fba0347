"""How fast sealing and opening are: ours, the library's own under its lock, and bare libsodium, in one run.

python tests/benchmarks/sealing.py [MIB]; only the ratios within one run count.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pysodium
from nacl import bindings

from openmsi_core.crypto import blobs
from openmsi_core.crypto.certificates import Role
from openmsi_core.crypto.exchange import Exchange
from openmsi_core.crypto.nodes import node_at
from openmsi_core.crypto.provisioning import add_node, make_root
from openmsi_core.kafka import keytopics

CHUNK = 512 * 1024


def rate(task: Callable[[], object], mib: int, threads: int = 1) -> float:
    """MiB/s; the best of three."""
    count = mib * 1024 * 1024 // CHUNK
    best = 0.0
    for _ in range(3):
        began = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda _: task(), range(count)))
        best = max(best, mib / (time.perf_counter() - began))
    return best


def main(mib: int) -> None:
    data, key, nonce = os.urandom(CHUNK), os.urandom(32), os.urandom(24)
    with tempfile.TemporaryDirectory() as folder:
        make_root(Path(folder))
        node = node_at(add_node(Path(folder), "n", Role.BOTH, ["t"]))
        exchange = Exchange(node, lambda: keytopics.connection({"bootstrap.servers": "127.0.0.1:1"}))
        exchange.open()
        inner = exchange._inner
        exchange.prime("t")
        index = inner._cur_pgens["t"]
        secret = inner._pgens["t"][index]["secret"]
        inner._cgens["t"] = {index: inner._pgens["t"][index]}
        theirs, opens = inner.getValueSerializer(), inner.getValueDeserializer()
        sealed = blobs.seal(index, secret, data, blobs.VALUE)
        assert opens.deserialize("t", sealed).getMessage() == data
        box = pysodium.crypto_secretbox(data, nonce, key)
        tasks = {
            "ours": (
                lambda: blobs.seal(index, secret, data, blobs.VALUE),
                lambda: blobs.opened(blobs.parsed(sealed), secret, blobs.VALUE),
            ),
            "kafkacrypto": (lambda: theirs.serialize("t", data), lambda: opens.deserialize("t", sealed)),
            "bare, pysodium": (
                lambda: pysodium.crypto_secretbox(data, nonce, key),
                lambda: pysodium.crypto_secretbox_open(box, nonce, key),
            ),
            "bare, PyNaCl": (
                lambda: bindings.crypto_secretbox_easy(data, nonce, key),
                lambda: bindings.crypto_secretbox_open_easy(box, nonce, key),
            ),
        }
        for name, (seal, opening) in tasks.items():
            told = [f"{rate(task, mib, threads):8,.0f}" for task in (seal, opening) for threads in (1, 2)]
            print(f"{name:15} seal {told[0]} (2 threads {told[1]})  open {told[2]} (2 threads {told[3]}) MiB/s")
        exchange.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 128)
