"""Supervised fine-tuning of a causal language model on conversations, the loss on the answer alone.

TRL's `SFTTrainer` does the work, with an adapter of PEFT or all weights; here is what is fixed for this project: the
same data give the same order, the held-out loss is measured before and after, and the model can be asked in the
same words as it was taught.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

Turn = dict[str, str]


@dataclass(frozen=True, slots=True)
class Example:
    """prompt: turns of a conversation ({"role", "content"}). completion: what the model is to say then."""

    prompt: tuple[Turn, ...]
    completion: str


@dataclass(frozen=True, slots=True)
class SftSettings:
    """method: "lora", an adapter of `rank` (its scale is `alpha` / rank) on every linear layer; or "full". epochs:
    passes over the data. batch: examples a step and worker. rate: the highest learning rate; 5% of the steps rise to
    it, then a cosine. max_length: tokens of an example; longer ones are cut. bf16: arithmetic in bfloat16."""

    method: Literal["lora", "full"] = "lora"
    rank: int = 8
    alpha: int = 16
    dropout: float = 0.05
    epochs: float = 3.0
    batch: int = 8
    rate: float = 1e-3
    max_length: int = 384
    bf16: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class SftFigures:
    """Mean negative log likelihood (nats a token) of held-out completions, before and after; steps: taken."""

    loss_before: float
    loss_after: float
    steps: int


def finetune(
    model: str,
    learn: Sequence[Example],
    measure: Sequence[Example],
    settings: SftSettings,
    folder: Path,
    *,
    revision: str | None = None,
    callbacks: Sequence[Any] = (),
    resume: Path | None = None,
    use_cpu: bool = False,
) -> SftFigures:
    """Trains `model` (a folder or a name on the Hub) and leaves adapter, or weights, and tokenizer in `folder`.

    callbacks: of transformers' Trainer. resume: a checkpoint of an earlier call. Raises ValueError for no examples and
    OSError for a model that is not there.
    """
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    if not learn or not measure:
        raise ValueError("fine-tuning needs examples to learn from and others to measure on")
    tokenizer = AutoTokenizer.from_pretrained(model, revision=revision)
    if tokenizer.chat_template is None:
        raise ValueError(f"{model}: has no chat template: take an instruction-tuned model")
    weights = AutoModelForCausalLM.from_pretrained(
        model, revision=revision, dtype=torch.bfloat16 if settings.bf16 and not use_cpu else torch.float32
    )
    arguments = SFTConfig(
        output_dir=str(folder / "checkpoints"),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch,
        per_device_eval_batch_size=settings.batch,
        learning_rate=settings.rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,
        max_length=settings.max_length,
        completion_only_loss=True,
        bf16=settings.bf16,
        gradient_checkpointing=False,
        use_cpu=use_cpu,
        seed=settings.seed,
        data_seed=settings.seed,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        logging_steps=20,
        report_to="none",
        disable_tqdm=True,
    )
    adapter = (
        LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        if settings.method == "lora"
        else None
    )
    trainer = SFTTrainer(
        model=weights,
        args=arguments,
        train_dataset=Dataset.from_list([_row(example) for example in learn]),
        eval_dataset=Dataset.from_list([_row(example) for example in measure]),
        processing_class=tokenizer,
        peft_config=adapter,
        callbacks=list(callbacks),
    )
    before = float(trainer.evaluate()["eval_loss"])
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    after = float(trainer.evaluate()["eval_loss"])
    if trainer.is_world_process_zero():
        if settings.method == "lora":
            trainer.model.half()  # of the adapter alone is anything written; half as large, and as good
        trainer.model.save_pretrained(str(folder), safe_serialization=True)
        tokenizer.save_pretrained(str(folder))
    return SftFigures(before, after, int(trainer.state.global_step))


def _row(example: Example) -> dict[str, Any]:
    answer = [{"role": "assistant", "content": example.completion}]
    return {"prompt": list(example.prompt), "completion": answer}


@torch.inference_mode()
def answers(
    model: str,
    prompts: Sequence[Sequence[Turn]],
    *,
    adapter: Path | None = None,
    revision: str | None = None,
    temperature: float = 0.7,
    max_tokens: int = 128,
    batch: int = 16,
    seed: int = 0,
    device: str = "cpu",
) -> list[str]:
    """What a model says to each conversation, sampled; for measuring where no vLLM is. Slow, and held to no schema."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, revision=revision, padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    weights: Any = AutoModelForCausalLM.from_pretrained(model, revision=revision, dtype=torch.float32)
    if adapter is not None:
        weights = PeftModel.from_pretrained(weights, str(adapter))
    weights.to(device).eval()
    torch.manual_seed(seed)
    found: list[str] = []
    for start in range(0, len(prompts), batch):
        texts = [
            tokenizer.apply_chat_template(list(prompt), tokenize=False, add_generation_prompt=True)
            for prompt in prompts[start : start + batch]
        ]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False).to(device)
        said = weights.generate(
            **inputs,
            do_sample=temperature > 0,
            temperature=temperature or None,
            max_new_tokens=max_tokens,
            pad_token_id=tokenizer.pad_token_id,
        )
        found += tokenizer.batch_decode(said[:, inputs.input_ids.shape[1] :], skip_special_tokens=True)
    return found
