"""The seed edits are many, varied, clean, and none is like another."""

from __future__ import annotations

import unicodedata
from collections import Counter

import pytest

from filters.agreement import normalised
from filters.edits import EditChecks, TextEdit
from filters.moderation import offence
from generators.seeds import KINDS, SEED_EDITS, SeedError, held_out, read_seeds
from spatial.instruction import KINDS as EDIT_KINDS

SEEDS = read_seeds()


def test_there_are_enough_of_each_sort():
    languages = Counter(seed.language for seed in SEEDS)
    assert len(SEEDS) >= 900 and languages["en"] >= 850 and languages["vi"] >= 100
    kinds = Counter(seed.kind for seed in SEEDS if seed.language == "en")
    assert len(kinds) >= 20 and min(kinds.values()) >= 10
    assert set(KINDS.values()) <= set(EDIT_KINDS)


def test_no_two_are_alike():
    same = Counter((normalised(s.before), normalised(s.edit)) for s in SEEDS)
    assert max(same.values()) == 1
    edits = Counter(normalised(seed.edit) for seed in SEEDS)
    assert max(edits.values()) == 1
    for language in ("en", "vi"):
        captions = Counter(normalised(seed.before) for seed in SEEDS if seed.language == language)
        assert max(captions.values()) == 1


def test_all_are_clean():
    for seed in SEEDS:
        texts = (seed.before, seed.edit, seed.after)
        assert all(text == unicodedata.normalize("NFC", text) for text in texts)
        assert not any(offence(text) for text in texts), seed
        assert normalised(seed.before) != normalised(seed.after)


def test_nearly_all_pass_the_checks_that_edits_of_a_model_must_pass():
    checks = EditChecks()
    reasons = Counter(checks.reason(TextEdit(s.before, s.edit, s.after, s.language)) for s in SEEDS)
    assert reasons[None] >= 0.96 * len(SEEDS), reasons


def test_held_out_seeds_share_no_caption_with_the_others():
    learn, measure = held_out(SEEDS)
    assert len(learn) + len(measure) == len(SEEDS) and 0.05 < len(measure) / len(SEEDS) < 0.16
    assert not {s.before.casefold() for s in learn} & {s.before.casefold() for s in measure}


def test_the_public_file_of_triplets_is_read_too(tmp_path):
    path = tmp_path / "public.jsonl"
    path.write_text('{"input": "a", "edit": "b", "output": "c", "URL": "http://x"}\n\n')
    (seed,) = read_seeds(path)
    assert (seed.before, seed.edit, seed.after, seed.kind, seed.language) == ("a", "b", "c", None, "en")


@pytest.mark.parametrize("line", ["{", "[]", '{"input": "a"}', '{"input": "a", "edit": 1, "output": "c"}'])
def test_a_broken_line_is_named(tmp_path, line):
    path = tmp_path / "seeds.jsonl"
    path.write_text('{"input": "a", "edit": "b", "output": "c"}\n' + line + "\n")
    with pytest.raises(SeedError, match=r"seeds\.jsonl:2: is no JSON object"):
        read_seeds(path)


def test_the_file_lies_where_the_reader_looks():
    assert SEED_EDITS.name == "seed_edits.jsonl" and SEED_EDITS.exists()
