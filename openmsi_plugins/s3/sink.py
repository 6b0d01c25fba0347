"""The sink itself: look, store, believe nothing that the server does not confirm."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from openmsi_core import DataFile, Reject, RetryLater, Sink, Stored, TargetError

from .bucket import Bucket, Found
from .checking import checked
from .keys import LONGEST, fields_of, key_of, prefix_of
from .options import S3Options
from .sharing import PartThreads, Shared, joined, left
from .trouble import Complaint, Refused, denied, meaning
from .uploading import Upload

_SURE_OF_NEWS = 16
"""After so many files in a row that were not there, the next small one is not looked for first, but put create-only."""

_LIGHT = 256 * 1024
"""Bytes that may be sent in vain."""


class S3(Sink):
    """Store files in a bucket of Amazon S3, or of a server that speaks it; checked by the server."""

    delivery = "idempotent"
    stability = "stable"
    workers = 8

    class Options(S3Options):
        """Where, how, and what happens to an object that is there already."""

    options: Options

    _name: str
    _shared: Shared

    def open(self) -> None:
        """Connect, and see that there is such a bucket. Raises TargetError when a person must change something.

        A server that does not answer is said, and no error: files wait for it.
        """
        self._name = self.options.model_dump_json()
        self._shared = joined(self._name, self._made)

    def close(self) -> None:
        """Let go of the connections, when nobody else has them."""
        left(self._name)

    def write(self, file: DataFile) -> Stored:
        """Store one file under its key; it counts when this returns."""
        shared, key = self._shared, key_of(self.options.key, fields_of(file))
        if len(key.encode("utf-8")) > LONGEST:
            raise Reject(f"its key has {len(key.encode('utf-8')):,} bytes, and S3 takes {LONGEST:,}: {key[:80]}…")
        try:
            with shared.alone(key):
                is_there = self._store(file, key)
        except RetryLater as later:
            self._wait(later)
            raise
        except Refused as refused:
            raise self._judged(refused, key) from refused
        shared.complaint.withdraw(f"{shared.bucket.where} takes files again")
        return Stored(f"s3://{self.options.bucket}/{key}", unchanged=is_there)

    def check(self, topic: str) -> Iterator[str]:
        """Write, look, read back, begin parts and delete, below the keys that files of ``topic`` would get."""
        key = f"{prefix_of(self.options.key, topic)}.openmsi-check-{uuid.uuid4().hex[:12]}"
        try:
            yield from checked(self._shared.bucket, self.options, key)
        except RetryLater as later:
            raise TargetError(f"{later}. Is that the right address, and does the server run?") from later
        except Refused as refused:
            raise self._stopping(refused) from refused

    def _store(self, file: DataFile, key: str) -> bool:
        """True when it was there already. Raises Refused, RetryLater, TargetError, Reject."""
        shared, refuses = self._shared, self.options.on_conflict == "refuse"
        # for a new small file looking first would double the requests: the put itself finds out
        goes_first = file.size <= _LIGHT and shared.misses >= _SURE_OF_NEWS and shared.knows_conditions
        if not goes_first and self._is_there(file, key):
            return True
        try:
            self._upload(file, key, create_only=refuses or goes_first)
        except Refused as refused:
            if goes_first and refused.status == 501:
                shared.knows_conditions = False
            elif not refused.is_there_already:
                raise
            shared.misses = 0
            if self._is_there(file, key):  # perhaps put there by us, and the answer was lost
                return True
            self._upload(file, key, create_only=refuses)
        return False

    def _upload(self, file: DataFile, key: str, *, create_only: bool) -> None:
        Upload(self._shared, self.options, file, key, create_only).run()
        self._shared.stored += 1

    def _is_there(self, file: DataFile, key: str) -> bool:
        """True when this content has the key. Raises Reject when other content has it, and must keep it."""
        found = self._look(key)
        if found is None:
            self._shared.misses += 1
            return False
        self._shared.misses = 0
        if found.has(file.sha256, file.size, proven=self.options.checksum == "sha256"):
            return True
        if self.options.on_conflict == "refuse":
            raise Reject(f"another object has the key {key}, and on-conflict is refuse")
        return False

    def _look(self, key: str) -> Found | None:
        try:
            return self._shared.bucket.look(key)
        except Refused as refused:
            if refused.is_wordless:  # the put will tell the reason, if there is one
                return None
            raise

    def _judged(self, refused: Refused, key: str) -> Exception:
        """What an answer means for the file, or for all."""
        bucket = self._shared.bucket
        if refused.is_denied:
            return self._denial(refused, key)
        error = meaning(refused, bucket.name, bucket.where, key)
        if isinstance(error, RetryLater):
            self._wait(error)
        return error

    def _denial(self, refused: Refused, key: str) -> Exception:
        """A policy may deny one key; who could never store anything, or sees the bucket no more, is told to stop."""
        bucket = self._shared.bucket
        try:
            if self._shared.stored:
                bucket.home()
                return Reject(f"the server denies it, though others were stored: {refused}; key {key}")
        except RetryLater as later:
            self._wait(later)
            return later
        except Refused:
            pass  # the bucket is denied too: that is the answer
        return denied(refused, bucket.name, bucket.where)

    def _wait(self, later: RetryLater) -> None:
        self._shared.misses = 0  # what was stored without an answer must be looked for
        self._shared.complaint.make(str(later))

    def _made(self) -> Shared:
        bucket, complaint = Bucket(self.options), Complaint(self.log)
        bucket.connect()
        try:
            self._knock(bucket, complaint)
        except BaseException:
            bucket.close()
            raise
        return Shared(bucket, PartThreads(self.options.parallel_parts), complaint)

    def _knock(self, bucket: Bucket, complaint: Complaint) -> None:
        try:
            home = _home(bucket)
        except RetryLater as later:
            complaint.make(str(later))
        except Refused as refused:
            if refused.is_denied:
                self.log.info("the bucket %s may not be listed; whether files can be stored will be seen", bucket.name)
                return
            error = meaning(refused, bucket.name, bucket.where)
            if not isinstance(error, RetryLater):
                raise self._stopping(refused, bucket) from refused
            complaint.make(str(error))
        else:
            if home and home != bucket.region:
                self._move(bucket, home)

    def _move(self, bucket: Bucket, home: str) -> None:
        """The bucket lies in another region than requests are signed for."""
        if bucket.is_region_given:
            raise TargetError(
                f"the bucket {bucket.name} lies in the region {home}, and requests are signed for {bucket.region}. "
                f"Give its region (--region {home})."
            )
        bucket.close()
        bucket.connect(home)

    def _stopping(self, refused: Refused, bucket: Bucket | None = None) -> TargetError:
        bucket = bucket or self._shared.bucket
        if refused.is_denied:
            return denied(refused, bucket.name, bucket.where)
        error = meaning(refused, bucket.name, bucket.where)
        return error if isinstance(error, TargetError) else TargetError(f"{bucket.where} refuses: {refused}")


def _home(bucket: Bucket) -> str:
    """The region that the bucket says it lies in; "" when it does not say. Raises Refused, with its reason."""
    try:
        return bucket.home()
    except Refused:
        bucket.glance()  # the refusal of a HEAD has no words
    try:
        return bucket.home()  # botocore learned the right region from the other answer
    except Refused:
        return ""
