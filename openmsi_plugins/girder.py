"""Store files in a Girder data portal, over its REST interface."""

from __future__ import annotations

import functools
import hashlib
import mimetypes
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from girder_client import GirderClient, HttpError, IncorrectUploadLengthError
from pydantic import SecretStr
from requests import RequestException

from openmsi_core import DataFile, FolderError, PluginOptions, Reject, RetryLater, Sink, Stored

_PAUSE = 10.0  # seconds
_TIMEOUT = 60.0  # seconds without a byte; girder-client itself waits for ever
_KNOWN = 50_000  # folders whose ids are remembered


class Girder(Sink):
    """Store files in a Girder collection or folder, in the sender's tree, with what is known of them as metadata."""

    delivery = "idempotent"
    stability = "experimental"

    class Options(PluginOptions):
        """Which Girder, and where in it."""

        url: str
        """The address of its REST interface, as in https://data.lab/api/v1."""

        api_key: SecretStr
        """A key of the account that stores the files, best written as ${VARIABLE}."""

        root: str
        """Where the tree begins: a path as in /collection/xrd/raw, which must exist, or the id of a folder."""

        replace: bool = True
        """Whether a newer version of a file replaces the one that is there; otherwise it becomes a dead letter."""

    options: Options

    _client: GirderClient
    _session: ExitStack
    _root: tuple[str, str]  # id and type of where the tree begins
    _folders: dict[tuple[str, ...], str]

    def open(self) -> None:
        """Log in and find the root. Raises FolderError."""
        self._folders = {}
        self._client = GirderClient(apiUrl=self.options.url)
        self._session = ExitStack()
        session = self._session.enter_context(self._client.session())
        session.request = functools.partial(session.request, timeout=_TIMEOUT)
        try:
            self._client.authenticate(apiKey=self.options.api_key.get_secret_value())
            self._root = self._found(self.options.root)
        except (HttpError, RequestException) as error:
            self._session.close()
            raise FolderError(f"Girder at {self.options.url} cannot be used: {_said(error)}") from error

    def close(self) -> None:
        """Let go of the connections."""
        self._session.close()

    def write(self, file: DataFile) -> Stored:
        """Store one file as an item with one file in it. It counts when its metadata are there, too."""
        *folders, name = (_name(part) for part in file.path.parts)
        try:
            return self._store(file, tuple(folders), name)
        except HttpError as error:
            self._folders.clear()  # somebody may have removed one
            raise _meaning(error) from error
        except (RequestException, IncorrectUploadLengthError) as error:
            raise RetryLater(_PAUSE, f"Girder at {self.options.url}: {_said(error)}") from error

    def _store(self, file: DataFile, folders: tuple[str, ...], name: str) -> Stored:
        item = self._client.loadOrCreateItem(name, self._folder(folders))
        location = f"{self.options.url.rstrip('/')}/item/{item['_id']}"
        known = item.get("meta", {}).get("openmsi", {})
        there = next((each for each in self._client.listFile(item["_id"]) if each["name"] == name), None)
        if there is not None and known.get("sha256") == file.sha256 and there["size"] == file.size:
            return Stored(location, unchanged=True)
        if there is not None and known and not self.options.replace:
            raise Reject(f"another version of {file.path} is in Girder, and replace is off")
        if known:  # what it says is about the old content; it must not stand beside the new one
            self._client.addMetadataToItem(item["_id"], {"openmsi": None})
        with file.open() as content:
            if there is None:
                kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
                done = self._client.uploadFile(item["_id"], content, name, file.size, mimeType=kind)
            else:
                done = self._client.uploadFileContents(there["_id"], content, file.size)
        _check(done, file)
        self._client.addMetadataToItem(item["_id"], _facts(file))
        return Stored(location)

    def _folder(self, names: tuple[str, ...]) -> str:
        """The id of a folder below the root; it is made when it is missing."""
        if names not in self._folders:
            if not names:
                if self._root[1] != "folder":
                    raise Reject("Girder keeps files in folders, and root is a collection: send them in folders")
                return self._root[0]
            above = self._root if len(names) == 1 else (self._folder(names[:-1]), "folder")
            if len(self._folders) >= _KNOWN:
                self._folders.clear()
            self._folders[names] = str(self._client.loadOrCreateFolder(names[-1], *above)["_id"])
        return self._folders[names]

    def _found(self, root: str) -> tuple[str, str]:
        if root.startswith("/"):
            found: Any = self._client.resourceLookup(root)
            return str(found["_id"]), str(found.get("_modelType", "folder"))
        return str(self._client.getFolder(root)["_id"]), "folder"


def _check(done: Mapping[str, Any], file: DataFile) -> None:
    """Raise RetryLater when Girder has other bytes than were sent; most of its stores tell a SHA-512."""
    if done.get("size") != file.size:
        raise RetryLater(_PAUSE, f"Girder has {done.get('size')} bytes of {file.path}, {file.size} were sent")
    if there := done.get("sha512"):
        with file.open() as content:
            found = hashlib.sha512()
            while piece := content.read(1 << 20):
                found.update(piece)
        if found.hexdigest() != there:
            raise RetryLater(_PAUSE, f"Girder has other bytes of {file.path} than were sent")


def _key(key: str) -> str:
    """A key as Girder's database takes it: no dot, no dollar sign in front, and not ours."""
    plain = key.replace("%", "%25").replace(".", "%2E")
    return f"%24{plain[1:]}" if plain.startswith("$") else "%6Fpenmsi" if plain == "openmsi" else plain


def _facts(file: DataFile) -> dict[str, object]:
    """What the sender said of the file, and under one key of our own what is known of it."""
    said: dict[str, object] = {_key(key): value for key, value in file.user.items()}
    said["openmsi"] = {
        "sha256": file.sha256,
        "size": file.size,
        "mtime": file.mtime.isoformat(),
        "path": str(file.path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"),
        "topic": file.topic,
        "partition": file.partition,
        "offset": file.offset,
    }
    return said


def _name(part: str) -> str:
    """A name as Girder keeps it, which trims blanks and knows only UTF-8; what it cannot keep is written as %XX.

    Reversible: a percent sign is written so as well.
    """
    raw = part.encode("utf-8", "surrogateescape")
    is_plain = part == part.strip() and "%" not in part and _is_text(raw)
    if is_plain:
        return part
    begin, end = len(part) - len(part.lstrip()), len(part.rstrip())
    spelled = []
    for at, char in enumerate(part):
        code = char.encode("utf-8", "surrogateescape")
        is_odd = char == "%" or at < begin or at >= end or not _is_text(code)
        spelled.append("".join(f"%{byte:02X}" for byte in code) if is_odd else char)
    return "".join(spelled)


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _meaning(error: HttpError) -> Exception:
    """Refused for this file, or later: what is wrong with the account is said again and again until it is mended."""
    if error.status in {400, 413}:
        return Reject(f"Girder refuses the file: {_said(error)}")
    return RetryLater(_PAUSE, f"Girder: {_said(error)}")


def _said(error: Exception) -> str:
    if isinstance(error, HttpError):
        hint = {401: "; check api-key", 403: "; the account has no right to do that", 404: "; check url and root"}
        place = str(error.url).partition("?")[0]  # what comes after it may be the key
        text = f"it answered {error.status} to {error.method} {place}: {str(error.responseText)[:200]}"
        return text + hint.get(error.status, "")
    return type(error).__name__
