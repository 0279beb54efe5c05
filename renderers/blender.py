# SPDX-License-Identifier: GPL-3.0-or-later
"""The Blender process: builds scenes, casts rays at its own evaluated meshes, renders, reads asset files.

`renderers.worker` runs it as `python -m renderers.blender ANSWERS PARENT THREADS` (see `renderers.serve`). This is
the only module that imports bpy, and no other imports it.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from renderers.cores import few_cores

with few_cores(int(sys.argv[3]) if __name__ == "__main__" else 0):
    import bpy
import embreex  # noqa: F401 - missing, it should be missed at the start
import numpy as np
from mathutils import Matrix, Quaternion, Vector
from PIL import Image

from renderers import looks, shading, wire
from renderers.looks import Surface
from renderers.passes import Passes, Triangles, Vertices, cast
from renderers.raw import RawMesh
from renderers.serve import serve
from renderers.shading import Graph
from spatial.scene import Backdrop, Camera, Light, Scene, SceneObject, SpatialError

_CV_FROM_GL = np.diag([1.0, -1.0, -1.0])  # Blender's camera looks along -z with y up
_SHARP = math.radians(38)  # smooth parts keep edges sharper than this
_SUN_ENERGY = 2.6  # W/m2 at sun_strength 1
_SUN_ANGLE = math.radians(9)  # the width of the sun: soft contact shadows


class Studio:
    """One Blender scene, changed from state to state; meshes, materials and maps are kept between scenes."""

    def __init__(self, settings: dict[str, Any]) -> None:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.context.preferences.filepaths.use_scripts_auto_execute = False
        self.scene = bpy.context.scene
        self.meshes: dict[str, Any] = {}
        self.roles: dict[str, list[str]] = {}
        self.materials: dict[Surface, Any] = {}
        self.things: dict[tuple[object, ...], Any] = {}
        self.states: tuple[Scene, ...] = ()
        self.folder = tempfile.TemporaryDirectory(prefix="spatialpix-")
        self._configure(settings)
        self.scene.camera = self.camera = self._add("camera", bpy.data.cameras.new("camera"))
        self.camera.data.clip_start, self.camera.data.clip_end = 0.01, 500.0
        self.sun = self._add("sun", bpy.data.lights.new("sun", "SUN"))
        self.sun.data.angle = _SUN_ANGLE
        self.floor = self._add("floor", _polygon("floor", 96))
        self.wall = self._add("wall", _polygon("wall", 4))
        self.scene.world = world = bpy.data.worlds.new("world")
        world.use_nodes = True
        world.cycles.sampling_method, world.cycles.sample_map_resolution = "MANUAL", 512
        self.sky = _build(world.node_tree, shading.world_graph())

    def _configure(self, settings: dict[str, Any]) -> None:
        render, cycles = self.scene.render, self.scene.cycles
        if settings["engine"] == "eevee":
            render.engine = "BLENDER_EEVEE_NEXT"
            self.scene.eevee.taa_render_samples = settings["samples"]
        else:
            render.engine = "CYCLES"
        self.device = cycles.device = _choose_device(settings["device"])
        cycles.samples = settings["samples"]
        cycles.use_adaptive_sampling = False  # the same samples at every pixel, before and after
        cycles.use_light_tree = False  # one sun and a map: nothing to choose among
        cycles.use_denoising = settings["denoise"]
        cycles.denoiser, cycles.denoising_prefilter = "OPENIMAGEDENOISE", "FAST"
        cycles.seed = settings["seed"]
        cycles.max_bounces, cycles.transmission_bounces, cycles.transparent_max_bounces = 6, 6, 6
        cycles.diffuse_bounces, cycles.glossy_bounces = 2, 3
        cycles.caustics_reflective = cycles.caustics_refractive = False  # fireflies, at these sample counts
        cycles.sample_clamp_indirect = 4.0
        render.use_persistent_data = True
        if settings["threads"]:
            render.threads_mode, render.threads = "FIXED", settings["threads"]
        render.image_settings.file_format = "PNG"
        render.image_settings.color_mode, render.image_settings.color_depth = "RGB", "8"
        render.image_settings.compression = 0
        render.dither_intensity = 0.0
        self.scene.view_settings.view_transform = "Khronos PBR Neutral"  # keeps named colours saturated

    def _add(self, name: str, data: Any) -> Any:
        thing = bpy.data.objects.new(name, data)
        self.scene.collection.objects.link(thing)
        return thing

    # -- one state -------------------------------------------------------------------------------

    def show(self, state: Scene) -> None:
        """Make Blender's scene this state; what is equal in the state shown before is left untouched."""
        self._show_camera(state.camera)
        self._show_light(state.light)
        self._show_backdrop(state.backdrop)
        shown = {_key(thing): thing for thing in state.objects}
        for key, placed in self.things.items():
            placed.hide_render = placed.hide_viewport = key not in shown
        for key, thing in shown.items():
            self._show_object(key, thing)
        bpy.context.view_layer.update()

    def clear(self) -> None:
        """Forget the objects of the last pair."""
        for placed in self.things.values():
            bpy.data.objects.remove(placed, do_unlink=True)
        self.things = {}

    def _show_object(self, key: tuple[object, ...], thing: SceneObject) -> None:
        placed = self.things.get(key)
        if placed is None:
            if thing.asset not in self.meshes:
                raise SpatialError("missing_asset", f"asset {thing.asset!r} was never sent")
            placed = self.things[key] = self._add(thing.id, self.meshes[thing.asset])
            for slot, role in zip(placed.material_slots, self.roles[thing.asset], strict=True):
                surface = looks.painted(thing.color, thing.material) if role == "body" else looks.fixed(role)
                slot.link = "OBJECT"  # the mesh is shared by all objects of this asset
                slot.material = self.material(surface)
        size = Vector(thing.pose.size)
        # Patterns keep their proportions however the unit box is stretched, and grow with the object.
        placed["extent"] = [edge / max(size) for edge in size]
        if thing.mirrored:
            size.x = -size.x
        placed.matrix_world = Matrix.LocRotScale(
            Vector(thing.pose.position), Quaternion(thing.pose.quaternion).normalized(), size
        )

    def _show_camera(self, camera: Camera) -> None:
        render, lens = self.scene.render, self.camera.data
        render.resolution_x, render.resolution_y = camera.width, camera.height
        # Blender stretches pixels by ratios of at least 1.
        render.pixel_aspect_x = max(1.0, camera.fy / camera.fx)
        render.pixel_aspect_y = max(1.0, camera.fx / camera.fy)
        lens.sensor_fit, lens.sensor_width = "HORIZONTAL", 36.0
        lens.lens = camera.fx * 36.0 / camera.width
        lens.shift_x = (camera.width / 2 - camera.cx) / camera.width
        lens.shift_y = (camera.cy - camera.height / 2) * (camera.fx / camera.fy) / camera.width
        rotation = np.array(camera.rotation)
        world = np.eye(4)
        world[:3, :3] = rotation.T @ _CV_FROM_GL
        world[:3, 3] = -rotation.T @ np.array(camera.translation)
        self.camera.matrix_world = Matrix(world.tolist())

    def _show_light(self, light: Light) -> None:
        if light.environment not in looks.ENVIRONMENTS:
            raise SpatialError("unknown_look", f"no environment {light.environment!r}")
        exposure, sunshine = looks.ENVIRONMENTS[light.environment]
        tint = looks.tint(light.warmth)
        self.sky["map"].image = bpy.data.images.load(
            str(
                Path(bpy.utils.resource_path("LOCAL"))
                / f"datafiles/studiolights/world/{light.environment}.exr"
            ),
            check_existing=True,
        )
        self.sky["turn"].inputs["Rotation"].default_value = (0.0, 0.0, math.radians(light.environment_turn))
        self.sky["turn"].inputs["Scale"].default_value = (
            -1.0 if light.environment_mirrored else 1.0,
            1.0,
            1.0,
        )
        self.sky["tint"].inputs[shading.MIX_B].default_value = (*tint, 1.0)
        self.sky["sky"].inputs["Strength"].default_value = exposure * light.environment_strength
        self.sun.data.energy = _SUN_ENERGY * sunshine * light.sun_strength
        self.sun.data.color = tint
        self.sun.rotation_mode = "QUATERNION"
        self.sun.rotation_quaternion = Vector(light.sun_direction).to_track_quat("Z", "Y")

    def _show_backdrop(self, backdrop: Backdrop) -> None:
        for key, table in ((backdrop.floor, looks.FLOORS), (backdrop.wall, looks.WALLS)):
            if key is not None and key not in table:
                raise SpatialError("unknown_look", f"no floor or wall {key!r}")
        reach, side = backdrop.half_extent, -1.0 if backdrop.mirrored else 1.0
        walled = backdrop.wall is not None
        # A round floor, just large enough, shows the place behind it; a wall needs a floor beyond the frame.
        radius = reach * (8.0 if walled else 1.45)
        self._paint(self.floor, looks.FLOORS[backdrop.floor], radius)
        self.floor.scale = (side * radius, radius, radius)
        self.wall.hide_render = self.wall.hide_viewport = not walled
        if backdrop.wall is not None:
            self._paint(self.wall, looks.WALLS[backdrop.wall], radius)
            self.wall.scale = (side * radius, radius, radius)
            self.wall.rotation_euler = (math.pi / 2, 0.0, 0.0)
            self.wall.location = (0.0, reach, 0.0)

    def _paint(self, thing: Any, surface: Surface, metres: float) -> None:
        material = self.material(surface)
        thing["extent"] = [metres] * 3
        if list(thing.data.materials) != [material]:
            thing.data.materials.clear()
            thing.data.materials.append(material)

    def material(self, surface: Surface) -> Any:
        """The material of a surface, made once."""
        if surface not in self.materials:
            material = self.materials[surface] = bpy.data.materials.new("surface")
            material.use_nodes = True
            material.cycles.emission_sampling = "NONE"  # as lamps, their order varies from render to render
            _build(material.node_tree, shading.surface_graph(surface))
        return self.materials[surface]

    # -- requests --------------------------------------------------------------------------------

    def answer(self, header: wire.Header, arrays: wire.Arrays) -> tuple[wire.Header, wire.Arrays]:
        """Raises SpatialError; whatever else is raised is answered as a fault of this scene."""
        do = {"prepare": self.prepare, "render": self.render, "load": self.load}[header["op"]]
        return do(header, arrays)

    def prepare(self, header: wire.Header, arrays: wire.Arrays) -> tuple[wire.Header, wire.Arrays]:
        for number, entry in enumerate(header["meshes"]):
            fields = {
                name: arrays[f"{number}.{name}"] for name in ("vertices", "triangles", "parts", "smooth")
            }
            self.meshes[entry["asset"]] = _make_mesh(entry["asset"], len(entry["roles"]), **fields)
            self.roles[entry["asset"]] = entry["roles"]
        self.clear()
        self.states = ()
        states = (Scene.from_json(header["before"]), Scene.from_json(header["after"]))
        cameras: wire.Header = {}
        answer: wire.Arrays = {}
        for name, state in zip(("before", "after"), states, strict=True):
            self.show(state)
            passes = self.passes(state)
            cameras[name] = asdict(passes.camera)
            answer[f"{name}.ids"], answer[f"{name}.depth"] = passes.ids, passes.depth
            answer[f"{name}.amodal"] = np.packbits(passes.amodal, axis=-1)
        self.states = states
        return cameras, answer

    def passes(self, state: Scene) -> Passes:
        """Masks and depth of the state now shown, from Blender's evaluated meshes and camera."""
        graph = bpy.context.evaluated_depsgraph_get()
        walls = [self.floor] if self.wall.hide_render else [self.floor, self.wall]
        things = [self.things[_key(thing)] for thing in state.objects]
        return cast(
            [_evaluated(thing, graph) for thing in things],
            [_evaluated(wall, graph) for wall in walls],
            self.camera_seen(graph),
        )

    def camera_seen(self, graph: Any) -> Camera:
        """The camera read back from Blender's own matrices."""
        render = self.scene.render
        width, height = render.resolution_x, render.resolution_y
        camera = self.camera.evaluated_get(graph)
        projection = camera.calc_matrix_camera(
            graph, x=width, y=height, scale_x=render.pixel_aspect_x, scale_y=render.pixel_aspect_y
        )
        world = np.array(camera.matrix_world)
        rotation = (world[:3, :3] @ _CV_FROM_GL).T
        right, down, ahead = map(tuple, rotation.tolist())
        shift = tuple((-rotation @ world[:3, 3]).tolist())
        fx, fy = projection[0][0] * width / 2, projection[1][1] * height / 2
        cx, cy = (1 - projection[0][2]) * width / 2, (1 + projection[1][2]) * height / 2
        return Camera(width, height, fx, fy, cx, cy, (right, down, ahead), shift)

    def render(self, _header: wire.Header, _arrays: wire.Arrays) -> tuple[wire.Header, wire.Arrays]:
        if not self.states:
            raise SpatialError("nothing_prepared", "render() comes after prepare()")
        seconds, pictures = 0.0, []
        for state in self.states:
            self.show(state)
            path = Path(self.folder.name) / "picture.png"
            self.scene.render.filepath = str(path)
            start = time.perf_counter()
            bpy.ops.render.render(write_still=True)
            seconds += time.perf_counter() - start
            with Image.open(path) as picture:
                pictures.append(np.asarray(picture.convert("RGB")))
        return {"seconds": seconds}, {"before": pictures[0], "after": pictures[1]}

    def load(self, header: wire.Header, _arrays: wire.Arrays) -> tuple[wire.Header, wire.Arrays]:
        raw = _load(Path(header["path"]))
        return {"materials": list(raw.materials)}, {
            name: getattr(raw, name) for name in ("vertices", "triangles", "parts", "smooth")
        }


def _key(thing: SceneObject) -> tuple[object, ...]:
    """What a Blender object is made for; its pose may change."""
    return thing.id, thing.asset, thing.color, thing.material


def _choose_device(wanted: str) -> str:
    """Cycles' word for the device, its cards switched on. Raises SpatialError where there is none."""
    if wanted == "cpu":
        return "CPU"
    preferences = bpy.context.preferences.addons["cycles"].preferences
    for kind in ("OPTIX", "CUDA") if wanted == "auto" else (wanted.upper(),):
        try:
            preferences.compute_device_type = kind
        except TypeError:  # this build of Blender does not know the kind
            continue
        preferences.refresh_devices()
        cards = [device for device in preferences.devices if device.type == kind]
        for device in preferences.devices:
            device.use = device.type == kind
        if cards:
            return "GPU"
    if wanted == "auto":
        return "CPU"
    raise SpatialError(
        "no_device", f"render device {wanted!r} asked for, but Blender finds none: use 'cpu' or 'auto'"
    )


def _polygon(name: str, corners: int) -> Any:
    """A flat polygon: the unit disc around the origin, or, with 4 corners, the square |x|, |y| <= 1."""
    stretch = math.sqrt(2) if corners == 4 else 1.0
    angles = (np.arange(corners) + 0.5) * 2 * math.pi / corners
    vertices = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1) * stretch
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices.tolist(), [], [list(range(corners))])
    return mesh


def _make_mesh(
    name: str, roles: int, vertices: Vertices, triangles: Triangles, parts: Any, smooth: Any
) -> Any:
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", vertices.ravel())
    mesh.loops.add(3 * len(triangles))
    mesh.loops.foreach_set("vertex_index", triangles.ravel())
    mesh.polygons.add(len(triangles))
    mesh.polygons.foreach_set("loop_start", np.arange(len(triangles), dtype=np.int32) * 3)
    for _ in range(roles):
        mesh.materials.append(None)
    mesh.polygons.foreach_set("material_index", parts.astype(np.int32))
    mesh.polygons.foreach_set("use_smooth", smooth)
    mesh.update(calc_edges=True)
    mesh.set_sharp_from_angle(angle=_SHARP)
    return mesh


def _evaluated(thing: Any, graph: Any) -> tuple[Vertices, Triangles]:
    """Vertices (V, 3) float32 in the world and triangles (F, 3) int32 of an object as it will be rendered."""
    thing = thing.evaluated_get(graph)
    mesh, world = thing.data, np.array(thing.matrix_world)
    vertices = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", vertices)
    triangles = np.empty(3 * len(mesh.loop_triangles), np.int32)
    mesh.loop_triangles.foreach_get("vertices", triangles)
    placed = vertices.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]
    return placed.astype(np.float32), triangles.reshape(-1, 3)


def _build(tree: Any, graph: Graph) -> dict[str, Any]:
    """Make a node tree what the graph says; its nodes by the graph's names."""
    tree.nodes.clear()
    made = {}
    for name, node in graph.nodes.items():
        made[name] = tree.nodes.new(f"ShaderNode{node.kind}")
        for setting, value in node.settings.items():
            setattr(made[name], setting, value)
        for socket, value in node.inputs.items():
            made[name].inputs[socket].default_value = value
    for (source, out), (target, into) in graph.links:
        tree.links.new(made[source].outputs[out], made[target].inputs[into])
    return made


def _load(path: Path) -> RawMesh:
    """Every mesh of a file as one, in its own axes and units. Raises SpatialError("corrupt_asset")."""
    kept = {
        kind: set(getattr(bpy.data, kind))
        for kind in ("objects", "meshes", "materials", "images", "collections")
    }
    try:
        try:
            if path.suffix == ".blend":
                with bpy.data.libraries.load(str(path)) as (found, wanted):
                    wanted.objects = found.objects
            elif path.suffix == ".obj":
                # Axes as in the file: the catalogue says which way is up.
                bpy.ops.wm.obj_import(filepath=str(path), forward_axis="Y", up_axis="Z")
            else:
                bpy.ops.import_scene.gltf(filepath=str(path))
        except (RuntimeError, OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            line = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            raise SpatialError("corrupt_asset", f"{path.name}: Blender cannot read it: {line}") from None
        things = [
            thing for thing in bpy.data.objects if thing not in kept["objects"] and thing.type == "MESH"
        ]
        for thing in things:  # objects of a library have world matrices only inside a scene
            if thing.name not in bpy.context.scene.collection.all_objects:
                bpy.context.scene.collection.objects.link(thing)
        bpy.context.view_layer.update()
        return _join(path, things)
    finally:
        for kind, before in kept.items():
            bpy.data.batch_remove([block for block in getattr(bpy.data, kind) if block not in before])


def _join(path: Path, things: list[Any]) -> RawMesh:
    graph = bpy.context.evaluated_depsgraph_get()
    vertices, triangles, parts, smooth, total = [], [], [], [], 0
    materials: list[tuple[str, str]] = []
    for thing in things:
        points, faces = _evaluated(thing, graph)
        if np.linalg.det(np.array(thing.matrix_world)[:3, :3]) < 0:
            faces = faces[:, ::-1]
        mesh = thing.evaluated_get(graph).data
        # material_index of a triangle is that of its polygon.
        polygons = np.empty(len(faces), np.int32)
        mesh.loop_triangles.foreach_get("polygon_index", polygons)
        index, round_ = np.zeros(len(mesh.polygons), np.int32), np.zeros(len(mesh.polygons), np.bool_)
        mesh.polygons.foreach_get("material_index", index)
        mesh.polygons.foreach_get("use_smooth", round_)
        vertices.append(points)
        triangles.append(faces + total)
        parts.append(index[polygons] + len(materials))
        smooth.append(round_[polygons])
        total += len(points)
        slots = [slot.material for slot in thing.material_slots] or [None]
        materials += [_describe(material) for material in slots]
    if not total or not sum(len(faces) for faces in triangles):
        raise SpatialError("corrupt_asset", f"{path.name}: there is no mesh in it")
    return RawMesh(
        np.concatenate(vertices), np.concatenate(triangles), np.concatenate(parts), np.concatenate(smooth),
        tuple(materials),
    )  # fmt: skip


def _describe(material: Any) -> tuple[str, str]:
    """A file's material: its name, and a role for `looks.fixed` (a texture counts by its mean colour)."""
    if material is None or not material.use_nodes or "Principled BSDF" not in material.node_tree.nodes:
        return getattr(material, "name", ""), f"own:{looks.UNPAINTED}:0.5:0"
    inputs = material.node_tree.nodes["Principled BSDF"].inputs
    color = np.array(inputs["Base Color"].default_value[:3])
    if inputs["Base Color"].is_linked:
        image = getattr(inputs["Base Color"].links[0].from_node, "image", None)
        if image is not None and len(image.pixels):
            color = np.array(image.pixels[:]).reshape(-1, image.channels)[:, :3].mean(axis=0)
            return material.name, f"own:{looks.hexadecimal(color)}:0.6:0"
    roughness, metallic = inputs["Roughness"].default_value, inputs["Metallic"].default_value
    return material.name, f"own:{looks.hexadecimal(looks.encoded(color))}:{roughness:.2f}:{metallic:.2f}"


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]), Studio)
