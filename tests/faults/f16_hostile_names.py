"""F16: hostile names, each from the wire to the disk, under the rules of Linux, macOS and Windows.

Those of macOS and Windows are simulated on this file system: a name is found under any case and way to write an
accent, and what Windows cannot store must not appear.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import msgpack

from openmsi_core.files import wire
from openmsi_core.files.chunking import chunks
from openmsi_core.model import FileVersion, RelativePath
from openmsi_plugins.disk import sink
from openmsi_plugins.disk.names import Rules, original
from openmsi_plugins.disk.tree import Place
from tests.fakes import Log, values_of
from tests.faults.hostile_names import GROUPS, Parts, refused
from tests.faults.storing import StoringRig, impatient
from tests.faults.trial import Fault, Trial

_PLATFORMS = {"linux": Rules(), "macos": Rules(folds=True), "windows": Rules(windows=True, folds=True)}
_DEVICE = re.compile(r"(con|prn|aux|nul|com[1-9¹²³]|lpt[1-9¹²³]|conin\$|conout\$)( *\..*)?", re.IGNORECASE)
_FORBIDDEN = set('<>:"/\\|?*') | {chr(code) for code in range(32)}
_TRIALS = (len(GROUPS) + 1) * len(_PLATFORMS)


def run(trial: Trial) -> None:
    """One group of names on one platform; before the first group come the paths that must not exist."""
    platform = list(_PLATFORMS)[trial.seed % len(_PLATFORMS)]
    number = trial.seed // len(_PLATFORMS) % (len(GROUPS) + 1)
    trial.hit(platform)
    outside = trial.folder / "outside"
    outside.mkdir()
    (outside / "theirs").write_bytes(b"theirs")
    bad = refused(outside) if number == 0 else []
    paths = [] if bad else GROUPS[number - 1]
    files = {path: f"content of {path!a}".encode() for path in paths}
    log = Log()
    log.put(*values_of("good/before", b"before"))
    for path, data in files.items():
        log.put(*_values(path, data))
    for parts in bad:
        trial.hit("refused")
        log.put(_forged(parts))
    log.put(*values_of("good/after", b"after"))
    root = trial.folder / "root"
    with ExitStack() as stack:
        stack.enter_context(impatient(trial.folder))
        stack.enter_context(_platform(_PLATFORMS[platform]))
        rig = StoringRig(trial, log, root, workers=1)
        left_open = rig.run()
    trial.equal(left_open, 0, "versions left open")
    _check(trial, rig, root, files, platform, len(bad))
    trial.equal({path.name for path in outside.iterdir()}, {"theirs"}, "what lies outside")
    trial.equal({path.name for path in trial.folder.iterdir()}, {"outside", "root", "log.txt"}, "beside the folder")
    subprocess.run(["rm", "-rf", str(root)], check=True)  # some trees are too deep for shutil


def _check(
    trial: Trial, rig: StoringRig, root: Path, files: dict[Parts, bytes], platform: str, refused_paths: int
) -> None:
    rules = _PLATFORMS[platform]
    letters = [(letter["what"], letter["why"]["message"]) for letter in rig.letters()]
    trial.equal([what for what, _ in letters], ["bad-record"] * refused_paths, f"dead letters {letters}")
    stored = dict(_walked(root))
    found = {original(names, rules): data for names, data in stored.items()}
    trial.equal(found, files | {("good", "before"): b"before", ("good", "after"): b"after"}, "files, read back")
    for names in stored:
        trial.check(all(rules.fits(name) for name in names), f"a name is too long: {names}")
        if rules.windows:
            trial.check(not any(_unfit(name) for name in names), f"Windows cannot store {names}")
    if rules.folds:
        keys = {tuple(_folded(name, rules) for name in names) for names in stored}
        trial.equal(len(keys), len(stored), "files that would be one")


def _unfit(name: str) -> bool:
    is_odd = bool(_FORBIDDEN & set(name)) or name[-1] in ". " or _DEVICE.fullmatch(name) is not None
    return is_odd or any("\udc80" <= char <= "\udcff" for char in name)


def _walked(root: Path) -> Iterator[tuple[Parts, bytes]]:
    """Every file with the names on its way, however deep; ours are left out."""
    waiting: list[tuple[Parts, int]] = [((), os.open(root, os.O_RDONLY))]
    while waiting:
        names, folder = waiting.pop()
        for name in os.listdir(folder):
            if not names and name == ".openmsi":
                continue
            opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
            if os.path.isdir(f"/proc/self/fd/{opened}"):
                waiting.append(((*names, name), opened))
            else:
                with os.fdopen(opened, "rb") as file:
                    yield (*names, name), file.read()
        os.close(folder)


def _values(path: Parts, data: bytes) -> list[bytes]:
    version = FileVersion(os.urandom(16), RelativePath(path), len(data), wire.MIN_CHUNK, 1_700_000_000_000_000_000)
    return [wire.encode(each) for each in chunks(io.BytesIO(data), version)]


def _forged(parts: tuple[object, ...]) -> bytes:
    """A file record that is right in everything but its path."""
    (chunk,) = chunks(
        io.BytesIO(b"evil"),
        FileVersion(os.urandom(16), RelativePath(("a",)), 4, wire.MIN_CHUNK, 1_700_000_000_000_000_000),
    )

    def pack(facts: dict[str, object]) -> bytes:
        return bytes(msgpack.packb(facts | {"path": list(parts)}))

    with patch.object(wire, "pack", pack):
        return wire.encode(chunk)


def _folded(name: str, rules: Rules) -> str:
    """As NTFS compares, character by character; as APFS does."""
    if rules.windows:
        return "".join(char if len(char.upper()) > 1 else char.upper() for char in name)
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


@contextmanager
def _platform(rules: Rules) -> Iterator[None]:
    """A file system as that platform has it."""
    if not rules.folds:
        yield
        return
    exact = Place.status

    def status(place: Place, name: str) -> os.stat_result | None:
        found = exact(place, name)
        if found is None:
            twin = next((each for each in place.names() if _folded(each, rules) == _folded(name, rules)), None)
            found = exact(place, twin) if twin is not None else None
        return found

    with patch.object(Place, "status", status), patch.object(sink, "rules_of", lambda *_, **__: rules):
        yield


FAULT = Fault(
    "F16",
    "hostile names",
    run,
    ci=_TRIALS,
    release=_TRIALS,
    whole=True,
    windows=(*_PLATFORMS, "refused"),
    mutations=("names-are-not-escaped", "paths-are-not-checked"),
)
