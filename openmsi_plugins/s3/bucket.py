"""One bucket, as the sink speaks to it. The only importer of boto3."""

from __future__ import annotations

import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import boto3
from boto3.exceptions import Boto3Error
from botocore import exceptions as sdk
from botocore import handlers
from botocore.config import Config
from botocore.parsers import ResponseParserError

from openmsi_core import RetryLater, TargetError

from .options import S3Options
from .trouble import PAUSE, Refused

ATTEMPTS = 5
"""How often one request is sent before its file waits; the waiting after that is the runtime's."""

CONNECT_SECONDS, READ_SECONDS, COMPLETE_SECONDS = 5.0, 30.0, 300.0
_CONNECTIONS = 64

# What boto3 raises when something must be changed, not waited for.
_UNUSABLE = (
    sdk.NoCredentialsError,
    sdk.PartialCredentialsError,
    sdk.ProfileNotFound,
    sdk.NoRegionError,
    sdk.ParamValidationError,
    sdk.InvalidEndpointConfigurationError,
    sdk.UnauthorizedSSOTokenError,
    sdk.InvalidProxiesConfigError,
    sdk.MissingDependencyException,
    Boto3Error,
)


@dataclass(frozen=True, slots=True)
class Found:
    """What HEAD says of an object: ``claimed`` is the SHA-256 in its metadata; ``checksums`` are the server's."""

    size: int
    claimed: str
    etag: str
    checksums: Mapping[str, str]

    def has(self, sha256: str, size: int, *, proven: bool) -> bool:
        """True when the object is this content; without a SHA-256 anywhere it is not known, and false.

        ``proven``: the server must have computed some checksum of it; who stored it compared that.
        """
        if proven and not self.checksums:
            return False
        computed = self.checksums.get("ChecksumSHA256", "")
        digests = {self.claimed, "" if "-" in computed else b64decode(computed).hex()} - {""}
        return self.size == size and digests == {sha256}

    def proof(self, name: str) -> str:
        """The ETag, or the checksum of that name; "" if it has none."""
        return self.etag if name == "ETag" else self.checksums.get(name, "")


@dataclass(frozen=True, slots=True)
class Begun:
    """An upload in parts. ``is_repeated``: the request was sent more than once, and each may have begun one."""

    id: str
    is_repeated: bool


class Bucket:
    """Speaks to one bucket, from any number of threads. `connect` before anything else, `close` at the end.

    Each request is sent up to five times by botocore. Raises `Refused` when the server says no, RetryLater when it
    could not be asked, TargetError when nothing was tried because credentials or settings are wrong.
    """

    def __init__(self, options: S3Options) -> None:
        self.name = options.bucket
        self._options = options
        self._client: Any = None
        self._patient: Any = None
        self._session: Any = None
        self._lock = threading.Lock()
        self.is_region_given = False

    @property
    def where(self) -> str:
        """The server, for messages."""
        return self._options.endpoint_url or "Amazon S3"

    @property
    def region(self) -> str:
        """The region that requests are signed for."""
        return str(self._client.meta.region_name)

    def connect(self, region: str | None = None) -> None:
        """Make the clients; asks nobody anything. Raises TargetError."""
        options = self._options
        if options.ca_bundle is not None and not options.ca_bundle.is_file():
            raise TargetError(f"there is no file {options.ca_bundle}. Name one with certificates (--ca-bundle).")
        try:
            self._session = boto3.Session(profile_name=options.profile, region_name=region or options.region)
            self._client = self._made(READ_SECONDS)
        except (Boto3Error, sdk.BotoCoreError, OSError, ValueError) as error:  # ValueError: an address that is none
            raise TargetError(f"no connection to {self.where} can be set up: {error}") from error
        self.is_region_given = self._session.region_name is not None

    def close(self) -> None:
        """Let go of every connection."""
        for client in (self._client, self._patient):
            if client is not None:
                client.close()

    def _made(self, read_seconds: float) -> Any:
        session, options = self._session, self._options
        style = options.addressing
        if style == "auto" and options.endpoint_url is not None:
            style = "path"
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=read_seconds,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            tcp_keepalive=True,
            max_pool_connections=_CONNECTIONS,
            proxies={"http": options.proxy, "https": options.proxy} if options.proxy else None,
            request_checksum_calculation="when_required",  # we give our own, which cover whole files
            response_checksum_validation="when_required",
            s3={"addressing_style": style},
            user_agent_extra="openmsi",
        )
        client = session.client(
            "s3",
            # a region is needed for signing even where the server has none
            region_name=session.region_name or "us-east-1",
            endpoint_url=options.endpoint_url,
            verify=str(options.ca_bundle) if options.ca_bundle is not None else None,
            config=config,
        )
        # a connection that is cut within the head of "100 Continue" hangs botocore for ever, at full speed
        client.meta.events.unregister("before-call.s3", handlers.add_expect_header)
        return client

    def home(self) -> str:
        """The region that the bucket says it lies in; "" when it does not say."""
        answer = self._ask("head_bucket", doing="looking for the bucket")
        return str(answer.get("BucketRegion") or "")

    def glance(self) -> None:
        """List one object: unlike HEAD its refusal has a reason."""
        self._ask("list_objects_v2", doing="listing the bucket", MaxKeys=1)

    def look(self, key: str) -> Found | None:
        """What is stored under ``key``; None if nothing is."""
        try:
            answer = self._ask("head_object", doing=f"looking for {key}", Key=key, ChecksumMode="ENABLED")
        except Refused as refused:
            if refused.is_missing:
                return None
            raise
        return Found(
            int(answer.get("ContentLength", -1)),
            str(answer.get("Metadata", {}).get("openmsi-sha256", "")),
            str(answer.get("ETag", "")).strip('"'),
            {name: value for name, value in answer.items() if name.startswith("Checksum")},
        )

    def read(self, key: str) -> Iterator[bytes]:
        """The content of an object, in pieces."""
        answer = self._ask("get_object", doing=f"reading {key} back", Key=key)
        body = answer["Body"]
        try:
            while piece := body.read(1024 * 1024):
                yield piece
        except (sdk.BotoCoreError, sdk.HTTPClientError, OSError) as error:
            raise RetryLater(PAUSE, f"{self.where}: reading {key} back: {error}") from error
        finally:
            body.close()

    def put(self, key: str, body: bytes | BinaryIO, more: Mapping[str, object]) -> Mapping[str, Any]:
        """Store an object by one request."""
        return self._ask("put_object", doing=f"storing {key}", Key=key, Body=body, **more)

    def begin(self, key: str, more: Mapping[str, object]) -> Begun:
        """Begin an upload in parts."""
        answer = self._ask("create_multipart_upload", doing=f"beginning {key}", Key=key, **more)
        repeated = int(answer.get("ResponseMetadata", {}).get("RetryAttempts", 0)) > 0
        return Begun(str(answer.get("UploadId") or ""), repeated)

    def part(self, key: str, upload: str, number: int, body: BinaryIO, more: Mapping[str, object]) -> Mapping[str, Any]:
        """Store one part."""
        doing = f"storing part {number} of {key}"
        return self._ask("upload_part", doing=doing, Key=key, UploadId=upload, PartNumber=number, Body=body, **more)

    def complete(
        self, key: str, upload: str, parts: Sequence[Mapping[str, object]], more: Mapping[str, object]
    ) -> Mapping[str, Any]:
        """Make one object of the parts; the server may take minutes."""
        with self._lock:
            if self._patient is None:
                self._patient = self._made(COMPLETE_SECONDS)
        return self._ask(
            "complete_multipart_upload",
            doing=f"completing {key}",
            client=self._patient,
            Key=key,
            UploadId=upload,
            MultipartUpload={"Parts": parts},
            **more,
        )

    def abort(self, key: str, upload: str) -> None:
        """Give an upload up; one that is gone is no error."""
        try:
            self._ask("abort_multipart_upload", doing=f"giving up {key}", Key=key, UploadId=upload)
        except Refused as refused:
            if refused.status != 404:
                raise

    def unfinished(self, prefix: str) -> list[tuple[str, str]]:
        """Key and id of each upload below ``prefix`` that was begun and not ended."""
        found: list[tuple[str, str]] = []
        marks: dict[str, object] = {}
        while True:
            answer = self._ask("list_multipart_uploads", doing="listing unfinished uploads", Prefix=prefix, **marks)
            found += [(each["Key"], each["UploadId"]) for each in answer.get("Uploads") or []]
            marks = {"KeyMarker": answer.get("NextKeyMarker"), "UploadIdMarker": answer.get("NextUploadIdMarker")}
            if not answer.get("IsTruncated") or not marks["KeyMarker"]:
                return found

    def delete(self, key: str) -> None:
        """Remove an object."""
        self._ask("delete_object", doing=f"removing {key}", Key=key)

    def _ask(self, operation: str, *, doing: str, client: Any = None, **more: object) -> Mapping[str, Any]:
        call: Callable[..., Mapping[str, Any]] = getattr(client or self._client, operation)
        try:
            return call(Bucket=self.name, **more)
        except sdk.ClientError as error:
            raise _refused(error, doing) from error
        except _UNUSABLE as error:
            raise TargetError(f"{doing} at {self.where} is not possible: {error}") from error
        except sdk.SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" not in str(error):
                raise RetryLater(PAUSE, f"{self.where}: {doing}: {error}") from error
            raise TargetError(
                f"the certificate of {self.where} is not trusted: {error}. Name a file of whom to trust (--ca-bundle)."
            ) from error
        except (sdk.BotoCoreError, ResponseParserError) as error:  # connections, timeouts, answers that are rubbish
            raise RetryLater(PAUSE, f"{self.where}: {doing}: {error}") from error


def _refused(error: sdk.ClientError, doing: str) -> Refused:
    about, facts = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
    return Refused(
        str(about.get("Code") or ""), int(facts.get("HTTPStatusCode") or 0), str(about.get("Message") or ""), doing
    )


def in_base64(digest: bytes) -> str:
    """As headers carry it."""
    return b64encode(digest).decode("ascii")
