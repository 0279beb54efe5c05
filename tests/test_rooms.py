"""The rules of the house, held by reading the source: layers, libraries in their places, sizes, safety."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = (
    ("spatial", "shards"),
    ("filters",),
    ("generators", "renderers", "trainer"),
    ("evaluation", "models"),
    ("ray_jobs",),
)
LAYER_OF = {room: layer for layer, rooms in enumerate(LAYERS) for room in rooms}
# Library -> the only places that may import it. Tests and benchmarks start what they
# measure, but Blender's GPL module is imported in one file of the whole tree.
ONLY_IN = {
    "ray": ("ray_jobs/", "tests/", "benchmarks/"),
    "bpy": ("renderers/blender.py",),
    "bmesh": ("renderers/blender.py",),
    "mathutils": ("renderers/blender.py",),
    "vllm": ("generators/llm.py", "tests/", "benchmarks/"),
    "open_clip": ("filters/clip.py", "models/", "tests/", "benchmarks/"),
}
MAX_LINES = 450
NOT_OURS = {"runs", "datasets", "build", "__pycache__"}
TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".html", ".jsonl", ".json", ".cfg", ".sh", ""}


def files(*suffixes: str) -> list[Path]:
    """Files of the checkout with these suffixes, without environments, caches and products."""
    return [
        path
        for path in sorted(ROOT.rglob("*"))
        if path.suffix in suffixes and path.is_file() and not _ignored(path.relative_to(ROOT))
    ]


def _ignored(path: Path) -> bool:
    folders = path.parts[:-1]
    return any(part in NOT_OURS or (part.startswith(".") and part != ".ci") for part in folders)


SOURCES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in files(".py")}


def imports(name: str, source: str) -> Iterator[str]:
    """Absolute dotted names of all that a module imports, at any depth: also in functions, also by string."""
    package = name.split("/")[:-1]
    for node in ast.walk(ast.parse(source, filename=name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from package import module` names a module too
            yield from (f"{module}.{alias.name}" if module else alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func).split(".")[-1]
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value


def layer_faults(name: str, source: str) -> list[str]:
    """Imports of a room's module that go sideways or upwards."""
    room = name.split("/")[0]
    if room not in LAYER_OF:
        return []
    targets = {imported.split(".")[0] for imported in imports(name, source)}
    return [
        f"{name} imports {target}"
        for target in sorted(targets & LAYER_OF.keys())
        if target != room and LAYER_OF[target] >= LAYER_OF[room]
    ]


def library_faults(name: str, source: str) -> list[str]:
    """Imports of a restricted library outside its place."""
    targets = {imported.split(".")[0] for imported in imports(name, source)}
    return [
        f"{name} imports {library}"
        for library, places in ONLY_IN.items()
        if library in targets and not name.startswith(places)
    ]


def unsafe_calls(name: str, source: str) -> list[str]:
    """Loading that runs code from a file: pickle, torch without weights_only, YAML with tags, remote code."""
    faults = []
    for node in ast.walk(ast.parse(source, filename=name)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg}
        if re.fullmatch(r"(c?[Pp]ickle|dill|joblib|cloudpickle)\.(load|loads|Unpickler)", called):
            if node.args and ast.unparse(node.args[0]).startswith("pickle.dumps("):
                continue  # what was pickled on the spot is nobody else's
            faults.append(f"{name}:{node.lineno} {called}")
        if re.fullmatch(r"yaml\.((full_|unsafe_)?load(_all)?)", called):
            # The C parser's safe loader has no short form; it passes where it is named on the spot.
            loader = options.get("Loader") or " ".join(ast.unparse(argument) for argument in node.args[1:])
            if called not in ("yaml.load", "yaml.load_all") or loader != "yaml.CSafeLoader":
                faults.append(f"{name}:{node.lineno} {called}, not yaml.safe_load")
        if called == "torch.load" and options.get("weights_only") != "True":
            faults.append(f"{name}:{node.lineno} {called} without weights_only=True")
        if called in ("np.load", "numpy.load") and options.get("allow_pickle") == "True":
            faults.append(f"{name}:{node.lineno} {called} with allow_pickle")
        if "trust_remote_code" in options:
            faults.append(f"{name}:{node.lineno} {called} with trust_remote_code")
    bare = {"load", "loads", "load_all", "full_load", "unsafe_load", "Unpickler"}
    for node in ast.walk(ast.parse(source, filename=name)):
        if isinstance(node, ast.ImportFrom) and node.module in ("pickle", "yaml", "torch"):
            faults += [f"{name} imports {alias.name} bare" for alias in node.names if alias.name in bare]
    return faults


# --- the tree ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [layer_faults, library_faults, unsafe_calls])
def test_the_tree_keeps_the_rules(check):
    assert [fault for name, source in SOURCES.items() for fault in check(name, source)] == []


def test_every_room_of_the_checkout_has_a_layer():
    packages = {name.split("/")[0] for name in SOURCES if "/" in name}
    assert packages - {"tests", "benchmarks", "scripts"} <= LAYER_OF.keys()


def test_modules_stay_short():
    lengths = {name: source.count("\n") for name, source in SOURCES.items()}
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def test_no_text_names_a_machine_or_a_registry():
    # Put together here, so that this file passes its own test.
    names = (
        ("pypi", "org"),
        ("python" + "hosted", "org"),
        ("download", "pytorch", "org"),
        ("conda", "anaconda", "org"),
    )
    hosts = [".".join(parts) for parts in names]
    paths = ["/" + "root/", "/" + "work/", "/" + "opt/wheels", "/" + "home/", "/" + "Users/"]
    forbidden = re.compile("|".join(rf"(?<![\w.]){re.escape(text)}" for text in [*hosts, *paths]))
    found = []
    for path in files(*TEXT):
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if forbidden.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == []


def test_the_file_that_imports_blender_says_its_licence_first():
    head = (ROOT / "renderers" / "blender.py").read_text(encoding="utf-8").splitlines()[:3]
    assert any("SPDX-License-Identifier: GPL-3.0-or-later" in line for line in head)
    assert "GNU GENERAL PUBLIC LICENSE" in (ROOT / "LICENSES" / "GPL-3.0-or-later.txt").read_text()
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def loaded_by(modules: list[str]) -> set[str]:
    """Heavy libraries that a fresh process has loaded once it imported these modules."""
    program = "import importlib, sys\n" + "\n".join(f"importlib.import_module({name!r})" for name in modules)
    program += "\nprint(*({'ray', 'bpy', 'torch', 'vllm', 'open_clip', 'datasets'} & sys.modules.keys()))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def test_rooms_below_the_jobs_load_neither_ray_nor_blender():
    names = [
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in SOURCES
        if name.split("/")[0] in LAYER_OF.keys() - {"ray_jobs"} and name != "renderers/blender.py"
    ]
    assert loaded_by(names) & {"ray", "bpy"} == set()


def test_the_command_line_starts_without_heavy_libraries():
    assert loaded_by(["ray_jobs.__main__", "ray_jobs.doctor"]) == set()


# --- the rules themselves: each finds what it is for ------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("spatial/a.py", "import shards.units"),  # sideways
        ("spatial/a.py", "def f():\n    from filters import geometry"),  # upwards, late
        ("filters/a.py", "from renderers.wire import Job"),
        ("renderers/shapes/a.py", "import trainer"),
        ("filters/a.py", "import importlib\nimportlib.import_module('ray_jobs.driver')"),
    ],
)
def test_an_import_upwards_or_sideways_is_found(name, source):
    assert len(layer_faults(name, source)) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("ray_jobs/a.py", "import spatial.scene, filters.geometry, evaluation"),
        ("renderers/shapes/a.py", "from ..wire import Job\nfrom . import kitchen\nimport renderers.raw"),
        ("tests/a.py", "import ray_jobs, spatial"),
    ],
)
def test_imports_downwards_pass(name, source):
    assert layer_faults(name, source) == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("shards/a.py", "import ray"),
        ("renderers/blender_meshes.py", "import bpy"),
        ("tests/renderers/a.py", "from bpy import data"),
        ("generators/text.py", "def f():\n    import vllm.sampling_params"),
        ("filters/geometry.py", "import open_clip"),
    ],
)
def test_a_library_outside_its_place_is_found(name, source):
    assert len(library_faults(name, source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.load(f)",
        "import yaml\nyaml.load(f, Loader=yaml.Loader)",
        "yaml.load(f)",
        "yaml.load(f, loader)",
        "yaml.unsafe_load(f)",
        "from yaml import load",
        "torch.load(path)",
        "numpy.load(path, allow_pickle=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_loading_that_can_run_code_is_found(source):
    assert len(unsafe_calls("a.py", source)) == 1


def test_safe_loading_passes():
    source = "yaml.safe_load(f)\nyaml.load(f, yaml.CSafeLoader)\njson.load(f)\n"
    source += "torch.load(p, weights_only=True)\nnumpy.load(p)\npickle.loads(pickle.dumps(x))"
    assert unsafe_calls("a.py", source) == []
