"""What an evaluation came to, as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def table(report: Mapping[str, Any]) -> str:
    """The figures as text, a table for each set."""
    from evaluation.table import no_lpips

    parts = ["\n".join(_lines(name, found)) for name, found in report["sets"].items()]
    return "\n\n".join(filter(None, [*parts, no_lpips(report["sets"])]))


def _lines(name: str, found: Mapping[str, Any]) -> Iterator[str]:
    yield f"{name}: {found['edits']} edits, sha256 {found['digest'][:16]}"
    of_right = f"{'right':>8}{'95%':>18}{'the first is ahead by':>26}{'p':>8}"
    heads = f"{of_right}{'asked':>7}{'failed':>8}{'PSNR':>7}{'s/edit':>8}"
    lpips = any(figures["lpips"] for figures in found["editors"].values())
    yield f"  {'editor':<16}{heads}" + (f"{'LPIPS':>8}" if lpips else "")
    for editor, figures in found["editors"].items():
        success, ahead = figures["success"], figures["ahead"]
        share = f"{success['mean']:.1%}" if success else "–"
        sure = f"{success['low']:.1%} to {success['high']:.1%}" if success else ""
        before = (
            f"{100 * ahead['mean']:+.1f} ({100 * ahead['low']:+.1f} to {100 * ahead['high']:+.1f})"
            if ahead
            else ""
        )
        chance = f"{ahead['p']:.4f}" if ahead else ""
        psnr = f"{figures['psnr']['mean']:.1f}" if figures["psnr"] else "–"
        seconds = f"{figures['seconds']:.2f}" if "seconds" in figures else "–"
        failed, asked = sum(figures["failed"].values()), figures["asked"]
        unlike = (f"{figures['lpips']['mean']:>8.3f}" if figures["lpips"] else f"{'–':>8}") if lpips else ""
        right = f"{share:>8}{sure:>18}{before:>26}{chance:>8}"
        yield f"  {editor:<16}{right}{asked:>7}{failed:>8}{psnr:>7}{seconds:>8}{unlike}"
        if len(figures["copies"]) > 1:
            yield f"  {'':<16}" + "each training " + ", ".join(f"{share:.1%}" for share in figures["copies"])
