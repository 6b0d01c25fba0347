"""F23: every call to the outside fails once, is the last one before a crash, is the first one that was not made."""

from __future__ import annotations

from pathlib import Path

from tests.disk_fakes import tree
from tests.faults import walk_disk, walk_stream
from tests.faults.model import Killed
from tests.faults.trial import Fault, Trial


def run(trial: Trial) -> None:
    """Walk over all calls of the disk sink, then over all calls of a stream."""
    number = 0
    while _disk(trial, number := number + 1):
        pass
    walk_stream.walk(trial)


def _disk(trial: Trial, number: int) -> bool:
    """Strike at call ``number`` in each way; False when there are not so many."""
    for how in ("fails", "last", "done"):
        root = trial.folder / "root"
        walk_disk.prepare(root)
        disks = walk_disk.Disks(root, number, how)
        acknowledged: dict[str, bytes] = {}
        with disks.watching():
            try:
                walk_disk.store(root, acknowledged)
            except Killed:
                trial.kills += 1
                disks.bury()
            except Exception as error:  # the sink could not start, and said so
                trial.check("cannot be stored" in str(error), f"{disks.struck} {how}: {error!r}")
        if not disks.struck:
            return False
        trial.hit(disks.struck)
        _after(trial, disks, root, acknowledged, f"call {number}, {disks.struck} {how}")
    return True


def _after(trial: Trial, disks: walk_disk.Disks, root: Path, acknowledged: dict[str, bytes], what: str) -> None:
    if trial.chance.random() < 0.7:
        disks.power_cut(trial.chance)
        trial.hit("power-cut")
    trial.equal(walk_disk.wrong(root, acknowledged), [], f"{what}: names with wrong content")
    walk_disk.store(root, {})
    trial.equal(tree(root) == walk_disk.WANTED, True, f"{what}: the tree after a new start")
    left = [path.name for path in (root / ".openmsi").glob("store-*")]
    trial.equal(left, [], f"{what}: left behind")


FAULT = Fault(
    "F23",
    "every external call fails, or is the last before a crash",
    run,
    ci=2,
    release=20,
    whole=True,
    windows=(*walk_disk.CALLS, "power-cut", *walk_stream.CALLS),
    mutations=(
        *("content-is-not-synced", "names-are-not-synced", "files-are-written-in-place"),
        *("commit-is-skipped", "open-versions-are-forgotten"),
    ),
)
