"""Which files a mesh file needs beside it: buffers and textures of glTF, materials and textures of OBJ.

Found as Blender's importers find them. A .blend file has to hold its textures packed.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote

from pydantic import BaseModel, ValidationError

from renderers.fetch import Folder
from spatial.scene import SpatialError

GLB_HEADER = struct.Struct("<4sIIII")  # magic, version, length; length and type of the first chunk
JSON_CHUNK = 0x4E4F534A

_MTLLIB = re.compile(rb"^[ \t]*mtllib[ \t]+(.+?)[ \t\r]*$", re.MULTILINE)
# map_Kd -s 1 1 1 -bm 0.5 textures/old wood.png: options first, then a name that may have spaces.
_NUMBER = rb"[ \t]+[-+.\d][-+.\deE]*(?=[ \t])"
_OPTION = rb"-(?:[ost](?:" + _NUMBER + rb"){1,3}|mm(?:" + _NUMBER + rb"){2}|[a-z]{2,}[ \t]+\S+)[ \t]+"
_MAP = re.compile(
    rb"^[ \t]*(?:map_\w+|bump|norm|disp|decal|refl)[ \t]+(?:" + _OPTION + rb")*(.+?)[ \t\r]*$",
    re.MULTILINE | re.IGNORECASE,
)


class _Named(BaseModel):
    uri: str | None = None


class _Gltf(BaseModel):
    """Of a glTF document, the parts that may name files."""

    buffers: tuple[_Named, ...] = ()
    images: tuple[_Named, ...] = ()


def with_side_files(file: str, folder: Folder) -> tuple[str, ...]:
    """The file's name and the names of all files that it needs, relative to the folder, each once.

    Raises SpatialError "missing_asset" where one of them is not there, "corrupt_asset" where the file cannot
    be read or names a file outside its own folder; OSError where the storage fails.
    """
    names: dict[str, None] = {}
    waiting: list[tuple[str, str | None]] = [(file, None)]
    while waiting:
        name, by = waiting.pop(0)
        if name in names:
            continue
        path = folder.find(name)
        if path is None:
            needed_by = f", which {by} needs" if by else ""
            raise SpatialError("missing_asset", f"there is no file {folder.where}/{name}{needed_by}")
        names[name] = None
        read = _READERS.get(PurePosixPath(name).suffix.lower())
        if read is None:
            continue
        waiting += [(_beside(name, side), name) for side in read(name, path)]
        # Blender reads block.mtl with block.obj even where nothing names it.
        materials = str(PurePosixPath(name).with_suffix(".mtl"))
        if read is _obj and folder.find(materials) is not None:
            waiting.append((materials, name))
    return tuple(names)


def _beside(name: str, side: str) -> str:
    """A side file's name relative to the catalogue's folder."""
    path = PurePosixPath(side)
    if path.is_absolute() or PureWindowsPath(side).drive or ".." in path.parts or "://" in side:
        raise SpatialError(
            "corrupt_asset", f"{name} names {side!r}: files must lie beside or below it, without '..'"
        )
    return str(PurePosixPath(name).parent / path)


def _gltf(name: str, path: Path) -> list[str]:
    return _uris(name, path.read_bytes())


def _glb(name: str, path: Path) -> list[str]:
    with path.open("rb") as file:
        header = file.read(GLB_HEADER.size)
        if len(header) < GLB_HEADER.size or not header.startswith(b"glTF"):
            raise SpatialError("corrupt_asset", f"{name} is not a binary glTF file")
        _, version, _, length, kind = GLB_HEADER.unpack(header)
        if version != 2 or kind != JSON_CHUNK:
            raise SpatialError("corrupt_asset", f"{name} is not a binary glTF 2 file")
        return _uris(name, file.read(length))


def _uris(name: str, document: bytes) -> list[str]:
    try:
        found = _Gltf.model_validate_json(document)
    except ValidationError as error:
        raise SpatialError("corrupt_asset", f"{name} is not glTF: {error.errors()[0]['msg']}") from None
    uris = [part.uri for part in (*found.buffers, *found.images) if part.uri is not None]
    return [unquote(uri) for uri in uris if not uri.startswith("data:")]


def _obj(name: str, path: Path) -> list[str]:
    return _names(_MTLLIB, path)


def _mtl(name: str, path: Path) -> list[str]:
    return _names(_MAP, path)


def _names(pattern: re.Pattern[bytes], path: Path) -> list[str]:
    # A backslash at the end of a line continues it; elsewhere it is how Windows writes a slash.
    text = re.sub(rb"\\\r?\n", b" ", path.read_bytes())
    found = [match[1].decode(errors="replace").strip('"') for match in pattern.finditer(text)]
    return [name.replace("\\", "/") for name in found]


_READERS: dict[str, Callable[[str, Path], list[str]]] = {
    ".gltf": _gltf,
    ".glb": _glb,
    ".obj": _obj,
    ".mtl": _mtl,
}
