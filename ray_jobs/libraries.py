"""System libraries that Blender's module links to, and the Debian packages that carry them.

Wheels cannot bring X11 and OpenGL along: `bpy` links to the system's, even when it renders without a screen.
Standard library only, and no syntax newer than Python 3.8: `scripts/setup.py` uses this before anything is
installed.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

# soname -> Debian and Ubuntu package. More than bpy 4.5 links to, so that its neighbours are covered too.
DEBIAN_PACKAGES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libGLX.so.0": "libglx0",
    "libGLdispatch.so.0": "libglvnd0",
    "libICE.so.6": "libice6",
    "libOpenGL.so.0": "libopengl0",
    "libSM.so.6": "libsm6",
    "libX11.so.6": "libx11-6",
    "libXau.so.6": "libxau6",
    "libXdmcp.so.6": "libxdmcp6",
    "libXext.so.6": "libxext6",
    "libXfixes.so.3": "libxfixes3",
    "libXi.so.6": "libxi6",
    "libXrender.so.1": "libxrender1",
    "libXt.so.6": "libxt6",
    "libXxf86vm.so.1": "libxxf86vm1",
    "libgomp.so.1": "libgomp1",
    "libstdc++.so.6": "libstdc++6",
    "libuuid.so.1": "libuuid1",
    "libxcb.so.1": "libxcb1",
    "libxkbcommon.so.0": "libxkbcommon0",
}
# Not linked, but opened by name while Blender starts a GPU context (EEVEE).
OPENED_BY_NAME = ("libEGL.so.1",)

_NOT_FOUND = re.compile(r"^\s*(\S+) => not found", re.MULTILINE)


def parse_ldd(output: str) -> tuple[str, ...]:
    """Sonames that the loader did not find, in the order of `ldd`'s output, each once."""
    return tuple(dict.fromkeys(_NOT_FOUND.findall(output)))


def loads(soname: str) -> bool:
    """Whether the dynamic loader finds the library of this name."""
    try:
        ctypes.CDLL(soname)
    except OSError:
        return False
    return True


def missing_libraries(module: Path) -> tuple[str, ...]:
    """Sonames without which the shared object `module` does not load here; empty when all are there.

    `ldd` also sees what the table above does not know; without it, every entry of the table is tried.
    """
    ldd = shutil.which("ldd")
    if ldd is None:
        return tuple(name for name in DEBIAN_PACKAGES if not loads(name))
    run = subprocess.run([ldd, str(module)], capture_output=True, text=True, check=False)
    linked = parse_ldd(run.stdout)
    return linked + tuple(name for name in OPENED_BY_NAME if name not in linked and not loads(name))


def debian_packages(sonames: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split sonames into (Debian packages that carry them, sorted; sonames that no package is known for)."""
    names = list(sonames)
    packages = {DEBIAN_PACKAGES[name] for name in names if name in DEBIAN_PACKAGES}
    return tuple(sorted(packages)), tuple(name for name in names if name not in DEBIAN_PACKAGES)


def remedy(sonames: Iterable[str]) -> str:
    """What to type, in one line, so that these libraries are there."""
    packages, unknown = debian_packages(sonames)
    parts = []
    if packages:
        parts.append("sudo apt-get install -y --no-install-recommends " + " ".join(packages))
    if unknown:
        parts.append("install whatever provides " + ", ".join(unknown) + " on this system")
    return "; and ".join(parts)
