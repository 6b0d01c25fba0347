"""What goes wrong between the s3 sink and its server: on the wire (toxiproxy), in answers, in what is sent and read."""

from __future__ import annotations

import io
import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from botocore.awsrequest import AWSResponse
from botocore.httpsession import URLLib3Session
from botocore.retries import standard

from openmsi_core.files.datafile import DataFile
from openmsi_core.testing.buckets import FaultProxy
from openmsi_plugins.s3 import bucket as bucket_module
from openmsi_plugins.s3 import sharing, sink, trouble, uploading
from openmsi_plugins.s3.bucket import Bucket
from tests.faults.trial import Trial

WIRE = ("reset", "stalled", "slow", "sliced", "answer-cut", "request-cut", "down")
ANSWERS = ("error-500", "error-503", "acted-500", "denied", "empty-200", "damaged", "no-proof", "wrong-proof")
KINDS = (*WIRE, *ANSWERS, "spool-lost-bytes")
_WRITES = {"PutObject", "UploadPart", "CompleteMultipartUpload", "CreateMultipartUpload"}
_PROOFS = ("etag", "x-amz-checksum-sha256", "x-amz-checksum-crc32")


class Troublemaker:
    """Lets chosen requests fail; each kind for so many requests, then all is well until the next."""

    def __init__(self, trial: Trial, proxy: FaultProxy) -> None:
        self.trial, self._proxy = trial, proxy
        chance = trial.chance
        self._chance = random.Random(chance.random())
        first = KINDS[trial.seed % len(KINDS)]  # over a campaign each kind comes first as often as any other
        kinds = [first, *chance.choices(KINDS, k=chance.randrange(4))]
        starts = [chance.randrange(1, 8), *(chance.randrange(1, 25) for _ in kinds[1:])]
        self._plan = sorted((at, kind, chance.randrange(1, 6)) for at, kind in zip(starts, kinds, strict=True))
        self._lock = threading.Lock()
        self._requests = 0
        self._left: dict[str, int] = {}
        self.denied: set[str] = set()

    def stop(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._plan.clear()
            self._left.clear()
            self._proxy.heal()

    def before_send(self, request: Any, event_name: str = "", **_: object) -> AWSResponse | None:
        """botocore's event before each attempt: an answer that the server never gave, or None."""
        operation = event_name.rpartition(".")[2]
        kind = self._next(operation)
        if kind in {"error-500", "error-503"}:
            return _answer(request, int(kind[-3:]), "SlowDown" if kind.endswith("503") else "InternalError")
        if kind == "acted-500":  # the server did it, and its answer is lost
            URLLib3Session(timeout=5).send(request)
            return _answer(request, 500, "InternalError")
        if kind == "empty-200":  # somebody on the way says yes to everything
            return _answer(request, 200, "")
        if kind == "denied":
            self.denied.add(request.url)
            return _answer(request, 403, "AccessDenied")
        if kind == "damaged" and request.body:
            body = request.body if isinstance(request.body, bytes) else request.body.read()
            at = self._chance.randrange(max(len(body), 1))
            request.body = body[:at] + bytes([body[at] ^ 0x20]) + body[at + 1 :] if body else body
        return None

    def before_parse(self, response_dict: Any, event_name: str = "", **_: object) -> None:
        """botocore's event before an answer is understood: it lacks what proves anything, or proves something else."""
        if event_name.rpartition(".")[2] not in _WRITES or response_dict["status_code"] != 200:
            return
        for kind in ("no-proof", "wrong-proof"):
            if self._takes(kind):
                for name in _PROOFS:
                    if name in response_dict["headers"]:
                        response_dict["headers"][name] = "" if kind == "no-proof" else "AAAA"
                response_dict["body"] = b""

    def lost_bytes(self, data: bytes) -> bytes:
        """What the spool gives, once: other bytes than it was given."""
        if data and self._takes("spool-lost-bytes"):
            at = self._chance.randrange(len(data))
            return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        return data

    def _takes(self, kind: str) -> bool:
        with self._lock:
            if not self._left.get(kind):
                return False
            self._left[kind] -= 1
            self.trial.hit(kind)
            return True

    def _next(self, operation: str) -> str:
        """Count one attempt; what happens to it, beside what the wire does."""
        with self._lock:
            self._requests += 1
            for kind in [kind for kind in WIRE if kind in self._left]:
                self._left[kind] -= 1
                if self._left[kind] <= 0:
                    del self._left[kind]
                    self._proxy.heal()
            while self._plan and self._plan[0][0] <= self._requests:
                _, kind, count = self._plan.pop(0)
                self._left[kind] = 1 if kind in {"spool-lost-bytes", "wrong-proof"} else count
                if kind in WIRE:
                    self.trial.hit(kind)
                    self._poison(kind)
        if operation in _WRITES:
            for kind in ANSWERS[:6]:
                if self._takes(kind):
                    return kind
        return ""

    def _poison(self, kind: str) -> None:
        proxy, chance = self._proxy, self._chance
        up_or_down = chance.choice(["upstream", "downstream"])
        if kind == "reset":
            proxy.poison("reset_peer", {"timeout": chance.choice([0, 5, 50])}, stream=up_or_down)
        elif kind == "stalled":
            proxy.poison("timeout", {"timeout": chance.choice([0, 100])}, stream=up_or_down, share=0.7)
        elif kind == "slow":
            proxy.poison("latency", {"latency": 50, "jitter": 50})
            proxy.poison("bandwidth", {"rate": 2000}, stream="upstream")
        elif kind == "sliced":
            proxy.poison("slicer", {"average_size": 64, "size_variation": 32, "delay": 50})
        elif kind == "answer-cut":
            proxy.poison("limit_data", {"bytes": chance.choice([0, 8, 20, 60, 150, 300, 1000])})
        elif kind == "request-cut":
            proxy.poison("limit_data", {"bytes": chance.choice([50, 500, 5000, 3_000_000])}, stream="upstream")
        else:
            proxy.cut()


@contextmanager
def troubled(maker: Troublemaker) -> Iterator[None]:
    """Inside, sinks meet this trouble, and wait for milliseconds where they would for seconds."""
    made, read, parts = Bucket._made, DataFile.read_bytes, DataFile.open

    def with_events(own: Bucket, seconds: float) -> Any:
        client = made(own, seconds)
        client.meta.events.register("before-send.s3", maker.before_send)
        client.meta.events.register("before-parse.s3", maker.before_parse)
        return client

    def opened(own: DataFile) -> Any:
        return _Losing(parts(own), maker)

    with ExitStack() as stack:
        stack.enter_context(hurried())
        stack.enter_context(patch.object(Bucket, "_made", with_events))
        stack.enter_context(patch.object(DataFile, "read_bytes", lambda own: maker.lost_bytes(read(own))))
        stack.enter_context(patch.object(DataFile, "open", opened))
        yield


@contextmanager
def hurried() -> Iterator[None]:
    """Inside, timeouts and pauses are short."""
    with ExitStack() as stack:
        for module in (trouble, bucket_module, uploading):
            stack.enter_context(patch.object(module, "PAUSE", 0.05))
        for name, value in (
            ("READ_SECONDS", 1.0),
            ("COMPLETE_SECONDS", 2.0),
            ("CONNECT_SECONDS", 1.0),
            ("ATTEMPTS", 2),
        ):
            stack.enter_context(patch.object(bucket_module, name, value))
        stack.enter_context(patch.object(standard.ExponentialBackoff, "delay_amount", lambda *_: 0.01))
        stack.enter_context(patch.object(sharing, "PATIENCE", 10.0))
        stack.enter_context(patch.object(sink, "_SURE_OF_NEWS", 4))
        yield


class _Losing(io.RawIOBase):
    """A reader of a spooled file that gives other bytes now and then."""

    def __init__(self, content: Any, maker: Troublemaker) -> None:
        super().__init__()
        self._content, self._maker = content, maker

    def read(self, size: int | None = -1, /) -> bytes:
        return self._maker.lost_bytes(self._content.read(size))

    def close(self) -> None:
        self._content.close()
        super().close()


def _answer(request: Any, status: int, code: str) -> AWSResponse:
    text = f"<Error><Code>{code}</Code><Message>made up by the trial</Message></Error>" if code else ""
    headers: Mapping[str, str] = {"content-type": "application/xml"}
    return AWSResponse(request.url, status, headers, _Raw(text.encode()))


class _Raw(io.BytesIO):
    """The body of an answer, as urllib3 has it."""

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield self.read()
