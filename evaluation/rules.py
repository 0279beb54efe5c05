"""What results came of: digests of models, and of the code that chooses edits, makes and judges pictures, and sums up.

What was made or judged by other rules must not stand beside it, whoever forgot to raise a version. What code says
counts, not how it is set or commented.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parent.parent
JUDGING = (
    "evaluation/spatial.py", "evaluation/left_open.py", "evaluation/floor.py", "evaluation/preserved.py",
    "evaluation/results.py", "spatial/expressions.py",
    "evaluation/stage.py", "filters/reader.py", "filters/reader_net.py", "spatial/geometry.py", "spatial/relations.py",
)  # fmt: skip
CHOOSING = (
    *JUDGING, "evaluation/trials.py", "evaluation/edit_sets.py", "evaluation/paraphrases.py",
    "evaluation/paraphrases.jsonl", "evaluation/benchmarks.py", "evaluation/portraits.py", "evaluation/portraits.yaml",
)  # fmt: skip
ANALYSIS = (
    "evaluation/trials.py", "evaluation/table.py", "evaluation/distances.py", "evaluation/opinions.py",
    "evaluation/survey.py", "evaluation/votes.py", "evaluation/gap.py", "evaluation/nearer.py",
    "evaluation/groups.py", "evaluation/misrepresented.py",
)  # fmt: skip
_EDITORS = ("evaluation/asked.py", "evaluation/editors.py")
_ROOTS = {
    "spatialpix": "trainer/pipeline.py",
    "decoded": "trainer/frozen.py",
    "diffusionclip": "evaluation/diffusionclip.py",
    "unclip": "evaluation/unclip.py",
    "hosted": "evaluation/hosted.py",
}
# Where code that shapes pictures lies, and the words that it reads; what stores and schedules shapes none.
_SHAPING = ("trainer", "spatial", "filters", "evaluation")
_WORDS = "spatial/*.yaml"


@cache
def making(kind: str) -> tuple[str, ...]:
    """The files that make pictures for an editor of this kind, beside libraries: one, and all that it imports."""
    if kind not in _ROOTS:
        return _EDITORS
    found, waiting = {*_EDITORS}, [_ROOTS[kind]]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _imported(_ROOT / name)
    if any(name.startswith("spatial/") for name in found):
        found |= {path.relative_to(_ROOT).as_posix() for path in _ROOT.glob(_WORDS)}
    return tuple(sorted(found))


def _imported(path: Path) -> list[str]:
    """The project's own files that a module imports anywhere in it."""
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    found = (f"{name.replace('.', '/')}.py" for name in names if name.split(".")[0] in _SHAPING)
    return sorted(name for name in found if (_ROOT / name).is_file())


def rules(files: Iterable[str]) -> str:
    """sha256 of what these files say, paths from the project's root: of Python without comments and docstrings."""
    total = hashlib.sha256()
    for name in files:
        total.update(f"{name}\0".encode() + _said(_ROOT / name))
    return total.hexdigest()


def identity(model: str) -> str:
    """Of a folder: its weights and settings, byte by byte; of a file; of a name on the Hub: the name."""
    folder = Path(model)
    if folder.is_file():
        return _digest(folder).hex()
    if not folder.is_dir():
        return model
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".safetensors", ".bin", ".json", ".txt", ".model") and path.is_file():
            total.update(f"{path.relative_to(folder).as_posix()}\n".encode() + _digest(path))
    return total.hexdigest()[:32]


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _said(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix != ".py":
        return content
    tree = ast.parse(content)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return ast.unparse(tree).encode()
