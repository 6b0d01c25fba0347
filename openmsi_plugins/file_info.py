"""The plainest extractor: what every file has."""

from __future__ import annotations

import mimetypes

from openmsi_core import DataFile, Extractor, PluginOptions

_SIGNATURES = (
    (b"\x89HDF\r\n\x1a\n", "application/x-hdf5"),
    (b"CDF\x01", "application/x-netcdf"),
    (b"CDF\x02", "application/x-netcdf"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"<?xml", "application/xml"),
    (b"\xef\xbb\xbf<?xml", "application/xml"),
)
_LOOKED_AT = 4096


class FileInfo(Extractor):
    """Name, size, digest, time and likely type of any file."""

    stability = "stable"
    delivery = "idempotent"

    class Options(PluginOptions):
        """How much of the content is shown."""

        head: int = 16
        """How many bytes of the beginning to show in hexadecimal digits, 4,096 at most."""

    def extract(self, file: DataFile) -> dict[str, object]:
        """What the file is."""
        with file.open() as content:
            head = content.read(_LOOKED_AT)
        return {
            "name": file.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
            "suffix": file.suffix,
            "size": file.size,
            "sha256": file.sha256,
            "mtime": file.mtime,
            "media_type": _media_type(file.name, head),
            "head": head[: max(0, self.options.head)].hex(),
            "is_text": b"\0" not in head,
            "user": dict(file.user),
        }


def _media_type(name: str, head: bytes) -> str | None:
    """By the first bytes, else by the name, else None."""
    by_name, _ = mimetypes.guess_type(name)
    by_content = next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), None)
    if by_content in {"application/zip", "application/xml"}:  # what is inside them, the name knows better
        return by_name or by_content
    return by_content or by_name
