"""What a server's answer means for a file: it stops the run, concerns this file alone, or passes."""

from __future__ import annotations

import logging
import threading

from openmsi_core import Reject, RetryLater, TargetError

PAUSE = 10.0
"""Seconds until a file that the server could not take is offered again."""


class Refused(Exception):
    """The server answered and said no: with a code ("" where its answer has no body), a status and a text."""

    def __init__(self, code: str, status: int, text: str, doing: str) -> None:
        super().__init__(f"{doing}: {text} ({code or status})")
        self.code, self.status, self.text, self.doing = code, status, text, doing

    @property
    def is_missing(self) -> bool:
        """There is no such object."""
        return self.status == 404 and self.code not in {"NoSuchBucket", "NoSuchUpload"}

    @property
    def is_there_already(self) -> bool:
        """A create-only put found an object."""
        return self.status == 412 or self.code == "PreconditionFailed"

    @property
    def is_denied(self) -> bool:
        """The account is known and may not do this."""
        return self.status == 403 and _SAME.get(self.code, self.code) not in _STOPS

    @property
    def is_wordless(self) -> bool:
        """An answer to HEAD, which cannot carry a reason; the same error in an answer to another request does."""
        return self.code in {"", "400", "403"}


# Nothing can be stored until a person changes something. {bucket} and {where} are filled in.
_STOPS = {
    "NoSuchBucket": "there is no bucket {bucket} at {where}. Make it, or choose another one (--bucket).",
    "InvalidBucketName": "{bucket} is no name of a bucket. Choose another one (--bucket).",
    "InvalidAccessKeyId": "{where} does not know the access key. Check AWS_ACCESS_KEY_ID, or the profile (--profile).",
    "SignatureDoesNotMatch": (
        "the secret key does not belong to the access key, says {where}. Check AWS_SECRET_ACCESS_KEY, or the profile "
        "(--profile)."
    ),
    "ExpiredToken": (
        "the session token has expired, says {where}. Get a new one (AWS_SESSION_TOKEN), or use a role or a profile, "
        "which renew themselves."
    ),
    "InvalidToken": "{where} does not accept the session token. Check AWS_SESSION_TOKEN, or unset it.",
    "AuthorizationHeaderMalformed": (
        "{where} does not accept the signature for this region: {text} Give the bucket's region (--region)."
    ),
    "PermanentRedirect": "the bucket {bucket} lies in another region: {text} Give its region (--region).",
    "RequestTimeTooSkewed": "the clock of this machine differs too much from that of {where}. Set it.",
    "NotImplemented": (
        "{where} does not know something that it was asked for: {text} Leave out what it cannot do (storage-class, "
        "tags, encryption), or try --checksum md5."
    ),
    "InvalidStorageClass": "{where} has no such storage class. Choose another one (--storage-class).",
    "InvalidTag": "{where} does not accept the tags: {text} Change them (--tags).",
    "AllAccessDisabled": "the account is disabled, says {where}. Ask who runs it.",
}
_SAME = {
    "ExpiredTokenException": "ExpiredToken",
    "TokenRefreshRequired": "ExpiredToken",
    "IllegalLocationConstraintException": "PermanentRedirect",
    "IncorrectEndpoint": "PermanentRedirect",
    "301": "PermanentRedirect",
    "AccountProblem": "AllAccessDisabled",
    "UserSuspended": "AllAccessDisabled",
    "NotSignedUp": "AllAccessDisabled",
}
# This file cannot be stored, however often it is tried.
_REJECTS = {
    "KeyTooLongError": "its name is too long for this server",
    "KeyTooLong": "its name is too long for this server",
    "InvalidURI": "this server cannot store its name",
    "InvalidObjectName": "this server cannot store its name",
    "XMinioInvalidObjectName": "this server cannot store its name",
    "EntityTooLarge": "it is larger than an object may be there",
    "MetadataTooLarge": "what its sender said of it is more than the metadata of an object can hold (2 KB)",
    "ObjectParentIsFile": "an object stands where this server needs a folder",
    "ExistingObjectIsDirectory": "this server has a folder of that name",
    "XMinioObjectExistsAsDirectory": "this server has a folder of that name",
    "XMinioParentIsObject": "an object stands where this server needs a folder",
}
# 4xx that say nothing of the file: the next try may end well.
_PASSES = {
    "RequestTimeout",
    "RequestTimeoutException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "OperationAborted",
    "ConditionalRequestConflict",
    "NoSuchUpload",
    "InvalidPart",
    "IncompleteBody",
    "BadDigest",
    "InvalidDigest",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
    "QuotaExceeded",
    "InsufficientStorage",
    "XMinioStorageFull",
}
DAMAGED = {"BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}
"""The server received other bytes than were promised."""


def meaning(refused: Refused, bucket: str, where: str, key: str = "") -> Exception:
    """What to raise for an answer; a denial is judged by who knows more. An answer that is not known is a failure."""
    code = _SAME.get(refused.code, refused.code)
    if code in _STOPS:
        return TargetError(_STOPS[code].format(bucket=bucket, where=where, text=_sentence(refused.text)))
    if code.startswith("KMS."):
        return TargetError(f"the key for encryption cannot be used: {_sentence(refused.text)} Check --kms-key.")
    if refused.code in _REJECTS:
        return Reject(f"{_REJECTS[refused.code]} ({refused.code}); key {key}")
    if refused.is_there_already:
        return Reject(f"another object has the key {key}, and this account may not look at it")
    if refused.status >= 500 or refused.status in {408, 429} or refused.code in _PASSES:
        return RetryLater(PAUSE, f"{where}: {refused}")
    return refused


def denied(refused: Refused, bucket: str, where: str) -> TargetError:
    """The account lacks a right without which nothing can be stored."""
    return TargetError(
        f"this account may not do what is needed in the bucket {bucket} at {where}: {refused}. Give it the rights of "
        "the policy in docs/s3.md."
    )


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


class Complaint:
    """What is said once for all files and workers, until something ends well again."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._is_made = False

    def make(self, text: str) -> None:
        """Say it, if it was not said."""
        with self._lock:
            if not self._is_made:
                self._log.warning("%s; files wait, and are tried again every %g s", text, PAUSE)
            self._is_made = True

    def withdraw(self, text: str) -> None:
        """It is over; say so, if it was said that it began."""
        if self._is_made:
            with self._lock:
                self._is_made = False
            self._log.warning("%s", text)
