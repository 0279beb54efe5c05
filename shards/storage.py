"""Where shards live: the storage of a path or URI, a folder or an S3 prefix."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from shards.local import LocalStorage
from shards.objects import Entry, NotFound, Storage, StorageError

__all__ = ["Entry", "NotFound", "Storage", "StorageError", "open_storage"]


def open_storage(uri: str) -> Storage:
    """The storage at a path, `file://...` or `s3://bucket/prefix`. Touches nothing yet.

    Raises StorageError("wrong_scheme") for any other scheme.
    """
    if "://" not in uri:
        return LocalStorage(Path(uri).expanduser().absolute())
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return LocalStorage(Path(unquote(parts.path)).absolute())
    if parts.scheme == "s3" and parts.netloc:
        from shards.s3 import S3Storage  # boto3 is slow to import; local runs never need it

        # Not urlsplit's path: "#" and "?" are ordinary letters in a key.
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        return S3Storage(bucket, prefix.strip("/"))
    raise StorageError(
        "wrong_scheme", f"cannot store at {uri!r}: use a path, file:///path or s3://bucket/prefix"
    )
