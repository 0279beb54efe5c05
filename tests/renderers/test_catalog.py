"""Catalogues of assets: what belongs to a file, copies from other storage, and what entries say of turns."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path, PurePosixPath

import pyarrow.fs
import pytest

from renderers.catalog import Catalog, identity, parse_catalog, read_catalog
from renderers.fetch import RemoteFolder
from renderers.shapes import ProceduralShapes
from spatial.scene import SpatialError
from tests.renderers.test_worker import OBJ, entry, glb
from tests.s3_server import S3Server

WORDS = {"en": {"noun": "stool", "plural": "stools"}, "vi": {"noun": "ghế đẩu", "classifier": "cái"}}
MTL = r"""newmtl Paint
map_Kd -s 1 1 1 -o 0 0 -bm 0.5 textures/old wood.png
  map_Bump textures\bumps.png
newmtl Steel
Kd 0 0 1
"""
Write = Callable[..., str]


def lay(folder: Path, file: str, files: dict[str, str | bytes]) -> Path:
    """Writes files, and beside them a catalogue of one asset; returns the catalogue's path."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    folder.mkdir(exist_ok=True)
    (folder / "assets.yaml").write_text(entry(file=file))
    return folder / "assets.yaml"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where copies of remote files come to lie."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path / "tmp"


@pytest.fixture(params=["local", "remote"])
def write(request: pytest.FixtureRequest, tmp_path: Path, cache: Path) -> Write:
    """As `lay`, named by its path or by a URI."""

    def written(file: str, files: dict[str, str | bytes], folder: str = "catalogue") -> str:
        path = lay(tmp_path / folder, file, files)
        return path.as_uri() if request.param == "remote" else str(path)

    return written


def gltf(*uris: str) -> str:
    buffers, images = [{"uri": uri} for uri in uris[:1]], [{"uri": uri} for uri in uris[1:]]
    return json.dumps(
        {"asset": {"version": "2.0"}, "buffers": buffers, "images": [*images, {"bufferView": 0}]}
    )


def block() -> dict[str, str | bytes]:
    return {
        "m/block.obj": OBJ, "m/block.mtl": MTL, "m/textures/old wood.png": b"wood",
        "m/textures/bumps.png": b"bumps", "m/other.png": b"nobody needs it",
    }  # fmt: skip


# -- what belongs to a file --------------------------------------------------------------------------


def test_files_named_by_obj_and_mtl_come_along_and_nothing_else(write: Write) -> None:
    found = read_catalog(write("m/block.obj", block()))
    names = {"m/block.obj", "m/block.mtl", "m/textures/old wood.png", "m/textures/bumps.png"}
    assert set(found.files[0]) == names and all((found.folder / name).is_file() for name in names)
    assert (found.folder / "m/textures/old wood.png").read_bytes() == b"wood"


def test_an_mtl_of_the_same_name_counts_unnamed_as_blender_reads_it(write: Write) -> None:
    files = {"m/block.obj": OBJ.partition("\n")[2], "m/block.mtl": "newmtl Paint\nKd 1 0 0\n"}
    assert read_catalog(write("m/block.obj", files)).files == (("m/block.obj", "m/block.mtl"),)
    alone = write("m/block.obj", {"m/block.obj": files["m/block.obj"]}, folder="alone")
    assert read_catalog(alone).files == (("m/block.obj",),)


def test_buffers_and_images_of_gltf_come_along_and_data_stays_inside(write: Write) -> None:
    text = gltf("block.bin", "data:image/png;base64,AAAA", "images/old%20wood.png")
    files = {"m/block.gltf": text, "m/block.bin": b"1", "m/images/old wood.png": b"2"}
    assert read_catalog(write("m/block.gltf", files)).files == (
        ("m/block.gltf", "m/block.bin", "m/images/old wood.png"),
    )


def test_binary_gltf_may_have_textures_outside(write: Write) -> None:
    cube = ProceduralShapes().mesh("cube")
    plain = glb(cube.vertices, cube.triangles)
    assert read_catalog(write("a.glb", {"a.glb": plain})).files == (("a.glb",),)
    length = int.from_bytes(plain[12:16], "little")
    about = json.loads(plain[20 : 20 + length]) | {"images": [{"uri": "wood.png"}]}
    text = json.dumps(about).encode()
    outside = plain[:12] + len(text).to_bytes(4, "little") + plain[16:20] + text + plain[20 + length :]
    with pytest.raises(SpatialError, match=r"wood\.png, which b\.glb needs"):
        read_catalog(write("b.glb", {"b.glb": outside}))


@pytest.mark.parametrize(
    ("file", "content", "absent"),
    [
        ("m/a.gltf", gltf("a.bin"), "m/a.bin, which m/a.gltf needs"),
        ("m/a.obj", "mtllib b.mtl\nv 0 0 0\n", "m/b.mtl, which m/a.obj needs"),
        ("m/a.obj", "mtllib \\\nb.mtl\n", "m/b.mtl, which m/a.obj needs"),
        ("m/a.obj", None, "m/a.obj"),
    ],
)
def test_a_missing_file_is_one_line_that_says_who_needs_it(
    write: Write, file: str, content: str | None, absent: str
) -> None:
    uri = write(file, {file: content} if content else {})
    with pytest.raises(SpatialError, match=f"asset 'block': there is no file .*/{absent}$") as error:
        Catalog.open(uri, lambda path: pytest.fail(f"read {path}"))
    assert error.value.reason == "missing_asset" and "\n" not in str(error.value)
    with pytest.raises(SpatialError, match=absent):
        identity(uri)


def test_a_missing_texture_of_an_mtl_is_named(write: Write) -> None:
    files = block()
    del files["m/textures/bumps.png"]
    with pytest.raises(SpatialError, match=r"m/textures/bumps\.png, which m/block\.mtl needs"):
        read_catalog(write("m/block.obj", files))


@pytest.mark.parametrize(
    "outside",
    ["../a.bin", "x/../a.bin", "/etc/hostname", "%2e%2e/a.bin", "https://example.org/a.bin", "C:/a.bin"],
)
def test_side_files_outside_the_folder_are_refused(write: Write, tmp_path: Path, outside: str) -> None:
    (tmp_path / "catalogue" / "x").mkdir(parents=True)
    (tmp_path / "catalogue" / "a.bin").write_bytes(b"there")
    with pytest.raises(SpatialError, match=r"m/a\.gltf names .* beside or below") as error:
        read_catalog(write("m/a.gltf", {"m/a.gltf": gltf(outside)}))
    assert error.value.reason == "corrupt_asset"
    with pytest.raises(SpatialError, match=r"m/b\.mtl names .* beside or below"):
        read_catalog(
            write("m/b.obj", {"m/b.obj": "v 0 0 0\n", "m/b.mtl": f"map_Kd {outside.replace('%2e', '.')}\n"})
        )


@pytest.mark.parametrize("name", ["bad.gltf", "bad.glb"])
@pytest.mark.parametrize("content", [b"", b"nonsense", b'{"buffers": 3}', b"glTF\1\0\0\0" + bytes(12)])
def test_what_is_not_gltf_is_said_in_one_line(write: Write, name: str, content: bytes) -> None:
    with pytest.raises(SpatialError, match=rf"asset 'block': {name} is not") as error:
        read_catalog(write(name, {name: content}))
    assert error.value.reason == "corrupt_asset" and "\n" not in str(error.value)


# -- who it is ---------------------------------------------------------------------------------------


def test_a_catalogue_is_known_by_all_its_files_content_and_not_by_its_place(
    write: Write, tmp_path: Path
) -> None:
    here, there = (write("m/block.obj", block(), folder) for folder in ("here", "there"))
    known = identity(here)
    assert known == identity(there) == identity(str(tmp_path / "here" / "assets.yaml"))
    for name in ("m/block.obj", "m/block.mtl", "m/textures/old wood.png"):
        path = tmp_path / "there" / name
        content = path.read_bytes()
        path.write_bytes(content + b"\n#")
        assert identity(there) != known
        path.write_bytes(content)
    (tmp_path / "there" / "m/other.png").write_bytes(b"changed")
    assert identity(there) == known


# -- copies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m/block.obj", "m/block.mtl", "m/textures/bumps.png"])
def test_a_file_replaced_under_the_same_catalogue_is_fetched_anew(
    tmp_path: Path, cache: Path, name: str
) -> None:
    above = tmp_path / "catalogue"
    uri = lay(above, "m/block.obj", block()).as_uri()
    before, known = read_catalog(uri), identity(uri)
    old = (before.folder / name).read_bytes()
    new = old[:-1] + b"#"  # of the same size: only the time tells
    (above / name).write_bytes(new)
    os.utime(above / name, ns=(1, 1))
    after = read_catalog(uri)
    assert (after.folder / name).read_bytes() == new and identity(uri) != known
    # A process that opened the old version goes on with it.
    assert (before.folder / name).read_bytes() == old


def test_an_unchanged_file_is_not_fetched_twice(tmp_path: Path, cache: Path) -> None:
    uri = lay(tmp_path / "catalogue", "m/block.obj", block()).as_uri()
    first = read_catalog(uri)
    copies = {path: path.stat().st_ino for path in cache.rglob("*") if path.is_file()}
    assert read_catalog(uri) == first
    assert copies == {path: path.stat().st_ino for path in cache.rglob("*") if path.is_file()}


def test_copies_that_a_clean_up_took_are_made_again(tmp_path: Path, cache: Path) -> None:
    uri = lay(tmp_path / "catalogue", "m/block.obj", block()).as_uri()
    found = read_catalog(uri)
    (found.folder / "m/block.mtl").unlink()
    assert (read_catalog(uri).folder / "m/block.mtl").read_text() == MTL
    shutil.rmtree(found.folder.parent)
    assert (read_catalog(uri).folder / "m/block.mtl").read_text() == MTL


def test_two_versions_of_one_second_and_one_size_differ_on_an_object_store(s3: S3Server, cache: Path) -> None:
    prefix = uuid.uuid4().hex
    uri = s3.uri(f"{prefix}/assets.yaml")
    storage, path = pyarrow.fs.FileSystem.from_uri(uri)
    folder = PurePosixPath(path).parent

    def put(name: str, content: str) -> None:
        with storage.open_output_stream(str(folder / name)) as stream:
            stream.write(content.encode())

    put("assets.yaml", entry())
    put("block.mtl", "newmtl Paint\n")
    seen = set()
    for digit in "1234":
        put("block.obj", OBJ.replace("v 1 3 2", f"v 1 3 {digit}"))
        found = read_catalog(uri)
        assert f"v 1 3 {digit}" in (found.folder / "block.obj").read_text()
        seen.add(identity(uri))
    assert len(seen) == 4
    with pytest.raises(SpatialError, match=rf"there is no file s3://.*{prefix}/none\.obj"):
        put("assets.yaml", entry(file="none.obj"))
        read_catalog(uri)


def test_a_copy_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    class Breaking:
        """A file system whose streams end too early."""

        def __init__(self) -> None:
            self.files = pyarrow.fs.LocalFileSystem()

        def get_file_info(self, path: str) -> pyarrow.fs.FileInfo:
            real = self.files.get_file_info(path)
            return pyarrow.fs.FileInfo(path, real.type, mtime_ns=real.mtime_ns, size=real.size + 1)

        def open_input_stream(self, path: str) -> pyarrow.NativeFile:
            return self.files.open_input_stream(path)

    (tmp_path / "a.obj").write_text("v 0 0 0\n")
    folder = RemoteFolder(Breaking(), PurePosixPath(tmp_path), "x://y/z.yaml", cache=tmp_path / "copies")
    with pytest.raises(OSError, match="changed while it was copied"):
        folder.find("a.obj")
    assert list((tmp_path / "copies").iterdir()) == []


def test_storage_that_tells_no_time_is_read_each_time(tmp_path: Path) -> None:
    class Timeless:
        """A file system that does not say when a file was written."""

        def __init__(self) -> None:
            self.files = pyarrow.fs.LocalFileSystem()

        def get_file_info(self, path: str) -> pyarrow.fs.FileInfo:
            real = self.files.get_file_info(path)
            return pyarrow.fs.FileInfo(path, real.type, size=real.size)

        def open_input_stream(self, path: str) -> pyarrow.NativeFile:
            return self.files.open_input_stream(path)

    def copy(content: str) -> Path | None:
        (tmp_path / "a.obj").write_text(content)
        return RemoteFolder(
            Timeless(), PurePosixPath(tmp_path), "x://y/z.yaml", cache=tmp_path / "copies"
        ).find("a.obj")

    first, second, again = copy("v 0 0 0\n"), copy("v 1 0 0\n"), copy("v 0 0 0\n")
    assert first is not None and first == again != second
    assert first.read_text() == "v 0 0 0\n"


def test_several_processes_fetch_one_catalogue_at_once(tmp_path: Path, cache: Path) -> None:
    large: dict[str, str | bytes] = {"m/block.obj": OBJ + "v 1 1 1\n" * 1_000_000}
    uri = lay(tmp_path / "catalogue", "m/block.obj", block() | large).as_uri()
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        found = set(pool.map(identity, [uri] * 8))
    assert found == {identity(uri)}
    assert not list(cache.rglob("*.part"))


# -- fronts and turns --------------------------------------------------------------------------------


def shapes(**changes: object) -> Catalog:
    return Catalog(parse_catalog(entry(**changes)), Path("nowhere"), lambda path: pytest.fail(f"read {path}"))


@pytest.mark.parametrize(
    ("changes", "fronted", "turnable"),
    [
        ({}, False, False),  # a cube
        ({"noun": "chair"}, True, True),
        ({"noun": "mug"}, False, True),
        ({"noun": "stool", "words": WORDS}, False, False),
        ({"noun": "stool", "words": WORDS, "fronted": True}, True, True),
        ({"noun": "stool", "words": WORDS, "turnable": True}, False, True),
        ({"noun": "chair", "fronted": False}, False, True),
        ({"noun": "chair", "fronted": False, "turnable": False}, False, False),
        ({"noun": "mug", "turnable": False}, False, False),
    ],
)
def test_an_entry_says_whether_it_has_a_front_and_looks_different_turned(
    changes: dict[str, object], fronted: bool, turnable: bool
) -> None:
    catalog = shapes(**changes)
    assert (catalog.fronted("block"), catalog.turnable("block")) == (fronted, turnable)
    # What it says is of this asset alone.
    assert catalog.fronted("chair") and catalog.turnable("mug") and not catalog.turnable("ball")


def test_fronted_yet_not_turnable_is_refused() -> None:
    for changes in ({"fronted": True, "turnable": False}, {"noun": "chair", "turnable": False}):
        with pytest.raises(SpatialError, match="what has a front looks different when turned"):
            parse_catalog(entry(**changes))


def test_fronts_of_unknown_assets_are_not_made_up() -> None:
    for ask in (shapes().fronted, shapes().turnable):
        with pytest.raises(SpatialError, match="unicorn") as error:
            ask("unicorn")
        assert error.value.reason == "unknown_asset"
