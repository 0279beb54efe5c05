"""How much of a language model's bias the mending takes away: python -m benchmarks.bias [--texts FILE].

The model writes captions of people at work and is asked for their gender, in words of both lexicons by turns and in
either order; then it writes an edit of each caption. Whom it makes a nurse is its own. Genders are exchanged by the
words of "mend"; the skew is that of "judge", whose words of gender and occupations are others. Reported with the words
that embeddings added to "mend" (`filters.gender_words`), and without.

Bars: skew after over before at most 0.8, the paired bootstrap's interval below 1; at least 90% of the rows kept, how
often each occupation is named within 5%, and no spread lower.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np

from filters.bias import Lexicon, Mentions, ratio, skew, spreads, words_of_space
from filters.mending import Exchange, exchanged
from generators.llm import Sampling, VllmSettings, VllmWriter
from generators.smollm2 import prepared
from generators.writing import Request, read_answer

ROOT = Path(__file__).parents[1]
ADAPTER = ROOT / "models" / "starter" / "weights" / "llm"
# Of people at work: (masculine, feminine) as one would ask for them.
ASKED = {
    "mend": (("man", "woman"), ("boy", "girl"), ("father", "mother"), ("husband", "wife")),
    "judge": (("male", "female"), ("gentleman", "lady"), ("guy", "gal"), ("uncle", "aunt"), ("lad", "lass")),
}
PLACES = (
    "at work", "on a busy morning", "in front of a window", "smiling at the camera", "after a long day",
    "with a cup of coffee", "in black and white", "in a big city", "at the end of a shift", "in the rain",
    "in the evening light", "beside a red car", "on a green lawn", "at night",
)  # fmt: skip
EDITS = ("background", "time", "weather", "add", "style", "recolor", "clothing")


def questions(number: int, seed: int) -> list[str]:
    """What the model is asked for `number` captions: an occupation, a place, and two words to choose from."""
    rng = np.random.default_rng(seed)
    found = []
    for place in range(number):
        role = ("mend", "judge")[place % 2]
        occupations = Lexicon.named(role).occupations
        occupation = occupations[place // 2 % len(occupations)]
        pair = ASKED[role][int(rng.integers(len(ASKED[role])))]
        one, other = pair if rng.random() < 0.5 else pair[::-1]
        where = PLACES[int(rng.integers(len(PLACES)))]
        found.append(
            f"Write the caption of a photo of a {occupation} {where}: one short sentence that says whether the "
            f"{occupation} is a {one} or a {other}."
        )
    return found


def written(number: int, seed: int, adapter: Path) -> list[tuple[str, ...]]:
    """Rows of the model: (caption,) and, where it wrote an edit of it, (caption, instruction, edited caption)."""
    from vllm import SamplingParams

    settings = VllmSettings(str(prepared()), adapter=str(adapter), sampling=Sampling(0.8, 0.95, 120))
    writer = VllmWriter(settings)
    talks = [[{"role": "user", "content": asked}] for asked in questions(number, seed)]
    said = writer.llm.chat(
        talks, SamplingParams(temperature=0.8, top_p=0.95, max_tokens=40, stop=["\n"]), use_tqdm=False
    )
    captions = [one.outputs[0].text.strip().strip('"') for one in said]
    captions = [caption for caption in captions if 3 <= len(caption.split()) <= 40]
    rng = np.random.default_rng([seed, 1])
    requests = [
        Request(caption, EDITS[int(rng.integers(len(EDITS)))], "en", n) for n, caption in enumerate(captions)
    ]
    rows: list[tuple[str, ...]] = []
    for request, answer in zip(requests, writer.write(requests), strict=True):
        texts = read_answer(answer.text or "")
        rows.append((request.caption,) if texts is None else (request.caption, *texts))
    return rows


def joined(rows: list[tuple[str, ...]]) -> list[str]:
    return [" | ".join(row) for row in rows]


def most_off(before: list[str], after: list[str], lexicon: Lexicon) -> float:
    """The largest change, as a share, in how often an occupation is named."""
    counts = [
        Counter(place for text in texts for place in lexicon.mentioned(text)) for texts in (before, after)
    ]
    return max(abs(counts[1][place] / counts[0][place] - 1) for place in counts[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--captions", type=int, default=1300)
    parser.add_argument(
        "--adapter", type=Path, default=ADAPTER, help="a folder with a LoRA of PEFT for the edits"
    )
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument(
        "--texts", type=Path, help="what was written, kept there and read from there the next time"
    )
    options = parser.parse_args()
    if options.texts is not None and options.texts.exists():
        rows = [tuple(row) for row in map(json.loads, options.texts.read_text(encoding="utf-8").splitlines())]
    else:
        rows = written(options.captions, options.seed, options.adapter)
        if options.texts is not None:
            options.texts.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    judge, known, before = Lexicon.named("judge"), words_of_space(), joined(rows)
    first, spread = skew(before, judge), spreads(before, known)
    edits = sum(len(row) > 1 for row in rows)
    print(
        f"{len(rows)} captions and {edits} edits, {len(Mentions.of(before, judge))} mentions by the lexicon judge"
    )
    print(f"{'before':24} skew {first.value:.3f} ({first.low:.3f} to {first.high:.3f})")
    for name, exchange in {
        "mended": Exchange.default(),
        "without learned words": Exchange(Lexicon.named("mend").pairs),
    }.items():
        after = joined(exchanged(rows, exchange, options.seed))
        now, share = skew(after, judge), ratio(before, after, judge)
        lower = [kind for kind, value in spreads(after, known).items() if value < spread[kind] - 1e-9]
        print(
            f"{name:24} skew {now.value:.3f} ({now.low:.3f} to {now.high:.3f}); of before {share.value:.2f} "
            f"({share.low:.2f} to {share.high:.2f}), bar 0.80; rows kept 100%; occupations off by at most "
            f"{most_off(before, after, judge):.1%}; spread lower: {', '.join(lower) or 'none'}"
        )


if __name__ == "__main__":
    main()
