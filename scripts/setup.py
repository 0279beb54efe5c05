#!/usr/bin/env python3
"""Set up the project: uv, a virtual environment, the pinned packages, what Blender and tests need of the system.

`make` calls this before every target that runs code. It needs only a Python 3.8 or later with pip, uses the
standard library alone, and does nothing (in milliseconds) when nothing changed since the last time.

    python3 scripts/setup.py install [--requirements requirements/laptop.txt]
    python3 scripts/setup.py lock [--upgrade]
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ray_jobs import libraries  # noqa: E402  (found through the line above)

VENV = ROOT / ".venv"
PRIVATE_UV = ROOT / ".cache" / "uv"
PYTHON = "3.11"  # Blender 4.5's module is built for this version alone

TORCH_NOTE = """\
# torch and torchvision are written without build. `make setup` takes the CPU builds for this file: from the
# folder in PIP_FIND_LINKS, else by `uv pip install --torch-backend=cpu`. By hand, do the same."""
CUDA_NOTE = """\
# torch and torchvision are the registry's CUDA builds. On machines with another CUDA version, install with
# `uv pip install --torch-backend=auto`, which picks the build by the driver."""
# file -> (what it is for, extras of pyproject.toml, note on torch)
LOCKS = {
    "laptop.txt": (
        "A laptop or CI, no GPU: every stage but the language model, and every test of them.",
        ("blender", "dev", "evaluate", "photos", "publish", "serve", "survey", "track", "train"),
        TORCH_NOTE,
    ),
    "laptop-full.txt": (
        "A laptop without GPU, every stage: also diffusion, CLIP, training and the language model on CPU.",
        ("blender", "dev", "evaluate", "photos", "publish", "serve", "survey", "track", "train", "llm-cpu"),
        TORCH_NOTE,
    ),
    "cluster.txt": (
        "GPU nodes of a cluster (Linux, x86-64, CUDA): every stage, no test tools.",
        ("blender", "evaluate", "photos", "publish", "serve", "survey", "track", "train", "llm-gpu"),
        CUDA_NOTE,
    ),
}


class SetupError(Exception):
    """Set-up cannot go on; the message is one line that says what to do."""


def say(message: str) -> None:
    print(f"setup: {message}", flush=True)


def digest(requirements: Path, pyproject: Path) -> str:
    """sha256 over what decides the contents of the environment."""
    sha = hashlib.sha256(f"python {PYTHON}\n".encode())
    for path in (requirements, pyproject):
        content = path.read_bytes()
        sha.update(f"{path.name} {len(content)}\n".encode() + content)
    return sha.hexdigest()


def stamp_path(venv: Path, requirements: Path) -> Path:
    """Where the digest of a finished set-up lies: inside the environment, so that both go together."""
    return venv / "setup" / f"{requirements.name}.sha256"


def is_ready(venv: Path, requirements: Path, wanted: str) -> bool:
    """Whether `venv` exists, its interpreter too, and was set up from exactly these files."""
    stamp = stamp_path(venv, requirements)
    return (venv / "bin" / "python").exists() and stamp.is_file() and stamp.read_text() == wanted


def read_pins(requirements: Path) -> dict[str, str]:
    """Package -> version of a compiled requirement file; names in normal form (lower case, dashes)."""
    pins = {}
    for line in requirements.read_text(encoding="utf-8").splitlines():
        requirement = line.split("#")[0].split(";")[0].strip()
        if requirement:
            name, separator, version = requirement.partition("==")
            if not separator:
                raise SetupError(f"{requirements}: {requirement!r} is not a pin; run `make lock`")
            pins[normal_name(name)] = version.strip()
    return pins


def normal_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.split("[")[0].strip()).lower()


def installed(venv: Path) -> dict[str, str]:
    """Package -> version of what lies in the environment."""
    folders = [str(folder) for folder in venv.glob("lib/python*/site-packages")]
    found = metadata.distributions(path=folders)
    return {normal_name(d.metadata["Name"]): d.version for d in found if d.metadata["Name"]}


def differing(pins: dict[str, str], present: dict[str, str]) -> list[str]:
    """Pins that are not installed as asked; a build (`2.13.0+cpu`) satisfies a pin that names none."""

    def matches(pin: str, version: str | None) -> bool:
        return version is not None and pin in (version, version.split("+")[0])

    return [f"{name}=={pin}" for name, pin in pins.items() if not matches(pin, present.get(name))]


def find_uv() -> str:
    """Path of a working uv: the one on PATH, else the private one, else one that pip installs there."""
    private = PRIVATE_UV / "bin" / "uv"
    for candidate in (shutil.which("uv"), str(Path.home() / ".local" / "bin" / "uv"), str(private)):
        if candidate and Path(candidate).exists() and _answers([candidate, "--version"]):
            return candidate
    if not _answers([sys.executable, "-m", "pip", "--version"]):
        raise SetupError(
            f"neither uv nor pip is here ({sys.executable}): install uv, or python3-pip, and try again"
        )
    say(f"installing uv into {PRIVATE_UV.relative_to(ROOT)}")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
    env = {
        **os.environ,
        "PIP_ROOT_USER_ACTION": "ignore",
    }  # its warning is about system folders, not this one
    run = subprocess.run([*pip, "--target", str(PRIVATE_UV), "uv>=0.9"], env=env, check=False)
    if run.returncode or not private.exists():
        raise SetupError("pip could not install uv (its message is above); is there a network?")
    return str(private)


def _answers(command: list[str]) -> bool:
    # A pyenv shim exists on PATH also where the program is not installed: only running it tells.
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def uv_environment() -> dict[str, str]:
    """This process's environment, with the folders of wheels that pip is told of made known to uv."""
    env = dict(os.environ)
    folders = env.get("PIP_FIND_LINKS", "").split()
    if folders:
        env.setdefault("UV_FIND_LINKS", ",".join(folders))
    return env


def make_environment(uv: str) -> None:
    """Create `.venv` with the right Python, or replace one whose Python is gone or another version."""
    check = "import sys; sys.exit('%d.%d' % sys.version_info[:2] != sys.argv[1])"
    python = VENV / "bin" / "python"
    if python.exists() and _answers([str(python), "-c", check, PYTHON]):
        return
    say(f"creating .venv with Python {PYTHON}")
    command = [uv, "venv", "--quiet", "--clear", "--python", PYTHON, str(VENV)]
    if subprocess.run(command, env=uv_environment(), check=False).returncode:
        raise SetupError(
            f"uv could not create .venv: it found no Python {PYTHON} and could not fetch one; install it"
        )


def install_packages(uv: str, requirements: Path) -> None:
    """Bring `.venv` to the pins. Only what differs is touched: bpy alone is 1.2 GB to unpack again."""
    pins = read_pins(requirements)
    unfinished = VENV / "setup" / "unfinished"  # there while packages are being written
    interrupted = unfinished.exists()
    wanted = differing(pins, {} if interrupted else installed(VENV))
    if not wanted:
        say(f"all {len(pins)} packages are installed")
        return
    say(f"installing {len(wanted)} of {len(pins)} packages from {requirements.name}")
    # The file is complete, so dependencies are left alone: pyproject.toml excludes some on purpose.
    command = [uv, "pip", "install", "--no-deps", "--python", str(VENV / "bin" / "python")]
    command += ["--reinstall"] if interrupted else []
    env = uv_environment()
    if "torch" in pins and "UV_FIND_LINKS" not in env:
        command.append("--torch-backend=" + ("auto" if "vllm" in pins else "cpu"))
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    unfinished.touch()
    if subprocess.run([*command, *wanted], env=env, check=False).returncode:
        raise SetupError(
            "uv could not install the packages (see above); is there a network, and room on disk?"
        )
    unfinished.unlink()


def mend_torchvision() -> None:
    """Where torchvision is a CUDA build beside a CPU torch, let it be imported all the same."""
    site = next(VENV.glob("lib/python*/site-packages"))
    if not (site / "torchvision").is_dir():
        return
    command = [str(VENV / "bin" / "python"), "-c", "import torchvision"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    if "operator torchvision::nms does not exist" in tried.stderr:
        shutil.copy(ROOT / "scripts" / "torchvision_ops.py", site / "_torchvision_ops.py")
        (site / "_torchvision_ops.pth").write_text("import _torchvision_ops\n")  # run at every start
        tried = subprocess.run(command, capture_output=True, text=True, check=False)
    if tried.returncode:
        last = (tried.stderr.strip().splitlines() or ["no output"])[-1]
        raise SetupError(f"torchvision cannot be imported: {last}; remove .venv and try again")


def install_libraries() -> None:
    """See to the system libraries that Blender's module links to: by apt where allowed, else say how."""
    module = next(VENV.glob("lib/python*/site-packages/bpy/__init__.so"), None)
    if module is None or not sys.platform.startswith("linux"):
        return
    missing = libraries.missing_libraries(module)
    packages, _ = libraries.debian_packages(missing)
    if packages and may_use_apt():
        say("installing system libraries for Blender: " + " ".join(packages))
        apt_install(packages)
        missing = libraries.missing_libraries(module)
    if missing:
        raise SetupError(f"Blender's module lacks {', '.join(missing)}: {libraries.remedy(missing)}")


def install_browser(pins: dict[str, str]) -> None:
    """See to the browser that tests of pages drive: by apt where allowed. Without one they are skipped."""
    if "playwright" not in pins or shutil.which("chromium"):
        return
    if may_use_apt():
        say("installing chromium, to test pages with")
        apt_install(("chromium",))
    if not shutil.which("chromium"):
        say("there is no chromium: tests that need a browser will be skipped")


def may_use_apt() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def apt_install(packages: tuple[str, ...]) -> None:
    """What is there afterwards is for the caller to see."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], env=env, check=False)
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    subprocess.run(command, env=env, check=False)


def install(requirements: Path) -> None:
    """Everything from a bare machine to a working `.venv`; returns at once where that was done before."""
    if not requirements.is_file():
        raise SetupError(f"no such requirement file: {requirements}; there are {', '.join(LOCKS)}")
    wanted = digest(requirements, ROOT / "pyproject.toml")
    if is_ready(VENV, requirements, wanted):
        return
    mutex = ROOT / ".cache" / "setup.lock"
    mutex.parent.mkdir(exist_ok=True)
    with mutex.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # `make demo` and `make test` may be started at once
        if is_ready(VENV, requirements, wanted):
            return
        uv = find_uv()
        make_environment(uv)
        install_packages(uv, requirements)
        mend_torchvision()
        install_libraries()
        install_browser(read_pins(requirements))
        stamp = stamp_path(VENV, requirements)
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(wanted)  # last, so that an interrupted set-up is taken up again
    say(f"ready: .venv from {requirements.name}")


def lock(upgrade: bool) -> None:
    """Compile every requirement file from pyproject.toml; versions stay where they can unless `upgrade`."""
    uv = find_uv()
    for name, (purpose, extras, note) in LOCKS.items():
        say(f"resolving {name}")
        path = ROOT / "requirements" / name
        env = uv_environment()
        command = [uv, "pip", "compile", "pyproject.toml", "--quiet", "--python-version", PYTHON]
        command += ["--python-platform", "x86_64-manylinux_2_28", "--no-header", "--no-annotate"]
        command += ["--no-emit-index-url", "--no-emit-find-links", "--output-file", str(path)]
        command += ["--upgrade"] if upgrade else []
        for extra in extras:
            command += ["--extra", extra]
        if "llm-gpu" in extras:
            env.pop("UV_FIND_LINKS", None)  # a folder of CPU wheels must not decide what GPU nodes get
        else:
            _forget_torch(path)
            if "UV_FIND_LINKS" not in env:
                command.append("--torch-backend=cpu")
        if subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, check=False).returncode:
            raise SetupError(f"uv could not resolve {name} (its message is above)")
        lines = [line.replace("+cpu", "") for line in path.read_text(encoding="utf-8").splitlines()]
        pins = [line for line in lines if line and not line.startswith("#")]
        header = [
            f"# {purpose}",
            f"# pyproject.toml with the extras {', '.join(extras)}; made by `make lock`.",
        ]
        path.write_text("\n".join([*header, *([note] if note else []), *pins]) + "\n", encoding="utf-8")


def _forget_torch(path: Path) -> None:
    """uv keeps the versions it finds in its output; torch without "+cpu", as we write it, would mean CUDA's."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(line for line in lines if not line.startswith("torch")), encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 done, 1 it failed (one line on stderr says why), 2 wrong usage."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for_install = commands.add_parser("install", help="make .venv ready")
    for_install.add_argument("--requirements", type=Path, default=ROOT / "requirements" / "laptop.txt")
    for_lock = commands.add_parser("lock", help="compile requirements/*.txt from pyproject.toml")
    for_lock.add_argument("--upgrade", action="store_true", help="take the newest versions")
    arguments = parser.parse_args(argv)
    try:
        if arguments.command == "install":
            install(arguments.requirements)
        else:
            lock(arguments.upgrade)
    except (SetupError, OSError) as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
