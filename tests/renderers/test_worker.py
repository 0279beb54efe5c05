"""The Blender process' life: crashes, hangs, recycling, orphans, a start that fails; and files read in it."""

from __future__ import annotations

import io
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from renderers import wire
from renderers.catalog import Catalog, parse_catalog
from renderers.shapes import ProceduralShapes
from renderers.worker import BlenderCrashed, BlenderUnavailable, BlenderWorker, RenderSettings
from spatial.lexicon import Lexicon
from spatial.scene import Pose, SceneObject, SpatialError
from tests.renderers.scenes import camera, scene, thing

SMALL = scene(thing("a", "cube", 0, 0), view=camera(32, 32))
TINY = RenderSettings(samples=1, denoise=False)
ENTRY = {
    "id": "block", "noun": "cube", "file": "block.obj", "licence": "CC0-1.0", "size": [1.0, 2.0, 3.0],
    "up": "y", "front": "z", "painted": ["Paint"],
}  # fmt: skip
OBJ = """mtllib block.mtl
v 0 0 0\nv 1 0 0\nv 1 3 0\nv 0 3 0\nv 0 0 2\nv 1 0 2\nv 1 3 2\nv 0 3 2
usemtl Paint
f 1 4 3 2\nf 5 6 7 8\nf 1 2 6 5
usemtl Steel
f 4 8 7 3\nf 1 5 8 4\nf 2 3 7 6
"""


def entry(**changes: object) -> str:
    return json.dumps({"assets": [{**ENTRY, **changes}]})


def glb(corners: np.ndarray, triangles: np.ndarray) -> bytes:
    """A binary glTF file of one mesh."""
    points, index = corners.astype("<f4").tobytes(), triangles.astype("<u4").tobytes()
    about = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": len(corners), "type": "VEC3",
             "min": corners.min(axis=0).tolist(), "max": corners.max(axis=0).tolist()},
            {"bufferView": 1, "componentType": 5125, "count": triangles.size, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": len(points)},
            {"buffer": 0, "byteOffset": len(points), "byteLength": len(index)},
        ],
        "buffers": [{"byteLength": len(points) + len(index)}],
    }  # fmt: skip
    text = json.dumps(about).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<II", len(text), 0x4E4F534A) + text
    body += struct.pack("<II", len(points) + len(index), 0x004E4942) + points + index
    return struct.pack("<III", 0x46546C67, 2, 12 + len(body)) + body


def test_a_killed_process_is_reported_and_the_next_call_starts_another() -> None:
    with BlenderWorker(TINY) as worker:
        worker.prepare(SMALL, SMALL)
        first = worker.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        with pytest.raises(BlenderCrashed, match="exit status -9"):
            worker.render()
        with pytest.raises(BlenderCrashed, match="prepare"):
            worker.render()
        assert worker.prepare(SMALL, SMALL)[0].visible(0).any()
        assert worker.render()[0].shape == (32, 32, 3)
        assert worker.pid != first and worker.restarts == 1
        assert worker.scenes == 2 and worker.cycles_seconds > 0


def test_neither_a_killed_process_nor_a_closed_one_leaves_files_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers are replaced for days: what each leaves would fill the disk."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with BlenderWorker(TINY) as worker:
        worker.prepare(SMALL, SMALL)
        assert worker.pid is not None and any(tmp_path.iterdir())
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(BlenderCrashed):
            worker.render()
        assert not any(tmp_path.iterdir())
        worker.prepare(SMALL, SMALL)
    assert not any(tmp_path.iterdir())


def test_a_hung_process_is_ended_after_the_timeout() -> None:
    with BlenderWorker(TINY) as worker:
        worker.prepare(SMALL, SMALL)
        pid = worker.pid
        assert pid is not None
        worker.timeout_s = 0.3
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(BlenderCrashed, match="no answer to 'render'"):
            worker.render()
        assert not psutil.pid_exists(pid)


def test_a_process_is_replaced_between_scenes_after_enough_of_them_or_when_too_large() -> None:
    with BlenderWorker(TINY, max_scenes=2) as worker:
        pids = []
        for _ in range(3):
            worker.prepare(SMALL, SMALL)
            pids.append(worker.pid)
        assert pids[0] == pids[1] != pids[2] and worker.restarts == 1
        worker.max_scenes, worker.max_memory_mb = 100, 1
        worker.prepare(SMALL, SMALL)
        assert worker.pid != pids[2]
        last = worker.pid
    assert last is not None and not psutil.pid_exists(last)


def test_a_killed_parent_leaves_no_orphan() -> None:
    code = (
        "import time\n"
        "from renderers.worker import BlenderWorker\n"
        "from tests.renderers.test_worker import SMALL, TINY\n"
        "worker = BlenderWorker(TINY)\n"
        "worker.prepare(SMALL, SMALL)\n"
        "print(worker.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    child.wait(timeout=30)


def test_a_start_that_fails_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bpy.py").write_text("raise ModuleNotFoundError(\"No module named 'bpy'\", name='bpy')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with BlenderWorker(TINY) as worker, pytest.raises(BlenderUnavailable, match="extra 'blender'"):
        worker.prepare(SMALL, SMALL)
    library = "libXi.so.6: cannot open shared object file: No such file or directory"
    (tmp_path / "bpy.py").write_text(f"raise ImportError({library!r})\n")
    with (
        BlenderWorker(TINY) as worker,
        pytest.raises(BlenderUnavailable, match=r"libXi\.so\.6: sudo apt-get"),
    ):
        worker.prepare(SMALL, SMALL)


def test_a_card_that_is_not_there_is_said_at_the_start() -> None:
    settings = RenderSettings(device="optix")
    with BlenderWorker(settings) as worker:
        try:
            worker.prepare(SMALL, SMALL)
        except BlenderUnavailable as error:
            assert "use 'cpu' or 'auto'" in str(error)


def test_an_obj_file_is_turned_upright_painted_and_rendered(blender: BlenderWorker, tmp_path: Path) -> None:
    (tmp_path / "block.obj").write_text(OBJ)
    (tmp_path / "block.mtl").write_text("newmtl Paint\nKd 1 0 0\nnewmtl Steel\nKd 0 0 1\n")
    catalogue = tmp_path / "assets.yaml"
    catalogue.write_text(entry())
    catalog = Catalog.open(str(catalogue), blender.load_mesh)
    mesh = catalog.mesh("block")
    assert mesh.roles[0] == "body" and mesh.roles[1].startswith("own:#0000ff")
    assert len(mesh.triangles) == 12
    # The file's top (y = 3, "Steel") is up, and its z = 2 side ("Paint") is the front.
    top = mesh.triangles[(mesh.vertices[mesh.triangles][..., 2] == 1.0).all(axis=1)]
    front = (mesh.vertices[mesh.triangles][..., 1] == -0.5).all(axis=1)
    assert len(top) == 2 and (mesh.parts[front] == 0).all()
    a, b, c = (mesh.vertices[top[:, corner]] for corner in range(3))
    assert (np.cross(b - a, c - a)[:, 2] > 0).all()

    worker_shapes, blender.shapes = blender.shapes, catalog
    try:
        state = scene(
            SceneObject("a", "block", "cube", Pose((0.0, 0.0, 0.0), size=(0.8, 0.8, 0.8)), "green", "matte"),
            view=camera(48, 48),
        )
        passes, _ = blender.prepare(state, state)
        red, green, _ = np.median(blender.render()[0][passes.visible(0)], axis=0)
        assert green > red
    finally:
        blender.shapes = worker_shapes


def test_a_glb_and_a_blend_file_load_and_nothing_of_them_stays(
    blender: BlenderWorker, tmp_path: Path
) -> None:
    cube = ProceduralShapes().mesh("cube")
    path = tmp_path / "cube.glb"
    path.write_bytes(glb(cube.vertices, cube.triangles))
    raw, again = blender.load_mesh(path), blender.load_mesh(path)
    assert len(raw.triangles) == len(cube.triangles) == len(again.triangles)
    assert np.ptp(raw.vertices, axis=0) == pytest.approx([1, 1, 1], abs=1e-5)

    blend = tmp_path / "saved.blend"
    script = (
        "import bpy, sys\n"
        "bpy.ops.wm.read_factory_settings(use_empty=True)\n"
        "bpy.ops.mesh.primitive_cube_add(size=2, location=(0, 0, 1))\n"
        "text = bpy.data.texts.new('run.py')\n"
        "text.write(\"open(__import__('os').environ['MARK'], 'w')\")\n"
        "text.use_module = True\n"
        "bpy.ops.wm.save_as_mainfile(filepath=sys.argv[1])\n"
    )
    mark = tmp_path / "script_ran"
    subprocess.run([sys.executable, "-c", script, str(blend)], check=True, capture_output=True)
    os.environ["MARK"] = str(mark)
    raw = blender.load_mesh(blend)
    assert len(raw.triangles) == 12 and not mark.exists()
    assert raw.vertices[:, 2].min() == pytest.approx(0) and raw.vertices[:, 2].max() == pytest.approx(2)


def test_corrupt_and_absent_files_are_one_clear_line(blender: BlenderWorker, tmp_path: Path) -> None:
    for name, content in (
        ("bad.glb", b"glTF nonsense"),
        ("bad.blend", b"BLENDERnonsense"),
        ("bad.obj", b"v 1 2"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SpatialError, match=name) as error:
            blender.load_mesh(tmp_path / name)
        assert error.value.reason == "corrupt_asset" and "\n" not in str(error.value)
    with pytest.raises(SpatialError, match="no such file") as error:
        blender.load_mesh(tmp_path / "absent.glb")
    assert error.value.reason == "missing_asset"
    assert blender.prepare(SMALL, SMALL)[0].visible(0).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"licence": ""}, r"assets\.0\.licence"),
        ({"colour": "red"}, r"assets\.0\.colour"),
        ({"size": [1, 0, 1]}, r"assets\.0\.size\.1"),
        ({"file": "block.stl"}, r"assets\.0\.file: must end in one of \.glb"),
        ({"file": "../block.obj"}, r"assets\.0\.file: .*\.\."),
        ({"up": "z", "front": "-z"}, "lie on one axis"),
        ({"noun": "stool"}, "'stool' is new: give its words"),
        ({"id": "teapot"}, "'teapot' is used twice, or is that of a procedural shape"),
    ],
)
def test_a_wrong_catalogue_is_one_line_that_names_the_key(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SpatialError, match=message) as error:
        parse_catalog(entry(**changes))
    assert error.value.reason == "bad_catalog" and "\n" not in str(error.value)


def test_a_catalogue_adds_nouns_words_sizes_and_licences(tmp_path: Path) -> None:
    words = {"en": {"noun": "stool", "plural": "stools"}, "vi": {"noun": "ghế đẩu", "classifier": "cái"}}
    assets = parse_catalog(entry(noun="stool", words=words))
    catalog = Catalog(assets, tmp_path, lambda path: pytest.fail(f"read {path}"))
    assert catalog.assets("stool") == ("block",) and "stool" in catalog.nouns
    assert catalog.assets("teapot") == ("teapot",)
    assert catalog.size("block") == (1.0, 2.0, 3.0) and catalog.licence("block") == "CC0-1.0"
    assert catalog.licence("teapot") == "Apache-2.0"
    assert catalog.lexicon(Lexicon.default()).noun("stool", "vi")
    with pytest.raises(SpatialError, match=r"block\.obj") as error:
        catalog.mesh("block")
    assert error.value.reason == "missing_asset"
    with pytest.raises(SpatialError, match="unicorn"):
        catalog.mesh("unicorn")


def test_a_catalogue_that_is_not_there_or_not_yaml_says_so(tmp_path: Path) -> None:
    with pytest.raises(SpatialError, match=r"nothing\.yaml") as error:
        Catalog.open(str(tmp_path / "nothing.yaml"), lambda path: pytest.fail(f"read {path}"))
    assert error.value.reason == "missing_catalog"
    (tmp_path / "broken.yaml").write_text("assets: [")
    with pytest.raises(SpatialError, match="not YAML"):
        Catalog.open(str(tmp_path / "broken.yaml"), lambda path: pytest.fail(f"read {path}"))


def test_frames_carry_arrays_exactly_and_noise_is_refused() -> None:
    stream = io.BytesIO()
    arrays = {"a": np.arange(6, dtype=np.int16).reshape(2, 3), "b": np.array([np.inf, -0.0], np.float32)}
    wire.write(stream, {"text": "quả bóng"}, arrays)
    wire.write(stream, {}, {})
    stream.seek(0)
    header, back = wire.read(stream.read) or ({}, {})
    assert header == {"text": "quả bóng"}
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype and np.array_equal(back[name], array)
    assert wire.read(stream.read) == ({}, {}) and wire.read(stream.read) is None
    with pytest.raises(wire.WireError, match="not a frame"):
        wire.read(io.BytesIO(b"Blender says hello to everyone").read)
    with pytest.raises(wire.WireError, match="inside a frame"):
        wire.read(io.BytesIO(stream.getvalue()[:20]).read)
    with pytest.raises(ValueError, match="pickle"):
        wire.write(io.BytesIO(), {}, {"object": np.array([{}])})


def test_one_thread_takes_one_core_but_any() -> None:
    with BlenderWorker(replace(TINY, threads=1, samples=64)) as worker:
        worker.prepare(SMALL, SMALL)
        worker.render()  # kernels are loaded
        assert worker.pid is not None
        for thread in psutil.Process(worker.pid).threads():
            assert os.sched_getaffinity(thread.id) == os.sched_getaffinity(0)
        before, began = sum(psutil.Process(worker.pid).cpu_times()[:2]), time.monotonic()
        for _ in range(6):
            worker.prepare(SMALL, SMALL)
            worker.render()
        spent = sum(psutil.Process(worker.pid).cpu_times()[:2]) - before
        assert spent < 1.3 * (time.monotonic() - began)  # idle threads that spin make it two


def test_waiting_for_an_answer_does_not_eat_the_processor() -> None:
    with BlenderWorker(TINY) as worker:
        worker.prepare(SMALL, SMALL)
        assert worker.pid is not None
        before = sum(psutil.Process(worker.pid).cpu_times()[:2])
        time.sleep(0.5)
        assert sum(psutil.Process(worker.pid).cpu_times()[:2]) - before < 0.3
