"""F15: a burst of files, more events than are held, folders moved in and out, loops of links, files nobody may read.

50,000 files in a release, written by two threads while the folder is watched, renamed, modified, some deleted. What
is compared in the end is what stands in the folder, each file once in its last version.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from unittest.mock import patch

from openmsi_core.sending import later, sender
from openmsi_core.sending.hints import FolderHints
from openmsi_core.sending.mounts import network_kind
from openmsi_core.sending.reading import open_file
from tests.faults.sent import Folder, check_sent
from tests.faults.trial import Fault, Trial
from tests.faults.watching import Topic, arrives, hinted, once, quick, watching

_FILES = {"ci": 1_500, "tenth": 10_000, "release": 50_000}


def run(trial: Trial) -> None:
    """Every second trial on a mount that tells of no event, where bindfs is installed."""
    if trial.seed % 2 and shutil.which("bindfs"):
        with _mounted(trial.folder) as mount:
            trial.check(network_kind(mount) != "", "a mount without events is found")
            trial.hit("without-events")
            _burst(trial, mount)
    else:
        _burst(trial, trial.folder / "source")


@contextmanager
def _mounted(folder: Path) -> Iterator[Path]:
    """``source`` as it is seen through a mount: what is written there gives no event here."""
    mount = folder / "mount"
    (folder / "source").mkdir()
    mount.mkdir()
    subprocess.run(["bindfs", str(folder / "source"), str(mount)], check=True)
    try:
        yield mount
    finally:
        subprocess.run(["fusermount", "-u", str(mount)], check=True)


def _burst(trial: Trial, watched: Path) -> None:
    """Watch while it all happens; a second pass afterwards finds nothing left."""
    count = _FILES[os.environ.get("OPENMSI_TEST_SCALE", "ci")]
    root, topic = trial.folder / "source", Topic()
    folders = [
        Folder(root / f"writer{number}", random.Random(trial.seed + number), largest=100_000) for number in (0, 1)
    ]
    (root / "loop").symlink_to(".", target_is_directory=True)
    (root / "writer0" / "up").symlink_to("..", target_is_directory=True)
    (root / "outside").symlink_to("/etc", target_is_directory=True)
    trial.hit("loops")
    unreadable = set[str]()

    def opened(file: str) -> BinaryIO:
        if os.path.basename(file) in unreadable:  # as root one may read everything
            trial.hit("unreadable")
            raise PermissionError(13, "Permission denied")
        return open_file(file)

    held = trial.chance.choice([20, 10_000])
    is_polled = watched != root
    hints = None if is_polled else hinted(root, held=held)
    with (
        patch.dict(sender.Sender.__init__.__kwdefaults__, {"opener": opened}),
        patch.object(later, "_FIRST_NS", 100_000_000),
        watching(trial, watched, topic, quick(interval=1.0, exclude=("*.part",), polling=is_polled), hints),
    ):
        lost = _count_losses(hints)
        _forbid(trial, folders[0], unreadable)
        writers = [threading.Thread(target=_busy, args=(each, count // 2)) for each in folders]
        for writer in writers:
            writer.start()
        _move_folders(trial, root)
        for writer in writers:
            writer.join()
        trial.check(
            arrives(topic, root, 900.0, lambda path: path.rsplit(b"/", 1)[-1] in _bytes(unreadable)), "all came"
        )
        unreadable.clear()
        trial.check(arrives(topic, root, 60.0), "what could not be read did not come when it could be")
    if lost[0]:
        trial.hit("overflow")
    check_sent(trial, root, topic.found())
    trial.equal(once(trial, watched, topic, ("*.part",)), 0, "files sent again by a pass over a quiet folder")
    outside = [path for path in topic.found().whole if path.startswith((b"loop/", b"writer0/up/", b"outside"))]
    trial.equal(outside, [], "paths behind links")


def _bytes(names: set[str]) -> set[bytes]:
    return {os.fsencode(name) for name in names}


def _count_losses(hints: FolderHints | None) -> list[int]:
    lost = [0]
    if hints is None:
        return lost
    asked = type(hints).were_lost

    def were_lost() -> bool:
        was = asked(hints)
        lost[0] += was
        return bool(was)

    hints.were_lost = were_lost  # type: ignore[attr-defined]
    return lost


def _forbid(trial: Trial, folder: Folder, unreadable: set[str]) -> None:
    for number in range(5):
        name = f"unreadable{number}"
        unreadable.add(name)
        folder.write(folder.root / name)


def _busy(folder: Folder, count: int) -> None:
    for _ in range(10):
        folder.add(count // 10)
        folder.change(0.02)


def _move_folders(trial: Trial, root: Path) -> None:
    for number in range(5):
        aside = Folder(trial.folder / f"aside{number}", random.Random(trial.seed * 7 + number), largest=50_000)
        aside.add(20)
        aside.root.rename(root / f"moved{number}")
        trial.hit("moved-in")
        what = trial.chance.choice(["stay", "around", "out", "removed"])
        if what == "around":
            (root / f"moved{number}").rename(root / f"around{number}")
        elif what == "out":
            (root / f"moved{number}").rename(trial.folder / f"out{number}")
        elif what == "removed":
            shutil.rmtree(root / f"moved{number}")
        trial.hit(what)


FAULT = Fault(
    "F15",
    "burst, overflow, folders moved in and out, loops of links, unreadable files",
    run,
    ci=4,
    release=50,
    windows=("overflow", "moved-in", "around", "out", "removed", "loops", "unreadable"),
    mutations=("hints-are-the-truth",),
)
