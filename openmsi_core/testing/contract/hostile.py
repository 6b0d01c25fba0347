"""Files that nobody asked for, made of the samples: the same for every plugin and every run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

CUTS = (25, 50, 75)
_LONG = 1_000_000


def inputs(samples: Sequence[Path], folder: Path) -> dict[str, tuple[Path, str]]:
    """Each hostile file, written below ``folder``: what it is -> where, and the name it is sent with.

    All have the suffix of the first sample, so that they are what the plugin asked for.
    """
    first = samples[0].read_bytes() if samples else b""
    suffix = samples[0].suffix if samples else ""
    made = {
        "empty": b"",
        "one byte": b"\x00",
        "random": random.Random(0).randbytes(64 * 1024),
        "a line of a million characters": first[:64] + b"x" * _LONG,
        "wrong encoding": first.decode("utf-8", "replace").encode("utf-16"),
        "bytes that are no text": first[: len(first) // 2] + b"\xff\xfe\x81\x00" + first[len(first) // 2 :],
    }
    made |= {cut_name(path, cut): cut_at(path.read_bytes(), cut) for path in samples for cut in CUTS}
    found = {}
    for number, (what, data) in enumerate(made.items()):
        path = folder / f"hostile-{number}{suffix}"
        path.write_bytes(data)
        found[what] = (path, path.name)
    return found


def cut_at(data: bytes, percent: int) -> bytes:
    """The beginning of ``data``.

    >>> cut_at(b"12345678", 25)
    b'12'
    """
    return data[: len(data) * percent // 100]


def cut_name(path: Path, percent: int) -> str:
    """What the beginning of a sample is called."""
    return f"{path.name} cut at {percent} %"
