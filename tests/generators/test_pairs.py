"""The pair engine: what a pair is does not depend on its neighbours, and no draw is wasted or lost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import generators.batch
from benchmarks.pairs_reference import Reference
from generators.attention import Control
from generators.batch import Batch, Draw, Slot
from generators.budget import Budget
from generators.diffusion import Diffusion, ModelError, ModelSettings, rounded
from generators.pairs import (
    Judged,
    PairEngine,
    PairSettings,
    Preview,
    Prompt,
    drawn,
)
from generators.remake import remade, trajectories
from generators.samplers import noise_of
from shards.guard import BrokenEngine
from tests.generators.diffusion_models import save_tiny, tiny_unet

SETTINGS = PairSettings(steps=4, guidance=(2.0, 6.0), share=(0.2, 0.9), cross=(0.3, 1.0))
WORDS = ("red", "blue", "green", "white", "pink", "yellow")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = save_tiny(
        tmp_path_factory.mktemp("tiny"), rescale_betas_zero_snr=True, timestep_spacing="trailing"
    )
    return Diffusion(ModelSettings(folder, device="cpu"))


def prompts(number):
    return [
        Prompt(f"edit-{i}", f"a {WORDS[i % 6]} mug {i}", f"a {WORDS[(i + 1) % 6]} mug {i}", "recolor", 50 + i)
        for i in range(number)
    ]


def everything(some):
    return [Judged("accepted") for _ in some]


def by_pixels(some):
    """As good as random, and a function of the pictures alone."""
    sums = [int(one.before.astype(int).sum() + one.after.astype(int).sum()) for one in some]
    return [
        Judged("accepted" if total % 3 == 0 else "rejected", "" if total % 3 == 0 else "odd")
        for total in sums
    ]


def results(model, number=6, judge=by_pixels, **options):
    settings = options.pop("settings", SETTINGS)
    engine = PairEngine(model, settings, judge, keep=lambda _: True, **options)
    return {outcome.prompt.id: outcome for outcome in engine.run(prompts(number))}, engine


def assert_alike(one, other, most=0):
    assert one.keys() == other.keys()
    for name in one:
        assert [m.draw for m in one[name].draws] == [m.draw for m in other[name].draws]
        for a, b in zip(one[name].draws, other[name].draws, strict=True):
            assert a.judged == b.judged
            apart = np.abs(np.subtract(a.pictures, b.pictures, dtype=int)).max()
            assert apart <= most


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "euler_ancestral"])
def test_other_slots_do_not_change_a_pair_by_a_single_bit(model, sampler):
    settings = PairSettings(sampler=sampler, steps=4, share=(0.5, 0.5), cross=(0.5, 0.5))
    engine = PairEngine(model, settings, everything, slots=4, shrink=False)
    prompt, draw = prompts(1)[0], Draw(0, 77, 5.0, 0.5, 0.5)
    alone, crowded = [], []
    for neighbours, found in ((0, alone), (3, crowded)):
        batch = Batch(model, engine.sampler, model.encode(model.empty_ids()), 4, shrink=False)
        for other in prompts(neighbours + 1)[1:]:
            ready = engine.ready(other)
            batch.put(Slot(None, Draw(0, other.seed, 9.0, 0.9, 0.0)), ready.context, ready.alignment)
            batch.step()  # each neighbour at a step of its own
        ready = engine.ready(prompt)
        batch.put(Slot("mine", draw), ready.context, ready.alignment)
        while batch.slots:
            batch.step()
            found += [latents for slot, latents in batch.ended() if slot.owner == "mine"]
    assert torch.equal(alone[0], crowded[0]) and torch.isfinite(alone[0]).all()


def test_the_same_pairs_come_of_any_number_of_slots(model):
    few, _ = results(model, slots=2, budget=Budget(want=2, most=9), decode_batch=1)
    many, _ = results(model, slots=7, budget=Budget(want=2, most=9), decode_batch=5)
    assert_alike(few, many, most=1)
    assert all(len(o.accepted) == 2 or len(o.draws) == 9 for o in few.values())
    for outcome in few.values():
        assert [made.draw.number for made in outcome.draws] == list(range(len(outcome.draws)))
        assert outcome.draws[-1].judged.verdict == "accepted" or len(outcome.draws) == 9


def test_the_batch_is_full_until_prompts_run_out(model):
    _, engine = results(model, number=12, slots=4, budget=Budget(want=1, most=8), decode_batch=2)
    assert engine.clock.occupancy > 0.9
    assert engine.clock.steps > 12


def test_a_pair_is_made_again_from_its_numbers(model):
    found, _ = results(model, judge=everything, slots=3, budget=Budget(want=2, most=2))
    for outcome in found.values():
        again = remade(model, SETTINGS, [(outcome.prompt, made.draw) for made in outcome.draws], slots=2)
        for made, pictures in zip(outcome.draws, again, strict=True):
            apart = np.abs(np.subtract(made.pictures, rounded(pictures), dtype=int))
            assert apart.max() <= 1


@pytest.mark.parametrize("schedule", [{"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}, {}])
def test_it_makes_what_the_plain_protocol_makes_one_pair_at_a_time(tmp_path, schedule):
    folder = save_tiny(tmp_path / "m", **schedule)
    settings = PairSettings("euler_ancestral", 8, guidance=(2, 5), share=(0.1, 0.9), cross=(0, 0))
    pairs = [(prompt, drawn(prompt, 0, settings)) for prompt in prompts(5)]
    ours = trajectories(Diffusion(ModelSettings(folder, device="cpu")), settings, pairs, slots=3)
    plain = Reference(Diffusion(ModelSettings(folder, device="cpu")), 8)
    for (prompt, draw), latents in zip(pairs, ours, strict=True):
        wanted = plain.pair(prompt, draw)
        assert (latents - wanted).abs().max() < 1e-4 * wanted.abs().max()
        assert (wanted[0] - wanted[1]).abs().max() > 0.01 * wanted.abs().max()


def test_draws_follow_from_the_prompts_seed_and_stay_in_their_ranges():
    prompt = prompts(1)[0]
    some = [drawn(prompt, number, SETTINGS) for number in range(200)]
    assert some == [drawn(prompt, number, SETTINGS) for number in range(200)]
    assert len({draw.seed for draw in some}) == 200
    assert all(2 <= d.guidance <= 6 and 0.2 <= d.share <= 0.9 and 0.3 <= d.cross <= 1 for d in some)
    assert max(d.share for d in some) - min(d.share for d in some) > 0.6


def test_both_pictures_start_from_the_same_noise_and_share_what_is_added(model):
    settings = PairSettings(sampler="euler_ancestral", steps=5, guidance=(3, 3), share=(0, 0), cross=(0, 0))
    same = [Prompt("same", "a red mug", "a red mug", "recolor", 3)]
    engine = PairEngine(
        model, settings, everything, slots=2, budget=Budget(want=1, most=1), keep=lambda _: True
    )
    (outcome,) = engine.run(same)
    before, after = outcome.draws[0].pictures
    assert np.array_equal(before, after)


def test_a_prompt_is_given_up_when_the_odds_are_poor(model):
    def never(some):
        return [Judged("rejected", "no") for _ in some]

    found, _ = results(model, number=3, judge=never, slots=4, budget=Budget(want=1, most=50, least_odds=0.1))
    assert [len(o.draws) for o in found.values()] == [9, 9, 9]  # 1 / (9 + 2) is below a tenth


def test_a_hopeless_pair_is_dropped_at_its_preview(model):
    def no_previews(some):
        return [Judged("rejected" if one.preview else "accepted", "blurred") for one in some]

    budget = Budget(want=1, most=3)
    dropped, engine = results(model, judge=no_previews, slots=4, budget=budget, preview=Preview(0.5))
    for outcome in dropped.values():
        assert [made.judged.reason for made in outcome.draws] == ["preview"] * 3
        assert all(
            8 <= made.forwards < 16 for made in outcome.draws
        )  # two of four steps, and what ran meanwhile
    watched, _ = results(model, judge=no_previews, slots=4, budget=budget, preview=Preview(0.5, drop=False))
    for outcome in watched.values():
        assert [made.judged.verdict for made in outcome.draws] == ["accepted"]
        assert outcome.draws[0].preview.verdict == "rejected" and outcome.draws[0].forwards == 16
    assert engine.clock.occupancy > 0.5


def test_bad_captions_are_failed_prompts_and_the_others_go_on(model):
    bad = [
        Prompt("long", "a red mug and " * 30, "a blue mug", "recolor", 1),
        Prompt("nothing", "red mug", "blue house", "replace", 2),
        *prompts(2),
    ]
    engine = PairEngine(model, SETTINGS, everything, slots=2, budget=Budget(want=1, most=2))
    found = {outcome.prompt.id: outcome for outcome in engine.run(bad)}
    assert found["long"].reason == "too_long" and "shorten" in found["long"].message
    assert found["nothing"].reason == "nothing_shared" and not found["nothing"].draws
    assert len(found["edit-0"].accepted) == len(found["edit-1"].accepted) == 1


def test_latents_that_are_not_finite_fail_their_draw_alone(model, monkeypatch):
    poisoned = drawn(prompts(6)[2], 0, SETTINGS).seed

    def noise(seed, step, shape):
        found = noise_of(seed, step, shape)
        return found * float("nan") if seed == poisoned else found

    monkeypatch.setattr(generators.batch, "noise_of", noise)
    found, _ = results(model, judge=everything, slots=3, budget=Budget(want=1, most=2))
    first, second = found["edit-2"].draws
    assert (first.judged.verdict, first.judged.reason) == ("failed", "not_finite")
    assert second.judged.verdict == "accepted"
    assert all(len(o.draws) == 1 for name, o in found.items() if name != "edit-2")


def out_of_memory_above(model, monkeypatch, samples):
    """In place of a device that is too small."""
    forward = type(model.unet).forward

    def small(unet, sample, *rest, **more):
        if len(sample) > samples:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return forward(unet, sample, *rest, **more)

    monkeypatch.setattr(type(model.unet), "forward", small)


def test_out_of_memory_halves_the_slots_and_goes_on(model, monkeypatch):
    budget = Budget(want=1, most=4)
    wanted, _ = results(model, slots=2, budget=budget)
    out_of_memory_above(model, monkeypatch, 8)
    found, engine = results(model, slots=8, budget=budget)
    assert engine.batch.size == 2
    assert_alike(found, wanted, most=1)


def test_no_memory_for_one_pair_is_a_broken_engine(model, monkeypatch):
    out_of_memory_above(model, monkeypatch, 2)
    with pytest.raises(BrokenEngine, match="no memory on cpu for a single pair"):
        results(model, slots=4, budget=Budget(want=1, most=1))


def test_local_blend_leaves_the_first_picture_outside_of_the_words(model):
    plain = PairSettings(steps=6, guidance=(4, 4), share=(0, 0), cross=(0, 0))
    blended = PairSettings(steps=6, guidance=(4, 4), share=(0, 0), cross=(0, 0), blend=0.9)
    (free,), (kept,) = (
        list(
            PairEngine(model, s, everything, slots=1, budget=Budget(1, 1), keep=lambda _: True).run(
                prompts(1)
            )
        )
        for s in (plain, blended)
    )
    apart = [np.abs(np.subtract(*made.draws[0].pictures, dtype=int)).mean() for made in (free, kept)]
    assert 0 < apart[1] < 0.8 * apart[0]
    assert np.array_equal(free.draws[0].pictures[0], kept.draws[0].pictures[0])


def test_control_that_no_pair_has_costs_nothing(model):
    engine = PairEngine(model, SETTINGS, everything, slots=2)
    batch = engine.batch
    control = batch._control([None, None], torch.zeros(2, dtype=torch.long), torch.arange(2))
    assert control == Control(None, None, None, None, None) or (
        control.inject is None and control.mapped is None
    )


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_models_of_both_predictions_are_sampled(tmp_path, prediction):
    folder = save_tiny(tmp_path / "m", prediction=prediction, timestep_spacing="leading", steps_offset=1)
    model = Diffusion(ModelSettings(folder, device="cpu"))
    found, _ = results(model, number=2, judge=everything, slots=2, budget=Budget(want=1, most=1))
    for outcome in found.values():
        assert np.ptp(outcome.draws[0].pictures[0]) > 0
    assert model.image_size == 16


def test_what_is_no_text_to_image_model_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(ModelError, match=r"does not load.*Stable Diffusion model in diffusers' layout"):
        Diffusion(ModelSettings(str(tmp_path), device="cpu"))
    editor = save_tiny(tmp_path / "editor", unet=tiny_unet(channels=8))
    with pytest.raises(ModelError, match=r"takes 8 channels.*take a text-to-image model"):
        Diffusion(ModelSettings(editor, device="cpu"))
    other = save_tiny(tmp_path / "other", unet=tiny_unet(width=24))
    with pytest.raises(ModelError, match="reads text 24 wide, and its text encoder writes 32"):
        Diffusion(ModelSettings(other, device="cpu"))
    with pytest.raises(ModelError, match="fp16 needs a GPU"):
        Diffusion(ModelSettings(other, device="cpu", precision="fp16"))


@pytest.mark.parametrize("wrong", [{"want": 0}, {"most": 0}, {"least_odds": 1.0}])
def test_a_budget_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match="a budget needs"):
        Budget(**wrong)
