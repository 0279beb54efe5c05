"""Assets from files beside the procedural ones: a YAML catalogue, checked before anything is rendered.

assets:
  - id: oak_stool
    noun: stool                          # lexicon key; a new one brings its words
    words:
      en: {noun: stool, plural: stools}
      vi: {noun: ghế đẩu, classifier: cái}
    file: models/oak_stool.glb           # .glb, .gltf, .obj or .blend, beside or below the catalogue
    licence: CC0-1.0
    size: [0.4, 0.4, 0.5]                # metres: along x, along y, height
    up: z                                # axis that points up, as Blender imports the file
    front: -y                            # axis that its front looks along
    fronted: false                       # true: has a front of its own, as a chair has
    turnable: true                       # looks different when turned, as a mug does; true where fronted
    painted: [Wood]                      # the file's materials that take the object's colour and material

Where fronted or turnable is left out, the noun answers: a chair has a front, a new noun neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

import numpy as np
import pyarrow.fs
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from renderers.fetch import Folder, LocalFolder, RemoteFolder
from renderers.raw import RawMesh
from renderers.shapes import BUILDERS, ProceduralShapes
from renderers.sidefiles import with_side_files
from spatial.lexicon import Lexicon
from spatial.scene import Floats, Mesh, SpatialError, Vec3
from spatial.vocabulary import FRONTED, NOUNS, TURNABLE

Load = Callable[[Path], RawMesh]

Axis = Literal["x", "-x", "y", "-y", "z", "-z"]
Word = Annotated[str, Field(min_length=1)]
Metres = Annotated[float, Field(gt=0, le=100)]
FORMATS = (".glb", ".gltf", ".obj", ".blend")
MAX_TRIANGLES = 200_000  # more than this would make every ray and every render slow


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class English(_Strict):
    noun: Word
    plural: Word


class Vietnamese(_Strict):
    """A noun with its classifier: "cái" + "bàn"."""

    noun: Word
    classifier: Word


class Words(_Strict):
    """What a new noun is called in every language."""

    en: English
    vi: Vietnamese


class Asset(_Strict):
    """One entry. size: full extents in metres once up is z and the front looks towards -y.

    fronted, turnable: None leaves the answer to the noun; `has_front` and `can_turn` give it.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    noun: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_ ]*$")]
    words: Words | None = None
    file: str
    licence: Word
    size: tuple[
        Annotated[float, Field(gt=0, le=100)],
        Annotated[float, Field(gt=0, le=100)],
        Annotated[float, Field(gt=0, le=100)],
    ]
    up: Axis = "z"
    front: Axis = "-y"
    fronted: bool | None = None
    turnable: bool | None = None
    painted: tuple[str, ...] = ()

    @field_validator("file")
    @classmethod
    def _readable(cls, file: str) -> str:
        path = PurePosixPath(file)
        if path.suffix.lower() not in FORMATS:
            raise ValueError(f"must end in one of {', '.join(FORMATS)}")
        if path.is_absolute() or ".." in path.parts:
            raise ValueError("must lie beside or below the catalogue, without '..'")
        return file

    @model_validator(mode="after")
    def _upright(self) -> Self:
        if self.up[-1] == self.front[-1]:
            raise ValueError(f"up {self.up!r} and front {self.front!r} lie on one axis")
        if self.words is None and self.noun not in NOUNS:
            raise ValueError(f"noun {self.noun!r} is new: give its words in every language")
        if self.turnable is False and self.has_front:
            raise ValueError("not turnable, yet fronted: what has a front looks different when turned")
        return self

    @property
    def has_front(self) -> bool:
        return self.noun in FRONTED if self.fronted is None else self.fronted

    @property
    def can_turn(self) -> bool:
        return self.has_front or (self.noun in TURNABLE if self.turnable is None else self.turnable)


class _File(_Strict):
    assets: tuple[Asset, ...]

    @model_validator(mode="after")
    def _unique(self) -> Self:
        seen: set[str] = set(BUILDERS)
        for asset in self.assets:
            if asset.id in seen:
                raise ValueError(f"id {asset.id!r} is used twice, or is that of a procedural shape")
            seen.add(asset.id)
        return self


class Catalog:
    """`Shapes` of the catalogue's files together with the procedural meshes.

    load: reads a file's mesh (`BlenderWorker.load_mesh`), called at an asset's first use.
    """

    def __init__(self, assets: Iterable[Asset], folder: Path, load: Load) -> None:
        self._assets = {asset.id: asset for asset in assets}
        self._folder = folder
        self._load = load
        self._procedural = ProceduralShapes()
        self._meshes: dict[str, Mesh] = {}

    @staticmethod
    def open(uri: str, load: Load) -> Catalog:
        """The catalogue at a path, or at a URI that pyarrow reads. Raises SpatialError as `read_catalog`."""
        found = read_catalog(uri)
        return Catalog(found.assets, found.folder, load)

    @property
    def nouns(self) -> tuple[str, ...]:
        """Every noun with an asset, procedural ones first."""
        return tuple(dict.fromkeys([*BUILDERS, *(asset.noun for asset in self._assets.values())]))

    def lexicon(self, lexicon: Lexicon) -> Lexicon:
        """The lexicon with the catalogue's new nouns. Raises SpatialError where a word is already taken."""
        for noun in self.nouns:
            new = [a.words for a in self._assets.values() if a.noun == noun and a.words is not None]
            if noun not in NOUNS and new:
                en, vi = new[0].en, new[0].vi
                lexicon = lexicon.with_noun(
                    noun, en=en.noun, en_plural=en.plural, vi=vi.noun, vi_classifier=vi.classifier
                )
        return lexicon

    def assets(self, noun: str) -> tuple[str, ...]:
        """Raises SpatialError("unknown_asset") for a noun that nothing here is."""
        found = tuple(asset.id for asset in self._assets.values() if asset.noun == noun)
        return found + self._procedural.assets(noun) if noun in BUILDERS or not found else found

    def mesh(self, asset: str) -> Mesh:
        """Raises SpatialError "unknown_asset", "missing_asset" or "corrupt_asset"."""
        if asset not in self._assets:
            return self._procedural.mesh(asset)
        if asset not in self._meshes:
            entry = self._assets[asset]
            path = self._folder / entry.file
            if not path.is_file():
                raise SpatialError("missing_asset", f"asset {asset!r}: there is no file {path}")
            self._meshes[asset] = normalise(self._load(path), entry)
        return self._meshes[asset]

    def size(self, asset: str) -> Vec3:
        """Full extents, metres. Raises SpatialError("unknown_asset")."""
        return self._assets[asset].size if asset in self._assets else self._procedural.size(asset)

    def fronted(self, asset: str) -> bool:
        """Raises SpatialError("unknown_asset")."""
        return self._assets[asset].has_front if asset in self._assets else self._procedural.fronted(asset)

    def turnable(self, asset: str) -> bool:
        """Raises SpatialError("unknown_asset")."""
        return self._assets[asset].can_turn if asset in self._assets else self._procedural.turnable(asset)

    def licence(self, asset: str) -> str:
        """As the catalogue gives it, else that of the procedural meshes.

        Raises SpatialError("unknown_asset").
        """
        return self._assets[asset].licence if asset in self._assets else self._procedural.licence(asset)


@dataclass(frozen=True, slots=True)
class Found:
    """A catalogue with its files at hand.

    folder: local, with every file of `files`. files: for each asset the names of its file and of those that
    it needs (buffers, materials, textures), relative to the folder.
    """

    assets: tuple[Asset, ...]
    folder: Path
    files: tuple[tuple[str, ...], ...]


def identity(uri: str) -> str:
    """A sha256 over the catalogue's entries and all files that they need: the same wherever they lie.

    Raises SpatialError as `read_catalog` does.
    """
    found = read_catalog(uri)
    digest = hashlib.sha256()
    for asset, names in zip(found.assets, found.files, strict=True):
        digest.update(hashlib.sha256(asset.model_dump_json().encode()).digest())
        for name in names:
            digest.update(hashlib.sha256(name.encode()).digest())
            with (found.folder / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def read_catalog(uri: str) -> Found:
    """A catalogue at a path, or at a URI that pyarrow reads; remote files are copied, each version once.

    Raises SpatialError, one line: "missing_catalog", "bad_catalog", "missing_asset" for a file that is not
    there, "corrupt_asset" for one that does not tell which others it needs.
    """
    remote = "://" in uri
    try:
        files, path = pyarrow.fs.FileSystem.from_uri(uri if remote else str(Path(uri).resolve()))
        with files.open_input_stream(path) as stream:
            text = stream.read()
    except (OSError, ValueError) as error:
        raise SpatialError("missing_catalog", f"asset catalogue {uri}: {_line(error)}") from None
    assets = parse_catalog(text, uri)
    above = PurePosixPath(path).parent
    folder: Folder = RemoteFolder(files, above, uri) if remote else LocalFolder(Path(above))
    names = tuple(_needed(asset, folder) for asset in assets)
    try:
        return Found(assets, folder.local(), names)
    except OSError as error:
        raise SpatialError("missing_asset", f"asset catalogue {uri}: {_line(error)}") from None


def _needed(asset: Asset, folder: Folder) -> tuple[str, ...]:
    try:
        return with_side_files(asset.file, folder)
    except SpatialError as error:
        raise SpatialError(error.reason, f"asset {asset.id!r}: {error}") from None
    except OSError as error:
        raise SpatialError("missing_asset", f"asset {asset.id!r}: {_line(error)}") from None


def parse_catalog(text: str | bytes, name: str = "catalogue") -> tuple[Asset, ...]:
    """Raises SpatialError("bad_catalog"), one line that names the key."""
    try:
        return _File.model_validate(yaml.safe_load(text) or {}).assets
    except yaml.YAMLError as error:
        raise SpatialError("bad_catalog", f"{name}: not YAML: {_line(error)}") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "assets"
        raise SpatialError(
            "bad_catalog", f"{name}: {key}: {first['msg'].removeprefix('Value error, ')}"
        ) from None


def normalise(raw: RawMesh, asset: Asset) -> Mesh:
    """A file's mesh in the unit box: z up, front towards -y, painted materials as role "body".

    Raises SpatialError("corrupt_asset") for a mesh that is flat, not finite, or too large.
    """
    what = f"asset {asset.id!r} ({asset.file})"
    if len(raw.triangles) > MAX_TRIANGLES:
        raise SpatialError(
            "corrupt_asset", f"{what}: {len(raw.triangles)} triangles, at most {MAX_TRIANGLES} are allowed"
        )
    if not np.isfinite(raw.vertices).all():
        raise SpatialError("corrupt_asset", f"{what}: some coordinates are not finite")
    used = np.unique(raw.triangles)
    points = raw.vertices.astype(np.float64) @ _upright(asset).T
    low, high = points[used].min(axis=0), points[used].max(axis=0)
    if (high - low).min() < 1e-9:
        raise SpatialError("corrupt_asset", f"{what}: it has no thickness along x, y or z")
    unit = np.clip((points - low) / (high - low), 0, 1) - np.array([0.5, 0.5, 0.0])
    names = {name for name, _ in raw.materials}
    absent = [name for name in asset.painted if name not in names]
    if absent:
        raise SpatialError(
            "corrupt_asset", f"{what}: no material {absent[0]!r} to paint: it has {', '.join(sorted(names))}"
        )
    wanted = ["body" if name in asset.painted else role for name, role in raw.materials]
    roles = tuple(dict.fromkeys(wanted))
    index = np.array([roles.index(role) for role in wanted], np.uint8)
    return Mesh(
        vertices=unit.astype(np.float32),
        triangles=raw.triangles.astype(np.int32),
        parts=index[raw.parts],
        roles=roles,
        smooth=raw.smooth.astype(np.bool_),
    )


def _upright(asset: Asset) -> Floats:
    """The rotation, (3, 3), from the file's axes to ours: rows are our x (right), y (back), z (up) in the
    file's."""
    up, back = _axis(asset.up), -_axis(asset.front)
    return np.stack([np.cross(back, up), back, up])


def _axis(name: Axis) -> Floats:
    direction = np.zeros(3)
    direction["xyz".index(name[-1])] = -1.0 if name.startswith("-") else 1.0
    return direction


def _line(error: Exception) -> str:
    """An error as one line."""
    return " ".join(str(error).split()) or type(error).__name__
