"""A small Hub on 127.0.0.1: as much of its protocol as an upload by `huggingface_hub` uses, without Xet."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class Hub:
    """One dataset repository. files, tags: what it holds by now. commits: the lines of each, as sent.

    refuse: a part of "METHOD path" that is answered with `status`.
    """

    def __init__(self, token: str) -> None:
        self.token = token
        self.files: dict[str, bytes] = {}
        self.tags: dict[str, dict[str, bytes]] = {}
        self.commits: list[list[dict[str, Any]]] = []
        self.blobs: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.private: bool | None = None
        self.refuse, self.status = "", 500
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self._body()
                path = unquote(urlsplit(self.path).path)
                name = f"{self.command} {path}"
                hub.requests.append(name)
                blob = path.startswith("/blob/")  # such addresses are signed, and bear no token
                if not blob and self.headers.get("Authorization") != f"Bearer {hub.token}":
                    return self._answer(401, {"error": "Invalid credentials"})
                if hub.refuse and hub.refuse in name:
                    return self._answer(hub.status, {"error": "refused"})
                return self._answer(*hub.answer(self.command, path, body, self._address()))

            do_GET = do_POST = do_PUT = do_HEAD = handle_any

            def _address(self) -> str:
                return f"http://{self.headers['Host']}"

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def _answer(self, status: int, values: Any) -> None:
                data = json.dumps(values).encode()
                self.send_response_only(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, body: bytes, address: str) -> tuple[int, Any]:
        if path == "/api/repos/create":
            if self.private is not None:
                return 409, {
                    "error": "You already created this dataset repo",
                    "url": f"{address}/datasets/me/demo",
                }
            self.private = json.loads(body).get("visibility") == "private"
            return 200, {"url": f"{address}/datasets/me/demo"}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if path.endswith("/refs"):
            tags = [
                {"name": name, "ref": f"refs/tags/{name}", "targetCommit": "0" * 40} for name in self.tags
            ]
            return 200, {"branches": [], "converts": [], "tags": tags}
        if "/tree/" in path:
            return 200, [self._entry(name, data) for name, data in self.files.items()]
        if found := re.search(r"/paths-info/(.+)$", path):
            files = self.tags.get(found[1], self.files)
            return 200, [self._entry(name, files[name]) for name in _paths(body) if name in files]
        if "/preupload/" in path:
            return 200, {"files": [self._mode(file) for file in json.loads(body)["files"]]}
        if path.endswith("/info/lfs/objects/batch"):
            return 200, {
                "transfer": "basic",
                "objects": [self._lfs(o, address) for o in json.loads(body)["objects"]],
            }
        if path.startswith("/blob/") and method == "PUT":
            assert hashlib.sha256(body).hexdigest() == path.removeprefix("/blob/")
            self.blobs[path.removeprefix("/blob/")] = body
            return 200, {}
        if "/commit/" in path:
            return 200, self._commit([json.loads(line) for line in body.splitlines()], address)
        if "/tag/" in path:
            self.tags[json.loads(body)["tag"]] = dict(self.files)
            return 200, {}
        return 404, {"error": f"nothing at {method} {path}"}

    def _mode(self, file: dict[str, Any]) -> dict[str, Any]:
        large = not file["path"].endswith((".md", ".json"))
        there = self.files.get(file["path"])
        oid = None if there is None else hashlib.sha256(there).hexdigest() if large else _git(there)
        mode = "lfs" if large else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid}

    def _lfs(self, wanted: dict[str, Any], address: str) -> dict[str, Any]:
        found = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] in self.blobs:
            return found
        return found | {"actions": {"upload": {"href": f"{address}/blob/{wanted['oid']}"}}}

    def _commit(self, lines: list[dict[str, Any]], address: str) -> dict[str, Any]:
        files = dict(self.files)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.blobs[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        self.files = files
        self.commits.append(lines)
        oid = f"{len(self.commits):040x}"
        return {"commitUrl": f"{address}/datasets/me/demo/commit/{oid}", "commitOid": oid, "success": True}

    @staticmethod
    def _entry(name: str, data: bytes) -> dict[str, Any]:
        return {"type": "file", "path": name, "size": len(data), "oid": _git(data)}


@contextmanager
def running_hub(token: str) -> Iterator[Hub]:
    hub = Hub(token)
    try:
        yield hub
    finally:
        hub.close()


def _git(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _paths(body: bytes) -> list[str]:
    try:
        paths = json.loads(body)["paths"]
    except ValueError:  # a form
        paths = [
            unquote(part.partition("=")[2]) for part in body.decode().split("&") if part.startswith("paths=")
        ]
    return [paths] if isinstance(paths, str) else paths
