"""A language model is taught by the job, on Ray Train, and what is wrong is said before that starts."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from generators.composed import KINDS
from ray_jobs.config import ConfigError
from ray_jobs.finetune_llm import FinetuneConfig, finetune, lessons, main, table
from tests.trainer.tiny_llm import make_tiny

ROOT = Path(__file__).parents[2]


def written(tmp_path, **values):
    tiny = tmp_path / "tiny"
    if not tiny.exists():
        make_tiny(tiny)
    seeds = tmp_path / "seeds.jsonl"
    rows = [
        {"input": f"a {a} mug", "edit": f"paint it {b}", "output": f"a {b} mug", "kind": "recolor"}
        for a in ("red", "blue", "green", "pink") for b in ("red", "blue", "green", "pink") if a != b
    ]  # fmt: skip
    seeds.write_text("\n".join(map(json.dumps, rows)))
    return {
        "out": str(tmp_path / "out"), "model": str(tiny), "seeds": str(seeds), "held_out": 0.3, "answers": 2,
        "sft": {"epochs": 2, "batch": 4, "max_length": 96, "method": "full", "rate": 0.01},
        "workers": {"number": 0}, **values,
    }  # fmt: skip


def test_a_model_is_taught_in_this_process_and_its_figures_kept(tmp_path):
    figures = finetune(FinetuneConfig(**written(tmp_path, composed={"number": 3})))
    assert figures["composed"] == 3
    assert figures["held_out_loss"]["after"] < figures["held_out_loss"]["before"]
    assert figures["learned_from"] + figures["measured_on"] == 12
    assert figures["good_edits"]["after"]["of"] == 2 and "good edits" in table(figures)
    assert (tmp_path / "out" / "edits" / "model.safetensors").exists()
    assert (tmp_path / "out" / "edits" / "tokenizer.json").exists()
    card = (tmp_path / "out" / "edits" / "README.md").read_text()
    assert "--set sft.epochs=2.0" in card and table(figures) in card and f"{figures['steps']} steps" in card
    assert "and 3\n  composed ones" in card


@pytest.mark.slow
def test_workers_of_ray_train_teach_it_too(tmp_path):
    config = written(tmp_path, workers={"number": 1, "num_cpus": 1})
    config["sft"] |= {"method": "lora", "rank": 2}
    figures = finetune(FinetuneConfig(**config))
    assert figures["steps"] >= 2
    assert (tmp_path / "out" / "edits" / "adapter_model.safetensors").exists()
    told = json.loads((tmp_path / "out" / "edits" / "adapter_config.json").read_text())
    assert told["base_model_name_or_path"] == config["model"]
    assert list((tmp_path / "out" / "train").rglob("checkpoint/adapter_model.safetensors"))


def test_composed_lessons_are_the_same_again_and_of_the_stock(tmp_path):
    stock = {
        "nouns": ["mug", "cat"],
        "colors": ["red", "blue"],
        "materials": ["metal", "wood"],
        "floors": ["grass"],
    }
    config = FinetuneConfig(**written(tmp_path, composed={"number": 14, "stock": stock}))
    some = lessons(config)
    assert some == lessons(config) and len(some) == 14
    assert {lesson.kind for lesson in some} == set(KINDS)
    assert not any(word in lesson.before for lesson in some for word in ("green", "chair", "tree"))


def known_checkpoints(out):
    """How many Ray Train would find again: one that is written and not yet noted is lost with the job."""
    notes = list((out / "train").glob("checkpoint_manager_snapshot.json"))
    try:
        return len(json.loads(notes[0].read_text())["checkpoint_results"]) if notes else 0
    except ValueError:  # half written
        return 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_job_that_was_killed_goes_on_from_its_last_epoch(tmp_path):
    config = written(tmp_path, workers={"number": 1, "num_cpus": 1}, answers=0)
    config["sft"] |= {"epochs": 12}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "ray_jobs", "finetune-llm", "--config", str(path)]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while known_checkpoints(tmp_path / "out") < 2 and time.monotonic() < deadline:
        assert first.poll() is None, "it ended before it could be killed"
        time.sleep(0.2)
    first.kill()
    first.wait()
    assert not (tmp_path / "out" / "edits").exists()
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr[-2000:]
    figures = json.loads((tmp_path / "out" / "edits" / "figures.json").read_text())
    assert 0 < figures["went_on_from"] < figures["steps"]
    assert "training: step" in again.stdout
    # Two, and what was written when it was killed and nobody had heard of yet; not one for each of the 12 epochs.
    assert len(list((tmp_path / "out" / "train").glob("checkpoint_2*"))) <= 5


def test_a_broken_seed_file_and_a_wrong_key_are_one_line(tmp_path, capsys):
    config = written(tmp_path)
    (tmp_path / "seeds.jsonl").write_text("{")
    with pytest.raises(ConfigError, match=r"seeds: .*seeds\.jsonl:1"):
        finetune(FinetuneConfig(**config))
    (tmp_path / "c.yaml").write_text("out: x\nmodel: y\nsft: {epoch: 2}\n")
    assert main(["--config", str(tmp_path / "c.yaml")]) == 2
    assert "sft.epoch: unknown key; did you mean 'epochs'?" in capsys.readouterr().err
