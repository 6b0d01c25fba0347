"""Can this account, in this bucket, do what the sink needs?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress

from openmsi_core import RetryLater, TargetError

from .bucket import Bucket, in_base64
from .options import S3Options, with_every_object
from .trouble import Refused

_CONTENT = b"openmsi wrote this to see whether it can; it may be removed"


def checked(bucket: Bucket, options: S3Options, key: str) -> Iterator[str]:
    """A sentence for each thing that was tried and is well. Raises Refused, RetryLater, TargetError.

    The object is removed at the end, also when something failed.
    """
    home = bucket.home()
    yield f"{bucket.where} answers, and has the bucket {bucket.name}{f' (region {home})' if home else ''}"
    _write(bucket, options, key)
    try:
        yield f"wrote {key}; the server verified it"
        yield from _looked_at(bucket, options, key)
        yield from _parts(bucket, options, key)
    except BaseException:
        with suppress(Refused, RetryLater):
            bucket.delete(key)
        raise
    try:
        bucket.delete(key)
    except Refused as refused:
        if not refused.is_denied:
            raise
        yield f"it may not be deleted, which a run does not need: {key} stays there"
    else:
        yield "deleted it"


def _write(bucket: Bucket, options: S3Options, key: str) -> None:
    sha256 = hashlib.sha256(_CONTENT)
    more = with_every_object(options, key, {"openmsi-sha256": sha256.hexdigest()})
    if options.checksum == "md5":
        digest = hashlib.md5(_CONTENT, usedforsecurity=False)
        name, wanted, more["ContentMD5"] = "ETag", digest.hexdigest(), in_base64(digest.digest())
    else:
        name, wanted = "ChecksumSHA256", in_base64(sha256.digest())
        more[name] = wanted
    said = str(bucket.put(key, _CONTENT, more).get(name) or "").strip('"')
    if said != wanted:
        bucket.delete(key)
        raise TargetError(
            f"{bucket.where} does not confirm {name}: it says {said or 'nothing'}. Try --checksum md5, or sha256 where "
            "the bucket encrypts."
        )


def _looked_at(bucket: Bucket, options: S3Options, key: str) -> Iterator[str]:
    found = bucket.look(key)
    if found is None or not found.has(
        hashlib.sha256(_CONTENT).hexdigest(), len(_CONTENT), proven=options.checksum == "sha256"
    ):
        raise TargetError(f"{bucket.where} does not keep the metadata of {key}: equal files would be stored again.")
    yield "it is recognised by its SHA-256"
    if b"".join(bucket.read(key)) != _CONTENT:
        raise TargetError(
            f"{bucket.where} gives other bytes back than were written to {key}. Do not store files there."
        )
    yield "read the same bytes back"
    if options.on_conflict == "refuse":
        try:
            bucket.put(key, b"another", {"IfNoneMatch": "*"})
        except Refused as refused:
            if not refused.is_there_already:
                raise
            yield "what is there is not overwritten"
        else:
            raise TargetError(f"{bucket.where} ignores conditions: on-conflict = refuse cannot be kept there.")


def _parts(bucket: Bucket, options: S3Options, key: str) -> Iterator[str]:
    upload = bucket.begin(key, with_every_object(options, key, {})).id
    try:
        left = [each for each in bucket.unfinished(key) if each[1] == upload]
    except Refused as refused:
        if not refused.is_denied:
            raise
        yield "unfinished uploads may not be listed: let a rule of the bucket remove them"
    else:
        yield "unfinished uploads are found" if left else "unfinished uploads are not listed by this server"
    finally:
        bucket.abort(key, upload)
    yield "large files can be sent in parts"
