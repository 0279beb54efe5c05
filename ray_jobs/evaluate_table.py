"""What an evaluation came to, as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ray_jobs.evaluate_distances import edits_said, names, share_said


def table(report: Mapping[str, Any]) -> str:
    """The figures as text, a table for each set."""
    from evaluation.table import no_lpips

    parts = ["\n".join(_lines(name, found)) for name, found in report["sets"].items()]
    return "\n\n".join(filter(None, [*parts, no_lpips(report["sets"])]))


def _lines(name: str, found: Mapping[str, Any]) -> Iterator[str]:
    from evaluation.table import tuning_said

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
        if said := tuning_said(figures):
            yield f"  {'':<16}{said}"
        if len(figures["copies"]) > 1:
            yield f"  {'':<16}" + "each training " + ", ".join(f"{share:.1%}" for share in figures["copies"])
    first = next(iter(found["editors"]))
    for editor, figures in found["editors"].items():
        for apart in figures["distances"]:
            yield f"  {editor:<16}{_apart(apart)}"
            if apart["nearer"] is not None:
                yield f"  {'':<16}{_nearer(first, apart)}"


def _apart(found: Mapping[str, Any]) -> str:
    """How far an editor's pictures are from true ones, as sets, by one extractor."""
    parts = []
    for field, name in names(found["features"]).items():
        value = found[field]
        if field == "frechet":
            parts.append(f"{name} " + ("of too few pictures" if value is None else f"{value:.4f}"))
        elif value is not None:
            parts.append(f"{name} {value['mean']:.4f} ({value['low']:.4f} to {value['high']:.4f})")
    return f"by {found['features']}: {', '.join(parts)}, of {found['pictures']:,} pictures"


def _nearer(first: str, found: Mapping[str, Any]) -> str:
    held = found["nearer"]
    said = [
        f"{name} by {share_said(held[field])}"
        for field, name in names(found["features"]).items()
        if held[field]
    ]
    return f"of {first} smaller: {', '.join(said)}, {edits_said(held)}"
