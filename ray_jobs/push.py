"""`push`: a published dataset onto the Hugging Face Hub.

Files go up one after the other, each checked against the manifest before; then one commit makes all of them appear
at once, MANIFEST.json as its last line, and takes away what an older version left. The commit is tagged with the
version, and a tag that is there is never moved. What is up already is not sent again, so a push that was stopped is
simply repeated.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ray_jobs.config import ConfigError, one_line
from ray_jobs.job import DONE, parser, run_job

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from shards.dataset import Dataset, DatasetFile

TOKEN = "HF_TOKEN"
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_OURS = ("data/", "index/", "assets/")
_IN_MEMORY = 10_000_000  # bytes: files that the Hub may keep as text are held until the commit


def main(argv: Sequence[str] | None = None) -> int:
    options = parser(
        "push", f"Put a published dataset onto the Hugging Face Hub. The token comes from {TOKEN} alone."
    )
    options.add_argument("--dataset", required=True, metavar="URI", help="a dataset, or one version's folder")
    options.add_argument(
        "--repo", required=True, metavar="OWNER/NAME", help="the dataset repository; made if missing"
    )
    options.add_argument("--private", action="store_true", help="a repository that is made is private")
    options.add_argument("--dry-run", action="store_true", help="say what would go up, and ask no network")
    return run_job("push", _work, options.parse_args(argv))


def _work(arguments: argparse.Namespace) -> int:
    from shards.dataset import open_dataset

    if not _REPO.fullmatch(arguments.repo):
        raise ConfigError(f"--repo {arguments.repo!r} is not of the form OWNER/NAME")
    token = os.environ.get(TOKEN, "").strip()
    if not token and not arguments.dry_run:
        raise ConfigError(
            f"{TOKEN} is not set: put a token there that may write, or look first with --dry-run"
        )
    dataset = open_dataset(arguments.dataset)
    files = upload_order(dataset)
    size = sum(file.bytes for file in files)
    manifest = dataset.manifest
    if arguments.dry_run:
        for file in files:
            print(f"  {file.bytes:>14,}  {file.path}")
        print(
            f"dry run: {manifest.name} {manifest.version}, {len(files)} files, {size:,} bytes, would go to "
            f"the dataset {arguments.repo} as v{manifest.version}"
        )
        return DONE
    with _clear_errors(token):
        there = _push(dataset, files, arguments.repo, arguments.private, token)
    verb = "is there already" if there else "is up"
    print(
        f"{manifest.name} {manifest.version} {verb}: {len(files)} files, {size:,} bytes, dataset {arguments.repo}"
    )
    return DONE


def upload_order(dataset: Dataset) -> list[DatasetFile]:
    """Every file of the version, MANIFEST.json last: data, indices, pictures of the card, then the rest."""
    from shards.dataset import MANIFEST_FILE, DatasetFile

    def place(file: DatasetFile) -> tuple[int, str]:
        found = next(
            (number for number, prefix in enumerate(_OURS) if file.path.startswith(prefix)), len(_OURS)
        )
        return found, file.path

    data = dataset.storage.read(MANIFEST_FILE)
    last = DatasetFile(MANIFEST_FILE, len(data), hashlib.sha256(data).hexdigest())
    return [*sorted(dataset.manifest.files, key=place), last]


def _push(dataset: Dataset, files: Sequence[DatasetFile], repo: str, private: bool, token: str) -> bool:
    """Whether this version was there already."""
    from huggingface_hub import CommitOperationDelete, HfApi
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    disable_progress_bars()
    api = HfApi(token=token, library_name="spatialpix")
    api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
    tag = f"v{dataset.manifest.version}"
    if any(found.name == tag for found in api.list_repo_refs(repo, repo_type="dataset").tags):
        _same_or_fail(api, repo, tag, files[-1], dataset)
        return True
    stale = sorted(
        path
        for path in set(api.list_repo_files(repo, repo_type="dataset")) - {file.path for file in files}
        if path.startswith(_OURS)
    )
    # Deletions first: MANIFEST.json is the last line of the commit.
    operations: list[Any] = [CommitOperationDelete(path, is_folder=False) for path in stale]
    operations += [_upload(api, repo, dataset, file) for file in files]
    done = api.create_commit(
        repo, operations, repo_type="dataset", commit_message=f"{dataset.manifest.name} {tag}"
    )
    api.create_tag(repo, tag=tag, revision=done.oid, repo_type="dataset")
    return False


def _upload(api: HfApi, repo: str, dataset: Dataset, file: DatasetFile) -> Any:
    """The file's line in the commit, its content on the Hub if it is a large one."""
    from huggingface_hub import CommitOperationAdd

    print(f"  {file.bytes:>14,}  {file.path}", flush=True)
    with _checked(dataset, file) as content:
        addition = CommitOperationAdd(file.path, content)
        api.preupload_lfs_files(repo, [addition], repo_type="dataset")
    return addition


@contextmanager
def _checked(dataset: Dataset, file: DatasetFile) -> Iterator[bytes | str]:
    """The file's bytes, or the path of a large one, for as long as this lasts. Raises StorageError("corrupt") where
    it is not what the manifest says."""
    from shards.local import LocalStorage, scratch

    storage = dataset.storage
    if file.bytes <= _IN_MEMORY:
        data = storage.read(file.path)
        _same(hashlib.sha256(data).hexdigest(), file, dataset)
        yield data
    elif isinstance(storage, LocalStorage):
        path = storage.path(file.path)
        with path.open("rb") as opened:
            _same(hashlib.file_digest(opened, "sha256").hexdigest(), file, dataset)
        yield str(path)
    else:
        with scratch("push") as folder:
            path = folder / "file"
            with storage.open(file.path) as source, path.open("wb") as target:
                shutil.copyfileobj(source, target, 8 << 20)
            with path.open("rb") as opened:
                _same(hashlib.file_digest(opened, "sha256").hexdigest(), file, dataset)
            yield str(path)


def _same(sha256: str, file: DatasetFile, dataset: Dataset) -> None:
    from shards.storage import StorageError

    if sha256 != file.sha256:
        raise StorageError(
            "corrupt",
            f"{dataset.storage.uri}/{file.path} is not what the manifest says: nothing was committed",
        )


def _same_or_fail(api: HfApi, repo: str, tag: str, manifest: DatasetFile, dataset: Dataset) -> None:
    """Raises ConfigError where the tag stands for another manifest."""
    from shards.dataset import MANIFEST_FILE

    found = api.get_paths_info(repo, [MANIFEST_FILE], revision=tag, repo_type="dataset")
    lfs = getattr(found[0], "lfs", None) if found else None
    data = dataset.storage.read(MANIFEST_FILE)
    git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)  # how git names these bytes
    there = lfs.sha256 if lfs else getattr(found[0], "blob_id", None) if found else None
    if there not in (manifest.sha256, git.hexdigest()):
        raise ConfigError(f"{repo} has another {tag}, and versions do not change: publish a new version")


@contextmanager
def _clear_errors(token: str) -> Iterator[None]:
    """The Hub's errors as one line, without the token."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]

    from shards.storage import StorageError

    def told(error: Exception) -> str:
        return one_line(error).replace(token, "***")

    try:
        yield
    except ConfigError:
        raise
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise ConfigError(f"the Hub refuses (status {status}): {TOKEN} may not write there") from None
        raise StorageError("hub", f"the Hub answers {status}: {told(error)}") from None
    except (
        HTTPError,
        RuntimeError,
        ValueError,
    ) as error:  # no answer; a file that did not go up; a card refused
        raise StorageError("hub", f"the Hub took not all: {told(error)}; push again to go on") from None
