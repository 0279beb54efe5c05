"""What a version says of itself: the card with its pictures, its description for machines, what is new in it."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import InvalidVersion, Version

from ray_jobs.card import around
from ray_jobs.config_publish import Publish
from shards.card import CardText
from shards.dataset import MANIFEST_FILE, Dataset, Manifest, read_version, version_folder
from shards.markup import escaped
from shards.splits import is_held_out
from shards.storage import Storage
from shards.tables import opened

CHANGELOG_FILE = "CHANGELOG.md"
_NAMED = 40  # held-out combinations that the card lists


def described(dataset: Dataset, settings: Publish) -> dict[str, bytes]:
    """{path: content} of the card, its pictures, and croissant.json. dataset: without those files as yet."""
    card = settings.card
    words = {"summary": card.summary, "licence": card.licence}
    about = CardText(
        title=card.title,
        homepage=card.homepage,
        authors=card.authors,
        date=card.date,
        held_out=tuple(_held_out(dataset, settings.splits.held_out)),
        limits=card.limits,
        citation=card.citation,
        **{name: text for name, text in words.items() if text is not None},
    )
    return around(dataset, about)


def changelog(target: Storage, manifest: Manifest, settings: Publish) -> bytes:
    """This version beside the one before it, if there is one."""
    before = _before(target, manifest.version)
    lines = ["# Changelog", "", f"## {manifest.version}", ""]
    if settings.card.notes:
        lines += [str(escaped(settings.card.notes)), ""]
    for split, counts in manifest.counts.items():
        old = sum(before.counts.get(split, {}).values()) if before is not None else 0
        rows = sum(counts.values())
        change = f" ({rows - old:+,} since {before.version})" if before is not None else ""
        lines.append(f"- {split}: {rows:,} pairs{change}")
    lines.append(f"- from {len(manifest.parents)} runs: {', '.join(manifest.parents)}")
    if before is not None:
        gone = sorted(set(before.parents) - set(manifest.parents))
        lines += [f"- no longer from: {', '.join(gone)}"] if gone else []
    return ("\n".join(lines) + "\n").encode()


def _before(target: Storage, version: str) -> Manifest | None:
    """The newest of the versions that are older and there."""
    found = []
    for entry in target.list("v"):
        folder, _, name = entry.key.partition("/")
        if name == MANIFEST_FILE:
            try:
                other = Version(folder.removeprefix("v"))
            except InvalidVersion:
                continue
            if other < Version(version):
                found.append((other, folder.removeprefix("v")))
    there = read_version(target.sub(version_folder(max(found)[1]))) if found else None
    return there.manifest if there is not None else None


def _held_out(dataset: Dataset, share: float) -> Iterator[str]:
    """Combinations that only `test` shows, as "red mug", by name."""
    leaves = [
        f"objects_{when}.list.element.{name}" for when in ("before", "after") for name in ("name", "color")
    ]
    found = set()
    for file in dataset.files("index", "test"):
        with opened(dataset.storage, file.path) as index:
            for group in range(index.num_row_groups):
                for row in index.read_row_group(group, columns=leaves).to_pylist():
                    found |= {
                        (thing["name"], thing["color"])
                        for thing in [*(row["objects_before"] or ()), *(row["objects_after"] or ())]
                        if thing["color"] and is_held_out(f"{thing['name']}/{thing['color']}", share)
                    }
    yield from [f"{color} {name}" for name, color in sorted(found)][:_NAMED]
