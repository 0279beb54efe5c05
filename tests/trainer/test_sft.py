"""A tiny language model learns its answers, from its adapter alone, and goes on where it stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from tests.trainer.tiny_llm import COLORS, make_tiny
from trainer.sft import Example, SftSettings, answers, finetune


def example(color: str) -> Example:
    return Example(({"role": "user", "content": f"paint it {color}"},), f"a {color} mug")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny"))


SETTINGS = SftSettings(epochs=12, batch=4, rate=2e-2, max_length=64, dropout=0.0)
LEARN = [example(color) for color in COLORS] * 8


def right(said: list[str]) -> int:
    return sum(color in text.split() for color, text in zip(COLORS, said, strict=True))


def test_a_model_learns_to_answer(tiny, tmp_path):
    settings = replace(SETTINGS, method="full", rate=1e-2)
    figures = finetune(str(tiny), LEARN, LEARN[:4], settings, tmp_path, use_cpu=True)
    assert figures.loss_after < 0.3 * figures.loss_before and figures.steps == 12 * 8
    asked = [list(example(color).prompt) for color in COLORS]
    assert right(answers(str(tmp_path), asked, temperature=0.0, max_tokens=4)) == 4
    assert right(answers(str(tiny), asked, temperature=0.0, max_tokens=4)) < 4


def test_an_adapter_holds_its_own_weights_alone(tiny, tmp_path):
    figures = finetune(str(tiny), LEARN, LEARN[:4], SETTINGS, tmp_path, use_cpu=True)
    assert figures.loss_after < 0.9 * figures.loss_before
    with safe_open(tmp_path / "adapter_model.safetensors", "pt") as weights:
        names = list(weights.keys())
        assert {weights.get_tensor(name).dtype for name in names} == {torch.float16}
    assert names and all("lora_" in name for name in names)
    asked = [list(example(color).prompt) for color in COLORS]
    assert len(answers(str(tiny), asked, adapter=tmp_path, max_tokens=4)) == 4


def test_nothing_to_learn_from_and_a_model_without_a_template_are_said(tiny, tmp_path):
    with pytest.raises(ValueError, match="needs examples"):
        finetune(str(tiny), [], LEARN, SETTINGS, tmp_path)
    plain = tmp_path / "plain"
    PreTrainedTokenizerFast(tokenizer_file=str(tiny / "tokenizer.json")).save_pretrained(plain)
    LlamaForCausalLM.from_pretrained(tiny).save_pretrained(plain)
    with pytest.raises(ValueError, match="no chat template"):
        finetune(str(plain), LEARN, LEARN, SETTINGS, tmp_path)
