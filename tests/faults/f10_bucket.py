"""F10: an S3 server behind a proxy that breaks connections; errors, denials, answers that prove nothing, kill -9.

The sink is the real one, the server too (versitygw). When a receipt is written, the object must lie in the server's
folder with the right SHA-256: it is read there, by nothing of ours. At the end everything is stored or a dead letter
that says why, and no unfinished upload is left.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3

from openmsi_core.errors import TargetError
from openmsi_core.files.assembly import Limits
from openmsi_core.plugins.loader import build
from openmsi_core.testing.buckets import FaultProxy, S3Server
from openmsi_plugins.s3.bucket import Bucket
from tests.fakes import Log, LogStore, values_of
from tests.faults.bucket_trouble import ANSWERS, WIRE, Troublemaker, hurried, troubled
from tests.faults.mutations import applied
from tests.faults.storing import PATIENT, QUICK_PACE, some_files, wanted
from tests.faults.trial import Fault, Trial, Violation
from tests.kafka.oracle import digests
from tests.rig import Rig

_STARTS = 12
_CALLS = {"begin": "killed-begun", "part": "killed-in-parts", "complete": "killed-completed", "put": "killed-put"}


@cache
def _server(root: Path) -> tuple[S3Server, FaultProxy]:
    """One server and one proxy for all trials of this process; they end with it."""
    folder = root / f"s3-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    server = S3Server(folder)
    server.start()
    return server, FaultProxy(folder, server.port).__enter__()


def run(trial: Trial) -> None:
    """Files of every size into a bucket, with trouble; in every fourth trial a process is killed first."""
    server, proxy = _server(trial.folder.parent)
    bucket = f"trial-{trial.seed}-{os.getpid()}"
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, server.environment()))
        server.add_bucket(bucket)
        root = server.folder / "data" / bucket
        files = _files(trial.seed)
        stack.callback(proxy.heal)
        client = boto3.client("s3", endpoint_url=server.url)
        stack.callback(client.close)
        old = dict.fromkeys(trial.chance.sample(sorted(files), 2), b"an earlier version of it")
        for path, data in old.items():
            client.put_object(Bucket=bucket, Key=f"t/{path}", Body=data)
        if _is_killed(trial.seed):
            _killed(trial, server, bucket, files, old)
        maker = Troublemaker(trial, proxy)
        with troubled(maker):
            rigs = _run(trial, maker, proxy.url, bucket, files)
        refused = _check_end(trial, rigs, root, files)
        left = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
        keys = {each["Key"].removeprefix("t/") for each in left}
        trial.equal(sorted(keys - refused), [], "unfinished uploads of files that were stored")
    subprocess.run(["rm", "-rf", str(root)], check=True)


def _files(seed: int) -> dict[str, bytes]:
    """Mostly small files, in two trials of three a larger one that is sent in parts."""
    chance = random.Random(seed)
    files = some_files(chance, 12, 60_000)
    count = chance.choice([0, 1, 1, 2])
    for number in range(max(count, 1) if _is_killed(seed) else count):
        files[f"large-{number}"] = chance.randbytes(chance.randrange(5 << 20, 11 << 20) + 1)
    return files


def _is_killed(seed: int) -> bool:
    return seed % 4 == 0


def _log(chance: random.Random, files: Mapping[str, bytes]) -> Log:
    log = Log()
    paths = list(files)
    chance.shuffle(paths)
    for path in paths:
        log.put(*values_of(path, files[path], chunk=1 << 19))
    return log


def _run(trial: Trial, maker: Troublemaker, url: str, bucket: str, files: Mapping[str, bytes]) -> Rig:
    """Until everything is dealt with; a run that was ended for a person is started again, as a person would."""
    log = _log(trial.chance, files)
    root = _root_of(trial, bucket)
    for start in range(_STARTS):
        rig = _rig(trial.folder / f"run-{start}", log, url, bucket)
        with checking(trial, rig.store, root, files):
            try:
                trial.equal(rig.run(), 0, "versions left open")
            except TargetError as error:
                trial.hit("run-ended")
                trial.check(bool(maker.denied) or "AAAA" in str(error), f"the run ended: {error}")
            else:
                return rig
        if start == _STARTS - 2:
            maker.stop()
    raise Violation("the run never came to its end")


def _rig(folder: Path, log: Log, url: str, bucket: str) -> Rig:
    folder.mkdir(parents=True)
    values = {"bucket": bucket, "endpoint-url": url, "multipart-above": 5, "part-size": 5, "parallel-parts": 2}
    make = build("s3", values)
    more = {"limits": Limits(in_memory_file=32 * 1024), "policy": PATIENT, "pace": QUICK_PACE, "workers": 4}
    return Rig(folder, log, None, call=lambda *_, **__: make(None), spool=folder / "spool", **more)


@contextmanager
def checking(trial: Trial, store: LogStore, root: Path, files: Mapping[str, bytes]) -> Iterator[None]:
    """Inside, what is receipted as stored must lie in the bucket at that moment, whole."""
    should, write = wanted(files), store.write

    def written(outgoing: Any, *more: Any, **named: Any) -> None:
        outgoing = list(outgoing)
        for each in outgoing:
            if each.topic.endswith(".receipts"):
                receipt = json.loads(each.value)
                if receipt["outcome"] == "done":
                    path = os.fsencode(receipt["path"])
                    trial.equal(
                        _digest(root, path), should[path], f"the object of {receipt['path']}, receipted as stored"
                    )
        write(outgoing, *more, **named)

    with patch.object(store, "write", written):
        yield


def _digest(root: Path, path: bytes) -> str:
    file = root / "t" / os.fsdecode(path)
    return digests(file.parent).get(os.path.basename(path), "nothing") if file.exists() else "nothing"


def _root_of(trial: Trial, bucket: str) -> Path:
    return _server(trial.folder.parent)[0].folder / "data" / bucket


def _check_end(trial: Trial, rig: Rig, root: Path, files: Mapping[str, bytes]) -> set[str]:
    """Everything is stored, or a dead letter because it was denied; the latter."""
    letters = {letter["file"]["path"]: letter["why"]["message"] for letter in rig.letters() if letter.get("file")}
    trial.check(
        all("denies it" in reason for reason in letters.values()) and len(letters) == len(rig.letters()),
        f"dead letters: {letters}",
    )
    done = sorted(receipt["path"] for receipt in rig.receipts() if receipt["outcome"] == "done")
    trial.equal(done, sorted(set(files) - set(letters)), "receipts")
    should = {path: digest for path, digest in wanted(files).items() if os.fsdecode(path) not in letters}
    found = digests(root / "t") if (root / "t").exists() else {}
    trial.equal({path: found.get(path) for path in should}, should, "objects")
    trial.check(set(found) <= set(wanted(files)), f"objects that nobody sent: {set(found) - set(wanted(files))}")
    return set(letters)


def _killed(trial: Trial, server: S3Server, bucket: str, files: Mapping[str, bytes], old: Mapping[str, bytes]) -> None:
    """A process of its own stores the same files until it kills itself; what it left is whole or not there."""
    call = list(_CALLS)[trial.seed // 4 % len(_CALLS)]
    count = trial.chance.randrange(1, {"put": 9, "part": 3}.get(call, 2))
    arguments = [str(trial.seed), str(trial.folder / "killed"), server.url, bucket, call, str(count), trial.mutation]
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.f10_bucket", *arguments], capture_output=True, check=False
    )
    if done.returncode == -signal.SIGKILL:
        trial.killed(_CALLS[call])
    else:  # fewer calls were enough
        trial.check(done.returncode == 0, f"the process ended with {done.returncode}: {done.stderr[-600:]!r}")
    root, should, earlier = _root_of(trial, bucket), wanted(files), wanted(old)
    for path, digest in (digests(root / "t") if (root / "t").exists() else {}).items():
        if digest != earlier.get(path):
            trial.equal(digest, should.get(path), f"what a killed process left at {path!r}")


def _main(seed: str, folder: str, url: str, bucket: str, call: str, count: str, mutation: str) -> None:
    """The process that is killed: right after its ``count``-th call of this kind was answered."""
    real, left = getattr(Bucket, call), [int(count)]

    def counted(*arguments: Any, **named: Any) -> Any:
        answer = real(*arguments, **named)
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    with applied(mutation), hurried(), patch.object(Bucket, call, counted):
        _rig(Path(folder), _log(random.Random(int(seed)), _files(int(seed))), url, bucket).run()


FAULT = Fault(
    "F10",
    "S3: errors, denials, resets, timeouts, slow links, answers that prove nothing, damage, kill -9 in mid-upload",
    run,
    ci=60,
    release=1000,
    windows=(*WIRE, *ANSWERS, "spool-lost-bytes", *_CALLS.values()),
    mutations=(
        "answers-are-believed",
        "refusals-count-as-stored",
        "uploads-are-left-behind",
        "spool-is-believed",
        "any-object-counts-as-equal",
    ),
)

if __name__ == "__main__":
    _main(*sys.argv[1:])
