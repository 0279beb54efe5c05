"""Figures of an evaluation: shares, intervals, what is ahead of what, and what could not be asked."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.results import TOLERANCES
from evaluation.table import no_lpips, summary, tuning_said
from evaluation.trials import chance, holm


def row(edit, editor, right, copy=0, kind="move", scene=None, **changes):
    return {
        "pair_id": f"edit-{edit}", "scene_id": f"scene-{edit if scene is None else scene}", "edit_kind": kind,
        "language": "vi" if edit % 2 else "en", "edit_set": "spatial", "editor": editor, "copy": copy, "judged": True,
        "outcome": "right" if right else "wrong", "reason": None if right else "named_off",
        "within": [right] * len(TOLERANCES), "psnr": 30.0 + edit % 3, "ssim": 0.9, "l1": None, "l2": None,
        "clip_image": None, "clip_direction": None, "seconds": 0.5, "memory_mb": 100.0, "price": 0.25, **changes,
    }  # fmt: skip


def test_copies_are_averaged_edit_by_edit_and_each_is_told():
    rows = [row(n, "ours", n < 6, copy=0) for n in range(10)] + [
        row(n, "ours", n < 8, copy=1) for n in range(10)
    ]
    figures = summary(rows, ["ours"])["spatial"]["editors"]["ours"]
    assert figures["success"]["mean"] == pytest.approx(0.7) and figures["copies"] == pytest.approx([0.6, 0.8])
    assert figures["success"]["low"] < 0.7 < figures["success"]["high"]
    assert figures["asked"] == 10 and figures["price"] == pytest.approx(5) and figures["seconds"] == 0.5
    assert figures["languages"]["en"]["edits"] == 5
    assert figures["clip_image"] is None and figures["psnr"]["mean"] == pytest.approx(30.822, abs=0.001)


def test_a_failure_is_an_edit_that_is_wrong_and_what_cannot_be_said_is_none():
    failed = {"outcome": "failed", "reason": "not_finite", "within": None, "psnr": None, "ssim": None}
    rows = [row(n, "ours", True) for n in range(8)]
    rows += [row(n, "other", False, **(failed if n < 2 else {"outcome": "not_expressible", "reason": None}))
             for n in range(4)] + [row(n, "other", True) for n in range(4, 8)]  # fmt: skip
    found = summary(rows, ["ours", "other"])["spatial"]["editors"]["other"]
    assert found["success"]["mean"] == pytest.approx(4 / 6)
    assert (found["asked"], found["not_expressible"], found["failed"]) == (6, 2, {"not_finite": 2})
    assert found["curve"][0]["share"] == pytest.approx(4 / 6)
    assert found["ahead"]["edits"] == 6 and found["ahead"]["mean"] == pytest.approx(2 / 6)
    whole = summary([*rows, *(row(n, "third", n > 4) for n in range(2, 8))], ["ours", "other", "third"])
    whole = whole["spatial"]
    assert whole["common"] == 4, (
        "edits 4 to 7: two more cannot be said to one, and two were not tried by another"
    )
    shares = {name: one["common"]["mean"] for name, one in whole["editors"].items()}
    assert shares == pytest.approx({"ours": 1.0, "other": 1.0, "third": 3 / 4})


def test_editors_that_fail_at_all_edits_are_never_right_not_unjudged():
    rows = [row(n, "ours", False, outcome="failed", reason="error", within=None) for n in range(6)]
    found = summary(rows, ["ours"])["spatial"]["editors"]["ours"]["success"]
    assert (found["mean"], found["low"]) == (0, 0) and 0.3 < found["high"] < 0.6  # of six scenes


def test_an_editor_that_can_be_asked_nothing_has_no_figures():
    rows = [row(n, "ours", True) for n in range(3)]
    rows += [row(n, "other", False, outcome="not_expressible", within=None) for n in range(3)]
    found = summary(rows, ["ours", "other"])["spatial"]["editors"]["other"]
    assert found["success"] is None and found["ahead"] is None and found["asked"] == 0


def test_of_a_set_that_nobody_can_judge_there_are_measures_alone():
    made = {"judged": False, "outcome": "made", "reason": None, "within": None, "psnr": None, "ssim": None}
    rows = [row(n, "ours", False, **made, l1=0.1 * n) for n in range(3)]
    rows.append(row(3, "ours", False, **made | {"outcome": "failed", "reason": "nothing"}))
    found = summary(rows, ["ours"])["spatial"]["editors"]["ours"]
    assert (
        found["success"] is None and found["kinds"] == {} and found["curve"] == [] and found["copies"] == []
    )
    assert (
        found["asked"] == 4
        and found["failed"] == {"nothing": 1}
        and found["l1"]["mean"] == pytest.approx(0.1)
    )
    assert found["reasons"] == {"made": 3, "nothing": 1}


def test_scenes_of_which_all_edits_go_alike_leave_a_wide_interval():
    alike = [row(n, "ours", n < 50, scene=n // 50) for n in range(100)]  # two scenes
    apart = [row(n, "ours", n < 50) for n in range(100)]
    widths = []
    for rows in (alike, apart):
        success = summary(rows, ["ours"])["spatial"]["editors"]["ours"]["success"]
        widths.append(success["high"] - success["low"])
    assert widths[0] > 0.9 > 0.3 > widths[1]


def test_a_difference_is_sure_where_there_is_one_kind_by_kind():
    rng = np.random.default_rng(0)
    rows = []
    for n in range(120):
        kind = ("move", "swap", "resize")[n % 3]
        rows.append(row(n, "ours", bool(rng.random() < (0.8 if kind == "move" else 0.5)), kind=kind))
        rows.append(row(n, "other", bool(rng.random() < (0.2 if kind == "move" else 0.5)), kind=kind))
    found = summary(rows, ["ours", "other"])["spatial"]["editors"]["other"]
    kinds = found["ahead_kinds"]
    assert kinds["move"]["p"] < 0.01 and kinds["swap"]["p"] > 0.05 and kinds["resize"]["p"] > 0.05
    assert kinds["move"]["edits"] == 40


def test_p_is_what_it_says_where_there_is_no_difference():
    """Of tests without a difference about one in twenty is below 0.05."""
    rng = np.random.default_rng(1)
    found = [
        chance(rng.normal(size=60), [str(n) for n in range(60)], seed=turn, draws=400) for turn in range(300)
    ]
    assert 0.01 < np.mean(np.array(found) < 0.05) < 0.11


def test_holm_corrects_the_smallest_most_and_keeps_the_order():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


def test_the_psnr_of_a_table_is_that_of_the_mean_error():
    """Of nine copies to the pixel and one bad picture the decibels' mean is 91: no such error was made."""
    rows = [row(n, "ours", True, psnr=99.0 if n else 19.0) for n in range(10)]
    rows += [row(n, "even", True, psnr=30.0) for n in range(10)]
    figures = summary(rows, ["even", "ours"])["spatial"]["editors"]
    ours = figures["ours"]["psnr"]
    assert ours["mean"] == pytest.approx(29, abs=0.01)
    assert ours["low"] < 28 and ours["high"] == pytest.approx(99), (
        "a draw without the bad picture has no error"
    )
    assert figures["even"]["psnr"] == pytest.approx({"mean": 30, "low": 30, "high": 30})


def test_copies_of_an_editor_are_averaged_by_their_errors():
    rows = [row(n, "ours", True, copy=copy, psnr=(20.0, 40.0)[copy]) for n in range(4) for copy in range(2)]
    mean = summary(rows, ["ours"])["spatial"]["editors"]["ours"]["psnr"]["mean"]
    assert mean == pytest.approx(-10 * np.log10((1e-2 + 1e-4) / 2))


def test_lpips_has_figures_where_it_was_measured_and_else_that_is_said():
    without = [row(n, "ours", True) for n in range(3)]  # and no such column, as in older rows
    whole = summary(without, ["ours"])
    assert whole["spatial"]["editors"]["ours"]["lpips"] is None
    assert no_lpips(whole) == "LPIPS: no weights were named"
    whole = summary([one | {"lpips": 0.1 * n} for n, one in enumerate(without)], ["ours"])
    assert whole["spatial"]["editors"]["ours"]["lpips"]["mean"] == pytest.approx(0.1)
    assert no_lpips(whole) == ""
    changed = summary([one | {"psnr": None} for one in without], ["ours"])
    assert no_lpips(changed) == "", "where nothing was to stay nobody misses it"


def test_tuning_is_shared_by_the_edits_that_used_it_and_told_apart():
    """Two transformations, 100 s for three edits and 40 s for one, and one picture that was tuned on by itself."""
    tuned = ["recolor:red"] * 3 + ["side:left", "own:edit-4"]
    took = [100.0] * 3 + [40.0, 6.0]
    rows = [
        row(n, "ours", True, seconds=2.0, tuned_for=name, tuned_seconds=seconds)
        for n, (name, seconds) in enumerate(zip(tuned, took, strict=True))
    ]
    rows.append(row(5, "ours", False, outcome="not_expressible", seconds=None, within=None))
    figures = summary([*rows, *(row(n, "plain", True) for n in range(6))], ["plain", "ours"])["spatial"][
        "editors"
    ]
    found = figures["ours"]["tuning"]
    assert found["transformations"] == {
        "tunings": 2, "edits": 4, "seconds": 70.0, "edit": 2.0, "amortised": pytest.approx(2 + 140 / 4),
    }  # fmt: skip
    assert found["captions"]["amortised"] == pytest.approx(8) and found["captions"]["tunings"] == 1
    assert figures["ours"]["seconds"] == 2.0 and figures["plain"]["tuning"] == {}
    said = tuning_said(figures["ours"])
    assert "a transformation takes 70.0 s" in said and "37.00 s (4 edits, 2 tunings)" in said
    assert tuning_said(figures["plain"]) == ""


def test_another_training_is_tuned_by_itself():
    rows = [
        row(n, "ours", True, copy=copy, seconds=1.0, tuned_for="side:left", tuned_seconds=(10.0, 30.0)[copy])
        for n in range(2)
        for copy in range(2)
    ]
    found = summary(rows, ["ours"])["spatial"]["editors"]["ours"]["tuning"]["transformations"]
    assert (found["tunings"], found["edits"], found["seconds"]) == (2, 4, 20.0)
    assert found["amortised"] == pytest.approx(1 + 40 / 4)
