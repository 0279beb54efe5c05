"""Learning goes on from a checkpoint as if nothing had happened, on one rank or two, and stops when it goes wrong."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.conftest import ROWS
from tests.trainer.editors import pasting, tiny_unet
from trainer.examples import Seen
from trainer.frozen import Frozen
from trainer.latents import LatentStore
from trainer.learn import Diverged, Learner, LearnSettings, Line, Progress
from trainer.model import SpatialEditor, is_spatial
from trainer.order import Stretch
from trainer.spatial_attention import Parts
from trainer.stream import Stream, StreamSettings

STREAM = StreamSettings(batch=3, seen=Seen(64, 0.5), seed=5, per_block=2)
SETTINGS = LearnSettings(samples=48, rate=1e-3, warmup=3, every=4, seed=5)


def learner(frozen: Frozen, settings: LearnSettings = SETTINGS, parts: Parts | None = None) -> Learner:
    width = frozen.text_encoder.config.hidden_size
    unet = tiny_unet(cross_attention_dim=width)
    torch.manual_seed(1)
    return Learner(SpatialEditor(unet, parts or Parts(), 32, frozen.pasting), frozen, settings)


class Killed(Exception):
    pass


def run(one: Learner, dataset, kill_at: int | None = None, saved=lambda _: None) -> list[Line]:
    lines: list[Line] = []

    def told(line: Line) -> None:
        lines.append(line)
        if line.step == kill_at:
            raise Killed

    with Stream(dataset, "train", STREAM) as stream:
        one.run(stream, told, saved)
    return lines


def test_killed_twice_and_gone_on_the_losses_are_those_of_a_training_that_was_not(frozen, dataset, tmp_path):
    whole = run(learner(frozen), dataset)
    assert whole[-1].seen >= SETTINGS.samples and len(whole) >= 16
    folders: list = []

    def saved(one: Learner) -> None:
        folders.append(tmp_path / str(one.progress.step))
        one.save(folders[-1])

    with pytest.raises(Killed):
        run(learner(frozen), dataset, 6, saved)
    for kill_at in (11, None):
        again = learner(frozen)
        again.restore(folders[-1])
        start = again.progress.step
        lines: list[Line] = []
        try:
            lines = run(again, dataset, kill_at, saved)
        except Killed:
            continue
        assert start == 8
        assert [line.step for line in lines] == [line.step for line in whole[start:]]
        assert [line.loss for line in lines] == pytest.approx([line.loss for line in whole[start:]], abs=1e-4)
        assert lines[-1].seen == whole[-1].seen


def test_every_row_is_learned_from_once_an_epoch_across_checkpoints(frozen, dataset, tmp_path, monkeypatch):
    seen: list[str] = []
    plain = Learner._learn

    def noting(self, examples, part, finding):
        seen.extend(one.pair_id for one in examples)
        return plain(self, examples, part, finding)

    monkeypatch.setattr(Learner, "_learn", noting)
    short = LearnSettings(samples=ROWS, rate=1e-4, every=2, seed=5)
    with pytest.raises(Killed):
        run(learner(frozen, short), dataset, 3, lambda one: one.save(tmp_path / "two"))
    del seen[6:]  # the step after the checkpoint is done again
    again = learner(frozen, short)
    again.restore(tmp_path / "two")
    run(again, dataset)
    assert Counter(seen) == Counter(f"blender-0000000-{n:07d}" for n in range(ROWS))
    assert again.progress == Progress(step=4, seen=ROWS, epoch=1)


def test_the_rate_rises_stays_and_falls_to_the_end(frozen, dataset):
    settings = LearnSettings(samples=48, rate=1e-3, warmup=3, fall=0.5, every=100, seed=5)
    rates = [line.rate for line in run(learner(frozen, settings), dataset)]
    half = len(rates) // 2
    assert rates[:3] == pytest.approx([1e-3 / 3, 2e-3 / 3, 1e-3])
    assert rates[2:half] == pytest.approx([1e-3] * (half - 2)) and 0 < rates[-1] < 2e-4
    assert all(later < sooner for sooner, later in itertools.pairwise(rates[half + 1 :]))


def test_a_large_gradient_of_the_spatial_layers_leaves_the_steps_of_the_unet_as_they_are(frozen, dataset):
    one = learner(frozen)
    unet = {name: value for name, value in one.editor.named_parameters() if not is_spatial(name)}
    for name, value in one.editor.named_parameters():
        value.grad = torch.full_like(value, 1e6 if is_spatial(name) else 1e-8)
    kept = []
    one._optimizer.step = lambda: kept.append({name: value.grad.clone() for name, value in unet.items()})
    one._update(1, False)
    assert all(torch.allclose(grad, torch.full_like(grad, 1e-8)) for grad in kept[0].values())


def test_the_average_follows_and_is_what_is_given_away(frozen, dataset, tmp_path):
    one = learner(frozen)
    run(one, dataset)
    one.averaged(tmp_path)
    kept, now = SpatialEditor.load(tmp_path, frozen.pasting).state_dict(), one.editor.state_dict()
    gates = [name for name in kept if "gate" in name]
    assert any(not torch.equal(kept[name], now[name]) for name in gates)
    assert all(torch.isfinite(value).all() for value in kept.values())


def test_a_loss_that_is_no_number_stops_it_and_names_the_pairs(frozen, dataset):
    one = learner(frozen)
    with torch.no_grad():
        one.editor.unet.conv_in.weight[0, 0] = float("nan")
    with pytest.raises(Diverged, match=r"loss of step 1 is nan; pairs: blender-0000000-"):
        run(one, dataset)


def test_progress_counts_stretches_and_is_read_again():
    progress = Progress().after(2, 3, 6).after(2, 3, 5).after(1, 3, 3)
    assert progress.past == (Stretch(2, 2, 3), Stretch(1, 1, 3)) and progress.seen == 14
    assert Progress.from_json(progress.to_json()) == progress


def test_accumulated_batches_are_one_step_of_the_larger_batch(frozen, dataset):
    """Noise is drawn by batch, so the steps are alike in what they count, not equal."""
    lines = run(learner(frozen, LearnSettings(samples=11, accumulate=2, seed=5)), dataset)
    assert [line.seen for line in lines] == [6, 11]


@pytest.mark.parametrize("parts", [Parts(), Parts(land=True, paste=True)], ids=["reads", "pastes"])
def test_less_memory_changes_no_loss_and_bfloat16_hardly_any(frozen, dataset, parts, monkeypatch):
    monkeypatch.setitem(globals(), "STREAM", replace(STREAM, seen=replace(STREAM.seen, pixels=parts.paste)))

    def learned(**more: Any) -> list[float]:
        one = learner(frozen, LearnSettings(samples=9, seed=5, **more), parts)
        if parts.paste:
            assert one.editor.spatial is not None
            torch.nn.init.constant_(one.editor.spatial.share.opened, 0.07)
        return [line.loss for line in run(one, dataset)]

    plain, recomputed, half = (learned(**more) for more in ({}, {"recompute": True}, {"bf16": True}))
    assert recomputed == pytest.approx(plain, abs=1e-4)
    assert half == pytest.approx(plain, rel=0.05) and half != plain


def test_adapters_learn_in_place_of_the_unet_go_on_exactly_and_come_out_merged(frozen, dataset, tmp_path):
    settings = LearnSettings(samples=22, rate=1e-2, spatial=0.3, warmup=1, every=4, seed=5, lora=2)
    one, before = learner(frozen, settings), learner(frozen).editor.state_dict()
    names = {name for name, value in one.editor.named_parameters() if value.requires_grad}
    unets = {name for name in names if not is_spatial(name)}
    assert {name for name in before if is_spatial(name)} == names - unets
    layer = "unet.mid_block.attentions.0.transformer_blocks.0."
    assert {name for name in unets if name.startswith(layer)} == {
        f"{layer}{attention}.{projection}.lora_{matrix}.default.weight"
        for attention in ("attn1", "attn2") for projection in ("to_q", "to_k", "to_v", "to_out.0") for matrix in "AB"
    }  # fmt: skip
    assert {name for name in unets if "lora" not in name} == {"unet.conv_in.weight", "unet.conv_in.bias"}
    whole = run(one, dataset, saved=lambda now: now.save(tmp_path / str(now.progress.step)))
    again = learner(frozen, settings)
    again.restore(tmp_path / "4")
    assert [line.loss for line in run(again, dataset)] == [line.loss for line in whole[4:]]
    assert set(load_file(tmp_path / "4" / "learned.safetensors")) == names
    assert len(one._optimizer.state_dict()["state"]) == len(names)
    one.averaged(tmp_path / "editor")
    plain = SpatialEditor.load(tmp_path / "editor", frozen.pasting)
    now = plain.state_dict()
    projections = {name for name in before if re.search(r"attn[12]\.to_(q|k|v|out\.0)\.weight", name)}
    changed = {name for name in before if not torch.equal(before[name], now[name])}
    assert projections < changed and {name for name in changed - projections if not is_spatial(name)} == {
        "unet.conv_in.weight", "unet.conv_in.bias",
    }  # fmt: skip
    with torch.no_grad():
        for name, value in one._average.items():
            one.editor.get_parameter(name).copy_(value)
        noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        said = [editor(noise[0], torch.tensor([300]), one._null, noise[1]) for editor in (one.editor, plain)]
    assert torch.allclose(*said, atol=1e-4)


def test_new_layers_are_told_from_the_unets():
    editor = SpatialEditor(tiny_unet(), Parts(), 32, pasting())
    own = {name for name, _ in editor.named_parameters() if not is_spatial(name)}
    assert own == {f"unet.{name}" for name, _ in tiny_unet().named_parameters()}


def test_kept_latents_change_no_loss(frozen, dataset, tmp_path):
    wanted = run(learner(frozen), dataset)
    store = LatentStore(str(tmp_path), "latents-0", ROWS, frozen.latents_of(64))
    one = learner(frozen)
    one.kept = store.opened()
    lines: list[Line] = []
    with Stream(dataset, "train", STREAM, store) as stream:
        one.run(stream, lines.append, lambda _: None)
    assert one.kept.sums.any()
    assert [line.loss for line in lines] == pytest.approx([line.loss for line in wanted], abs=1e-5)
