"""What the sink can be told, and what of it goes with every object."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlencode

from openmsi_core import DataFile, PluginOptions

from .keys import problem_of

MIB = 1024 * 1024
_SMALLEST_PART = 5  # MiB, S3's own limit
_MOST_TAGS = 10


class S3Options(PluginOptions):
    """Where, how, and what happens to an object that is there already. Credentials come from boto3's usual chain."""

    bucket: str
    """The bucket to store objects in; it must exist."""

    key: str = "{topic}/{path}"
    """The key of an object: a template of topic, path, folder, name, stem, suffix, sha256, year, month, day."""

    endpoint_url: str | None = None
    """Where the server answers, as https://s3.lab:9000; without it Amazon's own."""

    region: str | None = None
    """The bucket's region; by default the profile's or AWS_DEFAULT_REGION, else the one that the bucket names."""

    profile: str | None = None
    """The profile of the AWS configuration files to take credentials from."""

    addressing: Literal["auto", "path", "virtual"] = "auto"
    """Whether the bucket stands in the path or in the host name; auto: the path where endpoint-url is given."""

    on_conflict: Literal["replace", "refuse"] = "replace"
    """What to do when other content has that key: replace it, or refuse the file; equal content is left alone."""

    checksum: Literal["sha256", "md5"] = "sha256"
    """What the server verifies: sha256 (whole files) and CRC-32 (parts); md5 for old servers without checksums."""

    verify: Literal["checksum", "read-back"] = "checksum"
    """Rely on the server's checksum, or read each object back too and compare its SHA-256."""

    storage_class: str | None = None
    """The storage class of new objects, as STANDARD_IA; by default the server's."""

    content_type: str | None = None
    """The content type of every object; by default the one that belongs to the name."""

    encryption: Literal["bucket", "AES256", "aws:kms", "aws:kms:dsse"] = "bucket"
    """Encryption by the server; bucket: as the bucket is set."""

    kms_key: str | None = None
    """The key for aws:kms; by default the account's own."""

    tags: tuple[str, ...] = ()
    """A tag for every object, as project=steel; ten at most."""

    metadata: tuple[str, ...] = ()
    """Metadata for every object, as lab=north."""

    proxy: str | None = None
    """The proxy to go through, as http://proxy.lab:3128; by default HTTPS_PROXY and NO_PROXY decide."""

    ca_bundle: Path | None = None
    """A file with the certificates of whom to trust; by default AWS_CA_BUNDLE, else the usual authorities."""

    multipart_above: int = 16
    """MiB; larger files are sent in parts."""

    part_size: int = 8
    """MiB of a part, 5 at least; more where a file would have more than 10,000 parts."""

    parallel_parts: int = 4
    """How many parts are sent at once, of all files together."""

    def model_post_init(self, context: object, /) -> None:  # noqa: ARG002 - pydantic's signature
        """Raises ValueError for what no type says."""
        problem = problem_of(self.key)
        if problem:
            raise ValueError(f"key: {problem}")
        if self.part_size < _SMALLEST_PART or self.multipart_above < self.part_size or self.parallel_parts < 1:
            raise ValueError("part-size is 5 (MiB) at least, multipart-above not below it, parallel-parts 1 at least")
        if len(pairs(self.tags)) > _MOST_TAGS:
            raise ValueError(f"an object has {_MOST_TAGS} tags at most")
        if self.kms_key is not None and not self.encryption.startswith("aws:kms"):
            raise ValueError("kms-key needs encryption = aws:kms")
        for name in pairs(self.metadata):
            if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"metadata: {name!r} is no name; letters, digits, - and _ are")


def pairs(texts: tuple[str, ...]) -> dict[str, str]:
    """``name=value`` texts as a dictionary. Raises ValueError.

    >>> pairs(("a=1", "b=x=y"))
    {'a': '1', 'b': 'x=y'}
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ValueError(f"{text!r} is not NAME=VALUE")
        found[name] = value
    return found


def with_every_object(options: S3Options, name: str, metadata: dict[str, str]) -> dict[str, object]:
    """What goes with the object of a file called ``name``, in boto3's words."""
    kind = options.content_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
    out: dict[str, object] = {"ContentType": kind, "Metadata": metadata}
    if options.storage_class is not None:
        out["StorageClass"] = options.storage_class
    if options.tags:
        out["Tagging"] = urlencode(pairs(options.tags))
    if options.encryption != "bucket":
        out["ServerSideEncryption"] = options.encryption
    if options.kms_key is not None:
        out["SSEKMSKeyId"] = options.kms_key
    return out


def metadata_of(options: S3Options, file: DataFile) -> dict[str, str]:
    """The object's metadata: ours, the operator's, the sender's. Everything but plain ASCII is percent-encoded."""
    sender = {
        f"user-{quote(str(name), safe='')}": quote(str(value), safe=" /:+,;=@") for name, value in file.user.items()
    }
    own = {name: quote(value, safe=" /:+,;=@") for name, value in pairs(options.metadata).items()}
    return {**sender, **own, "openmsi-sha256": file.sha256, "openmsi-mtime": f"{file.mtime:%Y-%m-%dT%H:%M:%S.%fZ}"}
