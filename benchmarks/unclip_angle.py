"""How far should unCLIP turn a picture's embedding? Tries angles on validation edits: how often each succeeds, and how
far CLIP sees the picture go as the captions do.

    python -m benchmarks.unclip_angle --dataset datasets/demo --model runs/unclip --angles 0.2,0.35,0.5
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from evaluation.asked import Asked, EditorMissing
from evaluation.edit_sets import of_each
from evaluation.spatial import judge
from evaluation.trials import Case, cases, judgeable, share_interval
from evaluation.unclip import UnClip
from filters.clip import ClipJudge, Pair, Scored
from filters.reader import Reader
from filters.weights import ClipWeights
from shards.dataset import open_dataset
from shards.images import Pixels
from shards.storage import StorageError

_WEIGHTS = "models/starter/weights"
_HEADS = f"{'angle':>7}{'edits':>7}{'right':>8}{'95%':>18}{'CLIP direction':>16}{'CLIP image':>12}"


@dataclass(slots=True)
class Tried:
    """What came of one angle. right, scenes: of each edit. direction, image: CLIP's of each picture that has them."""

    angle: float
    right: list[bool] = field(default_factory=list)
    scenes: list[str] = field(default_factory=list)
    direction: list[float] = field(default_factory=list)
    image: list[float] = field(default_factory=list)

    def line(self) -> str:
        share = share_interval(self.right, self.scenes)
        sure = f"{share.low:.1%} to {share.high:.1%}"
        clip = [f"{np.mean(some):.3f}" if some else "–" for some in (self.direction, self.image)]
        return f"{self.angle:>7g}{len(self.right):>7}{share.mean:>8.1%}{sure:>18}{clip[0]:>16}{clip[1]:>12}"


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument(
        "--dataset", required=True, help="a published one, of which no test edit is to be used"
    )
    options.add_argument("--model", required=True, help="the decoder's folder")
    options.add_argument("--angles", type=_angles, required=True, help="shares of the way, comma between")
    options.add_argument("--split", default="validation", help="(%(default)s)")
    options.add_argument("--base", default=f"{_WEIGHTS}/diffusion", help="what it was made of (%(default)s)")
    options.add_argument("--clip", default=f"local-dir:{_WEIGHTS}/clip", help="(%(default)s)")
    options.add_argument("--reader", default=f"{_WEIGHTS}/reader", help="(%(default)s)")
    options.add_argument("--device", default="cpu", help="(%(default)s)")
    options.add_argument("--most", type=int, default=14, help="edits of each kind (%(default)s)")
    options.add_argument("--batch", type=int, default=16, help="edits at once (%(default)s)")
    options.add_argument("--scale", type=float, default=1.0, help="of guidance (%(default)s)")
    options.add_argument("--invert", type=int, default=40, help="steps there (%(default)s)")
    options.add_argument("--steps", type=int, default=25, help="and back (%(default)s)")
    asked = options.parse_args(argv)
    try:
        numbers = {name: getattr(asked, name) for name in ("scale", "invert", "steps")}
        editor = UnClip(asked.model, asked.base, asked.clip, asked.device, **numbers)
        reader = Reader.load(asked.reader)
        there = judgeable(list(cases(open_dataset(asked.dataset), asked.split)), reader)
    except (EditorMissing, StorageError, OSError, ValueError) as error:
        raise SystemExit(f"error: {str(error).splitlines()[0]}") from None
    told = [case for case in there if editor.expresses(_asked(case))]
    chosen = of_each(told, asked.most)
    if not chosen:
        raise SystemExit(
            f"error: none of the {len(there)} edits of split {asked.split!r} that can be judged can be said by captions"
        )
    print(f"{len(there)} edits can be judged, {len(told)} can be said by captions, {len(chosen)} are tried")
    began, clip = time.monotonic(), ClipJudge(ClipWeights(asked.clip), device=asked.device)
    found = tried(editor, reader, clip, chosen, asked.angles, asked.batch)
    print("\n".join([_HEADS, *(one.line() for one in found)]))
    print(f"{(time.monotonic() - began) / len(chosen):.2f} s an edit, of all {len(found)} angles together")


def tried(
    editor: UnClip,
    reader: Reader,
    clip: ClipJudge,
    chosen: Sequence[Case],
    angles: Sequence[float],
    batch: int,
) -> list[Tried]:
    """What comes of each angle, in order. chosen: edits that can be judged, pictures of one size."""
    found = [Tried(angle) for angle in angles]
    for start in range(0, len(chosen), batch):
        some = chosen[start : start + batch]
        for one, made in zip(found, editor.turned([_asked(case) for case in some], angles), strict=True):
            for case, sightings in zip(some, reader.read(np.stack(made)), strict=True):
                one.right.append(judge(case.row, case.found(sightings), case.yaws).success)
                one.scenes.append(str(case.row["scene_id"]))
            for scored in _scored(clip, some, made):
                one.image.append(scored.similarities.clip_image)
                if scored.similarities.clip_direction is not None:
                    one.direction.append(scored.similarities.clip_direction)
    return found


def _scored(clip: ClipJudge, some: Sequence[Case], made: Sequence[Pixels]) -> Iterator[Scored]:
    captions = [(case.row["original_prompt"], case.row["edited_prompt"]) for case in some]
    pairs = [Pair(case.before, one, *said) for case, one, said in zip(some, made, captions, strict=True)]
    return (one for one in clip.score(pairs) if isinstance(one, Scored))


def _asked(case: Case) -> Asked:
    captions = case.row["original_prompt"], case.row["edited_prompt"]
    return Asked(case.before, case.text, case.seed, case.kind, *captions, None)


def _angles(text: str) -> list[float]:
    try:
        found = [float(one) for one in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < one <= 1 for one in found):
        raise argparse.ArgumentTypeError(
            f"{text} is no list of angles above 0, up to 1, such as 0.2,0.35,0.5"
        )
    return found


if __name__ == "__main__":
    main()
