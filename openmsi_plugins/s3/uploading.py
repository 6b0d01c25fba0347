"""Bringing a file into the bucket: in one request or in parts, and no longer believed than the server confirms it."""

from __future__ import annotations

import errno
import hashlib
import io
import zlib
from collections import deque
from collections.abc import Generator, Mapping
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from openmsi_core import DataFile, RetryLater, TargetError

from .bucket import Begun, Found, in_base64
from .options import MIB, S3Options, metadata_of, with_every_object
from .sharing import Body, Shared, deadline_of
from .trouble import DAMAGED, PAUSE, Refused

MOST_PARTS = 10_000
_AT_ONCE = 64 * 1024  # bytes that leave in one piece


@dataclass(frozen=True, slots=True)
class Upload:
    """One file on its way to ``key``. ``create_only``: an object that is there makes the server refuse (412)."""

    shared: Shared
    options: S3Options
    file: DataFile
    key: str
    create_only: bool = False

    def run(self) -> None:
        """Store the file. Raises Refused, RetryLater, TargetError; OSError when the spool lost bytes."""
        if self.is_in_parts:
            _InParts(self).run()
        else:
            self._in_one()
        if self.options.verify == "read-back":
            self._read_back()

    @property
    def is_in_parts(self) -> bool:
        """True when it is sent in parts."""
        return self.file.size > self.options.multipart_above * MIB

    @property
    def about(self) -> dict[str, object]:
        """What goes with the object."""
        return with_every_object(self.options, self.file.name, metadata_of(self.options, self.file))

    @property
    def condition(self) -> dict[str, object]:
        """What makes the server refuse."""
        return {"IfNoneMatch": "*"} if self.create_only else {}

    def confirm(self, answer: Mapping[str, Any], name: str, wanted: str) -> None:
        """Believe that the object is stored: the server says its checksum, in its answer or when it is asked again.

        An answer that was cut has none, and counts as a success for the client.
        """
        said = str(answer.get(name) or "").strip('"')
        if not said:
            found = self.shared.bucket.look(self.key)
            if found is None or (found.claimed, found.size) != (self.file.sha256, self.file.size):
                raise RetryLater(PAUSE, f"{self.key} was accepted, and is not there")
            said = found.proof(name)
        if name != "ETag" and (not said or "-" in said):  # with a dash it is one of checksums of parts
            raise TargetError(
                f"{self.shared.bucket.where} does not confirm checksums of whole objects, so nobody would know of a "
                "damaged one. Set --checksum md5, which every server verifies."
            )
        if said != wanted:
            raise RetryLater(PAUSE, f"{self.key} was accepted, and the server says {said} of it instead of {wanted}")

    def _in_one(self) -> None:
        file = self.file
        with self.shared.room.taken(file.size):
            data = file.read_bytes()
            if self.options.checksum == "md5":
                digest = hashlib.md5(data, usedforsecurity=False)
                proof: dict[str, object] = {"ContentMD5": in_base64(digest.digest())}
                name, wanted = "ETag", digest.hexdigest()
            else:
                name, wanted = "ChecksumSHA256", in_base64(bytes.fromhex(file.sha256))
                proof = {name: wanted}
            if self.options.checksum == "md5" and hashlib.sha256(data).hexdigest() != file.sha256:
                raise lost_bytes()
            body = Body(io.BytesIO(data), deadline_of(file.size)) if file.size > _AT_ONCE else data
            more = self.about | proof | self.condition | {"ContentLength": file.size}
            try:
                answer = self.shared.bucket.put(self.key, body, more)  # type: ignore[arg-type] # a reader is all it takes
            except Refused as refused:
                if refused.code in DAMAGED and hashlib.sha256(data).hexdigest() != file.sha256:
                    raise lost_bytes() from refused
                raise
        self.confirm(answer, name, wanted)

    def _read_back(self) -> None:
        digest = hashlib.sha256()
        for piece in self.shared.bucket.read(self.key):
            digest.update(piece)
        if digest.hexdigest() != self.file.sha256:
            raise RetryLater(PAUSE, f"{self.key} was stored, and other bytes came back")


class _InParts:
    """A file sent in parts: read once, in order; hashed while it is read; at most a few parts in memory."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._bucket = upload.shared.bucket
        self._key = upload.key
        self._id = ""
        self._is_md5 = upload.options.checksum == "md5"
        self._deadline = deadline_of(upload.file.size)
        self._digest = hashlib.sha256()
        self._crc = 0
        self._sent: list[dict[str, object]] = []

    def run(self) -> None:
        """Store it; whatever goes wrong, no unfinished upload stays behind, unless this process is killed."""
        self._give_up_others()
        begun = self._begun()
        self._id = begun.id
        try:
            if begun.is_repeated:  # the answer that was lost may have begun one too, and nobody knows its id
                self._give_up_others()
            self._send_all()
            self._complete()
        except BaseException:
            with suppress(Refused, RetryLater, TargetError):  # what matters is why; the next try gives it up too
                self._bucket.abort(self._key, self._id)
            raise

    def _give_up_others(self) -> None:
        """Other uploads of this key, which a killed process left behind; nobody else of this process is at this key."""
        try:
            left = self._bucket.unfinished(self._key)
        except Refused as refused:
            if refused.is_denied or refused.status in {400, 405, 501}:  # the bucket's own rule must remove them
                return
            raise
        for key, upload in left:
            if key == self._key and upload != self._id:
                self._bucket.abort(key, upload)

    def _begun(self) -> Begun:
        kind: dict[str, object] = {} if self._is_md5 else {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}
        begun = self._bucket.begin(self._key, self._upload.about | kind)
        if not begun.id:
            raise RetryLater(PAUSE, f"the server began an upload of {self._key} without saying its id")
        return begun

    def _send_all(self) -> None:
        waiting: deque[Future[dict[str, object]]] = deque()
        shared = self._upload.shared
        try:
            with closing(self._parts()) as parts:
                for number, data in parts:
                    waiting.append(shared.parts.submit(self._send, number, data))
                    while waiting and waiting[0].done():
                        self._sent.append(waiting.popleft().result())
            while waiting:
                self._sent.append(waiting.popleft().result())
        finally:
            for future in waiting:
                if future.cancel():
                    shared.room.give(self._part_size)
            for future in waiting:
                if not future.cancelled():
                    future.exception()  # wait for it; why the upload failed is known already

    @property
    def _part_size(self) -> int:
        least = -(-self._upload.file.size // MOST_PARTS)
        return max(self._upload.options.part_size * MIB, -(-least // MIB) * MIB)

    def _parts(self) -> Generator[tuple[int, bytes], None, None]:
        """Each part, in memory that was taken for it; who sends it gives it back."""
        size, number = self._part_size, 0
        with self._upload.file.open() as content:
            while True:
                self._upload.shared.room.take(size)
                try:
                    data = content.read(size)
                    if data:
                        self._digest.update(data)
                        self._crc = zlib.crc32(data, self._crc)
                except BaseException:
                    self._upload.shared.room.give(size)
                    raise
                if not data:
                    self._upload.shared.room.give(size)
                    return
                number += 1
                yield number, data

    def _send(self, number: int, data: bytes) -> dict[str, object]:
        try:
            name, wanted = self._proof(data)
            proof = {"ContentMD5" if self._is_md5 else name: in_base64(wanted)}
            body = Body(io.BytesIO(data), self._deadline)
            more = proof | {"ContentLength": len(data)}
            answer = self._bucket.part(self._key, self._id, number, body, more)  # type: ignore[arg-type] # a reader
        finally:
            self._upload.shared.room.give(self._part_size)
        tag = str(answer.get("ETag") or "")
        said = tag.strip('"') if self._is_md5 else answer.get(name)
        if not tag or said != (wanted.hex() if self._is_md5 else in_base64(wanted)):
            raise RetryLater(PAUSE, f"part {number} of {self._key} was accepted, and the answer does not confirm it")
        return {"PartNumber": number, "ETag": tag} | ({} if self._is_md5 else proof)

    def _proof(self, data: bytes) -> tuple[str, bytes]:
        if self._is_md5:
            return "ETag", hashlib.md5(data, usedforsecurity=False).digest()
        return "ChecksumCRC32", zlib.crc32(data).to_bytes(4, "big")

    def _complete(self) -> None:
        """Make the object; an answer that was lost and asked for again says that there is no such upload."""
        if self._digest.hexdigest() != self._upload.file.sha256:
            raise lost_bytes()
        name, wanted, more = self._whole()
        answer: Mapping[str, Any] = {}
        try:
            answer = self._bucket.complete(self._key, self._id, self._sent, more | self._upload.condition)
        except Refused as refused:
            if refused.code != "NoSuchUpload" or not self._is_stored(name, wanted):
                raise
        self._upload.confirm(answer, name, wanted)

    def _whole(self) -> tuple[str, str, dict[str, object]]:
        """What proves the whole object, and what to send for that."""
        if self._is_md5:
            tags = b"".join(bytes.fromhex(str(part["ETag"]).strip('"')) for part in self._sent)
            return "ETag", f"{hashlib.md5(tags, usedforsecurity=False).hexdigest()}-{len(self._sent)}", {}
        checksum = in_base64(self._crc.to_bytes(4, "big"))
        more: dict[str, object] = {"ChecksumCRC32": checksum, "ChecksumType": "FULL_OBJECT"}
        return "ChecksumCRC32", checksum, more | {"MpuObjectSize": self._upload.file.size}

    def _is_stored(self, name: str, wanted: str) -> bool:
        found: Found | None = self._bucket.look(self._key)
        return found is not None and found.proof(name) == wanted


def lost_bytes() -> OSError:
    """What the spool gives is not what was received and verified."""
    return OSError(errno.EIO, "the disk lost bytes of a spooled file")
