"""An HTTP server that speaks the few REST calls of Girder which the sink uses; a real one needs MongoDB.

Facts of Girder 3: the interface's documentation and what girder-client sends.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from urllib.parse import parse_qs, urlsplit

KEY = "a-key-that-nobody-may-see"


class Portal:
    """What is stored, and how the next answers fail: ``(method, path begins with) -> status``; 0 cuts the answer."""

    def __init__(self) -> None:
        self.ids = count(1)
        self.things: dict[str, dict] = {"root": {"_id": "root", "name": "raw", "parentId": "c"}}
        self.contents: dict[str, bytes] = {}
        self.uploads: dict[str, dict] = {}
        self.failing: list[tuple[str, str, int]] = []
        self.calls: list[str] = []
        self.damages = False

    def files(self) -> dict[str, bytes]:
        """By their paths below the root."""
        found = {}
        for file in self.of("file"):
            item = self.things[file["itemId"]]
            names, above = [item["name"]], item["folderId"]
            while above != "root":
                names.insert(0, self.things[above]["name"])
                above = self.things[above]["parentId"]
            found["/".join(names)] = self.contents[file["_id"]]
        return found

    def failure(self, call: str) -> int | None:
        """How this call must fail, if it must."""
        for number, (method, begin, code) in enumerate(self.failing):
            if call.startswith(f"{method} {begin}"):
                del self.failing[number]
                return code
        return None

    def of(self, kind: str) -> list[dict]:
        return [each for each in self.things.values() if each.get("kind") == kind]

    def made(self, kind: str, **facts) -> dict:
        one = {"_id": f"{kind}{next(self.ids)}", "kind": kind, **facts}
        self.things[one["_id"]] = one
        return one

    def answer(self, method: str, path: str, asked: dict[str, str], body: bytes) -> object:
        for route, does in ROUTES.items():
            found = re.fullmatch(route, f"{method} {path}")
            if found:
                return does(self, asked, body, *found.groups())
        raise Refused(404, f"no such route: {method} {path}")

    def token(self, asked, body) -> object:
        if asked["key"] != KEY:
            raise Refused(400, "Invalid API key")
        return {"authToken": {"token": "t"}, "user": {}}

    def looked_up(self, asked, body) -> object:
        if asked["path"] != "/collection/xrd/raw":
            raise Refused(400, "Path not found")
        return {"_id": "root", "_modelType": "folder"}

    def listed(self, asked, body, kind) -> object:
        above = asked.get("parentId") or asked.get("folderId")
        own = [each for each in self.of(kind) if above in {each.get("parentId"), each.get("folderId")}]
        return [each for each in own if each["name"] == asked["name"]]

    def described(self, asked, body, item) -> object:
        given = json.loads(body)
        if any("." in key or key.startswith("$") for key in given):
            raise Refused(400, "Invalid key")
        meta = self.things[item]["meta"] | given
        self.things[item]["meta"] = {key: value for key, value in meta.items() if value is not None}
        return self.things[item]

    def begun(self, asked, **facts) -> dict:
        one = {**facts, "size": int(asked["size"]), "data": b""}
        upload = f"upload{next(self.ids)}"
        self.uploads[upload] = one
        return {"_id": upload} if one["size"] else self.finished(upload)

    def continued(self, asked, body) -> dict:
        one = self.uploads[asked["uploadId"]]
        if int(asked["offset"]) != len(one["data"]):
            raise Refused(400, "Server has received other bytes")
        one["data"] += body
        return self.finished(asked["uploadId"]) if len(one["data"]) == one["size"] else {"_id": asked["uploadId"]}

    def finished(self, upload: str) -> dict:
        one = self.uploads.pop(upload)
        data = one.pop("data")
        if self.damages and data:
            data = bytes([data[0] ^ 1]) + data[1:]
        if "_id" not in one:
            one = self.made("file", **one)
        one["sha512"] = hashlib.sha512(data).hexdigest()
        self.things[one["_id"]] = one
        self.contents[one["_id"]] = data
        return one


class Refused(Exception):
    """The server's answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


ROUTES = {
    r"POST api_key/token": Portal.token,
    r"GET resource/lookup": Portal.looked_up,
    r"GET (folder|item)": Portal.listed,
    r"GET folder/(\w+)": lambda portal, asked, body, one: portal.things[one],
    r"POST folder": lambda portal, asked, body: portal.made(
        "folder", name=asked["name"].strip(), parentId=asked["parentId"]
    ),
    r"POST item": lambda portal, asked, body: portal.made(
        "item", name=asked["name"].strip(), folderId=asked["folderId"], meta={}
    ),
    r"GET item/(\w+)/files": lambda portal, asked, body, one: [
        each for each in portal.of("file") if each["itemId"] == one
    ],
    r"PUT item/(\w+)/metadata": Portal.described,
    r"POST file": lambda portal, asked, body: portal.begun(asked, name=asked["name"], itemId=asked["parentId"]),
    r"PUT file/(\w+)/contents": lambda portal, asked, body, one: portal.begun(asked, **portal.things[one]),
    r"POST file/chunk": Portal.continued,
}


@contextmanager
def serving(portal: Portal) -> Iterator[str]:
    """The address of its REST interface."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"  # one connection for each call: none outlives a test

        def reply(self) -> None:
            url = urlsplit(self.path)
            path = url.path.removeprefix("/api/v1/")
            asked = {key: values[0] for key, values in parse_qs(url.query).items()}
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            portal.calls.append(f"{self.command} {path}")
            if (code := portal.failure(f"{self.command} {path}")) == 0:
                self.close_connection = True
                return
            status = code or 200
            told = json.dumps({"message": f"failing on purpose, {KEY if code == 401 else ''}"}).encode()
            try:
                if not code:
                    told = json.dumps(portal.answer(self.command, path, asked, body), default=str).encode()
            except Refused as error:
                status, told = error.status, json.dumps({"message": str(error)}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_: object) -> None:
            return

    for method in ("GET", "POST", "PUT", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.reply)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True  # a connection that a client keeps must not hold up the end
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
