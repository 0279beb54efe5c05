"""A real S3 server on free ports of this machine, and a proxy in front of it that makes trouble."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError


@dataclass(frozen=True)
class S3Server:
    """Where the server is and how to enter; `bucket` exists."""

    endpoint: str
    bucket: str = "shards"
    access_key: str = "tester"
    secret_key: str = "a-secret-for-tests"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which any S3 client finds this server, and nothing of this machine's own."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def uri(self, prefix: str) -> str:
        return f"s3://{self.bucket}/{prefix}"


@contextmanager
def running_server(folder: Path) -> Iterator[S3Server]:
    """SeaweedFS with its data in `folder`, ended by its process id."""
    parts = ["s3", "master", "volume", "filer", "admin"]
    flags = [f"-{part}.port{grpc}" for part in parts for grpc in ("", ".grpc")]
    ports = dict(zip(flags, _free_ports(len(flags))))
    server = S3Server(f"http://127.0.0.1:{ports['-s3.port']}")
    credentials = [{"accessKey": server.access_key, "secretKey": server.secret_key}]
    actions = ["Read", "Write", "List", "Tagging"]
    identities = [{"name": "tester", "credentials": credentials, "actions": actions}]
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": identities}))
    (folder / "data").mkdir()
    command = [
        str(shutil.which("weed", path=Path(sys.executable).parent) or shutil.which("weed")),
        "mini",
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-s3.config={config}",
        f"-bucket={server.bucket}",
        "-webdav=false",
        "-admin.ui=false",
        "-master.telemetry=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        *(f"{flag}={port}" for flag, port in ports.items()),
    ]
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
    try:
        _wait_until_up(server, process, log)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for opened in sockets:
        opened.bind(("127.0.0.1", 0))
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def _wait_until_up(server: S3Server, process: subprocess.Popen[bytes], log: Path) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=5),
    )
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            client.put_object(Bucket=server.bucket, Key="up", Body=b"")
            return
        except (BotoCoreError, ClientError):
            time.sleep(0.2)
    raise RuntimeError(f"the S3 server did not start:\n{log.read_text(errors='replace')[-4000:]}")


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # of clients that were killed
            super().handle_error(request, client_address)


class FaultyProxy:
    """Forwards to a server; `faults` are taken one by one by requests whose "METHOD path?query" has `where`.

    A fault is "503" (answered so, not forwarded), "drop" (the connection closed, not forwarded), "lose"
    (forwarded, and the connection closed before the answer), "cut" (forwarded, and the connection closed within the
    answer), "slow" (forwarded after two seconds) or "hang" (nothing until the proxy closes). `requests` are all that
    came, `sent` the bytes of the answers, `met` the requests that met a fault, with its name.
    `outage`: while it is set, all that comes is answered "503".
    """

    def __init__(self, target: str) -> None:
        self.where = ""
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.met: list[tuple[str, str]] = []
        self.outage = threading.Event()
        self.ranges: list[str] = []  # of requests for a part of an object: "bytes=0-99"
        self.sent = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        netloc = urlsplit(target).netloc
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Range"):
                    proxy.ranges.append(self.headers["Range"])
                asked = f"{self.command} {self.path}"
                fault = proxy._next_fault(asked)
                if not proxy.arrived(asked, self.client_address[1]):
                    return self._hang_up()
                if fault == "503":
                    error = b"<Error><Code>SlowDown</Code><Message>slow down</Message></Error>"
                    return self._answer(503, [("Content-Type", "application/xml")], error)
                if fault in ("drop", "hang"):
                    if fault == "hang":
                        proxy._closing.wait(60)
                    return self._hang_up()
                if fault == "slow":
                    proxy._closing.wait(2)
                upstream = http.client.HTTPConnection(netloc, timeout=30)
                # Everything as signed, the Host among it.
                upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in ("connection", "expect"):
                        upstream.putheader(name, value)
                upstream.endheaders(body)
                answer = upstream.getresponse()
                content = answer.read()
                upstream.close()
                proxy.answered(asked, self.client_address[1], answer.status)
                if fault == "lose":
                    return self._hang_up()
                skip = ("connection", "transfer-encoding", "content-length")
                headers = [(n, v) for n, v in answer.getheaders() if n.lower() not in skip]
                length = answer.headers.get("Content-Length") if self.command == "HEAD" else None
                if fault == "cut":
                    self._answer(answer.status, headers, content[: len(content) // 2], str(len(content)))
                    return self._hang_up()
                return self._answer(answer.status, headers, content, length)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

            def _answer(
                self, status: int, headers: list[tuple[str, str]], body: bytes, length: str | None = None
            ) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", length or str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                with proxy._lock:
                    proxy.sent += len(body)

            def _hang_up(self) -> None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = _QuietServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _next_fault(self, request: str) -> str | None:
        with self._lock:
            self.requests.append(request)
            if self.outage.is_set():
                return "503"
            if not self.faults or self.where not in request:
                return None
            fault = self.faults.pop(0)
            if fault:
                self.met.append((fault, request))
            return fault

    def arrived(self, request: str, port: int) -> bool:
        """Called for each request before it is forwarded; False: it is not. port: of the client, on this machine."""
        return True

    def answered(self, request: str, port: int, status: int) -> None:
        """Called for each request once the server has answered, and before its client knows."""

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
