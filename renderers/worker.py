"""The client of a Blender process: scenes go in, masks and pictures come out.

Blender leaks a little with every scene and a scene may bring it down, so it never lives in the caller's
process, and is replaced in time.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Literal, Self, cast

import numpy as np
import psutil
from numpy.typing import NDArray
from pydantic import TypeAdapter

from renderers import wire
from renderers.passes import Passes
from renderers.raw import RawMesh
from renderers.shapes import ProceduralShapes
from spatial.scene import Camera, Scene, Shapes, SpatialError

Picture = NDArray[np.uint8]  # (h, w, 3), sRGB

SYSTEM_LIBRARIES = "libxrender1 libxi6 libxkbcommon0 libsm6 libice6 libgl1 libegl1 libxxf86vm1 libxfixes3"


class BlenderCrashed(RuntimeError):
    """The Blender process ended or hung. The next call starts a fresh one: try the scene once more."""


class BlenderUnavailable(RuntimeError):
    """Blender cannot be started here; the message says what to install."""


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """samples: paths per pixel. threads: 0 uses every core. seed: of the noise, the same for before and
    after.

    device: "auto" takes OptiX, then CUDA, then the CPU. engine "eevee" needs a GPU.
    """

    engine: Literal["cycles", "eevee"] = "cycles"
    device: Literal["cpu", "cuda", "optix", "auto"] = "cpu"
    samples: int = 16
    denoise: bool = True
    threads: int = 0
    seed: int = 0


class BlenderWorker:
    """A Blender process, started at the first call; use as a context manager, or `close()` it.

    max_scenes, max_memory_mb: between scenes the process is replaced after so many, or above so much resident
    memory. timeout_s: a request that takes longer counts as a hang. shapes: where the assets' meshes come
    from.
    cycles_seconds: time spent inside Blender's render call. restarts: processes started after the first.
    scenes: pairs prepared. device: what Blender renders on, "CPU" or "GPU"; "" before it was started.
    """

    def __init__(
        self,
        settings: RenderSettings,
        *,
        max_scenes: int = 200,
        max_memory_mb: int = 4096,
        timeout_s: float = 300,
        shapes: Shapes | None = None,
    ) -> None:
        self.settings = settings
        self.max_scenes = max_scenes
        self.max_memory_mb = max_memory_mb
        self.timeout_s = timeout_s
        self.shapes: Shapes = shapes or ProceduralShapes()
        self.cycles_seconds = 0.0
        self.restarts = 0
        self.scenes = 0
        self.device = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._answers = -1
        self._log: IO[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._started = 0
        self._since_start = 0
        self._sent: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The Blender process, while one is up."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the process now rather than at the first call. Raises BlenderUnavailable."""
        self._start()

    def prepare(self, before: Scene, after: Scene) -> tuple[Passes, Passes]:
        """Build both states and cast rays at them: masks, depth and cameras, without any render time.

        Raises SpatialError for a scene that cannot be built, BlenderCrashed, BlenderUnavailable.
        """
        self._recycle()
        assets = {thing.asset for scene in (before, after) for thing in scene.objects}
        meshes = {
            asset: self.shapes.mesh(asset) for asset in sorted(assets)
        }  # may itself ask Blender for a file
        self._start()
        new = [asset for asset in meshes if asset not in self._sent]
        arrays: wire.Arrays = {
            f"{number}.{name}": getattr(meshes[asset], name)
            for number, asset in enumerate(new)
            for name in ("vertices", "triangles", "parts", "smooth")
        }
        header = {
            "op": "prepare",
            "before": before.to_json(),
            "after": after.to_json(),
            "meshes": [{"asset": asset, "roles": meshes[asset].roles} for asset in new],
        }
        self.scenes += 1
        self._since_start += 1
        cameras, answer = self._ask(header, arrays)
        self._sent.update(new)
        return _passes(cameras, answer, "before"), _passes(cameras, answer, "after")

    def render(self) -> tuple[Picture, Picture]:
        """Pictures of the pair prepared last, (h, w, 3) uint8 sRGB. Raises BlenderCrashed, SpatialError."""
        if self._process is None:
            raise BlenderCrashed("no Blender process holds a prepared pair: call prepare() first")
        header, answer = self._ask({"op": "render"}, {})
        self.cycles_seconds += header["seconds"]
        return answer["before"], answer["after"]

    def load_mesh(self, path: Path) -> RawMesh:
        """The meshes of a .glb, .gltf, .obj or .blend file as one; scripts in it never run.

        Raises SpatialError "missing_asset" or "corrupt_asset".
        """
        if not path.is_file():
            raise SpatialError("missing_asset", f"{path}: there is no such file")
        self._start()
        header, answer = self._ask({"op": "load", "path": str(path.resolve())}, {})
        materials = tuple((str(name), str(role)) for name, role in header["materials"])
        return RawMesh(materials=materials, **answer)

    def close(self) -> None:
        """End the process; its stdin closes and it leaves by itself, or is made to."""
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None and self._log is not None
        try:
            process.stdin.close()
            process.wait(timeout=5)
        except (OSError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
        os.close(self._answers)
        self._log.close()
        if self._folder is not None:
            self._folder.cleanup()

    # -- the process -----------------------------------------------------------------------------

    def _recycle(self) -> None:
        """Between scenes, end a process that has served enough or grown too large."""
        if self._process is None:
            return
        try:
            memory = psutil.Process(self._process.pid).memory_info().rss
        except psutil.NoSuchProcess:
            memory = 0
        if self._since_start >= self.max_scenes or memory > self.max_memory_mb * 2**20:
            self.close()

    def _start(self) -> None:
        if self._process is not None:
            return
        root = str(Path(__file__).resolve().parents[1])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
        self._answers, child_end = os.pipe()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        # Blender's own files go where we clear up after it: a killed process cannot.
        self._folder = tempfile.TemporaryDirectory(prefix="spatialpix-blender-")
        environment["TMPDIR"] = self._folder.name
        if self.settings.threads:
            # The denoiser takes every core whatever Blender is told; workers beside each other then wait for one
            # another inside the kernel.
            environment["OIDN_NUM_THREADS"] = str(self.settings.threads)
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "renderers.blender"),
                *(str(child_end), str(os.getpid()), str(self.settings.threads)),
            ],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            pass_fds=(child_end,),
            env=environment,
        )
        os.close(child_end)
        self.restarts += 1 if self._started else 0
        self._started += 1
        self._since_start = 0
        self._sent = set()
        try:
            header, _ = self._ask({"op": "start", "settings": asdict(self.settings)}, {})
            self.device = str(header["device"])
        except BlenderCrashed as crash:
            raise BlenderUnavailable(_explain(str(crash))) from None
        except SpatialError as error:
            self.close()
            raise BlenderUnavailable(str(error)) from None

    def _ask(self, header: wire.Header, arrays: wire.Arrays) -> tuple[wire.Header, wire.Arrays]:
        assert self._process is not None and self._process.stdin is not None
        requests = cast(BinaryIO, self._process.stdin)
        deadline = time.monotonic() + self.timeout_s
        try:
            wire.write(requests, header, arrays)
            answer = wire.read(lambda count: self._receive(count, deadline))
        except (BrokenPipeError, wire.WireError) as error:
            raise BlenderCrashed(self._bury(str(error))) from None
        except TimeoutError:
            raise BlenderCrashed(
                self._bury(f"no answer to {header['op']!r} in {self.timeout_s:g} s")
            ) from None
        if answer is None:
            raise BlenderCrashed(self._bury(f"it ended while it did {header['op']!r}"))
        if "reason" in answer[0]:
            raise SpatialError(answer[0]["reason"], answer[0]["message"])
        return answer

    def _receive(self, count: int, deadline: float) -> bytes:
        """Exactly `count` bytes, fewer only when the process has closed its end. Raises TimeoutError."""
        chunks, missing = [], count
        while missing:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            chunk = os.read(self._answers, min(missing, 1 << 20))
            if not chunk:
                break
            chunks.append(chunk)
            missing -= len(chunk)
        return b"".join(chunks)

    def _bury(self, why: str) -> str:
        """End what is left of the process; what happened, in one line with the last words that it printed."""
        assert self._process is not None and self._log is not None
        self._process.kill()
        code = self._process.wait()
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 4000))
        words = [line for line in self._log.read().decode(errors="replace").splitlines() if line.strip()]
        self.close()
        return (
            f"the Blender process failed ({why}; exit status {code}): {words[-1] if words else 'no output'}"
        )


def _passes(cameras: wire.Header, answer: wire.Arrays, state: str) -> Passes:
    camera = _camera_adapter().validate_python(cameras[state])
    amodal = np.unpackbits(answer[f"{state}.amodal"], axis=-1, count=camera.width).astype(np.bool_)
    return Passes(answer[f"{state}.ids"], amodal, answer[f"{state}.depth"], camera)


@cache
def _camera_adapter() -> TypeAdapter[Camera]:
    return TypeAdapter(Camera)


def _explain(crash: str) -> str:
    """What to do about a process that did not start."""
    if "No module named 'bpy'" in crash or "No module named 'embreex'" in crash:
        return "Blender's Python module is not installed: install this project's extra 'blender'"
    if "cannot open shared object file" in crash:
        missing = crash.rsplit("ImportError: ", 1)[-1].split(":")[0]
        return f"Blender needs the system library {missing}: sudo apt-get install -y {SYSTEM_LIBRARIES}"
    return crash
