"""Storage in an S3 bucket, on AWS or any server that speaks its protocol with conditional writes.

Every conditional write carries a token of its own in the object's metadata. A put whose answer got lost is
repeated by botocore and then refused, because the object is there: if it bears our token, it is ours.
"""

from __future__ import annotations

import io
import os
import random
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypedDict, TypeVar, cast

import boto3
from botocore import exceptions
from botocore.config import Config

from shards.objects import Entry, NotFound, StorageError, check_key
from shards.patience import patiently

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef
    from typing_extensions import Buffer

_TOKEN = "spatialpix-write"
_CONFLICT_TRIES = 8
_BODY_TRIES = 4  # botocore asks again for an answer that does not come, not for one that breaks off

_REASONS = {
    "NoSuchBucket": ("no_such_bucket", "the bucket does not exist: create it, or correct its name"),
    "InvalidBucketName": ("no_such_bucket", "this is not a bucket's name: correct it"),
    "PermanentRedirect": ("wrong_region", "the bucket is in another region: set AWS_DEFAULT_REGION"),
    "AuthorizationHeaderMalformed": ("wrong_region", "the region is wrong: set AWS_DEFAULT_REGION"),
    "AccessDenied": ("access_denied", "access denied: these credentials may not do this here"),
    "AllAccessDisabled": ("access_denied", "access to this bucket is disabled"),
    "403": ("access_denied", "access denied: these credentials may not do this here"),
    "InvalidAccessKeyId": ("bad_credentials", "the access key is unknown: check AWS_ACCESS_KEY_ID"),
    "SignatureDoesNotMatch": ("bad_credentials", "the secret is wrong: check AWS_SECRET_ACCESS_KEY"),
    "ExpiredToken": ("bad_credentials", "the credentials have expired: get new ones"),
    "InvalidToken": ("bad_credentials", "the session token is wrong: check AWS_SESSION_TOKEN"),
    "RequestTimeTooSkewed": ("bad_credentials", "this machine's clock is wrong: set it"),
    "XMinioStorageFull": ("disk_full", "the server's disk is full"),
    "InsufficientStorage": ("disk_full", "the server's disk is full"),
    "QuotaExceeded": ("disk_full", "the quota is used up"),
    "EntityTooLarge": ("too_large", "the server takes no object of this size"),
    "NotImplemented": ("unsupported", "the server lacks this operation; conditional writes are needed"),
    "SlowDown": ("busy", "the server is too busy, even after retries"),
    "ServiceUnavailable": ("busy", "the server is not available, even after retries"),
    "InternalError": ("busy", "the server failed, even after retries"),
}


_Answer = TypeVar("_Answer")


class _Condition(TypedDict, total=False):
    IfNoneMatch: str
    IfMatch: str


class _Wanted(TypedDict, total=False):
    Range: str
    IfMatch: str


class _Following(TypedDict, total=False):
    ContinuationToken: str


@dataclass(frozen=True, slots=True)
class S3Options:
    """Times in seconds, sizes in bytes.

    max_attempts: tries per request in all, with backoff and jitter between them; AWS_MAX_ATTEMPTS overrides.
    multipart_from: objects of this size or more go up in parts of `part` bytes, 4 at once.
    """

    max_attempts: int = field(default_factory=lambda: int(os.environ.get("AWS_MAX_ATTEMPTS", "8")))
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    multipart_from: int = 64 << 20
    part: int = 32 << 20


class S3Storage:
    """Objects of `bucket` under `prefix`; see `shards.objects.Storage`.

    Credentials, region and endpoint come from where boto3 looks for them: the environment (AWS_ENDPOINT_URL
    among it), ~/.aws, or the machine's role.
    """

    def __init__(self, bucket: str, prefix: str = "", options: S3Options | None = None) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.options = options or S3Options()
        self._connection = _Connection(self.options)

    def __reduce__(self) -> tuple[type[S3Storage], tuple[str, str, S3Options]]:
        return type(self), (self.bucket, self.prefix, self.options)  # a connection does not travel

    def __repr__(self) -> str:
        return f"S3Storage({self.uri!r})"

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def listings(self) -> int:
        return 16

    def read(self, key: str) -> bytes:
        return self.read_versioned(key)[0]

    def read_versioned(self, key: str) -> tuple[bytes, str]:
        return self._ask(key, lambda client: self._got(client, key))

    def write(self, key: str, data: bytes) -> None:
        self._ask(key, lambda _: self._put(key, data, {}, ""))

    def create(self, key: str, data: bytes) -> bool:
        return self._put_if(key, data, {"IfNoneMatch": "*"}) is not None

    def create_file(self, key: str, path: Path) -> bool:
        return self._put_if(key, path, {"IfNoneMatch": "*"}) is not None

    def replace(self, key: str, data: bytes, etag: str) -> str | None:
        return self._put_if(key, data, {"IfMatch": etag})

    def list(self, prefix: str = "") -> Iterator[Entry]:
        base = f"{self.prefix}/" if self.prefix else ""
        following: _Following = {}
        while True:
            page = self._ask(prefix, partial(self._page, base + prefix, following))
            for found in page.get("Contents", ()):
                if not found["Key"].endswith("/"):  # consoles make such "folders"
                    yield Entry(found["Key"].removeprefix(base), found["Size"])
            if not page.get("IsTruncated"):
                return
            following = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, key: str) -> None:
        full = self._full(key)
        self._ask(key, lambda client: client.delete_object(Bucket=self.bucket, Key=full))

    def exists(self, key: str) -> bool:
        # Not HEAD: its 404 has no body, and cannot tell a missing bucket from a missing object.
        full = self._full(key)
        page = self._ask(
            key, lambda client: client.list_objects_v2(Bucket=self.bucket, Prefix=full, MaxKeys=1)
        )
        return any(found["Key"] == full for found in page.get("Contents", ()))

    def open(self, key: str) -> BinaryIO:
        full = self._full(key)
        try:
            head = self._ask(key, lambda client: client.head_object(Bucket=self.bucket, Key=full))
        except NotFound:
            self.exists(key)  # says so if it is the bucket that is missing
            raise
        etag = head["ETag"]

        def fetch(start: int, end: int) -> bytes:
            wanted: _Wanted = {"Range": f"bytes={start}-{end - 1}", "IfMatch": etag}
            return self._ask(key, lambda client: self._got(client, key, wanted))[0]

        reader = io.BufferedReader(_Ranges(fetch, head["ContentLength"]), buffer_size=256 << 10)
        return cast(BinaryIO, reader)

    def sub(self, prefix: str) -> S3Storage:
        prefix = check_key(prefix.strip("/"))
        below = S3Storage(self.bucket, f"{self.prefix}/{prefix}" if self.prefix else prefix, self.options)
        below._connection = self._connection
        return below

    @property
    def _client(self) -> S3Client:
        return self._connection.client

    def _full(self, key: str) -> str:
        check_key(key)
        return f"{self.prefix}/{key}" if self.prefix else key

    def _ask(self, key: str, ask: Callable[[S3Client], _Answer]) -> _Answer:
        """What `ask` makes of the client: with clear errors, and with this process's patience."""

        def once() -> _Answer:
            with self._clear_errors(key):
                return ask(self._client)

        return patiently(once)

    def _got(self, client: S3Client, key: str, wanted: _Wanted | None = None) -> tuple[bytes, str]:
        """The object, or what is wanted of it, and its etag. Raises botocore's errors."""
        attempt = 1
        while True:
            answer = client.get_object(Bucket=self.bucket, Key=self._full(key), **(wanted or {}))
            try:
                return answer["Body"].read(), answer["ETag"]
            except (exceptions.HTTPClientError, exceptions.IncompleteReadError):
                if attempt == _BODY_TRIES:
                    raise
            time.sleep(random.uniform(0.0, 0.1 * 2**attempt))
            attempt += 1

    def _page(self, start: str, following: _Following, client: S3Client) -> ListObjectsV2OutputTypeDef:
        return client.list_objects_v2(Bucket=self.bucket, Prefix=start, **following)

    def _put_if(self, key: str, data: bytes | Path, condition: _Condition) -> str | None:
        """The etag of what we put; None if the condition did not hold."""
        token = uuid.uuid4().hex  # one for all tries: the first may have been ours although it seemed to fail
        return self._ask(key, lambda _: self._put_once(key, data, condition, token))

    def _put_once(self, key: str, data: bytes | Path, condition: _Condition, token: str) -> str | None:
        for attempt in range(1, _CONFLICT_TRIES + 1):
            try:
                etag = self._put(key, data, condition, token)
                # Some servers look and then complete, and two that race may both be told that they won.
                large = _size(data) >= self.options.multipart_from
                return self._etag_if_ours(key, token) if large else etag
            except exceptions.ClientError as error:
                code = _code(error)
                # NoSuchUpload: our completion succeeded, its answer got lost, the retry found nothing.
                if code in ("PreconditionFailed", "412", "NoSuchUpload"):
                    return self._etag_if_ours(key, token)
                if code in ("NoSuchKey", "404") and "IfMatch" in condition:
                    return None
                # Another conditional write of this key is under way: the next try shows how it ended.
                if code not in ("ConditionalRequestConflict", "409") or attempt == _CONFLICT_TRIES:
                    raise
                time.sleep(random.uniform(0.0, 0.05 * 2**attempt))
        raise AssertionError("unreachable")

    def _put(self, key: str, data: bytes | Path, condition: _Condition, token: str) -> str:
        """The new object's etag. Raises botocore's errors."""
        bucket, full, client = self.bucket, self._full(key), self._client
        metadata = {_TOKEN: token} if token else {}
        size = _size(data)
        if size < self.options.multipart_from:
            body = _part(data, 0, size)
            put = client.put_object(Bucket=bucket, Key=full, Body=body, Metadata=metadata, **condition)
            return put["ETag"]
        upload = client.create_multipart_upload(Bucket=bucket, Key=full, Metadata=metadata)["UploadId"]

        def send(number: int) -> Any:
            start = (number - 1) * self.options.part
            body = _part(data, start, self.options.part)
            answer = client.upload_part(
                Bucket=bucket, Key=full, UploadId=upload, PartNumber=number, Body=body
            )
            checksums = {name: value for name, value in answer.items() if name.startswith("Checksum")}
            return {"PartNumber": number, "ETag": answer["ETag"], **checksums}

        try:
            with ThreadPoolExecutor(4) as pool:
                parts = list(pool.map(send, range(1, -(-size // self.options.part) + 1)))
            done = client.complete_multipart_upload(
                Bucket=bucket, Key=full, UploadId=upload, MultipartUpload={"Parts": parts}, **condition
            )
            return done["ETag"]
        except BaseException:
            with suppress(
                exceptions.ClientError, exceptions.BotoCoreError
            ):  # the first error is the one to tell
                client.abort_multipart_upload(Bucket=bucket, Key=full, UploadId=upload)
            raise

    def _etag_if_ours(self, key: str, token: str) -> str | None:
        try:
            with self._clear_errors(key):
                head = self._client.head_object(Bucket=self.bucket, Key=self._full(key))
        except NotFound:
            return None
        return head["ETag"] if head["Metadata"].get(_TOKEN) == token else None

    @contextmanager
    def _clear_errors(self, key: str) -> Iterator[None]:
        """Turns botocore's errors into a reason and an advice."""
        where = f"{self.uri}/{key}"
        try:
            yield
        except exceptions.ClientError as error:
            code = _code(error)
            if code in ("NoSuchKey", "404", "NotFound"):
                raise NotFound(f"{where} does not exist") from None
            if code in ("PreconditionFailed", "412"):
                raise StorageError("changed", f"{where}: changed while it was read; read it again") from error
            text = error.response.get("Error", {}).get("Message", "")
            reason, advice = _REASONS.get(code, ("storage_error", f"the server answered {code}: {text}"))
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 507:
                reason, advice = _REASONS["InsufficientStorage"]
            raise StorageError(reason, f"{where}: {advice}") from error
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
            advice = "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile or role"
            raise StorageError("no_credentials", f"{where}: {advice}") from error
        except (
            exceptions.ConnectionError,
            exceptions.HTTPClientError,
            exceptions.IncompleteReadError,
            OSError,
        ) as error:
            endpoint = self._client.meta.endpoint_url
            advice = f"no answer from {endpoint}: check the network and AWS_ENDPOINT_URL"
            raise StorageError("unreachable", f"{where}: {advice} ({type(error).__name__})") from error
        except exceptions.BotoCoreError as error:
            raise StorageError("storage_error", f"{where}: {error}") from error


class _Connection:
    """boto3's client, made at first use and then shared: it costs 0.1 s, and threads may share it."""

    def __init__(self, options: S3Options) -> None:
        self._options = options
        self._lock = Lock()
        self._client: S3Client | None = None

    @property
    def client(self) -> S3Client:
        with self._lock:
            if self._client is None:
                self._client = _connect(self._options)
            return self._client


class _Ranges(io.RawIOBase):
    """An object as a file: every read is one ranged request."""

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        self._fetch = fetch
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        end = min(self._at + len(view), self._size)
        if end <= self._at:
            return 0
        data = self._fetch(self._at, end)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


def _size(data: bytes | Path) -> int:
    return len(data) if isinstance(data, bytes) else data.stat().st_size


def _part(data: bytes | Path, start: int, size: int) -> bytes:
    """At most `size` bytes from `start`: of a file, only they are in memory."""
    if isinstance(data, bytes):
        return data[start : start + size]
    with data.open("rb") as file:
        file.seek(start)
        return file.read(size)


def _connect(options: S3Options) -> S3Client:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    # Buckets as host names need a wildcard in the DNS, which few servers other than AWS's have.
    style: Literal["path", "auto"] = "path" if endpoint else "auto"
    config = Config(
        retries={"mode": "standard", "total_max_attempts": options.max_attempts},
        connect_timeout=options.connect_timeout,
        read_timeout=options.read_timeout,
        max_pool_connections=32,
        s3={"addressing_style": style},
    )
    try:
        # A session of our own: boto3's default one is not safe to share between threads.
        return boto3.session.Session().client("s3", config=config)
    except (exceptions.BotoCoreError, ValueError) as error:
        raise StorageError("bad_setting", f"S3 cannot be set up: {error}") from error


def _code(error: exceptions.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
