"""The routes of words: captions prepared, edits written, doubles found; each waits for the whole of the one before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from generators.prepare import UNIT as CAPTIONS
from generators.unique import UNIT as UNIQUE
from ray_jobs.config import Config, ConfigError, StageName, one_line
from ray_jobs.config_text import EditsRoute, Llm
from ray_jobs.worker import StageSpec
from shards.units import Unit

# name, settings, what shapes the rows, the folder before, the route
Spec = Callable[[StageName, Mapping[str, Any], Mapping[str, Any], str | None, str | None], StageSpec]
_PART = 1 << 20  # bytes of each end of a file of weights that are looked at


def text_routes(
    config: Config, edits: EditsRoute, limit: int | None, spec: Spec
) -> list[tuple[str, list[Unit], list[StageSpec], str | None]]:
    """Names, units, stages of the three routes, in their order, and which each waits for. Raises ConfigError."""
    assert config.llm is not None
    count = edits.units if limit is None else min(edits.units, limit)
    units = [Unit("edits", index, edits.unit_size) for index in range(count)]
    source = edits.captions.model_dump(mode="json") | {"limit": count * edits.unit_size, "seed": config.seed}
    source["stock"] = edits.captions.stock.filled()
    shaping = source | {"uri": _file_identity(edits.captions.uri)}
    prepared = spec("captions", source, shaping, None, None)
    writer = _writer(config.llm)
    how = edits.model_dump(mode="json", include={"per_caption", "kinds", "languages"}) | {"seed": config.seed}
    written = spec(
        "edits",
        how | {"captions": prepared.folder, "llm": writer},
        how | {"llm": _shaping(config.llm, writer), "unit_size": edits.unit_size},
        # The captions of a unit do not change with how many there are: a longer run goes on in its folder.
        spec("captions", source, {k: v for k, v in shaping.items() if k != "limit"}, None, None).folder,
        None,
    )
    ids = [unit.id for unit in units]
    last = {"mend": edits.mend, "seed": config.seed}
    unique = spec(
        "unique",
        last | {"edits": written.folder, "units": ids},
        last | {"units": len(ids)},
        written.folder,
        None,
    )
    return [
        ("captions", [CAPTIONS] if units else [], [prepared], None),
        ("edits", units, [written], "captions"),
        ("unique", [UNIQUE] if units else [], [unique], "edits"),
    ]


def _writer(llm: Llm) -> dict[str, Any]:
    """As `generators.stage.writer_of` takes it. Raises ConfigError for what is not there."""
    found = llm.model_dump(mode="json")
    if llm.vllm is not None:
        if llm.vllm.model == "smollm2":
            from generators.smollm2 import NotInstalled, prepared

            try:
                found["vllm"]["model"] = str(prepared())
            except NotInstalled as error:
                raise ConfigError(f"llm.vllm.model: {one_line(error)}") from None
        adapter = llm.vllm.adapter
        if adapter is not None and not (Path(adapter) / "adapter_config.json").exists():
            raise ConfigError(f"llm.vllm.adapter: {adapter} holds no adapter (adapter_config.json)")
    return found


def _shaping(llm: Llm, writer: Mapping[str, Any]) -> dict[str, Any]:
    """What the words depend on: the model and how it is sampled, not where or how fast."""
    sampling = llm.sampling.model_dump(mode="json")
    if llm.endpoint is not None:
        return {
            "sampling": sampling,
            "endpoint": llm.endpoint.model_dump(mode="json", include={"url", "model"}),
        }
    assert llm.vllm is not None
    return {
        "sampling": sampling,
        "model": _weights_identity(writer["vllm"]["model"], llm.vllm.revision),
        "adapter": _weights_identity(llm.vllm.adapter, None) if llm.vllm.adapter else None,
        "dtype": llm.vllm.dtype,
        "max_length": llm.vllm.max_length,
    }


def _weights_identity(model: str, revision: str | None) -> str:
    """Of a folder: its files' names, sizes, and both ends of each; of a name: name and revision."""
    folder = Path(model)
    if not folder.is_dir():
        return f"{model}@{revision or 'main'}"
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".safetensors", ".json") or not path.is_file():
            continue
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(_PART))
            if size > 2 * _PART:
                file.seek(-_PART, 2)
            digest.update(file.read(_PART))
    return f"sha256:{digest.hexdigest()}"


def _file_identity(uri: str | None) -> list[Any] | None:
    """Of the captions' files: names and sizes, without where they lie. Raises ConfigError where there are none."""
    if uri is None:
        return None
    import pyarrow.fs as fs

    try:
        system, path = fs.FileSystem.from_uri(uri) if "://" in uri else (fs.LocalFileSystem(), uri)
        found = system.get_file_info(path)
        if found.type == fs.FileType.Directory:
            inside = system.get_file_info(fs.FileSelector(path, recursive=True))
            files = [(info.path.removeprefix(path), info.size) for info in inside if info.is_file]
            return sorted(files)
    except (OSError, ValueError) as error:
        raise ConfigError(f"routes.edits.captions.uri: {one_line(error)}") from None
    if found.type == fs.FileType.NotFound:
        raise ConfigError(f"routes.edits.captions.uri: {uri}: there is no such file or folder")
    return [(found.base_name, found.size)]
