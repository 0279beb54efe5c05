"""Where are edits lost? Judges the picture as far as it is known before anything is painted: with what
was found, and with masks that tell what is where and where it goes. What fails with masks too is lost by pasting
and retouching, what fails without them alone by finding and landing.

    python -m benchmarks.drafts --editor runs/editor/editor --dataset datasets/demo
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from evaluation.edit_sets import of_each
from evaluation.spatial import judge
from evaluation.trials import Case, cases, judgeable
from filters.reader import Reader
from shards.dataset import open_dataset
from shards.images import Pixels
from trainer.examples import Seen, example
from trainer.frozen import Frozen, as_bytes
from trainer.model import SpatialEditor
from trainer.paste import Shown
from trainer.step import batch_of
from trainer.words import arrays, read

_BATCH = 16
_READER = "models/starter/weights/reader"


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--editor", required=True, help="a folder that 'train' left, or a checkpoint of it")
    options.add_argument("--dataset", required=True)
    options.add_argument("--split", default="validation")
    options.add_argument(
        "--model", default="models/starter/weights/diffusion", help="what the editor stands on"
    )
    options.add_argument("--most", type=int, default=14, help="edits of each kind (%(default)s)")
    options.add_argument("--sharp", type=float, default=2.0, help="as of `Sampling.sharp` (%(default)s)")
    asked = options.parse_args()
    frozen, reader = Frozen.load(asked.model), Reader.load(_READER)
    try:
        editor = SpatialEditor.load(Path(asked.editor), frozen.pasting).eval()
    except OSError as error:
        raise SystemExit(f"error: {error}") from None
    if editor.spatial is None or not editor.spatial.parts.paste:
        raise SystemExit(f"{asked.editor} pastes nothing: there is no draft to judge")
    there = judgeable(list(cases(open_dataset(asked.dataset), asked.split, "held_out")), reader)
    chosen = of_each(there, asked.most)
    right: dict[str, dict[bool, list[bool]]] = defaultdict(lambda: {False: [], True: []})
    for start in range(0, len(chosen), _BATCH):
        some = chosen[start : start + _BATCH]
        for told in (False, True):
            pictures = _drafts(editor, frozen, some, asked.sharp, told)
            for case, sightings in zip(some, reader.read(np.stack(pictures)), strict=True):
                right[case.kind][told].append(judge(case.row, case.found(sightings), case.yaws).success)
    print(f"{'kind':<12}{'edits':>6}{'found':>8}{'told':>8}")
    for kind, found in sorted(right.items()):
        shares = "".join(f"{np.mean(found[told]):>8.0%}" for told in (False, True))
        print(f"{kind:<12}{len(found[True]):>6}{shares}")
    whole = [np.mean([one for found in right.values() for one in found[told]]) for told in (False, True)]
    print(f"{'all':<12}{len(chosen):>6}{whole[0]:>8.1%}{whole[1]:>8.1%}")


@torch.no_grad()
def _drafts(
    editor: SpatialEditor, frozen: Frozen, some: Sequence[Case], sharp: float, told: bool
) -> list[Pixels]:
    """What is known of each edited picture; where words are not understood the source."""
    words = [read(case.text) for case in some]
    side = some[0].before.shape[0]
    shown = [
        example({**case.row, "edit_prompt": case.text}, Seen(side), np.random.default_rng(0)) for case in some
    ]
    batch = batch_of(shown, frozen, pasting=True)
    assert batch.pixels is not None
    pixels, said = batch.pixels[:, 0], arrays(words)
    truth = batch.truth if told else None
    context = editor.context(words, frozen.phrases(said.texts), batch.source, Shown(pixels), truth)
    assert context is not None and context.paste is not None
    paste = replace(context.paste, logits=sharp * context.paste.logits)
    silent = torch.tensor([not one.steps for one in words])[:, None, None, None]
    return list(as_bytes(torch.where(silent, pixels, paste.expected())).numpy())


if __name__ == "__main__":
    main()
