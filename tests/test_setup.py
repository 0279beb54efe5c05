"""Set-up: what it decides to do, and that the compiled requirement files follow pyproject.toml."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from ray_jobs import libraries

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def load_setup():
    spec = importlib.util.spec_from_file_location("project_setup", ROOT / "scripts" / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


setup = load_setup()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with a finished set-up: interpreter, requirement file, stamp."""
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "laptop.txt").write_text("numpy==2.4.6\n")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    monkeypatch.setattr(setup, "VENV", tmp_path / ".venv")
    stamp = setup.stamp_path(tmp_path / ".venv", tmp_path / "laptop.txt")
    stamp.parent.mkdir()
    stamp.write_text(setup.digest(tmp_path / "laptop.txt", tmp_path / "pyproject.toml"))
    return tmp_path


@pytest.fixture
def steps(monkeypatch):
    """The steps that `install` takes, recorded in place of taken."""
    taken = []
    monkeypatch.setattr(setup, "find_uv", lambda: "uv")
    monkeypatch.setattr(setup, "make_environment", lambda uv: taken.append("environment"))
    monkeypatch.setattr(setup, "install_packages", lambda uv, requirements: taken.append("packages"))
    monkeypatch.setattr(setup, "mend_torchvision", lambda: taken.append("torchvision"))
    monkeypatch.setattr(setup, "install_libraries", lambda: taken.append("libraries"))
    monkeypatch.setattr(setup, "install_browser", lambda pins: taken.append("browser"))
    return taken


ALL_STEPS = ["environment", "packages", "torchvision", "libraries", "browser"]


def test_nothing_is_done_when_nothing_changed(checkout, steps):
    setup.install(checkout / "laptop.txt")
    assert steps == []


@pytest.mark.parametrize("changed", ["laptop.txt", "pyproject.toml"])
def test_a_changed_file_sets_up_once_more(checkout, steps, changed):
    with (checkout / changed).open("a") as file:
        file.write("# more\n")
    setup.install(checkout / "laptop.txt")
    setup.install(checkout / "laptop.txt")
    assert steps == ALL_STEPS


def test_an_environment_whose_python_is_gone_is_not_ready(checkout, steps):
    python = checkout / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(checkout / "removed")
    setup.install(checkout / "laptop.txt")
    assert steps == ALL_STEPS


def test_a_set_up_that_failed_halfway_is_taken_up_again(checkout, steps, monkeypatch):
    (checkout / "laptop.txt").write_text("numpy==2.5\n")

    def fail(*_):
        raise setup.SetupError("no network")

    with monkeypatch.context() as patch:
        patch.setattr(setup, "install_libraries", fail)
        with pytest.raises(setup.SetupError):
            setup.install(checkout / "laptop.txt")
    steps.clear()
    setup.install(checkout / "laptop.txt")
    assert steps == ALL_STEPS


def test_each_requirement_file_has_its_own_stamp(checkout, steps):
    (checkout / "full.txt").write_text("numpy==2.4.6\ntorch==2.13.0\n")
    setup.install(checkout / "full.txt")
    assert steps == ALL_STEPS
    steps.clear()
    setup.install(checkout / "laptop.txt")
    assert steps == []


def test_only_packages_that_differ_are_installed():
    pins = {"bpy": "4.5.15", "numpy": "2.4.6", "ray": "2.60.0", "torch": "2.13.0"}
    present = {"bpy": "4.5.15", "numpy": "1.26.4", "torch": "2.13.0+cpu", "left-over": "1"}
    assert setup.differing(pins, present) == ["numpy==2.4.6", "ray==2.60.0"]


def test_packages_of_an_interrupted_install_are_written_again(tmp_path, monkeypatch):
    commands, codes = [], iter([1, 0, 0])

    def run(command, **_):
        commands.append(command)
        return subprocess.CompletedProcess(command, next(codes))

    monkeypatch.setattr(setup, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(setup, "installed", lambda venv: {"numpy": "2.4.6"})  # half of its files, in truth
    monkeypatch.setattr(setup.subprocess, "run", run)
    file = tmp_path / "a.txt"
    file.write_text("numpy==2.4.6\nray==2.60.0\n")
    with pytest.raises(setup.SetupError):
        setup.install_packages("uv", file)
    setup.install_packages("uv", file)
    setup.install_packages("uv", file)
    assert [command[command.index("--python") + 2 :] for command in commands] == [
        ["ray==2.60.0"],
        ["--reinstall", "numpy==2.4.6", "ray==2.60.0"],
        ["ray==2.60.0"],
    ]


def test_pins_are_read_in_normal_form_and_ranges_refused(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("# why\n\nOpen_CLIP.torch==3.3.0  # note\nray[data]==2.60.0 ; sys_platform == 'linux'\n")
    assert setup.read_pins(file) == {"open-clip-torch": "3.3.0", "ray": "2.60.0"}
    file.write_text("numpy>=2\n")
    with pytest.raises(setup.SetupError, match="make lock"):
        setup.read_pins(file)


def test_folders_of_wheels_reach_uv(monkeypatch):
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_FIND_LINKS", "/a /b")
    assert setup.uv_environment()["UV_FIND_LINKS"] == "/a,/b"
    monkeypatch.setenv("UV_FIND_LINKS", "/c")
    assert setup.uv_environment()["UV_FIND_LINKS"] == "/c"


@pytest.mark.parametrize(
    ("pins", "find_links", "expected"),
    [
        ("torch==2.13.0\nvllm-cpu==0.32.0\n", None, "--torch-backend=cpu"),
        ("torch==2.13.0\nvllm==0.32.0\n", None, "--torch-backend=auto"),
        ("torch==2.13.0\nvllm-cpu==0.32.0\n", "/wheels", None),
        ("numpy==2.4.6\n", None, None),
    ],
)
def test_the_build_of_torch_follows_the_requirement_file(tmp_path, monkeypatch, pins, find_links, expected):
    commands = []

    def record(command, **_):
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    for variable in ("PIP_FIND_LINKS", "UV_FIND_LINKS"):
        monkeypatch.delenv(variable, raising=False)
    if find_links:
        monkeypatch.setenv("PIP_FIND_LINKS", find_links)
    monkeypatch.setattr(setup, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(setup.subprocess, "run", record)
    (tmp_path / "a.txt").write_text(pins)
    setup.install_packages("uv", tmp_path / "a.txt")
    assert [word for word in commands[0] if word.startswith("--torch-backend")] == (
        [expected] if expected else []
    )
    assert "--no-deps" in commands[0]


def test_without_network_one_line_says_so(checkout, tmp_path):
    (checkout / "laptop.txt").write_text("numpy==2.4.6\n")
    env = {
        **os.environ,
        "UV_OFFLINE": "1",
        "UV_CACHE_DIR": str(tmp_path / "empty"),
        "UV_FIND_LINKS": str(tmp_path),
    }
    program = (
        "import sys; sys.argv = ['setup.py']; import importlib.util as u, pathlib\n"
        f"s = u.spec_from_file_location('s', {str(ROOT / 'scripts' / 'setup.py')!r})\n"
        "m = u.module_from_spec(s); s.loader.exec_module(m)\n"
        f"m.VENV = pathlib.Path({str(checkout / 'fresh')!r})\n"
        f"sys.exit(m.main(['install', '--requirements', {str(checkout / 'laptop.txt')!r}]))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False
    )
    last = run.stderr.strip().splitlines()[-1]
    assert run.returncode == 1, run.stderr
    assert last.startswith("setup: ") and "network" in last
    assert "Traceback" not in run.stderr


def test_an_unknown_requirement_file_is_named(capsys):
    assert setup.main(["install", "--requirements", "requirements/laptpo.txt"]) == 1
    assert "laptpo.txt" in capsys.readouterr().err


# --- Blender's system libraries -------------------------------------------------------------------

LDD = """\
\tlibX11.so.6 => /lib/x86_64-linux-gnu/libX11.so.6 (0x00007f4804c43000)
\tlibXi.so.6 => not found
\tlibSM.so.6 => not found
\tlibSM.so.6 => not found
\tlibstrange.so.9 => not found
\t/lib64/ld-linux-x86-64.so.2 (0x00007f4810c7e000)
"""


def test_missing_libraries_become_one_command():
    missing = libraries.parse_ldd(LDD)
    assert missing == ("libXi.so.6", "libSM.so.6", "libstrange.so.9")
    assert libraries.debian_packages(missing) == (("libsm6", "libxi6"), ("libstrange.so.9",))
    advice = libraries.remedy(missing)
    assert "apt-get install -y --no-install-recommends libsm6 libxi6" in advice
    assert "libstrange.so.9" in advice
    assert libraries.remedy(()) == ""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ELF")
def test_a_module_that_lacks_a_library_is_noticed(tmp_path):
    bpy = importlib.util.find_spec("bpy")
    if bpy is None:
        pytest.skip("Blender's module is not installed")
    # The same module with one of its needs renamed to a library that does not exist.
    content = Path(bpy.origin).read_bytes()
    assert b"\0libXi.so.6\0" in content
    broken = tmp_path / "module.so"
    broken.write_bytes(content.replace(b"\0libXi.so.6\0", b"\0libXi.so.0\0"))
    assert "libXi.so.0" in libraries.missing_libraries(broken)
    assert "libXi.so.0" not in libraries.missing_libraries(Path(bpy.origin))


@pytest.fixture
def blender_lacks(tmp_path, monkeypatch):
    """An environment whose Blender module lacks libraries until apt-get has run; returns apt-get's calls."""
    site = tmp_path / "lib" / "python3.11" / "site-packages" / "bpy"
    site.mkdir(parents=True)
    (site / "__init__.so").touch()
    calls = []
    monkeypatch.setattr(setup, "VENV", tmp_path)
    monkeypatch.setattr(setup.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(setup.subprocess, "run", lambda command, **_: calls.append(command))
    monkeypatch.setattr(
        setup.libraries,
        "missing_libraries",
        lambda _: () if any("install" in c for c in calls) else ("libXi.so.6",),
    )
    return calls


def test_root_on_debian_installs_them(blender_lacks, monkeypatch):
    monkeypatch.setattr(setup.os, "geteuid", lambda: 0)
    setup.install_libraries()
    assert blender_lacks[-1][:2] == ["apt-get", "install"] and "libxi6" in blender_lacks[-1]


def test_anybody_else_is_told_the_command(blender_lacks, monkeypatch):
    monkeypatch.setattr(setup.os, "geteuid", lambda: 1000)
    with pytest.raises(setup.SetupError, match=r"sudo apt-get install .*libxi6"):
        setup.install_libraries()
    assert blender_lacks == []


# --- a browser to test pages with -------------------------------------------------------------------


@pytest.fixture
def browser_lacks(monkeypatch):
    """A machine without chromium until apt-get has run, which may fail; returns apt-get's calls and its end."""
    calls, end = [], {"works": True}
    there = lambda: end["works"] and any("chromium" in call for call in calls)  # noqa: E731
    monkeypatch.setattr(setup.subprocess, "run", lambda command, **_: calls.append(command))
    monkeypatch.setattr(
        setup.shutil, "which", lambda name: f"/usr/bin/{name}" if name != "chromium" or there() else None
    )
    monkeypatch.setattr(setup.os, "geteuid", lambda: 0)
    return calls, end


PLAYWRIGHT = {"playwright": "1.0"}


def test_root_on_debian_gets_a_browser_where_tests_are_installed(browser_lacks, capsys):
    calls, _ = browser_lacks
    setup.install_browser({"numpy": "2.0"})
    assert calls == []
    setup.install_browser(PLAYWRIGHT)
    assert calls[-1][:2] == ["apt-get", "install"]
    assert calls[-1][-2:] == ["--no-install-recommends", "chromium"]
    setup.install_browser(PLAYWRIGHT)
    assert len(calls) == 2  # once: update, install
    assert "skipped" not in capsys.readouterr().out


def test_without_a_browser_set_up_goes_on_and_says_what_is_skipped(browser_lacks, monkeypatch, capsys):
    calls, end = browser_lacks
    end["works"] = False  # apt-get knows no such package
    setup.install_browser(PLAYWRIGHT)
    monkeypatch.setattr(setup.os, "geteuid", lambda: 1000)
    calls.clear()
    setup.install_browser(PLAYWRIGHT)
    assert calls == []
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "skipped" in line] == [
        "setup: there is no chromium: tests that need a browser will be skipped"
    ] * 2


# --- torchvision beside a CPU torch ---------------------------------------------------------------


@pytest.fixture
def cuda_torchvision(checkout, monkeypatch):
    """A site folder whose torchvision fails as a CUDA build does, until its schemas are declared."""
    site = checkout / ".venv" / "lib" / "python3.11" / "site-packages"
    (site / "torchvision").mkdir(parents=True)
    (site / "torch.py").write_text(
        "class library:\n    names = []\n    define = staticmethod(lambda name, _: library.names.append(name))\n"
    )
    (site / "torchvision" / "__init__.py").write_text(
        "import torch\n"
        "if 'torchvision::nms' not in torch.library.names:\n"
        "    raise RuntimeError('operator torchvision::nms does not exist')\n"
    )
    (checkout / "scripts").mkdir()
    (checkout / "scripts" / "torchvision_ops.py").write_text(
        (ROOT / "scripts" / "torchvision_ops.py").read_text()
    )
    python = checkout / ".venv" / "bin" / "python"
    python.unlink()
    python.write_text(
        f"#!{sys.executable} -S\n"
        "import site, sys\n"
        f"sys.path.insert(0, {str(site)!r}); site.addsitedir({str(site)!r})\n"
        "exec(sys.argv[2])\n"
    )
    python.chmod(0o755)
    return site


def test_a_cuda_torchvision_is_made_to_import_beside_a_cpu_torch(cuda_torchvision):
    setup.mend_torchvision()
    assert (cuda_torchvision / "_torchvision_ops.pth").exists()
    setup.mend_torchvision()  # and once mended it is left alone


def test_a_torchvision_that_imports_is_left_alone(cuda_torchvision):
    (cuda_torchvision / "torchvision" / "__init__.py").write_text("")
    setup.mend_torchvision()
    assert not (cuda_torchvision / "_torchvision_ops.pth").exists()


def test_a_torchvision_that_fails_otherwise_is_an_error(cuda_torchvision):
    (cuda_torchvision / "torchvision" / "__init__.py").write_text("raise RuntimeError('half a file')")
    with pytest.raises(setup.SetupError, match="half a file"):
        setup.mend_torchvision()


# --- the compiled files ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(setup.LOCKS))
def test_compiled_files_follow_pyproject(name):
    pins = setup.read_pins(ROOT / "requirements" / name)
    project = PYPROJECT["project"]
    asked = list(project["dependencies"])
    for extra in setup.LOCKS[name][1]:
        asked += project["optional-dependencies"][extra]
    stale = []
    for text in asked:
        wanted = Requirement(text)
        pin = pins.get(setup.normal_name(wanted.name))  # None: not compiled at all, whatever is asked of it
        if pin is None or not wanted.specifier.contains(pin):
            stale.append(text)
    assert stale == [], "run `make lock`"


def test_compiled_files_name_no_index_and_no_build():
    for path in (ROOT / "requirements").glob("*.txt"):
        pins = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        assert [line for line in pins if not re.fullmatch(r"[a-z0-9.-]+==[\w.!]+( ;.*)?", line)] == [], (
            path.name
        )
